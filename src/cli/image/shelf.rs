//! The app's images in one account and Region, and which environments have what to do with them.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::failure::{End, Failure};
use crate::model::{Environment, EnvironmentName, Found, Image, ImageState, ImageUse, Provenance, short};
use crate::observe;

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The images of this environment's account and Region [default: of the one images are baked in]
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
}

/// Everything there is.
pub struct Shelf {
    /// Where.
    pub access: Access,
    /// Newest first.
    pub images: Vec<Image>,
    /// By the records of every environment in this account and Region.
    pub uses: Vec<ImageUse>,
}

/// An image with what became of it, for programs. Fields are only ever added.
#[derive(Debug, Serialize)]
pub struct Known<'a> {
    /// The image.
    #[serde(flatten)]
    pub image: &'a Image,
    /// `verified`, `failed`, `bad`, `not proved`, `being captured`, `unusable`.
    pub condition: &'static str,
    /// The releases made of it.
    pub uses: Vec<&'a ImageUse>,
}

impl Where {
    /// As it was typed: ` --env staging`.
    pub fn typed(&self) -> String {
        self.environment.as_ref().map(|name| format!(" --env {name}")).unwrap_or_default()
    }

    /// Reaches the account and Region.
    pub async fn connect(&self, global: &Global) -> Result<Access, Failure> {
        let environment = self.environment(global)?;
        global.connect(&environment).await
    }

    /// The environment that says where.
    pub fn environment(&self, global: &Global) -> Result<Arc<Environment>, Failure> {
        let name = match &self.environment {
            Some(name) => name,
            None => &global.config()?.builder.environment,
        };
        global.environment(name.as_str())
    }

    /// Reaches the account and Region, and finds the image with this name, id or beginning of either.
    pub async fn pick(&self, global: &Global, word: &str) -> Result<(Access, Image), Failure> {
        let access = self.connect(global).await?;
        let images = observe::images(&access.aws, &access.environment).await.map_err(|error| refused(error, &access.environment))?;
        let image = find(&images, word, &access.environment)?.clone();
        Ok((access, image))
    }

    /// Looks at everything.
    pub async fn look(&self, global: &Global) -> Result<Shelf, Failure> {
        let access = self.connect(global).await?;
        let environments = global.neighbours(&access.environment)?;
        let found = tokio::try_join!(observe::images(&access.aws, &access.environment), observe::uses(&access.aws, &environments));
        let (images, uses) = found.map_err(|error| refused(error, &access.environment))?;
        Ok(Shelf { access, images, uses })
    }
}

impl Shelf {
    /// The image with this name, id or beginning of either.
    pub fn find(&self, word: &str) -> Result<&Image, Failure> {
        find(&self.images, word, &self.access.environment)
    }

    /// What became of an image.
    pub fn known<'a>(&'a self, image: &'a Image) -> Known<'a> {
        let uses: Vec<&ImageUse> = self.uses.iter().filter(|used| used.image == image.id).collect();
        let condition = match (image.state, image.provenance) {
            (ImageState::Unusable, _) => "unusable",
            (ImageState::Pending, _) => "being captured",
            (_, Provenance::Failed) => "failed",
            (_, Provenance::Unproved) => "not proved",
            _ if uses.iter().any(|used| used.bad().is_some()) => "bad",
            _ => "verified",
        };
        Known { image, condition, uses }
    }
}

/// The image with this name, id or beginning of either.
fn find<'a>(images: &'a [Image], word: &str, environment: &Environment) -> Result<&'a Image, Failure> {
    match Image::named(images, word) {
        Found::One(image) => Ok(image),
        Found::Several(several) => {
            let failure = Failure::new(End::Usage, format!("several images begin with `{word}`"));
            Err(several.iter().fold(failure, |failure, image| failure.because(format!("{} ({})", image.name, image.id))))
        }
        Found::None => {
            let Environment { account, region, .. } = environment;
            let what = format!("there is no image `{word}` of {} in account {account}, {region}", environment.app);
            Err(Failure::new(End::Refused, what).next("adstage image list"))
        }
    }
}

impl Known<'_> {
    /// `production live (r42), staging warm (r7)`.
    pub fn places(&self) -> Vec<String> {
        let place = |used: &&&ImageUse| match (used.live, used.warm) {
            (true, _) => Some(format!("{} live ({})", used.environment, used.release)),
            (_, true) => Some(format!("{} warm ({})", used.environment, used.release)),
            _ => None,
        };
        self.uses.iter().filter_map(|used| place(&used)).collect()
    }

    /// `storefront 4f2c4f2, jobs 1a1a1a1`.
    pub fn code(&self) -> String {
        let code = self.image.commits.iter().map(|(name, commit)| format!("{name} {}", short(commit)));
        code.collect::<Vec<_>>().join(", ")
    }
}
