//! Does a release need more CPU for the same traffic than the one before? Pure: what was measured in, an answer out.
//!
//! Compared is what one instance uses, since that is what runs out: how many vCPUs its type is said to have tells little of what they can do.
//! What needs more is worth knowing and no failure: visitors are served, and whether there is room for it is for people to say. A worker
//! has no requests that could be counted, so nothing is said of it.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::metrics::LAG;
use crate::aws::{PERIOD, Periods};
use crate::model::FleetKey;

/// Means over some time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Utilization {
    /// Percent of an instance's CPU.
    pub cpu: f64,
    /// Requests a minute that an instance got.
    pub requests: f64,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Need {
    /// One of the two is not known yet, or had next to no requests.
    Unknown,
    /// Their instances got too different a number of requests to compare what these took.
    Incomparable,
    /// About as much, or less.
    AsMuch,
    /// So many times as much for the same traffic.
    More(f64),
}

/// A fleet against the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The fleet.
    pub fleet: FleetKey,
    /// The fleet before it.
    pub against: FleetKey,
    /// What it uses, if that is known.
    pub new: Option<Utilization>,
    /// What the fleet before it used.
    pub old: Option<Utilization>,
}

/// Fewer requests a minute than this explain no CPU.
const FEWEST: f64 = 1.0;
/// As different as this the traffic may be for CPU per request to be the same thing as CPU at the same traffic: what an instance uses
/// without any request, which no number of requests explains, makes a difference of [`NOTICED`] then only if it is ten percent or more.
const ALIKE: f64 = 2.0;
/// So many times as much is more: over five minutes and some instances, the same release differs from itself by less.
const MORE: f64 = 1.25;
/// And so many percentage points: four percent instead of two brings nobody down.
const NOTICED: f64 = 5.0;
/// Less CPU than this is what an instance uses without doing anything: what is twice as much as nothing is not said.
const IDLE: f64 = 1.0;

impl Utilization {
    /// The mean of the periods that begin then and have a number; none if none have. A period counts by its samples, so one in which a fleet
    /// was there only at the end counts for as little in requests as in CPU.
    pub fn over(periods: &Periods, when: &RangeInclusive<i64>) -> Option<Self> {
        let (mut cpu, mut requests, mut samples) = (0.0, 0.0, 0.0);
        for (_, period) in periods.iter().filter(|(at, _)| when.contains(at)) {
            (cpu, samples) = (cpu + period.cpu, samples + period.samples);
            requests += period.per_target * period.samples;
        }
        (samples > 0.0).then(|| Self { cpu: cpu / samples, requests: requests / samples * 60.0 / PERIOD as f64 })
    }
}

/// Periods of so many seconds before a moment that were over by then. One more is left out: an instance's five minutes begin when they like,
/// and what is entered under a period may have been measured in part in the next.
pub fn before(moment: i64, span: i64) -> RangeInclusive<i64> {
    moment - span..=moment - 2 * PERIOD
}

/// Periods that began after a moment and of which everything is known by now.
pub fn since(moment: i64, now: i64) -> RangeInclusive<i64> {
    moment..=now - PERIOD - LAG.as_secs() as i64
}

impl Compared {
    /// What can be said. More requests explain more CPU in proportion; fewer explain less only while the traffic is alike.
    pub fn need(&self) -> Need {
        let busy = |one: Option<Utilization>| one.filter(|one| one.requests >= FEWEST);
        let (Some(new), Some(old)) = (busy(self.new), busy(self.old)) else { return Need::Unknown };
        let ratio = new.requests / old.requests;
        let alike = (1.0 / ALIKE..=ALIKE).contains(&ratio);
        let fair = (old.cpu * if alike { ratio } else { ratio.max(1.0) }).max(IDLE);
        match () {
            () if new.cpu >= fair * MORE && new.cpu - fair >= NOTICED => Need::More(new.cpu / fair),
            () if alike => Need::AsMuch,
            () => Need::Incomparable,
        }
    }

