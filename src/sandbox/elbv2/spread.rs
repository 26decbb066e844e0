//! How a change of rules reaches the nodes of a load balancer: one after the other, each in its own time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::state::{Elbv2, Rule};
use crate::sandbox::engine::{Context, State};

/// Nodes of every load balancer.
pub(in crate::sandbox) const NODES: usize = 2;

/// Rules by listener, in the order they are tried.
pub(super) type Table = BTreeMap<String, Vec<Rule>>;

/// What one node believes, and what it has yet to hear of.
#[derive(Clone, Default)]
struct Node {
    table: Arc<Table>,
    coming: VecDeque<(Duration, Arc<Table>)>,
}

/// All nodes of a load balancer.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Nodes([Node; NODES]);

impl Nodes {
    /// What a node believes now.
    pub(super) fn table(&mut self, node: usize, now: Duration) -> Arc<Table> {
        let node = &mut self.0[node % NODES];
        while let Some((_, table)) = node.coming.pop_front_if(|(at, _)| *at <= now) {
            node.table = table;
        }
        Arc::clone(&node.table)
    }
}

/// The rules of a load balancer changed: tell its nodes, each at some moment within `weights_spread`. A node never hears of an
/// earlier change after a later one.
pub(super) fn spread(state: &mut State, load_balancer: &str, context: Context<'_>) {
    let table = Arc::new(truth(&state.elbv2, load_balancer));
    let moments: [Duration; NODES] = std::array::from_fn(|_| state.sometime(context.now, context.latencies.weights_spread));
    let Some(balancer) = state.elbv2.load_balancers.get_mut(load_balancer) else { return };
    for (node, moment) in balancer.nodes.0.iter_mut().zip(moments) {
        let after = node.coming.back().map_or(Duration::ZERO, |(at, _)| *at);
        node.coming.push_back((moment.max(after), Arc::clone(&table)));
    }
}

/// What the API would show.
pub(super) fn truth(elbv2: &Elbv2, load_balancer: &str) -> Table {
    let rules = |listener: &str| elbv2.rules_of(listener).into_iter().cloned().collect();
    elbv2.listeners_of(load_balancer).into_iter().map(|listener| (listener.arn.clone(), rules(&listener.arn))).collect()
}
