//! Simulated visitors: the same decision as for a real socket, and the answer of a simulated machine, in virtual time.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::sandbox::connector::Sandbox;
use crate::sandbox::elbv2::{self, Asked, Decision, LoadBalancerStatus, NODES};
use crate::sandbox::engine::{Engine, Place};
use crate::sandbox::host::ProbeError;

/// A request by a visitor.
#[derive(Debug, Clone, Default)]
pub struct Visit<'a> {
    /// 12-digit account of the load balancer.
    pub account: &'a str,
    /// Its Region.
    pub region: &'a str,
    /// Its name.
    pub load_balancer: &'a str,
    /// Host name asked for.
    pub host: &'a str,
    /// Path asked for.
    pub path: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What the visitor got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// HTTP status.
    pub status: u16,
    /// Name of the target group it went to, if it went to one.
    pub target_group: Option<String>,
    /// The instance it went to, if it went to one.
    pub instance: Option<String>,
}

impl Visited {
    fn own(status: u16) -> Self {
        Self { status, target_group: None, instance: None }
    }
}

impl Sandbox {
    /// One visit to the first listener of a load balancer; None if there is nobody to connect to.
    pub async fn visit(&self, visit: &Visit<'_>) -> Option<Visited> {
        self.engine.visit(visit).await
    }

    /// Counters and target states of every load balancer of an account and Region.
    pub fn load_balancers(&self, account: &str, region: &str) -> Vec<LoadBalancerStatus> {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| elbv2::status(state))
    }
}

impl Engine {
    /// One visit to the first listener of a load balancer; None if there is nobody to connect to.
    pub async fn visit(self: &Arc<Self>, visit: &Visit<'_>) -> Option<Visited> {
        let place = Place { account: visit.account.to_string(), region: visit.region.to_string() };
        let headers: HeaderMap = visit
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?)))
            .collect();
        let asked = Asked { host: visit.host, path: visit.path, headers: &headers };
        let (decision, listener) = self.within(&place, |state, context| {
            let balancer = state.elbv2.load_balancers.values().find(|balancer| balancer.name == visit.load_balancer)?.arn.clone();
            let listener = state.elbv2.listeners_of(&balancer).first()?.arn.clone();
            let node = state.rng.usize(..NODES);
            Some((elbv2::route(state, &listener, node, asked, context.now), listener))
        })?;
        let mut to = match decision {
            Decision::Forward(to) => to,
            Decision::Closed => return None,
            Decision::Fixed { status, .. } => return Some(Visited::own(status)),
            Decision::Redirect(to) => return Some(Visited::own(if to.permanent { 301 } else { 302 })),
            Decision::Nobody => {
                self.within(&place, |state, _| elbv2::count_refusal(state, &listener, 503));
                return Some(Visited::own(503));
            }
        };
        let started = self.now();
        let answer = tokio::select! {
            // In this order, not in a random one: a run can be repeated exactly.
            biased;
            answer = self.host.probe(&to.instance, to.port, visit.path, to.idle) => Some(answer),
            // Never sent to: it fails when the target has left for good.
            _ = to.presence.changed() => None,
        };
        let (status, answered) = match answer {
            Some(Ok(status)) => (status, Some(status)),
            Some(Err(ProbeError::Timeout)) => (504, None),
            Some(Err(ProbeError::Refused)) | None => (502, None),
        };
        let took = self.now().saturating_sub(started);
        self.within(&place, |state, context| {
            elbv2::count(state, context, &to.target_group, &to.instance, answered, took);
            if answered.is_none() {
                elbv2::count_refusal(state, &listener, status);
            }
        });
        Some(Visited { status, target_group: Some(to.target_group_name), instance: Some(to.instance) })
    }
}
