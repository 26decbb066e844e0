//! `scaling` of `[env.NAME.services.NAME]`: what its groups follow by themselves.

use super::kind;
use super::problem::Problem;
use super::section::{Section, Spot};
use super::service::Base;
use crate::model::Scaling;

/// Reads it, if it is there. The outer `None`: something is wrong with it.
pub(super) fn read(
    service: &Section<'_>,
    base: Option<&Base>,
    instances: Option<&Spot<u32>>,
    max: Option<&Spot<u32>>,
) -> Option<Option<Scaling>> {
    let Some(written) = service.entry("scaling") else { return Some(None) };
    let section = service.table("scaling");
    let cpu = section.want("target-cpu", kind::number::<u32>(1..=100));
    let requests = section.want("target-requests-per-instance", kind::number::<u32>(1..=10_000_000));
    let least = instances.map_or(1, |instances| instances.value).to_string();
    let min = section.or("min", &least, kind::number::<u32>(1..=500));
    let warmup = section.or("warmup", "5m", kind::span(0..=3_600));
    let (has_cpu, asked) = (section.entry("target-cpu").is_some(), section.entry("target-requests-per-instance"));
    if let (Some(asked), Some(base)) = (asked, base.filter(|base| !base.has_port)) {
        let what = format!("a worker gets no requests {}", section.place());
        let problem = Problem::new("conflict", what, asked.key_span.clone(), format!("but {} has no port", base.key));
        section.note(problem.help("remove it, and let the worker follow `target-cpu`"));
    }
    if !has_cpu && asked.is_none() {
        let what = format!("nothing to follow {}", section.place());
        let problem = Problem::new("missing-key", what, written.key_span.clone(), "needs `target-cpu` or `target-requests-per-instance`");
        section.note(problem.help("add `target-cpu = 60`, or remove `scaling`: then sizes change only when somebody changes them"));
    }
    if let (Some(min), Some(instances)) = (&min, instances)
        && min.value > instances.value
    {
        let what = format!("`min` is too big {}", section.place());
        let problem = Problem::new("impossible-size", what, min.span.clone(), "at least");
        section.note(problem.context(instances.span.clone(), "but a first release starts with this many"));
    }
    if let (Some(min), Some(max)) = (&min, max)
        && min.value >= max.value
    {
        let what = format!("there is no room to scale {}", section.place());
        let problem = Problem::new("impossible-size", what, min.span.clone(), "at least").context(max.span.clone(), "and at most");
        section.note(problem.help("`max-instances` must be more than `scaling.min`"));
    }
    section.finish();
    let whole = (has_cpu || asked.is_some()) && (cpu.is_some() || !has_cpu) && (requests.is_some() || asked.is_none());
    let scaling = Scaling {
        cpu: cpu.map(|cpu| cpu.value),
        requests: requests.map(|requests| requests.value),
        min: min?.value,
        warmup: warmup?.value,
    };
    whole.then_some(Some(scaling))
}
