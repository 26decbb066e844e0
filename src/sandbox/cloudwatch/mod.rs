//! CloudWatch: what load balancers have counted, after as long as CloudWatch takes to know it, and alarms, which only ever change when
//! somebody sets them. Every client speaks another protocol here; all of them are answered ([`dress`]).

mod alarms;
mod cpu;
mod dress;
mod metrics;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::engine::Call;
use super::wire::AwsError;

pub(super) use alarms::Cloudwatch;
pub(super) use cpu::{mean_cpu, tick};
pub(super) use dress::{Dress, render, render_error, undressed};

/// An answer: an object of the answer's fields.
pub(super) type Answer = Result<Value, AwsError>;

type Handler = fn(&mut Call<'_>) -> Answer;

/// Every action: its name, the parameters it takes, its handler.
#[rustfmt::skip]
const ACTIONS: [(&str, &[&str], Handler); 4] = [
    ("GetMetricData", &["MetricDataQueries", "StartTime", "EndTime", "NextToken", "ScanBy", "MaxDatapoints"], metrics::get),
    ("DescribeAlarms", &["AlarmNames", "AlarmTypes", "AlarmNamePrefix", "StateValue", "NextToken", "MaxRecords"], alarms::describe),
    ("PutMetricAlarm", &[
        "AlarmName", "MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic", "Period", "EvaluationPeriods", "Threshold",
        "ComparisonOperator", "AlarmDescription", "TreatMissingData", "DatapointsToAlarm",
    ], alarms::put),
    ("SetAlarmState", &["AlarmName", "StateValue", "StateReason"], alarms::set),
];

/// Dispatch.
pub(super) fn call(call: &mut Call<'_>, action: &str) -> Answer {
    let found = ACTIONS.iter().find(|(name, ..)| *name == action);
    let (name, known, handler) = found.ok_or_else(|| AwsError::unsupported(format!("the CloudWatch action {action}")))?;
    let known: Vec<&str> = known.iter().copied().chain(["Action", "Version"]).collect();
    call.params.only(name, &known)?;
    handler(call)
}
