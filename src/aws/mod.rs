//! The only importer of the AWS SDK: a struct per service with methods named by intent, plain model values in and out.
//!
//! One policy for everything: the SDK never retries ([`retry`] does), every attempt has a time limit, and every call that changes
//! something passes the [`Guard`] at the last hook before the socket. There is no trait to fake: tests hand another HTTP client to
//! [`Connection`].
//!
//! A new call is a method in the file of its service, plus its action in `examples/iam/`.

mod autoscaling;
mod clients;
mod cloudwatch;
pub mod dynamodb;
mod ec2;
mod elbv2;
mod error;
mod gather;
mod guard;
mod retry;
mod secretsmanager;
mod servicequotas;
mod ssm;
mod sts;

use std::collections::BTreeMap;

pub use autoscaling::{Autoscaling, FailedActivity, GroupInfo, NewGroup};
pub use clients::{Aws, CALL_TIMEOUT, Connection, LONG_CALL_TIMEOUT};
pub use cloudwatch::{AlarmInfo, Asked, Cloudwatch, Minute, Minutes, PERIOD, Period, Periods, Told};
pub use dynamodb::Dynamodb;
pub use ec2::{CopySpec, Ec2, InstanceInfo, InstanceState, InstanceTypeInfo, NewTemplate, RunSpec, SubnetInfo, TemplateInfo};
pub use elbv2::{Elbv2, ListenerInfo, LoadBalancerInfo, LoadBalancerState, Page, TargetGroupInfo};
pub use error::{Error, ErrorKind};
pub use gather::gather;
pub use guard::Guard;
pub use secretsmanager::Secretsmanager;
pub use servicequotas::Servicequotas;
pub use ssm::Ssm;
pub use sts::{Caller, Sts};

/// The SDK's seam for HTTP: what a test (or the in-process sandbox) hands to [`Connection`].
pub use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;
