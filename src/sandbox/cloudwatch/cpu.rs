//! `AWS/EC2` `CPUUtilization` of groups' instances: the processor time that a machine used in an interval, as a share of what its type has.
//! Real machines' comes from the kernel; a scripted one uses so much per request as its script says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::sandbox::autoscaling;
use crate::sandbox::ec2;
use crate::sandbox::engine::{Context, State};

/// Intervals that are kept, by group.
const INTERVALS: usize = 4_000;

/// What was measured in one account and Region.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Cpu {
    /// Percent by instance, by the beginning of each interval, by group.
    groups: BTreeMap<String, BTreeMap<i64, BTreeMap<String, f64>>>,
    /// Processor time of each machine at the end of the last interval.
    used: BTreeMap<String, Duration>,
    /// Beginning of the interval that is under way.
    began: i64,
}

/// Measures at the end of each interval.
pub(in crate::sandbox) fn tick(state: &mut State, context: Context<'_>) {
    let every = i64::try_from(context.latencies.cpu_every.as_secs()).unwrap_or(60).max(1);
    let interval = context.wall.as_second() - context.wall.as_second().rem_euclid(every);
    let began = std::mem::replace(&mut state.cloudwatch.cpu.began, interval);
    if began == interval {
        return;
    }
    let members = autoscaling::serving(state);
    if members.is_empty() {
        return;
    }
    let used = context.host.worked();
    for (group, id, kind) in members {
        let (Some(now), vcpus) = (used.get(&id), ec2::vcpus(&kind)) else { continue };
        let cpu = &mut state.cloudwatch.cpu;
        // The first look at a machine only says where it starts.
        let Some(before) = cpu.used.get(&id) else { continue };
        let share = now.saturating_sub(*before).as_secs_f64() / (every as f64 * f64::from(vcpus.max(1))) * 100.0;
        let intervals = cpu.groups.entry(group).or_default();
        intervals.entry(began).or_default().insert(id, share.min(100.0));
        if intervals.len() > INTERVALS {
            intervals.pop_first();
        }
    }
    state.cloudwatch.cpu.used = used;
}

/// Samples of a group by interval.
pub(super) fn samples<'s>(state: &'s State, group: &str) -> impl Iterator<Item = (i64, Vec<f64>)> + use<'s> {
    let intervals = state.cloudwatch.cpu.groups.get(group).into_iter().flatten();
    intervals.map(|(at, samples)| (*at, samples.values().copied().collect()))
}

/// Mean of these instances of a group, and how many of them had a number; none if none had.
pub(in crate::sandbox) fn mean_cpu(state: &State, group: &str, instances: &[&str], window: Range<i64>) -> Option<(f64, u32)> {
    let intervals = state.cloudwatch.cpu.groups.get(group)?.range(window);
    let all = intervals.flat_map(|(_, samples)| samples.iter().filter(|(id, _)| instances.contains(&id.as_str())));
    let (ids, shares): (BTreeSet<&String>, Vec<f64>) = all.map(|(id, share)| (id, *share)).unzip();
    let count = u32::try_from(ids.len()).ok().filter(|count| *count > 0)?;
    Some((shares.iter().sum::<f64>() / shares.len() as f64, count))
}
