//! The builder is stopped, so that its disk is still while it is captured.

use std::time::Duration;

use super::bake_machine::Machine;
use super::wait::{ended, failed};
use super::{Cx, Done, StepError};
use crate::aws::{ErrorKind, InstanceState};
use crate::health::{Look, Waiting};

const WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn run(cx: &Cx, bake: &str) -> Done {
    let machine = Machine::builder(bake);
    let name = machine.name();
    let look = || async {
        let instance = match machine.living(cx).await {
            Ok(Some(instance)) => instance,
            Ok(None) => return Look::Failed(StepError::new(format!("there is no {name} to stop"))),
            Err(error) => return failed(error, &format!("look for the {name}")),
        };
        let waiting = Waiting::new(format!("{name} ({}) is being stopped", instance.id));
        match instance.state {
            InstanceState::Stopped => Look::Done(instance.id),
            InstanceState::Stopping => Look::Waiting(waiting),
            _ => match cx.aws.ec2.stop(&instance.id).await {
                Err(error) if error.kind != ErrorKind::InUse => failed(error, &format!("stop the {name}")),
                _ => Look::Waiting(waiting),
            },
        }
    };
    let id = cx.wait(WITHIN, look).await.map_err(|stop| ended(stop, || format!("the {name} does not stop")))?;
    Ok(format!("builder {id} stopped"))
}
