//! Actions of rules: read, checked, shown. One rule, one action.

use super::state::Elbv2;
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Action {
    /// To target groups, by weight.
    Forward(Vec<Weighted>),
    Fixed {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
    Redirect(Redirect),
}

/// A target group's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Weighted {
    pub target_group: String,
    pub weight: u16,
}

/// Where a visitor is sent; `#{host}` and the like stand for what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Redirect {
    pub protocol: String,
    pub port: String,
    pub host: String,
    pub path: String,
    pub query: String,
    pub permanent: bool,
}

impl Action {
    /// True if it names the target group, at whatever weight.
    pub fn names(&self, target_group: &str) -> bool {
        matches!(self, Self::Forward(groups) if groups.iter().any(|group| group.target_group == target_group))
    }

    fn read(params: &Params) -> Result<Self, AwsError> {
        match params.required("Type")? {
            "forward" => forward(params),
            "fixed-response" => fixed(params.child("FixedResponseConfig")),
            "redirect" => redirect(params.child("RedirectConfig")),
            other => Err(AwsError::unsupported(format!("the action type {other}"))),
        }
    }

    /// As children of a list member.
    pub fn show(&self) -> Vec<Node> {
        match self {
            Self::Forward(groups) => {
                let mut nodes = vec![leaf("Type", "forward")];
                if let [only] = groups.as_slice() {
                    // AWS names it at the top only while there is a single one.
                    nodes.push(leaf("TargetGroupArn", &only.target_group));
                }
                let shares = groups.iter().map(|group| vec![leaf("TargetGroupArn", &group.target_group), leaf("Weight", group.weight)]);
                let sticky = branch("TargetGroupStickinessConfig", [leaf("Enabled", false)]);
                nodes.push(branch("ForwardConfig", [list("TargetGroups", "member", shares), sticky]));
                nodes
            }
            Self::Fixed { status, content_type, body } => {
                let mut config = vec![leaf("StatusCode", status)];
                config.extend(content_type.iter().map(|kind| leaf("ContentType", kind)));
                config.extend(body.iter().map(|body| leaf("MessageBody", body)));
                vec![leaf("Type", "fixed-response"), branch("FixedResponseConfig", config)]
            }
            Self::Redirect(to) => {
                let status = if to.permanent { "HTTP_301" } else { "HTTP_302" };
                let fields = [("Protocol", &to.protocol), ("Port", &to.port), ("Host", &to.host), ("Path", &to.path), ("Query", &to.query)];
                let config = fields.into_iter().map(|(name, value)| leaf(name, value)).chain([leaf("StatusCode", status)]);
                vec![leaf("Type", "redirect"), branch("RedirectConfig", config.collect::<Vec<_>>())]
            }
        }
    }
}

