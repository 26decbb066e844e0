//! The sweep: every call of every operation is struck by every misfortune, and whoever comes next types every recovery; then pairs of
//! misfortunes by seed. The calls are those of a clean run, numbered as they leave; nothing lists steps, so a new step is covered without
//! being named.
//!
//! A plain `cargo test` plays a sample. `ADSTAGE_SWEEP=full` plays the whole grid, `ADSTAGE_SWEEP=500` so many of each kind,
//! `ADSTAGE_SWEEP_PAIRS=3000` so many pairs, from `ADSTAGE_SWEEP_SEED` on.
//! `ADSTAGE_SWEEP_FAMILY='live deploy'` plays only stories that begin so.
//! `ADSTAGE_SWEEP_STORY='…'` plays one story again, exactly as a failure printed it.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "what is to be swept is said in environment variables; runs are timed for people"
)]

mod grid;
mod invariants;
mod stage;
mod story;
mod wire;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use grid::FAMILIES;
use story::Story;
use wire::Fault;

fn number(variable: &str) -> Option<usize> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}

/// How many stories of each kind: the whole grid, so many, or as many as a plain run plays.
fn asked(sample: usize) -> usize {
    match std::env::var("ADSTAGE_SWEEP").as_deref() {
        Ok("full") => usize::MAX,
        Ok(count) => count.parse().expect("full, or a number"),
        Err(_) => sample,
    }
}

fn seed() -> u64 {
    number("ADSTAGE_SWEEP_SEED").map_or(1, |seed| seed as u64)
}

/// All of them, or this many, spread evenly.
fn some(stories: Vec<Story>, sample: usize) -> Vec<Story> {
    let sample = asked(sample);
    if stories.len() <= sample {
        return stories;
    }
    let (count, from) = (stories.len(), seed() as usize);
    (0..sample).map(|index| stories[(index * count / sample + from * 7) % count].clone()).collect()
}

/// Plays them all on two threads, each with its own time, and says how it went; panics with a line per failure that plays it again.
fn play(what: &str, stories: &[Story]) {
    let (began, next, failed) = (Instant::now(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let alone = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, SeqCst);
                    let Some(story) = stories.get(number) else { break };
                    if number > 0 && number % 500 == 0 {
                        eprintln!("{what}: {number} of {}, {:.0} s", stories.len(), began.elapsed().as_secs_f64());
                    }
                    match story.play() {
                        Ok(told) => _ = alone.fetch_add(usize::from(told.by_itself), SeqCst),
                        Err(problem) => {
                            eprintln!("ADSTAGE_SWEEP_STORY='{story}': {}", problem.lines().next().unwrap_or_default());
                            failed
                                .lock()
                                .unwrap()
                                .push(format!("ADSTAGE_SWEEP_STORY='{story}' cargo test --test it sweep::one -- --nocapture\n{problem}"));
                        }
                    }
                }
            });
        }
    });
    let (took, count) = (began.elapsed().as_secs_f64(), stories.len());
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{what}: {count} stories, {} ended by themselves, {} failed, {took:.0} s, {:.2} s each",
        alone.into_inner(),
        failed.len(),
        2.0 * took / count.max(1) as f64
    );
    let shown: Vec<_> = failed.iter().take(3).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), shown.join("\n\n"));
}

/// Every strike of these kinds in every family.
fn struck(faults: &[Fault], sample: usize) -> Vec<Story> {
    let only = std::env::var("ADSTAGE_SWEEP_FAMILY").unwrap_or_default();
    let families = FAMILIES.iter().filter(|family| family.name().contains(&only));
    let stories = families.flat_map(|family| family.grid()).filter(|story| story.faults.values().any(|fault| faults.contains(fault)));
    some(stories.collect(), sample)
}

/// Plays one story again.
#[test]
fn one() {
    let Ok(text) = std::env::var("ADSTAGE_SWEEP_STORY") else { return };
    let story: Story = text.parse().expect("a story as a failure prints it");
    match story.play() {
        Ok(told) => {
            let count = told.calls.len();
            eprintln!("{story}: all is well after {count} calls; struck {:?}; by itself: {}", told.struck, told.by_itself);
        }
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn the_same_story_is_the_same_again() {
    for line in ["empty bake then bake seed 1", "live deploy 60:late 75:killed-after then rollback seed 9"] {
        let story: Story = line.parse().unwrap();
        assert_eq!(story.to_string(), line);
        let calls = || format!("{:#?}", story.play().map(|told| told.calls));
        assert!(calls() == calls(), "{line} went another way the second time");
    }
}

#[test]
fn a_clean_run_needs_nobody() {
    for family in &FAMILIES {
        let told = family.story(BTreeMap::new(), family.nexts[0]).play().unwrap_or_else(|problem| panic!("{family:?}: {problem}"));
        assert!(told.by_itself, "{family:?}");
        assert!(told.calls.iter().any(wire::Call::acts), "{family:?}");
    }
}

#[test]
fn m12_killed_between_any_two_calls() {
    play("killed", &struck(&[Fault::KilledBefore, Fault::KilledAfter], 16));
}

#[test]
fn m14_taken_over_meanwhile() {
    play("taken over", &struck(&[Fault::TakenOver], 8));
}

#[test]
fn m15_asleep_for_eight_hours_at_any_call() {
    play("asleep", &struck(&[Fault::Slept], 6));
}

#[test]
fn refused_lost_late_throttled() {
    play("refused, lost, late, throttled", &struck(&[Fault::Refused, Fault::ReplyLost, Fault::Late, Fault::Throttled], 12));
}

#[test]
fn pairs_by_seed() {
    let count = number("ADSTAGE_SWEEP_PAIRS").unwrap_or(6) as u64;
    play("pairs", &(seed()..seed() + count).map(grid::pair).collect::<Vec<_>>());
}
