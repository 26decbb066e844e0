//! The protocols of the lock, searched whole: every order of events within bounds, for the design as it is (nothing may break) and for
//! designs that are wrong in one point each (the search must find out, or it proves nothing).
//!
//! `cargo test --test it protocol:: -- --nocapture` says how many states each search had; `-- --ignored` searches further.

#![allow(clippy::print_stdout, reason = "a search says how far it went")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use adstage::clock::Clock;
use stateright::{Checker, HasDiscoveries, Model};

mod lease;
mod properties;
mod row;
mod shared;
mod spans;

use lease::Lease;
use properties::{FENCE, FOUND, FROZEN, IN_ORDER, KEPT, ONE_LEASE, ONE_OPEN, SOUGHT, STRICT, mark};
use row::Variant;
use shared::{FEW, MEANT, NOT_AFTER, ONE_WRITER, REAL, ROUNDED, Shared, Waits};
use spans::{FIVES, SECONDS, SMALL, Spans};

/// The claims a search has a discovery for, and the way there.
type Found<A> = BTreeMap<&'static str, Vec<A>>;

/// A protocol that can be searched.
trait Protocol:
    Model<State: Hash + Clone + PartialEq + Debug + Send + Sync, Action: Clone + PartialEq + Debug> + Clone + Send + Sync + 'static
{
}

impl<M> Protocol for M where
    M: Model<State: Hash + Clone + PartialEq + Debug + Send + Sync, Action: Clone + PartialEq + Debug> + Clone + Send + Sync + 'static
{
}

/// Searches until `stop`, or everything, or everything within fewer steps than this.
fn search<M: Protocol>(name: &str, model: &M, stop: HasDiscoveries, below: Option<usize>) -> Found<M::Action> {
    let clock = Clock::real();
    let began = clock.moment();
    // One thread goes through the states in order. No protocol here is as deep as the deepest number.
    let checker = model.clone().checker().finish_when(stop).target_max_depth(below.map_or(usize::MAX, |steps| steps + 1));
    let search = checker.spawn_bfs().join();
    let ways = search.discoveries().into_iter().map(|(claim, path)| (claim, path.into_actions()));
    let found: Found<M::Action> = ways.collect();
    let (unique, generated, seconds) = (search.unique_state_count(), search.state_count(), clock.passed(began).as_secs_f64());
    if below.is_none() {
        let claims: Vec<_> = found.keys().collect();
        println!("protocol: {name}: {unique} states, {generated} generated, {seconds:.1} s, found {claims:?}");
    }
    found
}

/// Everything is searched and every claim holds.
fn holds<M: Protocol>(name: &str, model: M) {
    let found = search(name, &model, HasDiscoveries::AnyFailures, None);
    assert!(found.is_empty(), "{name}: {found:#?}");
}

/// The search finds that this claim is broken.
fn breaks<M: Protocol>(name: &str, model: M, claim: &'static str) {
    let stop = || HasDiscoveries::AllOf([claim].into());
    let mut found = search(name, &model, stop(), None);
    let mut steps = None;
    // A search says of its last block of states what it found last: the shortest way is found by looking for a shorter one.
    while let Some(shorter) = found.get(claim).map(Vec::len) {
        steps = Some(shorter);
        found = search(name, &model, stop(), Some(shorter));
    }
    let steps = steps.unwrap_or_else(|| panic!("{name}: {claim:?} is not caught"));
    println!("protocol: {name}: {claim:?} is broken in {steps} steps");
}

/// As the lock is built, the smallest spans, two grants, one renewal each.
fn small<const N: usize>() -> Lease<N> {
    Lease {
        variant: Variant::Built,
        spans: SMALL,
        grants: 2,
        beats: 1,
        clocks_only: false,
        gains_every: None,
        opens: false,
        halts: false,
        freezes: false,
        seeks: 0,
    }
}

/// The same with two renewals and a wrong design.
fn wrong(variant: Variant) -> Lease<2> {
    Lease { variant, beats: 2, ..small() }
}

/// With operations that can be left unfinished, holders that are asked to halt, and people who freeze.
fn operations<const N: usize>() -> Lease<N> {
    Lease { opens: true, halts: true, freezes: true, ..small() }
}

/// Searches for a state in which this has happened, and says whether there is one.
fn happens(name: &str, sought: u32) -> bool {
    let model = Lease::<2> { beats: 2, opens: true, halts: true, freezes: sought == mark::ROLLED_BACK, seeks: sought, ..small() };
    search(name, &model, HasDiscoveries::AllOf([SOUGHT].into()), None).contains_key(SOUGHT)
}

#[test]
fn two_processes_keep_every_promise() {
    holds("two processes, three grants, two renewals", Lease::<2> { grants: 3, beats: 2, ..small() });
}

