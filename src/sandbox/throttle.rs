//! Token buckets with the published numbers, per account and Region (*Request throttling for the Amazon EC2 API*, *… for the Elastic Load
//! Balancing API*). Auto Scaling's are unpublished: the docs only say that all its calls share one bucket.

use std::collections::BTreeMap;
use std::time::Duration;

use super::door::{Request, Service, mutating};
use super::faults::throttled;
use super::wire::AwsError;

/// How many tokens fit, and how many come back per second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Size {
    burst: f64,
    per_second: f64,
}

const fn size(burst: f64, per_second: f64) -> Size {
    Size { burst, per_second }
}

/// The buckets of one account and Region.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    /// Tokens left, and when that was.
    levels: BTreeMap<String, (f64, Duration)>,
}

impl Buckets {
    /// Takes what the call costs, or says how the service refuses.
    pub fn take(&mut self, request: &Request, now: Duration) -> Result<(), AwsError> {
        let costs = costs(request);
        // All or nothing: a call refused for one bucket must not empty another.
        let paid = costs.iter().all(|(name, size, cost)| self.level(name, *size, now) >= *cost);
        if !paid {
            return Err(throttled(request.service));
        }
        for (name, size, cost) in costs {
            let left = self.level(&name, size, now) - cost;
            self.levels.insert(name, (left, now));
        }
        Ok(())
    }

    fn level(&self, name: &str, size: Size, now: Duration) -> f64 {
        let refilled = |(left, at): &(f64, Duration)| left + now.saturating_sub(*at).as_secs_f64() * size.per_second;
        self.levels.get(name).map_or(size.burst, refilled).min(size.burst)
    }
}

/// Which buckets a call takes how much from.
fn costs(request: &Request) -> Vec<(String, Size, f64)> {
    let action = request.action.as_str();
    match request.service {
        Service::Ec2 => ec2(request),
        Service::Elbv2 => {
            let (bucket, size) = match action {
                "RegisterTargets" | "DeregisterTargets" => ("elbv2 targets", size(20.0, 4.0)),
                "CreateLoadBalancer" | "SetSubnets" => ("elbv2 load balancers", size(10.0, 0.2)),
                _ if mutating(action) => ("elbv2 changes", size(20.0, 3.0)),
                _ => ("elbv2 reads", size(40.0, 10.0)),
            };
            vec![(bucket.to_string(), size, 1.0)]
        }
        Service::Autoscaling => vec![("autoscaling".to_string(), size(100.0, 10.0), 1.0)],
        Service::Cloudwatch => vec![(format!("cloudwatch {action}"), size(50.0, 50.0), 1.0)],
        Service::Sts | Service::Dynamodb | Service::Ssm | Service::Secretsmanager | Service::Servicequotas => Vec::new(),
    }
}

/// Each EC2 action has a bucket of its own, and those that start or end machines a second one that counts machines.
fn ec2(request: &Request) -> Vec<(String, Size, f64)> {
    let (action, params) = (request.action.as_str(), &request.params);
    let narrowed = !params.list("Filter").is_empty() || params.get("MaxResults").is_some();
    let (name, bucket) = match action {
        "DescribeInstances" | "DescribeInstanceStatus" | "DescribeSecurityGroups" | "DescribeSnapshots" if !narrowed => {
            (format!("{action} of all"), size(50.0, 10.0))
        }
        "RunInstances" | "StartInstances" => (action.to_string(), size(5.0, 2.0)),
        "CopyImage" => (action.to_string(), size(100.0, 1.0)),
        "ModifyImageAttribute" => (action.to_string(), size(100.0, 5.0)),
        "CreateTags" | "DeleteTags" => (action.to_string(), size(100.0, 10.0)),
        "TerminateInstances" | "DeregisterImage" | "DeleteSnapshot" | "CreateLaunchTemplateVersion" => {
            (action.to_string(), size(100.0, 5.0))
        }
        _ if mutating(action) => (action.to_string(), size(50.0, 5.0)),
        _ => (action.to_string(), size(100.0, 20.0)),
    };
    let mut costs = vec![(name, bucket, 1.0)];
    let machines = match action {
        "RunInstances" => Some((params.get("MaxCount").and_then(|count| count.parse().ok()).unwrap_or(1.0), 2.0)),
        "StartInstances" => Some((params.list("InstanceId").len() as f64, 2.0)),
        "StopInstances" | "TerminateInstances" => Some((params.list("InstanceId").len() as f64, 20.0)),
        _ => None,
    };
    costs.extend(machines.map(|(count, per_second)| (format!("machines of {action}"), size(1000.0, per_second), count)));
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str, version: &str, fields: &str) -> Request {
        let body = format!("Version={version}&{fields}");
        let credential =
            format!("AWS4-HMAC-SHA256 Credential=111122223333/20260101/eu-central-1/{service}/aws4_request, SignedHeaders=host");
        let request = http::Request::builder().header("authorization", credential).body(body.into()).unwrap();
        Request::parse(&request).map_err(|(_, error)| error).unwrap()
    }

    /// How many of these calls pass at once, and how many more two seconds later.
    fn passing(request: &Request) -> (usize, usize) {
        let mut buckets = Buckets::default();
        let mut count = |at: u64| (0..2_000).take_while(|_| buckets.take(request, Duration::from_secs(at)).is_ok()).count();
        (count(0), count(2))
    }

    #[test]
    fn published_bursts_and_refills() {
        let ec2 = |fields: &str| request("ec2", "2016-11-15", fields);
        let elb = |fields: &str| request("elasticloadbalancing", "2015-12-01", fields);
        assert_eq!(passing(&ec2("Action=RunInstances&MaxCount=1")), (5, 4));
        assert_eq!(passing(&ec2("Action=RunInstances&MaxCount=400")), (2, 0), "machines are counted too");
        assert_eq!(passing(&ec2("Action=DescribeInstances")), (50, 20));
        assert_eq!(passing(&ec2("Action=DescribeInstances&MaxResults=100")), (100, 40));
        assert_eq!(passing(&elb("Action=ModifyRule")), (20, 6));
        assert_eq!(passing(&elb("Action=DescribeTargetHealth")), (40, 20));
    }

    #[test]
    fn elbv2_changes_share_one_bucket_and_each_service_has_its_own_word() {
        let mut buckets = Buckets::default();
        for _ in 0..20 {
            buckets.take(&request("elasticloadbalancing", "2015-12-01", "Action=CreateRule"), Duration::ZERO).unwrap();
        }
        let refused = buckets.take(&request("elasticloadbalancing", "2015-12-01", "Action=ModifyListener"), Duration::ZERO).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (400, "Throttling"));
        let run = request("ec2", "2016-11-15", "Action=RunInstances&MaxCount=2000");
        let refused = buckets.take(&run, Duration::ZERO).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (503, "RequestLimitExceeded"));
    }
}
