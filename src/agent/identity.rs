//! What this instance is to be: by its tags, its user data and its image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::IpAddr;

use super::duty;
use super::environment::Surroundings;
use super::imds::{Imds, ImdsError};
use super::layout::Layout;
use super::service::Service;
use super::store;
use crate::model::{
    GRACE, Manifest, NameError, RepositoryName, ServiceName, TimedCommand, UserBox, UserData, UserDataError, UserService, tag,
};

/// What this instance is.
#[derive(Debug)]
pub(super) struct Identity {
    pub host: IpAddr,
    /// What it runs: services and, on a review box, stores.
    pub services: Vec<Service>,
    /// What a release has to do once, by service.
    pub release_commands: BTreeMap<ServiceName, TimedCommand>,
    /// Whether they are to work, if its tags say so: a worker is held until it is made active.
    pub active: Option<bool>,
    pub review: Option<BoxIdentity>,
}

/// What makes it a review box.
#[derive(Debug)]
pub(super) struct BoxIdentity {
    /// Instance id.
    pub instance: String,
    pub told: UserBox,
    /// The repository each service runs in.
    pub repositories: BTreeMap<ServiceName, RepositoryName>,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum BootError {
    #[error(transparent)]
    Imds(#[from] ImdsError),
    #[error(transparent)]
    UserData(#[from] UserDataError),
    #[error("the instance has no tag {0}, or the launch did not enable tags in the instance metadata")]
    NoTag(&'static str),
    #[error("the instance metadata has no {0}")]
    NoValue(&'static str),
    #[error("the instance's tags name {0:?}, which cannot be the name of a service")]
    NotAService(String),
    #[error("the instance's tags name {0}, of which its user data says nothing")]
    UnknownService(ServiceName),
    #[error("the image cannot be used: {0}")]
    Image(String),
    #[error("the image does not hold the repository {0}, which {1} runs in")]
    NoRepository(RepositoryName, ServiceName),
    #[error("the instance is a review box by its tags, and its user data does not say which")]
    NoBox,
    #[error("{0:?} in the user data {1}")]
    NotAName(String, NameError),
    #[error("{0}")]
    Start(String),
}

/// Asks the metadata service, and looks at the image.
pub(super) async fn identity(imds: &Imds, is_box: bool, surroundings: &Surroundings, layout: &Layout) -> Result<Identity, BootError> {
    let names = imds.tag(tag::SERVICES).await?.filter(|names| !names.is_empty()).ok_or(BootError::NoTag(tag::SERVICES))?;
    let host = imds.text("meta-data/local-ipv4").await?.and_then(|text| text.parse().ok()).ok_or(BootError::NoValue("local-ipv4"))?;
    let user_data = UserData::parse(&imds.get("user-data").await?.unwrap_or_default())?;
    let manifest = read_manifest(layout)?;
    let place = Place { user_data: &user_data, manifest: &manifest, host, path: path(surroundings, layout)?, layout };
    let mut services = Vec::new();
    let (mut repositories, mut release_commands) = (BTreeMap::new(), BTreeMap::new());
    for name in names.split_whitespace() {
        let name = ServiceName::new(name).map_err(|_| BootError::NotAService(name.to_string()))?;
        let told = user_data.services.get(&name).ok_or_else(|| BootError::UnknownService(name.clone()))?;
        repositories.insert(name.clone(), told.repository.clone());
        release_commands.extend(told.release_command.clone().map(|command| (name.clone(), command)));
        services.push(place.service(name, told)?);
    }
    let review = match user_data.review.clone() {
        _ if !is_box => None,
        None => return Err(BootError::NoBox),
        Some(told) => {
            for (name, backing) in &told.backing {
                let store = store::service(name, backing, host, &place.path, layout);
                services.push(store.map_err(|error| BootError::NotAName(name.to_string(), error))?);
            }
            let instance = imds.text("meta-data/instance-id").await?.ok_or(BootError::NoValue("instance-id"))?;
            Some(BoxIdentity { instance, told, repositories })
        }
    };
    let active = if is_box { None } else { duty::ask(imds).await? };
    Ok(Identity { host, services, release_commands, active, review })
}

/// Where every process finds programs: those of the image first.
fn path(surroundings: &Surroundings, layout: &Layout) -> Result<OsString, BootError> {
    let folders = std::iter::once(layout.programs()).chain(std::env::split_paths(&surroundings.path));
    std::env::join_paths(folders).map_err(|error| BootError::Start(format!("PATH: {error}")))
}

fn read_manifest(layout: &Layout) -> Result<Manifest, BootError> {
    let path = layout.manifest();
    let text = std::fs::read(&path).map_err(|error| BootError::Image(format!("{}: {error}", path.display())))?;
    serde_json::from_slice(&text).map_err(|error| BootError::Image(format!("{}: {error}", path.display())))
}

/// Where a service is to run.
struct Place<'a> {
    user_data: &'a UserData,
    manifest: &'a Manifest,
    host: IpAddr,
    path: OsString,
    layout: &'a Layout,
}

impl Place<'_> {
    fn service(&self, name: ServiceName, told: &UserService) -> Result<Service, BootError> {
        let folder = self.layout.repository(&told.repository);
        let review = self.user_data.review.as_ref();
        let fetched = review.and_then(|review| review.checkouts.get(&told.repository)).map(|checkout| &checkout.commit);
        let commit = fetched.or_else(|| self.manifest.commits.get(&told.repository).filter(|_| folder.is_dir()));
        let commit = commit.ok_or_else(|| BootError::NoRepository(told.repository.clone(), name.clone()))?;
        let mut variables: BTreeMap<String, OsString> = BTreeMap::from([("PATH".to_string(), self.path.clone())]);
        // Only a box knows that what its services use is at its own address.
        let host = review.map(|_| self.host.to_string());
        let filled = |value: &str| host.as_ref().map_or_else(|| value.into(), |host| value.replace(ADDRESS, host).into());
        variables.extend(told.variables.iter().map(|(name, value)| (name.clone(), filled(value))));
        // What the agent knows better comes last.
        let own = [
            ("HOST", Some(self.host.to_string())),
            ("PORT", told.port.map(|port| port.to_string())),
            ("ADSTAGE_SERVICE", Some(name.to_string())),
            ("ADSTAGE_ENVIRONMENT", Some(self.user_data.environment.to_string())),
            ("ADSTAGE_RELEASE", self.user_data.release.map(|release| release.to_string())),
            ("ADSTAGE_BOX", review.map(|review| review.name.to_string())),
            (COMMIT, Some(commit.clone())),
        ];
        variables.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.into()))));
        let needs = self.needs(&name)?;
        let (run, health_path) = (told.run.clone(), told.health_path.clone());
        Ok(Service {
            name,
            run,
            folder,
            port: told.port,
            health_path,
            variables,
            secrets: told.secrets.clone(),
            grace: told.grace.unwrap_or(GRACE).duration(),
            needs,
            store: None,
        })
    }

    fn needs(&self, name: &ServiceName) -> Result<Vec<ServiceName>, BootError> {
        let needs = self.user_data.review.as_ref().and_then(|review| review.needs.get(name));
        let needs: BTreeSet<&String> = needs.into_iter().flatten().collect();
        needs.into_iter().map(|need| ServiceName::new(need.as_str()).map_err(|error| BootError::NotAName(need.clone(), error))).collect()
    }
}

/// Stands in the variables of a box's services for its own address.
const ADDRESS: &str = "{address}";

/// The variable that holds the commit of a service's repository.
pub(super) const COMMIT: &str = "ADSTAGE_COMMIT";
