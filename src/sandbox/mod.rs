//! AWS on loopback: an island. It imports nothing from the rest of the crate, and only `cli/sandbox` and tests name it.
//!
//! One [`engine`] behaves (states, time, traffic, faults); two doors lead in: [`server`], a loopback HTTP server with real processes
//! as instances, and [`connector`], an HTTP client for the SDK with scripted instances and virtual time. `wire` speaks the protocols.
//!
//! What differs from AWS, each with a test (`differs_…` in `tests/it/sandbox.rs`, or beside the code):
//!
//! - Every caller may do everything: signatures are not checked, there is no IAM, and the access key is the account (12 digits; else
//!   123456789012).
//! - An action, or a parameter that would change the meaning, which is not there is refused with `SandboxUnsupported` (501).
//! - Machines have no disks (block devices are accepted and shown in templates, without effect) and no public addresses.
//! - Machines share this computer: its programs, its files, its user. What is theirs is below `ADSTAGE_ROOT`, and a service must listen at
//!   the address in `HOST`, not at every address (`tests/it/instance.rs`).
//! - The metadata service wants a token whatever the launch asked for, and knows only what agents and SDKs ask (`host/processes.rs`).
//! - Every instance has a role, and it may do everything; nothing is encrypted (what is asked for undecrypted is shown as something else).
//! - Security groups have no rules: on loopback nothing is filtered.
//! - Reads may miss what was just made, but what they have once shown they show from then on.
//! - DynamoDB's expired items stay, and there are no backups to restore from.
//! - A load balancer speaks plain HTTP/1.1 on every listener, an HTTPS one included (which needs its certificate all the same, and says
//!   `X-Forwarded-Proto: https`). Where this machine refuses its own address and port, only `127.0.0.1` and a free port lead to it.
//! - Its two nodes share their health checks and verdicts; only changed rules and weights reach one before the other.
//! - Listeners and rules made a moment ago may be missing from describes, but calls that change them find them at once.
//! - With all weights 0 visitors get 503: AWS does not say what it does.
//! - A group whose launches fail tries again, later and later; AWS suspends it after a day.
//! - An image that another account shares can be copied, but it is not listed, and nothing is launched from it (`tests/it/steps/images.rs`).
//! - Spot never runs short and is never taken back unless somebody says so (`ec2/market.rs`; `tests/it/spot.rs`), and has no price.
//! - CloudWatch knows a load balancer's counters one fixed delay after each interval (AWS: within minutes), forgets a target group when it is
//!   deleted, and its alarms change only when somebody sets them. Where machines are quick, intervals are a second, so the number of a
//!   minute grows while it passes.
//! - vCPU quotas are large, and Service Quotas knows of no others ([`quotas`]).
//! - Scaling policies track a target, by CPU or by requests per target; other kinds are refused. No CloudWatch alarms show behind them: the
//!   group itself looks, three numbers to grow and fifteen to shrink (`autoscaling/tracking.rs`; `tests/it/scaling.rs`).
//! - `CPUUtilization` is the share of its type's processors that a machine used: of a real one by the kernel's count of its processes (Linux
//!   only), which share this computer and so never add up to what AWS would show; of a scripted one so much per request as its script says
//!   (`cloudwatch/cpu.rs`).
//! - Auto Scaling's token bucket has made-up numbers, since AWS publishes none ([`throttle`]).

pub mod connector;
pub mod engine;
pub mod server;
pub mod shop;

mod autoscaling;
mod balancer;
#[cfg(test)]
mod caller;
mod cloudwatch;
mod door;
mod dynamodb;
mod ec2;
mod elbv2;
mod faults;
mod home;
mod host;
mod inventory;
mod latency;
mod loopback;
mod orders;
mod quotas;
mod secretsmanager;
mod ssm;
mod sts;
mod throttle;
mod wire;

pub use balancer::{Visit, Visited};
pub use connector::{Kept, Sandbox};
pub use elbv2::{GroupTraffic, LoadBalancerStatus};
pub use engine::{Options, Seed};
pub use faults::{Faults, LoggedCall, MARK, Misfortune, ReplyLost, When};
pub use home::{Home, Occupied, Record};
pub use host::MachineOptions;
pub use inventory::{GroupFacts, Inventory, RuleFacts};
pub use latency::Speed;
pub use loopback::{Loopback, control};
