//! Listeners: create, describe, modify, delete. A listener's default actions are its default rule.

use super::state::{Elbv2, Listener, Rule};
use super::{actions, answer, no_listener, no_load_balancer, page, spread, suffix, tags};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, Params, leaf, list};

/// Protocol, certificate and policy, which must fit together.
#[derive(PartialEq, Eq)]
struct Face {
    protocol: String,
    certificate: Option<String>,
    ssl_policy: Option<String>,
}

fn face(params: &Params, known: &[String], was: Option<&Listener>) -> Result<Face, AwsError> {
    let protocol = match params.get("Protocol").or(was.map(|was| was.protocol.as_str())) {
        Some(protocol @ ("HTTP" | "HTTPS")) => protocol.to_string(),
        Some(other) => return Err(AwsError::bad("UnsupportedProtocol", format!("Listener protocol '{other}' is not supported"))),
        None => return Err(AwsError::bad("ValidationError", "A listener protocol must be specified")),
    };
    let sent = params.list("Certificates");
    if sent.len() > 1 {
        return Err(AwsError::bad("TooManyCertificates", "Exactly one default certificate can be specified"));
    }
    let sent = sent.first().map(|one| one.required("CertificateArn").map(str::to_string)).transpose()?;
    if let Some(unknown) = sent.as_ref().filter(|arn| !known.contains(arn)) {
        return Err(AwsError::bad("CertificateNotFound", format!("Certificate ARN '{unknown}' is not found")));
    }
    if protocol == "HTTP" {
        return match sent {
            Some(_) => Err(AwsError::bad("InvalidConfigurationRequest", "Certificates cannot be specified for HTTP listeners")),
            None => Ok(Face { protocol, certificate: None, ssl_policy: None }),
        };
    }
    let certificate = sent.or_else(|| was.and_then(|was| was.certificate.clone()));
    if certificate.is_none() {
        return Err(AwsError::bad("ValidationError", "A certificate must be specified for HTTPS listeners"));
    }
    let policy = params.get("SslPolicy").map(str::to_string).or_else(|| was.and_then(|was| was.ssl_policy.clone()));
    Ok(Face { protocol, certificate, ssl_policy: Some(policy.unwrap_or_else(|| "ELBSecurityPolicy-2016-08".into())) })
}

fn port(params: &Params) -> Result<Option<u16>, AwsError> {
    let bad = |_| AwsError::bad("ValidationError", "A listener port must be between 1 and 65535");
    params.number("Port")?.map(u16::try_from).transpose().map_err(bad)
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let load_balancer = params.required("LoadBalancerArn")?.to_string();
    let found = call.state.elbv2.load_balancers.get(&load_balancer).ok_or_else(|| no_load_balancer(&load_balancer))?;
    let path = found.arn.split_once(":loadbalancer/").map(|(_, path)| path.to_string()).unwrap_or_default();
    let port = port(params)?.filter(|port| *port > 0);
    let port = port.ok_or_else(|| AwsError::bad("ValidationError", "A listener port must be specified"))?;
    let face = face(params, &call.state.certificates, None)?;
    let action = actions::read(&params.list("DefaultActions"), &call.state.elbv2, &load_balancer)?;
    let tags = tags::read(params)?;
    let others = call.state.elbv2.listeners_of(&load_balancer);
    if let Some(known) = others.iter().find(|known| known.port == port) {
        let same = Face { protocol: known.protocol.clone(), certificate: known.certificate.clone(), ssl_policy: known.ssl_policy.clone() };
        let default = call.state.elbv2.rules_of(&known.arn).last().map(|rule| rule.action == action);
        if same == face && default == Some(true) {
            return answer([list("Listeners", "member", [show(&call.state.elbv2, known)])]);
        }
        return Err(AwsError::bad("DuplicateListener", "A listener already exists on this port for this load balancer"));
    }
    let most = call.state.quotas.limit("listeners-per-application-load-balancer");
    if others.len() >= most {
        return Err(AwsError::bad("TooManyListeners", format!("A load balancer can have at most {most} listeners")));
    }
    let (id, rule_id) = (suffix(call.state), suffix(call.state));
    let listener = super::arn(call.state, &format!("listener/{path}/{id}"));
    let rule = super::arn(call.state, &format!("listener-rule/{path}/{id}/{rule_id}"));
    let visible_at = call.state.sometime(call.now, call.latencies.visible);
    let Face { protocol, certificate, ssl_policy } = face;
    let made = Listener {
        arn: listener.clone(),
        load_balancer: load_balancer.clone(),
        protocol,
        port,
        certificate,
        ssl_policy,
        tags,
        visible_at,
        sockets: None,
    };
    let default = Rule {
        arn: rule.clone(),
        listener: listener.clone(),
        priority: None,
        conditions: vec![],
        action,
        tags: Default::default(),
        visible_at,
    };
    call.state.elbv2.listeners.insert(listener.clone(), made);
    call.state.elbv2.rules.insert(rule, default);
    spread::spread(call.state, &load_balancer, call.context());
    shown(&call.state.elbv2, &listener)
}

