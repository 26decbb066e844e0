//! The nouns, as plain values: no I/O, no clock, no SDK, nothing async.
//!
//! One word per thing; the words are the ones printed on the screen.

mod capacity;
mod console;
mod drift;
mod duration;
mod environment;
mod event;
mod fleet;
mod hooks;
mod image;
mod names;
mod provision;
mod quota;
mod records;
mod release;
mod review;
mod room;
mod scaling;
mod secret;
mod spelling;
mod status;
mod traffic;
mod userdata;
mod watching;
mod world;

pub use capacity::{CapacityKind, Share};
pub use console::{ConsoleLine, tail_of};
pub use drift::{drift, serving};
pub use duration::Seconds;
pub use environment::{
    Builder, Confirm, DeployTiming, Environment, HealthCheck, Listener, LoadBalancer, Repository, Route, Scheme, Service, Source,
};
pub use event::{Event, Mark, Outcome};
pub use fleet::{Activity, Fleet, FleetKey, Group, GroupInstance, TargetGroup, TargetHealth, TargetState, Template};
pub use hooks::{Hook, Hooks, TimedCommand};
pub use image::{FailedProof, Found, Image, ImageState, ImageUse, Origin, Provenance};
pub use names::{
    AppName, BackingName, BoxName, EnvironmentName, ImageId, NameError, OperationId, PROBE_HEADER, ReleaseNumber, RepositoryName,
    ServiceName, resource_name, short_name, tag,
};
pub use provision::{Manifest, ProvisionRepository, ProvisionSpec};
pub use quota::Quota;
pub use records::{FORMAT, Resource, Scope, sk};
pub use release::{Release, ServiceSpec, Verdict};
pub use review::{
    Approval, BACKING_READY_WITHIN, Backing, BoxInstance, BoxTargetGroup, Inspection, REVIEW, Review, ReviewBox, box_target_group,
    commits_hash,
};
pub use room::{Purchases, Reading, Room, RunningInstance, SubnetRoom, Used};
pub use scaling::{GroupPolicy, Scaling, ScalingMetric, ScalingPolicy, follows};
pub use secret::SecretReference;
pub use spelling::{instances, nearest, short};
pub use status::{Direction, StepStatus};
pub use traffic::{Conditions, Rule, RuleAction, RuleKey, Weights};
pub use userdata::{AGENT_PORT, Checkout, GRACE, USER_DATA_LIMIT, UserBox, UserData, UserDataError, UserService};
pub use watching::{Limits, OnTrouble, Shift, Watching};
pub use world::{
    Broken, Drift, FreezeRecord, Head, LockRecord, LockState, OperationKind, OperationRecord, Records, ReleaseRecord, Serving, World,
};
