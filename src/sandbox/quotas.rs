//! How much an account and Region may have, and Service Quotas, which tells of it. Every service holds to the same numbers. Those of vCPUs
//! are those of an account that has grown (a new one has 5); the others are AWS's defaults.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::connector::Sandbox;
use super::ec2::LaunchRequest;
use super::engine::{Place, State};
use super::wire::AwsError;

/// A class of instance types with vCPU quotas of its own: the letters its names begin with; code and name on demand and as spot.
type Class = (&'static [&'static str], (&'static str, &'static str), (&'static str, &'static str));

const CLASSES: [Class; 3] = [
    (
        &["a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"],
        ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    ),
    (&["g", "gr", "vt"], ("L-DB2E81BA", "Running On-Demand G and VT instances"), ("L-3819A6DF", "All G and VT Spot Instance Requests")),
    (&["x"], ("L-7295265B", "Running On-Demand X instances"), ("L-E3A00192", "All X Spot Instance Requests")),
];

/// vCPUs of the first class; AWS gives none of the others before somebody asks.
const VCPUS: u32 = 1_152;

/// Limits that are not Service Quotas' to tell here, by the names of `DescribeAccountLimits`.
const LIMITS: [(&str, u32); 10] = [
    ("target-groups", 3_000),
    ("targets-per-application-load-balancer", 1_000),
    ("listeners-per-application-load-balancer", 50),
    ("rules-per-application-load-balancer", 100),
    ("application-load-balancers", 50),
    ("condition-values-per-alb-rule", 5),
    ("condition-wildcards-per-alb-rule", 5),
    ("target-groups-per-application-load-balancer", 100),
    ("target-groups-per-action-on-application-load-balancer", 5),
    ("targets-per-target-group", 1_000),
];

/// Auto Scaling groups of a Region.
const GROUPS: u32 = 500;
/// What they are called in [`Sandbox::allow`].
const GROUPS_NAME: &str = "auto-scaling-groups";

/// What differs from what every account has.
#[derive(Debug, Clone, Default)]
pub(super) struct Quotas {
    applied: BTreeMap<String, u32>,
}

impl Quotas {
    /// A limit of Elastic Load Balancing by its name.
    pub fn limit(&self, name: &str) -> usize {
        let usual = LIMITS.iter().find(|(known, _)| *known == name).map_or(0, |(_, most)| *most);
        self.applied.get(name).copied().unwrap_or(usual) as usize
    }

    /// All of them.
    pub fn limits(&self) -> Vec<(&'static str, usize)> {
        LIMITS.iter().map(|(name, _)| (*name, self.limit(name))).collect()
    }

    /// Auto Scaling groups.
    pub fn groups(&self) -> usize {
        self.applied.get(GROUPS_NAME).copied().unwrap_or(GROUPS) as usize
    }

    /// vCPUs, of a quota there is.
    fn vcpus(&self, code: &str) -> Option<u32> {
        let usual = usual(code)?.1;
        Some(self.applied.get(code).copied().unwrap_or(usual))
    }
}

/// A quota's name, and how many vCPUs every account has of it.
fn usual(code: &str) -> Option<(&'static str, u32)> {
    let both = |class: &Class| [class.1, class.2];
    let (at, (_, name)) = CLASSES.iter().flat_map(both).enumerate().find(|(_, (known, _))| *known == code)?;
    Some((name, if at < 2 { VCPUS } else { 0 }))
}

/// The code of the quota that an instance counts against.
fn code(kind: &str, spot: bool) -> Option<&'static str> {
    let family: String = kind.chars().take_while(char::is_ascii_lowercase).collect();
    let class = CLASSES.iter().find(|class| class.0.contains(&family.as_str()))?;
    Some(if spot { class.2.0 } else { class.1.0 })
}

