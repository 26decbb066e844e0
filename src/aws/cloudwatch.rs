//! CloudWatch: what load balancers counted, minute by minute, and alarms. It knows of a request two or three minutes after it was made, and
//! of nothing that did not happen: a minute without failures has no number of failures, not a zero.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{self, AlarmType, Dimension, MetricDataQuery, MetricDataResult, MetricStat, StateValue, StatusCode};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::clients::{pages, service};
use super::gather::gather;
use super::retry::Repeat;
use super::{Error, ErrorKind};

service! {
    /// CloudWatch.
    Cloudwatch, aws_sdk_cloudwatch
}

/// What a load balancer counted of one target group in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Minute {
    /// Requests sent to its targets.
    pub requests: f64,
    /// Those answered with a 5xx status, and those no target took.
    pub failed: f64,
    /// Nine of ten were answered within so many seconds.
    pub ninth: Option<f64>,
}

/// Minutes by their beginning, in seconds since 1970.
pub type Minutes = BTreeMap<i64, Minute>;

/// An alarm as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmInfo {
    /// Name.
    pub name: String,
    /// It has gone off.
    pub on: bool,
    /// Why it is in its state, as CloudWatch says.
    pub reason: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// Metrics of `AWS/ApplicationELB`, and what is asked of each.
const METRICS: [(&str, &str); 4] =
    [("RequestCount", "Sum"), ("HTTPCode_Target_5XX_Count", "Sum"), ("TargetConnectionErrorCount", "Sum"), ("TargetResponseTime", "p90")];

/// Names one `DescribeAlarms` takes.
const ALARMS: usize = 100;

impl Cloudwatch {
    /// What was counted of target groups, in their order. A load balancer and its target groups are named as the ends of their ARNs.
    pub async fn traffic(&self, load_balancer: &str, groups: &[String], from: Timestamp, to: Timestamp) -> Result<Vec<Minutes>, Error> {
        const ACTION: &str = "GetMetricData";
        let queries = queries(load_balancer, groups);
        let results = pages(|token| {
            let queries = queries.clone();
            async move {
                let call = || {
                    let request = self.client().get_metric_data().set_metric_data_queries(Some(queries.clone()));
                    let request = request.start_time(DateTime::from_secs(from.as_second())).end_time(DateTime::from_secs(to.as_second()));
                    request.set_next_token(token.clone()).send()
                };
                let page = self.link.call(ACTION, Repeat::Safe, call).await?;
                Ok((page.metric_data_results.unwrap_or_default(), page.next_token))
            }
        });
        let mut found = vec![Minutes::new(); groups.len()];
        for result in results.await? {
            if matches!(result.status_code, Some(StatusCode::InternalError | StatusCode::Forbidden)) {
                return Err(Error::new(ACTION, ErrorKind::Other, "", "CloudWatch could not look everything up"));
            }
            enter(&result, &mut found);
        }
        Ok(found)
    }

    /// The alarms of these names that exist.
    pub async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmInfo>, Error> {
        let batches = gather(names.chunks(ALARMS).map(|batch| self.alarms_named(batch))).await;
        Ok(batches.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    async fn alarms_named(&self, names: &[String]) -> Result<Vec<AlarmInfo>, Error> {
        pages(|token| async move {
            let call = || {
                let request = self.client().describe_alarms().set_alarm_names(Some(names.to_vec()));
                let request = request.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
                request.set_next_token(token.clone()).send()
            };
            let page = self.link.call("DescribeAlarms", Repeat::Safe, call).await?;
            let metric = page.metric_alarms.unwrap_or_default().into_iter().filter_map(|alarm| {
                let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
                alarm_info(alarm.alarm_name, alarm.state_value, alarm.state_reason, since)
            });
            let composite = page.composite_alarms.unwrap_or_default().into_iter().filter_map(|alarm| {
                let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
                alarm_info(alarm.alarm_name, alarm.state_value, alarm.state_reason, since)
            });
            Ok((metric.chain(composite).collect(), page.next_token))
        })
        .await
    }
}

fn alarm_info(name: Option<String>, state: Option<StateValue>, reason: Option<String>, since: Option<DateTime>) -> Option<AlarmInfo> {
    let since = since.and_then(|since| Timestamp::from_second(since.secs()).ok());
    Some(AlarmInfo { name: name?, on: state == Some(StateValue::Alarm), reason: reason.unwrap_or_default(), since })
}

/// One query per target group and metric: `q1_2` is the third metric of the second group.
fn queries(load_balancer: &str, groups: &[String]) -> Vec<MetricDataQuery> {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let query = |at: usize, group: &str, number: usize, metric: &str, stat: &str| {
        let metric = types::Metric::builder().namespace("AWS/ApplicationELB").metric_name(metric);
        let metric = metric.dimensions(dimension("TargetGroup", group)).dimensions(dimension("LoadBalancer", load_balancer)).build();
        let stat = MetricStat::builder().metric(metric).period(60).stat(stat).build();
        MetricDataQuery::builder().id(format!("q{at}_{number}")).metric_stat(stat).build()
    };
    let of_group = |(at, group): (usize, &String)| {
        let metrics = METRICS.iter().enumerate();
        metrics.map(|(number, (metric, stat))| query(at, group, number, metric, stat)).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(of_group).collect()
}

/// Enters one query's numbers.
fn enter(result: &MetricDataResult, found: &mut [Minutes]) {
    let place = result.id().and_then(|id| id.strip_prefix('q')?.split_once('_'));
    let Some((at, number)) = place.and_then(|(at, number)| Some((at.parse::<usize>().ok()?, number.parse::<usize>().ok()?))) else {
        return;
    };
    let Some(minutes) = found.get_mut(at) else { return };
    for (time, value) in result.timestamps().iter().zip(result.values()) {
        let minute = minutes.entry(time.secs()).or_default();
        match number {
            0 => minute.requests += value,
            1 | 2 => minute.failed += value,
            _ => minute.ninth = Some(*value),
        }
    }
}
