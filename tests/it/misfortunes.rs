//! What may go wrong with a lock and a deploy, and what must happen then: the list. Every row has a test in every ring named beside it, whose
//! name begins with the row's number (`m07_…`).
//!
//! The rings: *model*, every interleaving of a small protocol (`protocol`); *sweep*, the real code in virtual time on the sandbox; *process*, real
//! processes and servers nobody here wrote (`processes`, `stage`, `lock`, `engines`).

use std::collections::BTreeSet;

use crate::architecture::source::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ring {
    Model,
    Sweep,
    Process,
}

use Ring::{Model as M, Process as P, Sweep as S};

const MISFORTUNES: [(&str, &[Ring]); 42] = [
    ("two acquires in the same millisecond: one holder, the other names it", &[M, S, P]),
    ("40 processes, three environments, something shared: one per conflict set, no deadlock, every blocker named", &[P]),
    ("acquire applied, reply lost: recognised, no second holder, nobody blocks himself", &[M, S]),
    ("acquire sent, the client dies: it lapses, an operation without a step is closed silently", &[S, P]),
    ("acquire delayed past giving up: the straggler is refused or lapses", &[M, S]),
    ("beat applied, reply lost: recognised, the lock is kept", &[M, S]),
    ("an old beat arrives after a newer one: refused, the holder unaffected", &[M, S]),
    ("a beat arrives after release or take-over: refused, the row unchanged", &[M, S]),
    ("DynamoDB away for 40 s: reads go on, changes pause, and go on with the first good beat", &[S]),
    ("DynamoDB away for good: nothing is changed, the live fleet untouched, left open, exit 8", &[S]),
    ("DynamoDB away at the start: nothing is touched, the cause is said", &[S]),
    ("killed between any two calls: whoever comes next brings one release to 100 %, nothing is left behind", &[S, P]),
    ("stopped for minutes, nobody came: a beat first, then on", &[S, P]),
    ("stopped for minutes, somebody took over: not one change, the new holder named", &[S, P]),
    ("the laptop sleeps eight hours: as the two above, timers counted by the clock that ran on", &[S]),
    ("frozen between guard and socket, taken over: seen and put right at the horizon", &[M, S]),
    ("the wall clock steps: the lock does not care", &[S]),
    ("a waiter's clock runs 1.25 times too fast: no call lands after its take-over", &[M, S]),
    ("a waiter that starts anew every 30 s: never takes over early, and is told what would help", &[S]),
    ("killed after the cutover write, before it was journalled: found done, not shifted twice", &[S]),
    ("the cutover's reply is lost: read back, found done", &[S]),
    ("killed between the weight writes of two routes: finished or put back, both", &[S]),
    ("the reply to a create is lost: adopted, no twin", &[S]),
    ("the name is taken by a stranger: refused before anything else is made", &[S]),
    ("somebody edits the listener by hand: not overwritten", &[S]),
    ("two people break the same lock: one does, the other is told", &[M, S]),
    ("broken while the holder lives: it stops within a beat, and the breaker waits", &[S, P]),
    ("a break of a lock that was passed on meanwhile: refused", &[S]),
    ("a halt during await, during the shift, after the cutover: a safe point, handed over at once", &[S, P]),
    ("rollback while the deploy's holder is cut off: taken over after the lease, its journal refused", &[S]),
    ("a freeze while a deploy runs: that one finishes, the next is refused with reason and end", &[S]),
    ("the release's reply is lost: no failure, and the next gets it at once", &[S]),
    ("a journal write collides with our own heartbeat: tried again, never taken for a lock", &[S]),
    ("a transaction sent again after its token is forgotten: no event twice, no gap", &[S]),
    ("credentials expire: refreshed, or stopped; the last line says what serves", &[S]),
    ("somebody else resumes: both names are in the journal", &[S]),
    ("a row of a newer format: read as far as known, not written, the version needed is named", &[S]),
    ("the table is restored, emptied, or counts too low: nothing is begun until the lock is repaired", &[S]),
    ("an event missing, or one that cannot be: a person is needed, at this number; never a guess", &[S]),
    ("an undo fails three times: left open, the commands printed", &[S]),
    ("the row is freed by hand while held: the holder stops", &[S]),
    ("Ctrl-C twice: gone at once, and the next command offers both ways", &[P]),
];

/// The rows whose tests a file holds, by the names of its test functions.
fn tested(source: &Source) -> impl Iterator<Item = usize> {
    let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
    let number = |at: usize| {
        let name = lines[at].trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn m")?;
        let number = name.get(..2)?.parse().ok().filter(|_| name[2..].starts_with('_'))?;
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        let test = attributes.into_iter().any(|line| line.contains("test"));
        // Those share their waiting with each other; one that nobody plays is dead code, which the compiler refuses.
        let scene = source.path.starts_with("tests/it/processes/");
        (test || scene).then_some(number)
    };
    (0..lines.len()).filter_map(number).collect::<Vec<usize>>().into_iter()
}

fn ring(source: &Source) -> Ring {
    let below = source.path.trim_start_matches("tests/it/");
    match () {
        () if below.starts_with("protocol") => Ring::Model,
        () if ["processes", "engines", "stage", "lock.rs"].iter().any(|process| below.starts_with(process)) => Ring::Process,
        () => Ring::Sweep,
    }
}

/// What is wrong with the tests of these files, one line each.
fn complaints(sources: &[Source]) -> Vec<String> {
    let found: BTreeSet<(usize, Ring)> = sources.iter().flat_map(|source| tested(source).map(|number| (number, ring(source)))).collect();
    let wanted = (1..).zip(MISFORTUNES);
    let missing = wanted.flat_map(|(number, (what, rings))| rings.iter().map(move |ring| (number, what, *ring)));
    let missing = missing.filter(|(number, _, ring)| !found.contains(&(*number, *ring)));
    let unknown = found.iter().filter(|(number, _)| !(1..=MISFORTUNES.len()).contains(number));
    missing
        .map(|(number, what, ring)| format!("no {ring:?} test m{number:02}_…: {what}"))
        .chain(unknown.map(|(number, _)| format!("m{number:02}_… is not in the list")))
        .collect()
}

#[test]
fn every_misfortune_has_its_tests() {
    let sources: Vec<Source> = ["src", "tests/it"].into_iter().flat_map(Source::all).collect();
    let complaints = complaints(&sources);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_name_alone_a_comment_or_another_ring_is_no_test() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let test = "#[tokio::test(start_paused = true)]\nasync fn m42_twice() {}\n";
    let says = |sources: &[Source]| complaints(sources).iter().any(|line| line.contains("m42_…"));
    assert!(!says(&[source("tests/it/processes.rs", test)]));
    assert!(says(&[source("tests/it/deploy.rs", test)]), "the wrong ring");
    assert!(says(&[source("tests/it/processes.rs", "fn m42_helper() {}")]), "no test at all");
    assert!(says(&[source("tests/it/processes.rs", "// #[test]\n// fn m42_twice() {}")]), "commented out");
    assert_eq!(complaints(&[source("tests/it/a.rs", "#[test]\nfn m43_more() {}")]).last().unwrap(), "m43_… is not in the list");
}
