//! Elastic Load Balancing v2: load balancers and listeners here, [`rules`] and [`target_groups`] beside it.

mod rules;
mod target_groups;

pub use rules::Page;
pub use target_groups::TargetGroupInfo;

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{self, LoadBalancerSchemeEnum, LoadBalancerStateEnum, ProtocolEnum};

use super::clients::{pages, service};
use super::retry::Repeat;
use super::{Error, Tags};
use crate::model::{Listener, LoadBalancer, Scheme};

service! {
    /// Elastic Load Balancing v2.
    Elbv2, aws_sdk_elasticloadbalancingv2
}

/// A load balancer as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancerInfo {
    /// ARN.
    pub arn: String,
    /// Name.
    pub name: String,
    /// DNS name.
    pub dns_name: String,
    /// The VPC it is in.
    pub vpc: String,
    /// How far it is.
    pub state: LoadBalancerState,
    /// Where it can be reached from.
    pub scheme: Scheme,
    /// Its subnets.
    pub subnets: Vec<String>,
}

/// How far a load balancer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalancerState {
    /// Being set up.
    Provisioning,
    /// Serves.
    Active,
    /// Will never serve, or not fully.
    Broken,
}

/// A listener as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// ARN.
    pub arn: String,
    /// TCP port.
    pub port: u16,
    /// HTTPS, not HTTP.
    pub https: bool,
}