fn shown(elbv2: &Elbv2, arn: &str) -> Answer {
    let listener = elbv2.listeners.get(arn).ok_or_else(|| no_listener(arn))?;
    answer([list("Listeners", "member", [show(elbv2, listener)])])
}

fn show(elbv2: &Elbv2, listener: &Listener) -> Vec<Node> {
    let mut nodes = vec![
        leaf("ListenerArn", &listener.arn),
        leaf("LoadBalancerArn", &listener.load_balancer),
        leaf("Port", listener.port),
        leaf("Protocol", &listener.protocol),
    ];
    nodes.extend(listener.certificate.iter().map(|arn| list("Certificates", "member", [vec![leaf("CertificateArn", arn)]])));
    nodes.extend(listener.ssl_policy.iter().map(|policy| leaf("SslPolicy", policy)));
    let default = elbv2.rules_of(&listener.arn).last().map(|rule| rule.action.show());
    nodes.push(list("DefaultActions", "member", default));
    nodes
}

/// A listener made a moment ago may not be there yet: `ListenerNotFound`, or missing in the list.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let (params, elbv2, now) = (call.params, &call.state.elbv2, call.now);
    let arns = params.texts("ListenerArns");
    let mut found: Vec<&Listener> = match params.get("LoadBalancerArn") {
        Some(arn) if !elbv2.load_balancers.contains_key(arn) => return Err(no_load_balancer(arn)),
        Some(arn) => elbv2.listeners_of(arn),
        None if arns.is_empty() => {
            return Err(AwsError::bad("ValidationError", "You must specify either listener ARNs or a load balancer ARN"));
        }
        None => elbv2.listeners.values().collect(),
    };
    found.retain(|one| now >= one.visible_at && (arns.is_empty() || arns.contains(&one.arn.as_str())));
    if let Some(missing) = arns.iter().find(|arn| !found.iter().any(|one| one.arn == **arn)) {
        return Err(no_listener(missing));
    }
    let (found, next) = page(found, params)?;
    answer([list("Listeners", "member", found.into_iter().map(|one| show(elbv2, one)))].into_iter().chain(next))
}

/// The default action is replaced as a whole; what is not sent stays.
pub(super) fn modify(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let arn = params.required("ListenerArn")?.to_string();
    let listener = call.state.elbv2.listeners.get(&arn).ok_or_else(|| no_listener(&arn))?;
    let load_balancer = listener.load_balancer.clone();
    let port = port(params)?.unwrap_or(listener.port);
    if call.state.elbv2.listeners_of(&load_balancer).iter().any(|other| other.port == port && other.arn != arn) {
        return Err(AwsError::bad("DuplicateListener", "A listener already exists on this port for this load balancer"));
    }
    let face = face(params, &call.state.certificates, Some(listener))?;
    let sent = params.list("DefaultActions");
    let action = if sent.is_empty() { None } else { Some(actions::read(&sent, &call.state.elbv2, &load_balancer)?) };
    let default = call.state.elbv2.rules.values_mut().find(|rule| rule.listener == arn && rule.priority.is_none());
    if let (Some(action), Some(default)) = (action, default) {
        default.action = action;
    }
    if let Some(listener) = call.state.elbv2.listeners.get_mut(&arn) {
        if listener.port != port {
            // The old port closes; the next tick opens the new one.
            listener.sockets = None;
        }
        Face { protocol: listener.protocol, certificate: listener.certificate, ssl_policy: listener.ssl_policy } = face;
        listener.port = port;
    }
    spread::spread(call.state, &load_balancer, call.context());
    shown(&call.state.elbv2, &arn)
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("ListenerArn")?;
    let gone = call.state.elbv2.listeners.remove(arn).ok_or_else(|| no_listener(arn))?;
    call.state.elbv2.rules.retain(|_, rule| rule.listener != arn);
    spread::spread(call.state, &gone.load_balancer, call.context());
    answer([])
}
