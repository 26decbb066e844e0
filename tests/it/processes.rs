//! The real binary, killed, stopped and told to stop at random moments of a deploy, with visitors at the door. Whoever comes next types one
//! command, and one release serves everybody; no request fails, and nothing is left behind.
//!
//! A few moments are part of every test run. `ADSTAGE_MOMENTS=60` plays sixty; `ADSTAGE_MOMENTS_SEED=7` plays others;
//! `ADSTAGE_MOMENT=17` plays one of them again.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time, and how many of them is said in the environment")]
#![allow(clippy::print_stdout, reason = "which moments were met is what the test is for; shown with --nocapture, or when it fails")]

mod moments;
mod scenes;
mod shop;
mod typing;

use std::collections::{BTreeMap, VecDeque};
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
    let (moments, played, trouble) = (Mutex::new(chosen()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let workers = SHOPS.min(moments.lock().unwrap().len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut shop = None;
                loop {
                    let Some(moment) = moments.lock().unwrap().pop_front() else { break };
                    let went = catch_unwind(AssertUnwindSafe(|| play(shop.get_or_insert_with(Shop::open), moment)));
                    let story = shop.as_ref().map(Shop::story).unwrap_or_default();
                    match went {
                        Ok(went) => {
                            println!("{went}");
                            played.lock().unwrap().push(went);
                        }
                        Err(panic) => {
                            trouble.lock().unwrap().push(format!("{moment:?}\n{}\n\n{story}", said(panic.as_ref())));
                            // The next one shall not suffer from what this one left.
                            shop = None;
                        }
                    }
                }
                if let Some(shop) = shop {
                    let left = catch_unwind(AssertUnwindSafe(|| shop.leaves_nothing()));
                    trouble.lock().unwrap().extend(left.err().map(|panic| said(panic.as_ref())));
                }
            });
        }
    });
    show(&played.into_inner().unwrap());
    let trouble = trouble.into_inner().unwrap();
    assert!(trouble.is_empty(), "{} went wrong:\n\n{}", trouble.len(), trouble.join("\n\n"));
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
