//! adstage: deploys one unified machine image to EC2 fleets.

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
