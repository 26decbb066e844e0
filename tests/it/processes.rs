//! The real binary, killed, stopped and told to stop at random moments of a deploy, with visitors at the door. Whoever comes next types one
//! command, and one release serves everybody; no request fails, and nothing is left behind.
//!
//! A few moments are part of every test run. `ADSTAGE_MOMENTS=60` plays sixty; `ADSTAGE_MOMENTS_SEED=7` plays others;
//! `ADSTAGE_MOMENT=17` plays one of them again; `ADSTAGE_STORIES=1` shows what everybody typed and saw, also when all went well.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time, and how many of them is said in the environment")]
#![allow(clippy::print_stdout, reason = "which moments were met is what the test is for; shown with --nocapture, or when it fails")]

mod crowd;
mod moments;
mod scenes;
mod shop;
mod stories;
mod typing;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use moments::{Moment, moment};
use scenes::{Played, play};
use shop::Shop;

/// Shops at the same time. Mostly they wait for leases to lapse.
const SHOPS: usize = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The moments to play, from the environment.
fn chosen() -> VecDeque<Moment> {
    let (count, seed) = (number("ADSTAGE_MOMENTS").unwrap_or(6), number("ADSTAGE_MOMENTS_SEED").unwrap_or(1));
    match number("ADSTAGE_MOMENT") {
        Some(one) => VecDeque::from([moment(one, seed)]),
        None => (0..count).map(|number| moment(number, seed)).collect(),
    }
}

#[test]
fn at_random_moments_of_a_deploy_one_command_is_enough() {
    let played = Mutex::new(Vec::new());
    let scene = |shop: &Shop, moment: &Moment| {
        let went = play(shop, *moment);
        println!("{went}");
        played.lock().unwrap().push(went);
    };
    let trouble = side_by_side(SHOPS, chosen(), scene);
    show(&played.into_inner().unwrap());
    assert!(trouble.is_empty(), "{} went wrong:\n\n{}", trouble.len(), trouble.join("\n\n"));
}

/// Each of them is a test; they wait for leases to lapse, so they wait together.
#[test]
fn misfortunes_with_a_moment_of_their_own() {
    let trouble = side_by_side(stories::ALL.len(), (0..stories::ALL.len()).collect(), |shop, story| stories::ALL[*story](shop));
    assert!(trouble.is_empty(), "{} went wrong:\n\n{}", trouble.len(), trouble.join("\n\n"));
}

/// Plays every scene in some shop; so many shops are open at a time, and a shop in which all went well serves again. Answers what went
/// wrong, with what everybody typed and saw. Whatever happens, no process is left.
fn side_by_side<S: Send + Debug>(shops: usize, scenes: VecDeque<S>, play: impl Fn(&Shop, &S) + Sync) -> Vec<String> {
    let (workers, scenes, trouble) = (shops.min(scenes.len()), Mutex::new(scenes), Mutex::new(Vec::new()));
    let aloud = number("ADSTAGE_STORIES") == Some(1);
    let work = || {
        let mut shop = None;
        loop {
            let Some(scene) = scenes.lock().unwrap().pop_front() else { break };
            let went = catch_unwind(AssertUnwindSafe(|| play(shop.get_or_insert_with(Shop::open), &scene)));
            let story = shop.as_ref().map(Shop::story).unwrap_or_default();
            match went {
                Ok(()) if aloud => println!("{scene:?}\n\n{story}"),
                Ok(()) => {}
                Err(panic) => {
                    trouble.lock().unwrap().push(format!("{scene:?}\n{}\n\n{story}", said(panic.as_ref())));
                    // The next one shall not suffer from what this one left.
                    shop = None;
                }
            }
        }
        let left = shop.and_then(|shop| catch_unwind(AssertUnwindSafe(|| shop.leaves_nothing())).err());
        trouble.lock().unwrap().extend(left.map(|panic| said(panic.as_ref())));
    };
    std::thread::scope(|scope| (0..workers).for_each(|_| _ = scope.spawn(work)));
    trouble.into_inner().unwrap()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// How often which stage was hit, and by what.
fn show(played: &[Played]) {
    let mut hits: BTreeMap<(String, String), usize> = BTreeMap::new();
    for went in played {
        let how = format!("{:?}", went.moment.how);
        let how = how.split('(').next().unwrap().to_string();
        *hits.entry((went.hit.clone(), how)).or_default() += 1;
    }
    for ((stage, how), count) in &hits {
        println!("{count:>3} × {how} in {stage}");
    }
    println!("{} moments, {} visits, none of them failed", played.len(), played.iter().map(|went| went.visits).sum::<usize>());
}