    /// The numbers, if both are known, and what they say.
    pub fn said(&self) -> Option<String> {
        let (new, old) = (self.new?, self.old?);
        let numbers = format!(
            "{} uses {:.0} % CPU per instance at {:.0} requests a minute; {} used {:.0} % at {:.0}",
            self.fleet, new.cpu, new.requests, self.against, old.cpu, old.requests
        );
        Some(match self.need() {
            Need::More(times) if new.requests * ALIKE < old.requests => format!("{numbers}: {times:.1} times as much for fewer requests"),
            Need::More(times) => format!("{numbers}: {times:.1} times as much for the same traffic"),
            Need::Incomparable => format!("{numbers}: too different to compare"),
            Need::AsMuch | Need::Unknown => numbers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Period;
    use crate::model::ReleaseNumber;

    fn compared(new: (f64, f64), old: (f64, f64)) -> Compared {
        let used = |(cpu, requests)| Some(Utilization { cpu, requests });
        let web = |number| FleetKey { service: "web".parse().unwrap(), release: ReleaseNumber(number) };
        Compared { fleet: web(43), against: web(42), new: used(new), old: used(old) }
    }

    fn judged(new: (f64, f64), old: (f64, f64)) -> &'static str {
        match compared(new, old).need() {
            Need::Unknown => "unknown",
            Need::Incomparable => "incomparable",
            Need::AsMuch => "as much",
            Need::More(_) => "more",
        }
    }

    #[test]
    fn what_needs_more_is_told_from_what_has_more_to_do() {
        for (new, old, verdict) in [
            // Percent of the CPU, requests a minute.
            ((62.0, 120.0), (20.0, 118.0), "more"),
            ((20.0, 120.0), (20.0, 118.0), "as much"),
            ((24.0, 120.0), (20.0, 120.0), "as much"),
            ((26.0, 120.0), (20.0, 120.0), "more"),
            ((10.0, 120.0), (20.0, 120.0), "as much"),
            // Nobody runs out of a few percent.
            ((4.0, 120.0), (1.0, 120.0), "as much"),
            ((4.9, 120.0), (0.0, 120.0), "as much"),
            ((9.0, 120.0), (0.0, 120.0), "more"),
            // Twice the requests explain twice the CPU, and not more.
            ((40.0, 200.0), (20.0, 100.0), "as much"),
            ((60.0, 200.0), (20.0, 100.0), "more"),
            ((20.0, 50.0), (20.0, 100.0), "more"),
            ((8.0, 50.0), (7.0, 100.0), "as much"),
            // So do five times as many; but what they leave unexplained of a lower CPU is not known.
            ((90.0, 500.0), (20.0, 100.0), "incomparable"),
            ((90.0, 500.0), (10.0, 100.0), "more"),
            // A first shift: what uses as much for a tenth may do so without any request, what uses three times as much does not.
            ((20.0, 10.0), (20.0, 100.0), "incomparable"),
            ((60.0, 10.0), (20.0, 100.0), "more"),
            // No requests, no answer.
            ((60.0, 0.0), (20.0, 100.0), "unknown"),
            ((60.0, 100.0), (20.0, 0.5), "unknown"),
        ] {
            assert_eq!(judged(new, old), verdict, "{new:?} after {old:?}");
        }
        let unknown = Compared { old: None, ..compared((60.0, 100.0), (0.0, 0.0)) };
        assert_eq!((unknown.need(), unknown.said()), (Need::Unknown, None));
    }

    #[test]
    fn the_numbers_are_said() {
        let said = |new, old| compared(new, old).said().unwrap();
        assert_eq!(
            said((62.0, 120.0), (20.0, 118.0)),
            "web-r43 uses 62 % CPU per instance at 120 requests a minute; web-r42 used 20 % at 118: 3.0 times as much for the same traffic"
        );
        assert!(said((60.0, 10.0), (20.0, 118.0)).ends_with("20 % at 118: 3.0 times as much for fewer requests"));
        assert!(said((20.0, 10.0), (20.0, 118.0)).ends_with("20 % at 118: too different to compare"));
        assert!(said((21.0, 120.0), (20.0, 118.0)).ends_with("web-r42 used 20 % at 118"));
    }

    #[test]
    fn only_periods_of_which_all_is_known_count_and_only_on_their_side_of_the_cutover() {
        let periods = |cpu: f64| Period { per_target: 600.0, cpu: cpu * 10.0, samples: 10.0 };
        // Two instances, five samples each; without requests CloudWatch knows of CPU only, and without CPU of nothing that counts.
        let mut all: Periods = (0..6).map(|nth| (nth * PERIOD, periods(10.0 * nth as f64))).collect();
        all.insert(6 * PERIOD, Period { per_target: 600.0, ..Period::default() });
        let over = |when| Utilization::over(&all, &when);
        let cutover = 3 * PERIOD + 60;
        let old = Some(Utilization { cpu: 5.0, requests: 120.0 });
        assert_eq!(over(before(cutover, 3_600)), old, "the first two; the third may reach over it");
        assert_eq!(over(before(cutover, 2 * PERIOD + 60)), Some(Utilization { cpu: 10.0, requests: 120.0 }));
        assert_eq!(over(since(cutover, 5 * PERIOD)), None, "the fifth is under way");
        assert_eq!(over(since(cutover, 5 * PERIOD + 179)), None, "CloudWatch may not know all of it yet");
        assert_eq!(over(since(cutover, 5 * PERIOD + 180)), Some(Utilization { cpu: 40.0, requests: 120.0 }));
        assert_eq!(over(since(cutover, 9 * PERIOD)), Some(Utilization { cpu: 45.0, requests: 120.0 }));
    }

    #[test]
    fn a_period_in_which_a_fleet_hardly_was_hardly_counts() {
        let whole = Period { per_target: 600.0, cpu: 190.0, samples: 19.0 };
        let young = Period { per_target: 0.0, cpu: 90.0, samples: 1.0 };
        let over = Utilization::over(&Periods::from([(0, young), (PERIOD, whole)]), &(0..=PERIOD));
        assert_eq!(over, Some(Utilization { cpu: 14.0, requests: 114.0 }));
    }
}
