//! What a person who rehearses makes happen: spot runs short, or is taken back. What these answer is what `adstage sandbox` shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::ec2::{self, Shortage};
use super::engine::{Engine, Place, State};

/// `key=value&key=value`; every value is a plain word.
fn words(query: Option<&str>) -> BTreeMap<&str, &str> {
    query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect()
}

fn places(engine: &Engine) -> Vec<Place> {
    engine.state().keys().cloned().collect()
}

/// `?market=spot&type=m7i.large&left=0&seconds=600`: so much of it is left in every account and Region, and none less if `left` is not said.
/// All shortages there are then; null if there is no such type.
pub(super) fn shortage(engine: &Arc<Engine>, query: Option<&str>) -> Value {
    let words = words(query);
    let number = |name: &str| words.get(name).and_then(|text| text.parse::<u32>().ok());
    let kind = words.get("type").copied();
    if kind.is_some_and(|kind| !ec2::is_instance_type(kind)) {
        return Value::Null;
    }
    let (spot, span) = (words.get("market") == Some(&"spot"), number("seconds").map(|seconds| Duration::from_secs(seconds.into())));
    for place in places(engine) {
        engine.scarce(&place, spot, kind, number("left"), span);
    }
    shortages(engine)
}

/// Everything that is scarce.
pub(super) fn shortages(engine: &Engine) -> Value {
    let now = engine.now();
    let shown = |(place, shortage): (&Place, Shortage)| {
        json!({
            "market": if shortage.spot { "spot" } else { "on-demand" }, "type": shortage.kind, "left": shortage.left,
            "ends_in_seconds": shortage.ends_in.map(|span| span.as_secs()), "account": place.account, "region": place.region,
        })
    };
    let places = engine.state();
    let all = places.values().flat_map(|state| ec2::shortages(state, now).into_iter().map(|shortage| (&state.place, shortage)));
    all.map(shown).collect()
}

/// `?environment=production&service=web&percent=30&release=r1`: so many percent (rounded up) of the spot instances that run get notice.
pub(super) fn reclaim(engine: &Arc<Engine>, query: Option<&str>) -> Value {
    let words = words(query);
    let percent = words.get("percent").and_then(|text| text.parse::<usize>().ok()).unwrap_or(100).min(100);
    let wanted = |state: &State, id: &str| {
        let tags = state.ec2.tags_of(id);
        let is = |key: &str, value: Option<&&str>| value.is_none_or(|value| tags.get(key).is_some_and(|own| own == value));
        let serves = words.get("service").is_none_or(|service| {
            tags.get("adstage:services").is_some_and(|services| services.split_whitespace().any(|own| own == *service))
        });
        is("adstage:env", words.get("environment")) && is("adstage:release", words.get("release")) && serves
    };
    let (mut of, mut free) = (0, Vec::new());
    for state in engine.state().values() {
        for id in ec2::running_spot(state).into_iter().filter(|id| wanted(state, id)) {
            of += 1;
            // Nobody gets notice twice.
            free.extend((!ec2::has_notice(state, &id)).then(|| (state.place.clone(), id)));
        }
    }
    let count = (of * percent).div_ceil(100);
    let taken: Vec<&String> = free.iter().filter(|(place, id)| engine.reclaim(place, id)).take(count).map(|(_, id)| id).collect();
    json!({ "reclaimed": taken, "of": of, "seconds": engine.notice().as_secs() })
}
