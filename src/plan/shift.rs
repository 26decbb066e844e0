//! Visitors come little by little, if the environment says so: each shift is one write per route, all routes together, and is watched before
//! the next. What goes wrong before the last is undone like anything else before the cutover; that is what shifts are for. Going back is
//! always one write.

use crate::model::{OperationRecord, ReleaseNumber, Seconds};

use super::deploy::{SPREAD, rules};
use super::draft::Draft;
use super::situation::{Situation, Standing, said};
use super::{Judging, StageName, Step};

/// Every shift but the last. A route that nobody can be taken from (a first release) waits for that.
pub(super) fn gradually(situation: &Situation, standings: &[&Standing], number: ReleaseNumber, draft: &mut Draft) {
    let shifts = situation.environment.timing.watching.shifts.iter();
    for shift in shifts.filter(|shift| shift.percent < 100) {
        let moves: Vec<_> = rules(standings).filter_map(|rule| draft.shift(rule, number, shift.percent)).collect();
        let concerned = |standing: &&&Standing| {
            let rule = standing.rule.as_ref();
            moves.iter().any(|step| matches!(step, Step::CutOverTraffic { rule: moved, .. } if Some(moved) == rule))
        };
        let shifted: Vec<&Standing> = standings.iter().filter(concerned).copied().collect();
        draft.wave(StageName::CutOver, moves);
        draft.wave(StageName::Watch, watches(situation, &shifted, number, shift.percent, shift.watch));
    }
}

/// The watch once everybody has moved.
pub(super) fn last_watch(situation: &Situation, standings: &[&Standing], number: ReleaseNumber) -> Vec<Step> {
    let timing = &situation.environment.timing;
    let wanted = timing.watching.shifts.last().map_or(timing.watch, |shift| shift.watch);
    let retires_live = timing.keep_warm == 0 && standings.iter().any(|standing| standing.live.is_some());
    let span = if retires_live { wanted.max(SPREAD) } else { wanted };
    watches(situation, standings, number, 100, span)
}

/// Alarms are the environment's, not a fleet's: one step looks at them.
fn watches(situation: &Situation, standings: &[&Standing], number: ReleaseNumber, percent: u16, span: Seconds) -> Vec<Step> {
    if span.0 == 0 {
        return Vec::new();
    }
    let watching = &situation.environment.timing.watching;
    let step = |(at, standing): (usize, &&Standing)| {
        let served = standing.live.filter(|live| standing.rule.is_some() && *live != number);
        let judging = Judging {
            against: served.map(|live| standing.key(live)),
            percent,
            limits: watching.limits,
            alarms: if at == 0 { watching.alarms.clone() } else { Vec::new() },
            on_trouble: watching.on_trouble,
        };
        Step::WatchFleet { fleet: standing.key(number), count: standing.size(), span, judging }
    };
    standings.iter().enumerate().map(step).collect()
}

/// What is wrong while visitors are between two releases.
pub(super) fn between(situation: &Situation, operation: &OperationRecord) -> String {
    let routed = || situation.standings.iter().filter(|standing| standing.rule.is_some() && standing.live != operation.release);
    match routed().count() > 0 && routed().all(Standing::split) {
        true => format!("{} was cut short while its visitors were coming little by little", said(operation)),
        false => format!("{} was cut short after it had moved some routes and not others", said(operation)),
    }
}
