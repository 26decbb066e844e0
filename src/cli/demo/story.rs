//! The story, act by act.

use std::time::Duration;

use super::stage::{Ends, Stage};
use crate::failure::Failure;

/// Production's configuration in `examples/shop/adstage.toml`, and the same with a variable that names a stock service nobody runs.
const PRODUCTION: &str = "[env.production.services.storefront]\ninstances = 2\n";
const PRODUCTION_WITHOUT_STOCK: &str = "[env.production.services.storefront]\ninstances = 2\nvariables = { STOCK = \"stock.invalid\" }\n";

const CALM: Duration = Duration::from_secs(3);

/// Plays every act in order.
pub(super) async fn tell(stage: &mut Stage) -> Result<(), Failure> {
    stage.title("An empty AWS account, on this machine. Setup makes what is missing.");
    stage.act("set up", Ends::Well, &["setup", "staging", "--yes"]).await?;
    stage.act("set up", Ends::Well, &["setup", "production", "--confirm", "production"]).await?;

    stage.title("One image holds every repository. It is proved by booting it once.");
    stage.act("bake", Ends::Well, &["image", "bake", "--from-base"]).await?;

    stage.title("The same image goes to staging, then to production as r1.");
    stage.act("deploy staging", Ends::Well, &["deploy", "staging"]).await?;
    stage.act("deploy production r1", Ends::Well, &["deploy", "production", "--confirm", "production"]).await?;

    stage.title("Visitors come, and they stay. A new version of the storefront goes out under them as r2 (named, since it skips staging).");
    stage.open_the_doors().await?;
    stage.quiet("visitors on r1", CALM).await;
    stage.folder.replace("repositories/storefront/page.txt", "version 1", "version 2")?;
    stage.folder.commit("storefront", "version 2")?;
    stage.act("bake", Ends::Well, &["image", "bake", "--from-base"]).await?;
    stage.deploy_newest("deploy production r2", Ends::Well).await?;

    stage.title("r3: somebody names a stock service that does not exist. Its health check fails, and no visitor ever sees it.");
    stage.folder.replace("adstage.toml", PRODUCTION, PRODUCTION_WITHOUT_STOCK)?;
    stage.deploy_newest("deploy production r3", Ends::RolledBack).await?;
    stage.folder.replace("adstage.toml", PRODUCTION_WITHOUT_STOCK, PRODUCTION)?;

    stage.title("r4 passes every check and then misbehaves: no health check sees it, the watch does, and names the command.");
    stage.folder.replace("repositories/storefront/page.txt", "version 2", "version 4")?;
    stage.folder.replace("repositories/storefront/run.sh", "--listen", "--fails-after 3 --listen")?;
    stage.folder.commit("storefront", "version 4, with a bug")?;
    stage.act("bake", Ends::Well, &["image", "bake", "--from-base"]).await?;
    stage.the_bad_release = Some("r4");
    stage.deploy_newest("deploy production r4", Ends::Trouble).await?;

    stage.title("Going back is one write: r2 is still warm.");
    stage.act("rollback", Ends::Well, &["rollback", "production", "--yes"]).await?;
    stage.settle("visitors on r2 again", CALM).await;
    stage.act("status", Ends::Well, &["status", "production"]).await
}
