//! Does a release serve its visitors worse than the one before? Pure: counts in, verdict out.
//!
//! A share of failures counts as higher only if chance does not explain it: if the true share were the highest allowed one, so many failures
//! would be seen less than once in a thousand times. So one failure among few requests is no trouble, and one in twenty among some hundreds
//! is. Few requests are never a reason to call a release well.

use crate::model::Limits;

/// What visitors of one fleet got.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Nine of ten were answered within so many seconds.
    pub ninth: Option<f64>,
}

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// As well as before, by enough requests to say so.
    Well,
    /// Nothing against it, and nothing for it.
    TooLittle,
    /// Worse, and why.
    Worse(Vec<String>),
}

/// Chance explains what it brings about more often than this.
const CHANCE: f64 = 0.001;
/// Fewer failures than this are an accident.
const FEWEST: u64 = 3;
/// Answers that take less than this longer are as quick as before, in seconds.
const NOTICED: f64 = 0.05;

/// The new release's visitors against the old one's.
pub fn served(new: &Traffic, old: &Traffic, limits: &Limits) -> Served {
    let mut worse = Vec::new();
    let allowed = old.share() + f64::from(limits.errors) / 100.0;
    if new.failed >= FEWEST && unlikely(new, allowed) {
        worse.push(format!("{} of {} requests failed ({:.1} %)", new.failed, new.requests, new.share() * 100.0));
        worse.push(format!("before it, {} of {} ({:.1} %)", old.failed, old.requests, old.share() * 100.0));
    }
    let many = |traffic: &Traffic| traffic.requests >= u64::from(limits.requests);
    if let (Some(now), Some(before)) = (new.ninth, old.ninth)
        && many(new)
        && many(old)
        && now > before * (1.0 + f64::from(limits.slower) / 100.0)
        && now - before >= NOTICED
    {
        worse.push(format!("nine of ten answers take up to {now:.3} s; before it, {before:.3} s"));
    }
    match () {
        () if !worse.is_empty() => Served::Worse(worse),
        () if !many(new) => Served::TooLittle,
        () => Served::Well,
    }
}

/// Chernoff's bound on so many failures or more, were the allowed share the true one.
fn unlikely(new: &Traffic, allowed: f64) -> bool {
    let (share, allowed) = (new.share(), allowed.clamp(1e-6, 1.0));
    if share <= allowed {
        return false;
    }
    let part = |share: f64, allowed: f64| if share <= 0.0 { 0.0 } else { share * (share / allowed).ln() };
    let distance = part(share, allowed) + part(1.0 - share, 1.0 - allowed);
    (-(new.requests as f64) * distance).exp() < CHANCE
}

impl Traffic {
    /// Share of the requests that failed.
    fn share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failed.min(self.requests) as f64 / self.requests as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u64, failed: u64) -> Traffic {
        Traffic { requests, failed, ninth: None }
    }

    fn judged(new: Traffic, old: Traffic) -> &'static str {
        match served(&new, &old, &Limits::default()) {
            Served::Well => "well",
            Served::TooLittle => "too little",
            Served::Worse(_) => "worse",
        }
    }

    #[test]
    fn one_in_twenty_is_seen_and_one_failure_is_not() {
        let good = traffic(2_000, 0);
        for (requests, failed, verdict) in [
            (0, 0, "too little"),
            (1, 1, "too little"),
            (30, 1, "too little"),
            (30, 2, "too little"),
            (3, 3, "worse"),
            (99, 0, "too little"),
            (100, 1, "well"),
            (100, 3, "well"),
            (200, 10, "worse"),
            (2_000, 20, "well"),
            (2_000, 24, "well"),
            (2_000, 100, "worse"),
        ] {
            assert_eq!(judged(traffic(requests, failed), good), verdict, "{failed} of {requests}");
        }
    }

    #[test]
    fn what_failed_before_is_no_fault_of_the_new_one() {
        let ill = traffic(2_000, 100);
        assert_eq!(judged(traffic(400, 20), ill), "well");
        assert_eq!(judged(traffic(400, 60), ill), "worse");
        assert_eq!(judged(traffic(400, 20), traffic(0, 0)), "worse", "there is nothing to compare with, and it fails");
    }

    #[test]
    fn slower_is_told_from_a_little_slower() {
        let took = |requests, ninth| Traffic { requests, failed: 0, ninth: Some(ninth) };
        assert_eq!(judged(took(500, 0.350), took(500, 0.120)), "worse");
        assert_eq!(judged(took(500, 0.200), took(500, 0.120)), "well");
        assert_eq!(judged(took(500, 0.009), took(500, 0.003)), "well", "nobody notices milliseconds");
        assert_eq!(judged(took(20, 0.900), took(500, 0.120)), "too little");
    }

    #[test]
    fn the_evidence_has_the_numbers() {
        let Served::Worse(lines) = served(&traffic(240, 12), &traffic(2_160, 1), &Limits::default()) else { panic!() };
        assert_eq!(lines, ["12 of 240 requests failed (5.0 %)", "before it, 1 of 2160 (0.0 %)"]);
    }
}
