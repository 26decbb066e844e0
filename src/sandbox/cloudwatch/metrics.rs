//! `GetMetricData`, from the load balancers' own counters and the machines' processor time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, cpu};
use crate::sandbox::elbv2::{Tally, tallies};
use crate::sandbox::engine::Call;
use crate::sandbox::wire::{AwsError, Params};

pub(super) fn get(call: &mut Call<'_>) -> Answer {
    let (from, to) = (moment(call.params, "StartTime")?, moment(call.params, "EndTime")?);
    if from >= to {
        return Err(AwsError::bad("ValidationError", "The parameter StartTime must be less than the parameter EndTime."));
    }
    let queries = call.params.list("MetricDataQueries");
    if queries.is_empty() || queries.len() > 500 {
        return Err(AwsError::bad("ValidationError", "MetricDataQueries must hold 1 to 500 queries"));
    }
    let results = queries.into_iter().map(|query| result(call, query, from, to)).collect::<Result<Vec<Value>, AwsError>>()?;
    Ok(json!({ "MetricDataResults": results, "Messages": [] }))
}

/// A point in time as a number or as ISO 8601, in seconds.
fn moment(params: &Params, name: &str) -> Result<i64, AwsError> {
    let text = params.required(name)?;
    let number = text.parse::<f64>().ok().map(|seconds| seconds as i64);
    let parsed = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    number.or_else(parsed).ok_or_else(|| AwsError::bad("ValidationError", format!("{name} is no point in time: {text}")))
}

fn result(call: &Call<'_>, query: &Params, from: i64, to: i64) -> Result<Value, AwsError> {
    let id = query.required("Id")?;
    query.only("a query", &["Id", "MetricStat", "ReturnData", "Label"])?;
    let stat = query.child("MetricStat");
    let period = stat.number("Period")?.filter(|period| *period > 0 && period % 60 == 0);
    let period = period.ok_or_else(|| AwsError::bad("ValidationError", "Period must be a multiple of 60"))?;
    let (metric, wanted) = (stat.child("Metric"), stat.required("Stat")?);
    let name = metric.required("MetricName")?;
    let from = from - from.rem_euclid(60);
    let mut buckets: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    if metric.required("Namespace")? == "AWS/ApplicationELB" {
        let late = call.latencies.metrics_every + call.latencies.metrics_late;
        let known = call.wall.as_second() - i64::try_from(late.as_secs()).unwrap_or_default();
        for (at, tally) in tallies(call.state, &dimensions(metric)) {
            let start = at - at.rem_euclid(period);
            if at <= known && (from..to).contains(&start) {
                buckets.entry(start).or_default().extend(samples(&tally, name));
            }
        }
    }
    if (metric.required("Namespace")?, name) == ("AWS/EC2", "CPUUtilization") {
        let late = call.latencies.cpu_every + call.latencies.metrics_late;
        let known = call.wall.as_second() - i64::try_from(late.as_secs()).unwrap_or_default();
        let group = dimensions(metric).remove("AutoScalingGroupName").unwrap_or_default();
        for (at, found) in cpu::samples(call.state, &group) {
            let start = at - at.rem_euclid(period);
            if at <= known && (from..to).contains(&start) {
                buckets.entry(start).or_default().extend(found);
            }
        }
    }
    let mut points = Vec::new();
    for (at, samples) in buckets.into_iter().rev().filter(|(_, samples)| !samples.is_empty()) {
        points.push((at, aggregate(samples, wanted)?));
    }
    let (times, values): (Vec<f64>, Vec<f64>) = points.into_iter().map(|(at, value)| (at as f64, value)).unzip();
    Ok(json!({ "Id": id, "Label": name, "Timestamps": times, "Values": values, "StatusCode": "Complete" }))
}

fn dimensions(metric: &Params) -> BTreeMap<String, String> {
    let pair = |one: &&Params| Some((one.get("Name")?.to_string(), one.get("Value")?.to_string()));
    metric.list("Dimensions").iter().filter_map(pair).collect()
}

/// What was reported in one interval; nothing where nothing happened, as ELB reports no zeros.
fn samples(tally: &Tally, metric: &str) -> Vec<f64> {
    let class = |number: usize| tally.classes.get(number).copied().unwrap_or_default();
    let count = match metric {
        "TargetResponseTime" => return tally.times.clone(),
        "RequestCount" => tally.requests,
        "RequestCountPerTarget" => return (tally.targets > 0).then(|| tally.requests as f64 / tally.targets as f64).into_iter().collect(),
        "TargetConnectionErrorCount" => tally.errors,
        "HTTPCode_Target_2XX_Count" => class(1),
        "HTTPCode_Target_3XX_Count" => class(2),
        "HTTPCode_Target_4XX_Count" => class(3),
        "HTTPCode_Target_5XX_Count" => class(4),
        _ => 0,
    };
    (count > 0).then_some(count as f64).into_iter().collect()
}

fn aggregate(mut samples: Vec<f64>, stat: &str) -> Result<f64, AwsError> {
    samples.sort_by(f64::total_cmp);
    let sum: f64 = samples.iter().sum();
    let (first, last) = (samples.first().copied().unwrap_or_default(), samples.last().copied().unwrap_or_default());
    let share = stat.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
    match (stat, share) {
        ("Sum", _) => Ok(sum),
        ("Average", _) => Ok(sum / samples.len() as f64),
        ("SampleCount", _) => Ok(samples.len() as f64),
        ("Minimum", _) => Ok(first),
        ("Maximum", _) => Ok(last),
        (_, Some(percent)) => {
            let at = (samples.len() as f64 * percent / 100.0).ceil() as usize;
            Ok(samples.get(at.saturating_sub(1)).copied().unwrap_or(last))
        }
        _ => Err(AwsError::unsupported(format!("the statistic {stat}"))),
    }
}