#[test]
fn two_processes_keep_every_promise_with_the_real_spans() {
    holds("two processes, real spans in fives", Lease::<2> { spans: FIVES, ..small() });
}

#[test]
fn three_processes_keep_every_promise() {
    holds("three processes", Lease::<3> { beats: 0, ..small() });
}

#[test]
fn operations_halts_and_freezes_keep_every_promise() {
    holds("two processes with operations, halts, freezes", operations::<2>());
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_two_processes_with_the_real_spans() {
    holds("two processes, real spans in fives, three grants, two renewals", Lease::<2> { spans: FIVES, grants: 3, beats: 2, ..small() });
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_three_processes() {
    holds("three processes, three grants, one renewal", Lease::<3> { grants: 3, ..small() });
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_operations() {
    holds("two processes with operations, halts, freezes, three grants", Lease::<2> { grants: 3, ..operations() });
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_three_processes_with_operations() {
    holds("three processes with operations", Lease::<3> { opens: true, beats: 0, ..small() });
}

#[test]
fn m01_of_two_acquires_at_once_one_wins_in_the_model() {
    assert!(happens("an acquire arrives just after another's", mark::RIVAL));
    holds("two processes", small::<2>());
}

#[test]
fn m03_an_acquire_whose_reply_is_lost_is_recognised_in_the_model() {
    assert!(happens("an acquire is found carried out", mark::TAKE_FOUND));
    breaks("an acquire is not recognised", wrong(Variant::AcquireForgets), KEPT);
}

#[test]
fn m05_an_acquire_that_was_given_up_never_makes_a_second_holder_in_the_model() {
    assert!(happens("an acquire given up is made void", mark::BUMPED));
    assert!(happens("an acquire given up arrives and is refused", mark::STRAGGLER));
}

#[test]
fn m06_a_beat_whose_reply_is_lost_is_recognised_in_the_model() {
    assert!(happens("a beat is found carried out", mark::BEAT_FOUND));
    let random = wrong(Variant::RandomBeats);
    breaks("a random version per beat", random.clone(), KEPT);
    // It is only a nuisance: whoever drops a lock it owns harms nobody.
    let found = search("a random version per beat, to the end", &random, HasDiscoveries::AllOf([STRICT].into()), None);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&KEPT]);
}

#[test]
fn m07_an_old_beat_after_a_newer_one_changes_nothing_in_the_model() {
    assert!(happens("an old beat arrives after a newer one", mark::OLD_BEAT));
    breaks("beats in any order", wrong(Variant::BeatsInAnyOrder), ONE_LEASE);
}

#[test]
fn m08_a_beat_after_a_release_or_a_take_over_changes_nothing_in_the_model() {
    assert!(happens("a beat arrives at another holder's row", mark::STRANGE_BEAT));
    breaks("a beat does not ask whose the row is", wrong(Variant::BeatsForAnybody), ONE_LEASE);
}

/// The strict promise cannot be kept without AWS's help. What can: every old call lands before the newcomer's last look, and, where
/// what is called refuses older fences, before the newcomer's first call.
#[test]
fn m16_a_call_frozen_between_guard_and_socket_is_found_in_the_model() {
    breaks("frozen between guard and socket", wrong(Variant::Freezes), STRICT);
    let whole = |name, variant, claim| {
        let found = search(name, &Lease::<2> { beats: 1, ..wrong(variant) }, HasDiscoveries::AllOf([claim].into()), None);
        found.into_keys().collect::<Vec<_>>()
    };
    let found = whole("frozen, and the newcomer looks again after the horizon", Variant::Freezes, FOUND);
    assert_eq!(found, [IN_ORDER, STRICT]);
    let found = whole("frozen, and the newcomer looks again too early", Variant::FreezesHasty, FOUND);
    assert!(found.contains(&FOUND), "{found:?}");
    let found = whole("frozen, and what is called refuses older fences", Variant::FreezesFenced, IN_ORDER);
    assert_eq!(found, [STRICT]);
}

/// One that runs faster by a third than the holder's is too fast: the span of what is tolerated is known, not hoped for.
#[test]
fn m18_a_waiters_clock_may_run_a_quarter_faster_in_the_model() {
    let seconds = |gains_every| Lease::<2> { spans: SECONDS, beats: 0, clocks_only: true, gains_every: Some(gains_every), ..small() };
    holds("the waiter's clock is faster by a quarter, in seconds", seconds(4));
    breaks("the waiter's clock is faster by a third, in seconds", seconds(3), STRICT);
}

#[test]
fn a_guard_shorter_than_the_call_is_caught() {
    let spans = Spans { call: SMALL.guard + 1, ..SMALL };
    breaks("guard shorter than the call", Lease::<2> { spans, ..wrong(Variant::Built) }, STRICT);
}

#[test]
fn a_clock_that_stops_in_sleep_is_caught() {
    breaks("the clock stops in sleep", wrong(Variant::ClockStops), ONE_LEASE);
}

#[test]
fn a_take_over_from_a_holder_who_renewed_is_caught() {
    breaks("a take-over whatever the beat", wrong(Variant::AnyBeat), ONE_LEASE);
}

#[test]
fn a_lease_counted_from_the_last_resend_is_caught() {
    breaks("a lease from the last resend", wrong(Variant::FromResend), ONE_LEASE);
}

#[test]
fn a_release_that_deletes_the_row_is_caught() {
    breaks("a release deletes the row", wrong(Variant::Deletes), FENCE);
}

#[test]
fn an_acquire_that_passes_over_what_is_unfinished_is_caught() {
    breaks("open is not asked for", Lease::<2> { opens: true, ..wrong(Variant::OpenIgnored) }, ONE_OPEN);
}

#[test]
fn a_freeze_that_is_only_read_before_is_caught() {
    breaks(
        "a freeze is read before, not in the acquire",
        Lease::<2> { opens: true, freezes: true, ..wrong(Variant::FreezeReadBefore) },
        FROZEN,
    );
}

#[test]
fn a_hand_over_with_a_call_on_its_way_is_caught() {
    breaks("hands over with a call on its way", Lease::<2> { opens: true, halts: true, ..wrong(Variant::HandsOverEarly) }, STRICT);
}

#[test]
fn all_that_matters_happens_in_the_model() {
    let rare = [
        ("a lapsed lease is taken over", mark::TOOK_OVER),
        ("an unfinished operation is settled", mark::SETTLED),
        ("a holder hands over", mark::HANDED_OVER),
        ("a rollback passes a freeze", mark::ROLLED_BACK),
    ];
    for (name, sought) in rare {
        assert!(happens(name, sought), "{name}: never");
    }
}

/// Two environments that share something, locks that are broken; the smallest spans, two grants each.
fn sharing(variant: shared::Variant) -> Shared {
    Shared { variant, waits: FEW, grants: 2, neighbour: true, cut_after_answer: false }
}

/// One environment whose lock is broken, a tick being five seconds.
fn broken(waits: Waits) -> Shared {
    Shared { waits, grants: 3, neighbour: false, ..sharing(shared::Variant::Built) }
}

#[test]
fn two_environments_that_share_something_keep_every_promise() {
    holds("two environments, one thing shared, breaks", sharing(shared::Variant::Built));
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_two_environments_that_share_something() {
    holds("two environments, one thing shared, breaks, three grants", Shared { grants: 3, ..sharing(shared::Variant::Built) });
}

#[test]
fn a_broken_lock_keeps_every_promise() {
    holds("a break, in fives", Shared { grants: 2, ..broken(ROUNDED) });
}

#[test]
#[ignore = "a minute or more, for the scheduled run"]
fn further_a_broken_lock_in_seconds() {
    holds("a break, in seconds", Shared { grants: 2, ..broken(REAL) });
}

#[test]
fn a_holder_that_never_answered_is_waited_for_longer() {
    breaks("a silent holder waited for like one that answered", broken(Waits { silent: ROUNDED.answered, ..ROUNDED }), NOT_AFTER);
}

/// A holder that is heard, and then loses the table but not AWS: what the looks after a take-over are for.
#[test]
fn a_holder_cut_off_just_after_it_answered_can_be_late() {
    breaks("cut off just after it answered", Shared { cut_after_answer: true, ..broken(ROUNDED) }, NOT_AFTER);
}

#[test]
fn m26_of_two_who_break_one_lock_the_second_hits_nobody_in_the_model() {
    breaks("a break names no fence", sharing(shared::Variant::AnyFence), MEANT);
}

#[test]
fn a_broken_lock_taken_without_a_wait_is_caught() {
    breaks("no wait after a break", sharing(shared::Variant::NoWait), NOT_AFTER);
}

#[test]
fn a_neighbour_that_does_not_wait_after_a_break_is_caught() {
    breaks("a neighbour does not wait after a break", sharing(shared::Variant::NeighbourDoesNotWait), NOT_AFTER);
}

#[test]
fn a_release_that_forgets_the_wait_is_caught() {
    breaks("a release before the wait is over forgets it", sharing(shared::Variant::ForgetsWait), NOT_AFTER);
}

#[test]
fn something_shared_taken_without_proof_is_caught() {
    breaks("something shared is taken without proof", sharing(shared::Variant::NoProof), ONE_WRITER);
}
