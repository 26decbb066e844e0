//! Alarms: names with a state. Nothing evaluates them; somebody sets them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Answer;
use crate::sandbox::engine::Call;
use crate::sandbox::wire::AwsError;

/// State of CloudWatch in one account and Region.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Cloudwatch {
    alarms: BTreeMap<String, Alarm>,
    pub(super) cpu: super::cpu::Cpu,
}

#[derive(Debug, Clone)]
struct Alarm {
    state: String,
    reason: String,
    /// Seconds since 1970.
    since: f64,
}

pub(super) fn put(call: &mut Call<'_>) -> Answer {
    let name = call.params.required("AlarmName")?.to_string();
    let reason = "Unchecked: Initial alarm creation".to_string();
    let new = Alarm { state: "INSUFFICIENT_DATA".into(), reason, since: call.wall.as_second() as f64 };
    call.state.cloudwatch.alarms.entry(name).or_insert(new);
    Ok(json!({}))
}

pub(super) fn set(call: &mut Call<'_>) -> Answer {
    let (name, state) = (call.params.required("AlarmName")?, call.params.required("StateValue")?);
    if !["OK", "ALARM", "INSUFFICIENT_DATA"].contains(&state) {
        return Err(AwsError::bad("ValidationError", format!("{state} is not a state of an alarm")));
    }
    let reason = call.params.required("StateReason")?.to_string();
    let since = call.wall.as_second() as f64;
    let alarm = call.state.cloudwatch.alarms.get_mut(name);
    let alarm = alarm.ok_or_else(|| AwsError::with_status(404, "ResourceNotFound", format!("there is no alarm {name}")))?;
    *alarm = Alarm { state: state.to_string(), reason, since: if alarm.state == state { alarm.since } else { since } };
    Ok(json!({}))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let wanted = call.params.texts("AlarmNames");
    let (prefix, state) = (call.params.get("AlarmNamePrefix").unwrap_or_default(), call.params.get("StateValue"));
    let alarms = call.state.cloudwatch.alarms.iter();
    let shown = alarms
        .filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()))
        .filter(|(name, alarm)| name.starts_with(prefix) && state.is_none_or(|state| alarm.state == state));
    let shown = shown.map(|(name, alarm)| {
        json!({
            "AlarmName": name, "StateValue": alarm.state, "StateReason": alarm.reason,
            "StateUpdatedTimestamp": alarm.since, "StateTransitionedTimestamp": alarm.since,
        })
    });
    Ok(json!({ "MetricAlarms": shown.collect::<Vec<Value>>(), "CompositeAlarms": [] }))
}
