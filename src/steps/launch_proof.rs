//! One instance booted from the image, in isolation (in no group, behind no load balancer), with every service.

use super::bake_machine::{Launch, Machine};
use super::capture_image::image;
use super::{Cx, Done, StepError, Undone};
use crate::aws::Tags;
use crate::model::{ImageState, ServiceName, tag};
use crate::plan::Step;

pub(super) async fn run(cx: &Cx, step: &Step) -> Done {
    let Step::LaunchProof { bake, name, instance_type, user_data, services, time_limit } = step else {
        return Err(StepError::new("this step does not launch a proof"));
    };
    let (image, _) = image(cx, name).await?.ok_or_else(|| StepError::new(format!("there is no image {name}")))?;
    if image.state != ImageState::Available {
        return Err(StepError::new(format!("image {name} ({}) is not available", image.id)));
    }
    let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
    let tags = Tags::from([(tag::SERVICES.to_string(), names.join(" ")), (tag::LIFETIME.to_string(), time_limit.0.to_string())]);
    let launch = Launch { image: &image.id.0, instance_type, user_data: user_data.clone(), tags };
    let id = Machine::proof(bake).launch(cx, launch).await?;
    Ok(format!("proof instance {id} from {name}"))
}

pub(super) async fn undo(cx: &Cx, bake: &str) -> Undone {
    Machine::proof(bake).terminate(cx).await
}