/// So many more instances fit into the quota of their kind: those that run and those about to count.
pub(super) fn check_vcpus(state: &State, request: &LaunchRequest, count: u32) -> Result<(), AwsError> {
    let Some(code) = code(&request.kind, request.spot) else { return Ok(()) };
    let Some(most) = state.quotas.vcpus(code) else { return Ok(()) };
    let used = state.ec2.instances.values().filter(|found| found.state.counts()).map(|found| &found.request);
    let used: u32 = used.filter(|other| self::code(&other.kind, other.spot) == Some(code)).map(|other| vcpus(&other.kind)).sum();
    if used + vcpus(&request.kind) * count <= most {
        return Ok(());
    }
    Err(match request.spot {
        true => AwsError::bad("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
        false => AwsError::bad(
            "VcpuLimitExceeded",
            format!(
                "You have requested more vCPU capacity than your current vCPU limit of {most} allows for the instance bucket that the \
                 specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this \
                 limit."
            ),
        ),
    })
}

fn vcpus(kind: &str) -> u32 {
    super::ec2::instance_type(kind).map_or(0, |kind| kind.vcpus)
}

/// Dispatch.
pub(super) fn call(quotas: &Quotas, place: &Place, action: &str, body: &[u8]) -> Result<Value, AwsError> {
    let request: Value = serde_json::from_slice(body).map_err(|error| AwsError::bad("SerializationException", error.to_string()))?;
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_string();
    if text("ServiceCode") != "ec2" {
        return Err(AwsError::unsupported(format!("quotas of the service {:?}", text("ServiceCode"))));
    }
    let known = |code: &str| usual(code).ok_or_else(|| missing(code));
    let told = |code: &str, name: &str, value: u32| {
        json!({ "ServiceCode": "ec2", "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)", "QuotaCode": code, "QuotaName": name,
            "QuotaArn": format!("arn:aws:servicequotas:{}:{}:ec2/{code}", place.region, place.account),
            "Value": f64::from(value), "Unit": "None", "Adjustable": true, "GlobalQuota": false })
    };
    // A quota that was never changed has no applied value, unless everybody has some of it.
    let applied = |code: &str, usual: u32| (usual > 0 || quotas.applied.contains_key(code)).then(|| quotas.vcpus(code)).flatten();
    let codes = || CLASSES.iter().flat_map(|class| [class.1.0, class.2.0]);
    match action {
        "GetServiceQuota" => {
            let code = text("QuotaCode");
            let (name, usual) = known(&code)?;
            let value = applied(&code, usual).ok_or_else(|| missing(&code))?;
            Ok(json!({ "Quota": told(&code, name, value) }))
        }
        "GetAWSDefaultServiceQuota" => {
            let code = text("QuotaCode");
            let (name, usual) = known(&code)?;
            Ok(json!({ "Quota": told(&code, name, usual) }))
        }
        "ListServiceQuotas" => {
            let all = codes().filter_map(|code| usual(code).and_then(|(name, usual)| Some(told(code, name, applied(code, usual)?))));
            Ok(json!({ "Quotas": all.collect::<Vec<_>>() }))
        }
        "ListAWSDefaultServiceQuotas" => {
            let all = codes().filter_map(|code| usual(code).map(|(name, usual)| told(code, name, usual)));
            Ok(json!({ "Quotas": all.collect::<Vec<_>>() }))
        }
        _ => Err(AwsError::unsupported(format!("the Service Quotas action {action}"))),
    }
}

fn missing(code: &str) -> AwsError {
    AwsError::bad("NoSuchResourceException", format!("The request failed because the specified service quota {code} does not exist."))
}

impl Sandbox {
    /// From now on only so much is allowed: of vCPUs, by a quota's code; of anything else, by the name of its limit (`auto-scaling-groups`).
    pub fn allow(&self, account: &str, region: &str, what: &str, most: u32) {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| _ = state.quotas.applied.insert(what.to_string(), most));
    }

    /// Others have taken all addresses of a subnet but so many.
    pub fn leave_addresses(&self, account: &str, region: &str, subnet: &str, left: u32) {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| super::ec2::leave_addresses(state, subnet, left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_changed_and_nobody_has_is_a_default_only() {
        let (place, quotas) = (Place { account: "1".into(), region: "eu".into() }, Quotas::default());
        let ask = |action: &str, code: &str| {
            let body = json!({ "ServiceCode": "ec2", "QuotaCode": code }).to_string();
            call(&quotas, &place, action, body.as_bytes()).map(|answer| answer["Quota"]["Value"].as_f64()).map_err(|error| error.code)
        };
        assert_eq!(ask("GetServiceQuota", "L-1216C47A"), Ok(Some(1_152.0)));
        assert_eq!(ask("GetServiceQuota", "L-DB2E81BA"), Err("NoSuchResourceException".into()));
        assert_eq!(ask("GetAWSDefaultServiceQuota", "L-DB2E81BA"), Ok(Some(0.0)));
        assert_eq!(ask("GetAWSDefaultServiceQuota", "L-0"), Err("NoSuchResourceException".into()));
    }
}
