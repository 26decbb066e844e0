//! adstage deploys one unified machine image to EC2 fleets: verified before any visitor sees it, warm to go back to.
//!
//! *Decide in plain values, act in small repeatable steps, and let one file hold the moment traffic moves.*
//!
//! # A deploy, room by room
//!
//! 1. [`cli`] turns arguments into a request; [`config`] turns `adstage.toml` into an environment, with every mistake at once.
//! 2. [`observe`] looks at AWS and at the records and makes a [`model::World`] of it.
//! 3. [`plan`] decides: `(Environment, World, Request)` gives a [`plan::Plan`] or a [`plan::Refusal`]. Pure, so planning twice gives equal
//!    plans; `--plan` prints it and ends.
//! 4. [`lock`] takes the environment's lease; then observe and plan again: if the plans differ, nothing is begun.
//! 5. [`execute`] runs the stages: it proves the lease, writes to the [`journal`], runs the [`steps`], and on trouble goes back until visitors have
//!    moved.
//! 6. [`report`] shows the one stream of [`model::Event`]s: a live terminal, plain lines, JSON. Its last line says what serves visitors now.
//!
//! # The code map
//!
//! Rooms by tier; a room uses strictly lower tiers only (`tests/it/architecture.rs`).
//!
//! | tier | room | what is in it | what is not |
//! |---|---|---|---|
//! | 0 | [`model`] | the nouns, as plain values | I/O, time, the SDK |
//! | 0 | [`clock`] | the only door to time | |
//! | 0 | [`failure`] | how commands end badly: exit code, what failed, what serves, what to type | |
//! | 1 | [`config`] | `adstage.toml`, checked | |
//! | 1 | [`plan`] | the order of every operation; `step.rs` is the closed list of what may ever be done to an account | I/O, time, dice |
//! | 2 | [`aws`] | the only importer of the SDK; one retry policy, one error, the lease guard | choices |
//! | 2 | [`report`] | the only printer | |
//! | 3 | [`lock`] | one writer per environment | what an event means |
//! | 3 | [`journal`] | releases, operations, events as rows; status is a fold | writing |
//! | 3 | [`health`] | evidence from the load balancer, and the verdict on it | |
//! | 3 | [`agent`] | what runs on an instance: provision, boot, answer for health | the lock, plans to act on |
//! | 4 | [`observe`] | the world in one look | |
//! | 4 | [`steps`] | one file per deed, run and undo; `cut_over_traffic.rs` is the moment traffic moves | branching, memory |
//! | 5 | [`execute`] | the loop, and the way back | |
//! | 6 | [`cli`] | one file per subcommand | |
//! | – | [`sandbox`] | an island: AWS on loopback and in process | the rest of the crate |
//!
//! # What must hold
//!
//! 1. **Visitors never notice**: no deploy, failed deploy, rollback, Ctrl-C or crash drops a request a healthy fleet could have served.
//! 2. **No visitor reaches an unverified release.** Health is the load balancer's own verdict on exactly the candidate's instances; unknown
//!    is never healthy, an empty list is never healthy ([`health`]).
//! 3. **The live fleet is untouched until the candidate is verified**, and never below the capacity it had (`steps/traffic_guard.rs`).
//! 4. **One writer per environment.** A holder that lost its lease cannot change a newer deploy: journal writes are conditional on the
//!    fence ([`lock`]), and every call that changes something passes a [`aws::Guard`] right before the socket.
//! 5. **Killed at any instant, still safe.** The next command on any machine finds in the [`journal`] what may have been done.
//! 6. **Every mutation is repeatable**: "exists and it is ours" is success, "exists and it is not ours" is a refusal ([`steps`]).
//! 7. **Nothing is left behind** by any end other than [`Stranded`](model::Outcome::Stranded).
//! 8. **The last line says what serves visitors now**, success or [`failure`].
//! 9. **Config and code go back together**: a [`model::Release`] is image and configuration.
//! 10. **Secrets never pass through**: only references to them.

pub mod agent;
pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod execute;
pub mod failure;
pub mod health;
pub mod journal;
pub mod lock;
pub mod model;
pub mod observe;
pub mod plan;
pub mod report;
pub mod sandbox;
pub mod steps;
