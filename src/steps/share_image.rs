//! Another account may launch an image and copy it. Doing it again changes nothing.

use super::error::During;
use super::{Cx, Done, StepError};
use crate::model::ImageId;

pub(super) async fn run(cx: &Cx, id: &ImageId, name: &str, account: &str) -> Done {
    let found = cx.aws.ec2.image_named(name).await.during(&format!("look for image {name}"))?;
    let (image, _) = found.filter(|(image, _)| image.id == *id).ok_or_else(|| StepError::new(format!("there is no image {name}")))?;
    if image.app.as_deref() != Some(cx.environment.app.as_str()) {
        return Err(StepError::foreign(&format!("image {name}")));
    }
    cx.aws.ec2.share_image(id, account).await.during(&format!("share image {name}"))?;
    for snapshot in &image.origin.snapshots {
        cx.aws.ec2.share_snapshot(snapshot, account).await.during(&format!("share snapshot {snapshot}"))?;
    }
    Ok(format!("account {account} may launch and copy image {name} ({id})"))
}