fn forward(params: &Params) -> Result<Action, AwsError> {
    let config = params.child("ForwardConfig");
    let sticky = config.child("TargetGroupStickinessConfig");
    if sticky.flag("Enabled") == Some(true) {
        return Err(AwsError::unsupported("stickiness between target groups"));
    }
    let mut groups = Vec::new();
    for member in config.list("TargetGroups") {
        let weight = member.number("Weight")?.unwrap_or(1);
        let weight = u16::try_from(weight).ok().filter(|weight| *weight <= 999);
        let weight = weight.ok_or_else(|| AwsError::bad("ValidationError", "A target group's weight must be between 0 and 999"))?;
        groups.push(Weighted { target_group: member.required("TargetGroupArn")?.to_string(), weight });
    }
    match (params.get("TargetGroupArn"), groups.as_slice()) {
        (Some(arn), []) => groups.push(Weighted { target_group: arn.to_string(), weight: 1 }),
        (Some(arn), [only]) if only.target_group == arn => {}
        (Some(_), _) => {
            let message = "A forward action's TargetGroupArn must be the only target group of its ForwardConfig";
            return Err(AwsError::bad("InvalidLoadBalancerAction", message));
        }
        (None, []) => return Err(AwsError::bad("InvalidLoadBalancerAction", "A forward action must name a target group")),
        (None, _) => {}
    }
    if groups.len() > 5 {
        return Err(AwsError::bad("TooManyTargetGroups", "A forward action can have at most 5 target groups"));
    }
    let mut names: Vec<&str> = groups.iter().map(|group| group.target_group.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < groups.len() {
        return Err(AwsError::bad("InvalidLoadBalancerAction", "A forward action names a target group twice"));
    }
    Ok(Action::Forward(groups))
}

fn fixed(config: &Params) -> Result<Action, AwsError> {
    let status = config.required("StatusCode")?;
    let known = status.parse::<u16>().ok().filter(|status| matches!(status / 100, 2 | 4 | 5));
    let status = known.ok_or_else(|| AwsError::bad("ValidationError", format!("'{status}' is not a 2XX, 4XX or 5XX status code")))?;
    let content_type = config.get("ContentType").map(str::to_string);
    const KINDS: [&str; 5] = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];
    if let Some(kind) = content_type.as_deref().filter(|kind| !KINDS.contains(kind)) {
        return Err(AwsError::bad("InvalidLoadBalancerAction", format!("The content type '{kind}' is not valid")));
    }
    let body = config.get("MessageBody").map(str::to_string);
    if body.as_ref().is_some_and(|body| body.len() > 1024) {
        return Err(AwsError::bad("ValidationError", "The message body must be at most 1024 characters"));
    }
    Ok(Action::Fixed { status, content_type, body })
}

fn redirect(config: &Params) -> Result<Action, AwsError> {
    let or = |name: &str, usual: &str| config.get(name).unwrap_or(usual).to_string();
    let permanent = match config.required("StatusCode")? {
        "HTTP_301" => true,
        "HTTP_302" => false,
        other => return Err(AwsError::bad("ValidationError", format!("'{other}' is not HTTP_301 or HTTP_302"))),
    };
    let to = Redirect {
        protocol: or("Protocol", "#{protocol}"),
        port: or("Port", "#{port}"),
        host: or("Host", "#{host}"),
        path: or("Path", "/#{path}"),
        query: or("Query", "#{query}"),
        permanent,
    };
    let same = [(&to.protocol, "#{protocol}"), (&to.port, "#{port}"), (&to.host, "#{host}"), (&to.path, "/#{path}")];
    if same.iter().all(|(value, usual)| value.as_str() == *usual) {
        return Err(AwsError::bad("InvalidLoadBalancerAction", "The redirect leads to itself: change protocol, port, host or path"));
    }
    Ok(Action::Redirect(to))
}

/// The one action of a rule or listener, checked against what exists: its target groups must be there, in the load balancer's network,
/// and used by no other load balancer.
pub(super) fn read(params: &[&Params], elbv2: &Elbv2, load_balancer: &str) -> Result<Action, AwsError> {
    let action = match params {
        [] => return Err(AwsError::bad("ValidationError", "An action must be specified")),
        [only] => Action::read(only)?,
        [_, ..] => return Err(AwsError::bad("TooManyActions", "The sandbox's rules have exactly one action")),
    };
    let Action::Forward(groups) = &action else { return Ok(action) };
    for group in groups {
        let found = elbv2.target_groups.get(&group.target_group).ok_or_else(|| super::no_target_group(&group.target_group))?;
        if let Some(other) = elbv2.used_by(&found.arn).into_iter().find(|other| *other != load_balancer) {
            let message = format!(
                "The following target groups cannot be associated with more than one load balancer: {} (used by {other})",
                found.arn
            );
            return Err(AwsError::bad("TargetGroupAssociationLimit", message));
        }
        if elbv2.load_balancers.get(load_balancer).is_some_and(|balancer| balancer.vpc != found.vpc) {
            let message = format!("The target group '{}' is not in the VPC of the load balancer", found.arn);
            return Err(AwsError::bad("InvalidConfigurationRequest", message));
        }
    }
    Ok(action)
}
