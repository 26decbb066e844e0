//! A world in a line, a request, and the plan as a reviewer would read it aloud.

mod bake;
mod box_image;
mod deploy;
mod lint;
mod preflight;
mod random;
mod resume;
mod review;
mod rollback;
mod scale;
mod select;
mod setup;
mod shelf;
mod shift;
mod world;

use crate::model::{Environment, World};

use super::{DeployRequest, Plan, Refusal, RollbackRequest};

/// The only callers of the planner here: every plan is linted, and planning again gives the same plan.
fn deployed((environment, world): &(Environment, World), request: &DeployRequest) -> Result<Plan, Refusal> {
    let plan = super::deploy(environment, world, request)?;
    assert_eq!(super::lint(&plan, Some(world)), []);
    assert_eq!(super::deploy(environment, world, request).as_ref(), Ok(&plan));
    Ok(plan)
}

fn rolled_back((environment, world): &(Environment, World), request: &RollbackRequest) -> Result<Plan, Refusal> {
    let plan = super::rollback(environment, world, request)?;
    assert_eq!(super::lint(&plan, Some(world)), []);
    assert_eq!(super::rollback(environment, world, request).as_ref(), Ok(&plan));
    Ok(plan)
}

fn said(plan: Result<Plan, Refusal>) -> String {
    match plan {
        Ok(plan) => super::render(&plan).join("\n"),
        Err(refusal) => {
            let because = refusal.because.iter().map(|why| format!("\n  because  {why}"));
            let next = refusal.next.iter().map(|next| format!("\n  next     {next}"));
            format!("REFUSED {}{}{}", refusal.what, because.collect::<String>(), next.collect::<String>())
        }
    }
}

fn deploy(world: &(Environment, World)) -> String {
    said(deployed(world, &DeployRequest::default()))
}

fn rollback(world: &(Environment, World)) -> String {
    said(rolled_back(world, &RollbackRequest::default()))
}

fn rollback_to(world: &(Environment, World), to: u32) -> String {
    said(rolled_back(world, &RollbackRequest { to: Some(crate::model::ReleaseNumber(to)) }))
}