impl Elbv2 {
    /// The load balancer of this name, if there is one.
    pub async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancerInfo>, Error> {
        const ACTION: &str = "DescribeLoadBalancers";
        let call = || self.client().describe_load_balancers().names(name).send();
        match self.link.call(ACTION, Repeat::Safe, call).await {
            Ok(found) => found.load_balancers.unwrap_or_default().into_iter().next().map(load_balancer_info).transpose(),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a load balancer. AWS accepts a repeat with the same settings and answers with the one that exists.
    pub async fn create_load_balancer(&self, wanted: &LoadBalancer, tags: &Tags) -> Result<LoadBalancerInfo, Error> {
        const ACTION: &str = "CreateLoadBalancer";
        let scheme = match wanted.scheme {
            Scheme::InternetFacing => LoadBalancerSchemeEnum::InternetFacing,
            Scheme::Internal => LoadBalancerSchemeEnum::Internal,
        };
        let call = || {
            let request = self.client().create_load_balancer().name(&wanted.name).scheme(scheme.clone());
            let request = request.set_subnets(Some(wanted.subnets.clone())).set_tags(Some(to_tags(tags)));
            request.set_security_groups((!wanted.security_groups.is_empty()).then(|| wanted.security_groups.clone())).send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        let first = made.load_balancers.unwrap_or_default().into_iter().next();
        load_balancer_info(first.ok_or_else(|| Error::incomplete(ACTION, "load balancer"))?)
    }

    /// The listener at this port, if there is one.
    pub async fn listener(&self, load_balancer: &str, port: u16) -> Result<Option<ListenerInfo>, Error> {
        let found = self.listeners(load_balancer).await?;
        let at_port = found.into_iter().find(|listener| listener.port == Some(i32::from(port)));
        at_port.map(|listener| listener_info("DescribeListeners", listener)).transpose()
    }

    /// The limits of the account and Region by name (*Limit*).
    pub async fn limits(&self) -> Result<BTreeMap<String, u32>, Error> {
        let found = pages(|marker| async move {
            let call = || self.client().describe_account_limits().set_marker(marker.clone()).send();
            let page = self.link.call("DescribeAccountLimits", Repeat::Safe, call).await?;
            Ok((page.limits.unwrap_or_default(), page.next_marker))
        })
        .await?;
        Ok(found.into_iter().filter_map(|limit| Some((limit.name?, limit.max?.parse().ok()?))).collect())
    }

    /// Every listener of a load balancer.
    pub async fn all_listeners(&self, load_balancer: &str) -> Result<Vec<ListenerInfo>, Error> {
        self.listeners(load_balancer).await?.into_iter().map(|listener| listener_info("DescribeListeners", listener)).collect()
    }

    async fn listeners(&self, load_balancer: &str) -> Result<Vec<types::Listener>, Error> {
        pages(|marker| async move {
            let call = || self.client().describe_listeners().load_balancer_arn(load_balancer).set_marker(marker.clone()).send();
            let page = self.link.call("DescribeListeners", Repeat::Safe, call).await?;
            Ok((page.listeners.unwrap_or_default(), page.next_marker))
        })
        .await
    }

    /// Creates a listener that answers 404 by default. AWS accepts a repeat with the same settings.
    pub async fn create_listener(&self, load_balancer: &str, wanted: &Listener, tags: &Tags) -> Result<ListenerInfo, Error> {
        const ACTION: &str = "CreateListener";
        let nothing_here = rules::page(&Page { status: 404, body: "nothing here".into() });
        let call = || {
            let request = self.client().create_listener().load_balancer_arn(load_balancer).port(i32::from(wanted.port));
            let request = request.default_actions(nothing_here.clone()).set_tags(Some(to_tags(tags)));
            match &wanted.certificate {
                None => request.protocol(ProtocolEnum::Http),
                Some(arn) => request.protocol(ProtocolEnum::Https).certificates(types::Certificate::builder().certificate_arn(arn).build()),
            }
            .send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        let first = made.listeners.unwrap_or_default().into_iter().next();
        listener_info(ACTION, first.ok_or_else(|| Error::incomplete(ACTION, "listener"))?)
    }

    /// The tags of load balancers, listeners, rules or target groups, by ARN. AWS takes 20 at a time.
    pub async fn tags(&self, arns: &[String]) -> Result<BTreeMap<String, Tags>, Error> {
        let mut found = BTreeMap::new();
        for batch in arns.chunks(20) {
            let call = || self.client().describe_tags().set_resource_arns(Some(batch.to_vec())).send();
            let answer = self.link.call("DescribeTags", Repeat::Safe, call).await?;
            for described in answer.tag_descriptions.unwrap_or_default() {
                let tags = described.tags.unwrap_or_default().into_iter();
                let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
                found.insert(described.resource_arn.unwrap_or_default(), tags);
            }
        }
        Ok(found)
    }

    /// The tags of one resource.
    pub async fn tags_of(&self, arn: &str) -> Result<Tags, Error> {
        Ok(self.tags(&[arn.to_string()]).await?.remove(arn).unwrap_or_default())
    }
}

fn load_balancer_info(found: types::LoadBalancer) -> Result<LoadBalancerInfo, Error> {
    let state = match found.state.and_then(|state| state.code) {
        Some(LoadBalancerStateEnum::Active) => LoadBalancerState::Active,
        Some(LoadBalancerStateEnum::Provisioning) => LoadBalancerState::Provisioning,
        _ => LoadBalancerState::Broken,
    };
    let scheme = if found.scheme == Some(LoadBalancerSchemeEnum::Internal) { Scheme::Internal } else { Scheme::InternetFacing };
    let zones = found.availability_zones.unwrap_or_default();
    Ok(LoadBalancerInfo {
        arn: found.load_balancer_arn.ok_or_else(|| Error::incomplete("DescribeLoadBalancers", "ARN"))?,
        name: found.load_balancer_name.unwrap_or_default(),
        dns_name: found.dns_name.unwrap_or_default(),
        vpc: found.vpc_id.unwrap_or_default(),
        state,
        scheme,
        subnets: zones.into_iter().filter_map(|zone| zone.subnet_id).collect(),
    })
}

fn listener_info(action: &'static str, found: types::Listener) -> Result<ListenerInfo, Error> {
    let port = found.port.and_then(|port| u16::try_from(port).ok());
    match (found.listener_arn, port) {
        (Some(arn), Some(port)) => Ok(ListenerInfo { arn, port, https: found.protocol == Some(ProtocolEnum::Https) }),
        _ => Err(Error::incomplete(action, "listener ARN")),
    }
}

fn to_tags(tags: &Tags) -> Vec<types::Tag> {
    // A key is all a tag must have, and it is given.
    tags.iter().map(|(key, value)| types::Tag::builder().key(key).value(value).build()).collect()
}
