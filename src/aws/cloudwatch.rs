//! CloudWatch: what load balancers counted, what instances' processors did, and alarms. It knows of a request two or three minutes after it
//! was made, and of nothing that did not happen: a minute without failures has no number of failures, not a zero.

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

/// What was measured of one fleet in one period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Period {
    /// Requests that each of its targets got, on average.
    pub per_target: f64,
    /// Sum of the samples of its instances' CPU, in percent. How many an instance sends in a period is AWS's business; all send alike.
    pub cpu: f64,
    /// How many samples that were.
    pub samples: f64,
}

/// Periods by their beginning, in seconds since 1970.
pub type Periods = BTreeMap<i64, Period>;

/// Seconds of a [`Period`]: with basic monitoring, which launch templates have unless they say otherwise, EC2 tells of five minutes at a time
/// (*Amazon EC2 User Guide*, basic and detailed monitoring).
pub const PERIOD: i64 = 300;

/// What is asked of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// End of its target group's ARN.
    pub target_group: String,
    /// What its visitors got.
    pub traffic: bool,
    /// The Auto Scaling groups whose CPU is asked for; none: no CPU.
    pub groups: Vec<String>,
}

/// What is known of one fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// What its visitors got.
    pub minutes: Minutes,
    /// Its CPU, and the requests that took it.
    pub periods: Periods,
}

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

/// Number of the query about requests per target: after those of [`METRICS`]. CPU, two by two, comes after it.
const PER_TARGET: usize = METRICS.len();

/// Queries one `GetMetricData` takes.
const QUERIES: usize = 500;

/// Names one `DescribeAlarms` takes.
const ALARMS: usize = 100;

impl Cloudwatch {
    /// What is known of fleets behind a listener, in their order. What begins at a multiple of [`PERIOD`] has whole periods.
    pub async fn told(&self, listener: &str, asked: &[Asked], from: Timestamp, to: Timestamp) -> Result<Vec<Told>, Error> {
        // arn:…:listener/app/NAME/ID/LISTENER: CloudWatch names a load balancer and a target group as the ends of their ARNs.
        let load_balancer = listener.split_once(":listener/").and_then(|(_, end)| end.rsplit_once('/')).map(|(name, _)| name);
        let queries = queries(load_balancer.unwrap_or_default(), asked);
        let mut found = vec![Told::default(); asked.len()];
        for results in gather(queries.chunks(QUERIES).map(|batch| self.metric_data(batch, from, to))).await {
            results?.iter().for_each(|result| enter(result, &mut found));
        }
        Ok(found)
    }

    async fn metric_data(&self, queries: &[MetricDataQuery], from: Timestamp, to: Timestamp) -> Result<Vec<MetricDataResult>, Error> {
        const ACTION: &str = "GetMetricData";
        let results = pages(|token| async move {
            let call = || {
                let request = self.client().get_metric_data().set_metric_data_queries(Some(queries.to_vec()));
                let request = request.start_time(DateTime::from_secs(from.as_second())).end_time(DateTime::from_secs(to.as_second()));
                request.set_next_token(token.clone()).send()
            };
            let page = self.link.call(ACTION, Repeat::Safe, call).await?;
            Ok((page.metric_data_results.unwrap_or_default(), page.next_token))
        });
        let results = results.await?;
        let refused = |result: &MetricDataResult| matches!(result.status_code, Some(StatusCode::InternalError | StatusCode::Forbidden));
        match results.iter().any(refused) {
            true => Err(Error::new(ACTION, ErrorKind::Other, "", "CloudWatch could not look everything up")),
            false => Ok(results),
        }
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

/// One query per number that is wanted: `q1_2` is the third of the second fleet.
fn queries(load_balancer: &str, asked: &[Asked]) -> Vec<MetricDataQuery> {
    let of_fleet = |(at, fleet): (usize, &Asked)| {
        let target_group = [("TargetGroup", fleet.target_group.as_str()), ("LoadBalancer", load_balancer)];
        let query = |number: usize, metric: types::Metric, period: i64, stat: &str| {
            let stat = MetricStat::builder().metric(metric).period(i32::try_from(period).unwrap_or(i32::MAX)).stat(stat).build();
            MetricDataQuery::builder().id(format!("q{at}_{number}")).metric_stat(stat).build()
        };
        let counted = |name: &str| metric("AWS/ApplicationELB", name, &target_group);
        let mut queries = Vec::new();
        if fleet.traffic {
            queries.extend(METRICS.iter().enumerate().map(|(number, (name, stat))| query(number, counted(name), 60, stat)));
        }
        if !fleet.groups.is_empty() {
            // Its Sum is an average over the targets already; no other statistic of it means anything.
            queries.push(query(PER_TARGET, counted("RequestCountPerTarget"), PERIOD, "Sum"));
        }
        for (nth, group) in fleet.groups.iter().enumerate() {
            let cpu = || metric("AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", group.as_str())]);
            let number = PER_TARGET + 1 + 2 * nth;
            queries.extend([query(number, cpu(), PERIOD, "Sum"), query(number + 1, cpu(), PERIOD, "SampleCount")]);
        }
        queries
    };
    asked.iter().enumerate().flat_map(of_fleet).collect()
}

fn metric(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> types::Metric {
    let dimensions = dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(*value).build()).collect();
    types::Metric::builder().namespace(namespace).metric_name(name).set_dimensions(Some(dimensions)).build()
}

/// Enters one query's numbers.
fn enter(result: &MetricDataResult, found: &mut [Told]) {
    let place = result.id().and_then(|id| id.strip_prefix('q')?.split_once('_'));
    let Some((at, number)) = place.and_then(|(at, number)| Some((at.parse::<usize>().ok()?, number.parse::<usize>().ok()?))) else {
        return;
    };
    let Some(Told { minutes, periods }) = found.get_mut(at) else { return };
    for (time, value) in result.timestamps().iter().zip(result.values()) {
        if number < PER_TARGET {
            let minute = minutes.entry(time.secs()).or_default();
            match number {
                0 => minute.requests += value,
                1 | 2 => minute.failed += value,
                _ => minute.ninth = Some(*value),
            }
            continue;
        }
        let period = periods.entry(time.secs()).or_default();
        match (number - PER_TARGET) % 2 {
            _ if number == PER_TARGET => period.per_target += value,
            1 => period.cpu += value,
            _ => period.samples += value,
        }
    }
}
