//! Launch templates: immutable numbered versions of what a machine is to be like.

use std::collections::BTreeMap;
use std::time::Duration;

use super::filters::{Filters, page};
use super::instances::LaunchRequest;
use super::spec::{KNOWN, Spec};
use super::tags::{read_specifications, tag_set};
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// A launch template.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Template {
    pub id: String,
    pub name: String,
    pub created: jiff::Timestamp,
    pub default_version: u64,
    pub latest_version: u64,
    versions: BTreeMap<u64, Version>,
    visible_at: Duration,
}

#[derive(Debug, Clone)]
struct Version {
    spec: Spec,
    description: Option<String>,
    created: jiff::Timestamp,
}

/// What a token of `CreateLaunchTemplate` or `CreateLaunchTemplateVersion` stands for.
#[derive(Debug, Clone)]
pub(super) struct Made {
    asked: Params,
    template: String,
    version: u64,
}

/// How Auto Scaling and `RunInstances` name a template: by id or name, with a number, `$Latest` or `$Default` (also if empty).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct TemplateRef {
    pub id: Option<String>,
    pub name: Option<String>,
    pub version: String,
}

impl TemplateRef {
    /// From `LaunchTemplateId`, `LaunchTemplateName` and `Version`.
    pub fn read(params: &Params) -> Self {
        let text = |name: &str| params.get(name).map(str::to_string);
        Self { id: text("LaunchTemplateId"), name: text("LaunchTemplateName"), version: text("Version").unwrap_or_default() }
    }
}

/// The template, whether or not reads show it yet.
pub(in crate::sandbox) fn template<'a>(state: &'a State, named: &TemplateRef) -> Result<&'a Template, AwsError> {
    let templates = &state.ec2.templates;
    match (&named.id, &named.name) {
        (Some(id), None) => templates.get(id).ok_or_else(|| no_id(id)),
        (None, Some(name)) => templates.values().find(|template| template.name == *name).ok_or_else(|| no_name(name)),
        (Some(_), Some(_)) => {
            Err(AwsError::bad("InvalidParameterCombination", "Only one of LaunchTemplateId and LaunchTemplateName may be given."))
        }
        (None, None) => Err(AwsError::bad("MissingParameter", "Either LaunchTemplateId or LaunchTemplateName must be specified.")),
    }
}

fn no_id(id: &str) -> AwsError {
    AwsError::bad("InvalidLaunchTemplateId.NotFound", format!("The specified launch template, with template ID {id}, does not exist."))
}

fn no_name(name: &str) -> AwsError {
    let message = format!("The specified launch template, with template name {name}, does not exist.");
    AwsError::bad("InvalidLaunchTemplateName.NotFoundException", message)
}

impl Template {
    /// The number that `$Latest`, `$Default` or a number in text stands for, if there is such a version.
    pub fn number(&self, version: &str) -> Result<u64, AwsError> {
        let number = match version {
            "" | "$Default" => Some(self.default_version),
            "$Latest" => Some(self.latest_version),
            _ => version.parse().ok(),
        };
        number.filter(|number| self.versions.contains_key(number)).ok_or_else(|| {
            let message = format!("Could not find the specified version {version} for the launch template with ID {}.", self.id);
            AwsError::bad("InvalidLaunchTemplateId.VersionNotFound", message)
        })
    }

    /// Images of the newest versions.
    pub fn images(&self, depth: usize) -> std::collections::BTreeSet<&str> {
        self.versions.values().rev().take(depth).filter_map(|version| version.spec.image.as_deref()).collect()
    }

    fn render(&self, state: &State) -> Vec<Node> {
        vec![
            leaf("launchTemplateId", &self.id),
            leaf("launchTemplateName", &self.name),
            leaf("createTime", self.created),
            leaf("createdBy", creator(state)),
            leaf("defaultVersionNumber", self.default_version),
            leaf("latestVersionNumber", self.latest_version),
            tag_set(state.ec2.tags_of(&self.id)),
        ]
    }

    fn render_version(&self, number: u64, version: &Version, state: &State) -> Vec<Node> {
        let mut fields = vec![
            leaf("launchTemplateId", &self.id),
            leaf("launchTemplateName", &self.name),
            leaf("versionNumber", number),
            leaf("createTime", version.created),
            leaf("createdBy", creator(state)),
            leaf("defaultVersion", number == self.default_version),
            version.spec.render(),
        ];
        fields.extend(version.description.as_ref().map(|text| leaf("versionDescription", text)));
        fields
    }
}

fn creator(state: &State) -> String {
    format!("arn:aws:iam::{}:user/sandbox", state.place.account)
}

/// What a version of a template says, as a launch that still lacks its subnet.
pub(in crate::sandbox) fn from_template(state: &State, named: &TemplateRef) -> Result<LaunchRequest, AwsError> {
    spec_of(state, named)?.launch_request()
}

pub(super) fn spec_of(state: &State, named: &TemplateRef) -> Result<Spec, AwsError> {
    let template = template(state, named)?;
    let number = template.number(&named.version)?;
    Ok(template.versions.get(&number).map(|version| version.spec.clone()).unwrap_or_default())
}

/// What a token has made before, if it was asked for in the same words.
fn replay(call: &Call<'_>) -> Result<Option<(String, u64)>, AwsError> {
    let Some(token) = call.params.get("ClientToken") else { return Ok(None) };
    match call.state.ec2.template_tokens.get(token) {
        None => Ok(None),
        Some(made) if made.asked == *call.params => Ok(Some((made.template.clone(), made.version))),
        Some(_) => Err(AwsError::bad(
            "IdempotentParameterMismatch",
            "The client token you have provided is associated with a resource that was created with different parameters.",
        )),
    }
}

fn remember(call: &mut Call<'_>, template: &str, version: u64) {
    if let Some(token) = call.params.get("ClientToken") {
        let made = Made { asked: call.params.clone(), template: template.to_string(), version };
        call.state.ec2.template_tokens.insert(token.to_string(), made);
    }
}

fn read_data(call: &Call<'_>) -> Result<Version, AwsError> {
    let data = call.params.child("LaunchTemplateData");
    if data.is_absent() {
        return Err(AwsError::bad("MissingParameter", "The request must contain the parameter LaunchTemplateData"));
    }
    data.only("LaunchTemplateData", &KNOWN)?;
    let description = call.params.get("VersionDescription").map(str::to_string);
    Ok(Version { spec: Spec::read(data)?, description, created: call.wall })
}

/// `CreateLaunchTemplate`.
pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let known = ["ClientToken", "LaunchTemplateName", "VersionDescription", "LaunchTemplateData", "TagSpecification"];
    call.params.only("CreateLaunchTemplate", &known)?;
    let id = match replay(call)? {
        Some((id, _)) => id,
        None => create_new(call)?,
    };
    let template = template(call.state, &TemplateRef { id: Some(id), ..TemplateRef::default() })?;
    Ok(branch("made", [branch("launchTemplate", template.render(call.state))]))
}

fn create_new(call: &mut Call<'_>) -> Result<String, AwsError> {
    let name = call.params.required("LaunchTemplateName")?.to_string();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"().-/_".contains(&byte);
    if !(3..=128).contains(&name.len()) || !name.bytes().all(allowed) {
        let message = "Launch template names must be between 3 and 128 characters: letters, digits and ().-/_";
        return Err(AwsError::bad("InvalidLaunchTemplateName.MalformedException", message));
    }
    if call.state.ec2.templates.values().any(|template| template.name == name) {
        return Err(AwsError::bad("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use."));
    }
    let version = read_data(call)?;
    let tags = read_specifications(call.params, &["launch-template"])?.remove("launch-template").unwrap_or_default();
    let id = call.state.id("lt-");
    let template = Template {
        id: id.clone(),
        name,
        created: call.wall,
        default_version: 1,
        latest_version: 1,
        versions: BTreeMap::from([(1, version)]),
        visible_at: call.state.sometime(call.now, call.latencies.visible),
    };
    call.state.ec2.templates.insert(id.clone(), template);
    call.state.ec2.tags.insert(id.clone(), tags);
    remember(call, &id, 1);
    Ok(id)
}

/// `CreateLaunchTemplateVersion`.
pub(super) fn create_version(call: &mut Call<'_>) -> Answer {
    let known = ["ClientToken", "LaunchTemplateId", "LaunchTemplateName", "SourceVersion", "VersionDescription", "LaunchTemplateData"];
    call.params.only("CreateLaunchTemplateVersion", &known)?;
    let (id, number) = match replay(call)? {
        Some(made) => made,
        None => {
            let mut named = TemplateRef::read(call.params);
            let mut version = read_data(call)?;
            if let Some(source) = call.params.get("SourceVersion") {
                named.version = source.to_string();
                version.spec = version.spec.over(&spec_of(call.state, &named)?);
            }
            let id = template(call.state, &named)?.id.clone();
            let made = call.state.ec2.templates.get_mut(&id).map(|template| {
                template.latest_version += 1;
                template.versions.insert(template.latest_version, version);
                template.latest_version
            });
            let number = made.ok_or_else(|| no_id(&id))?;
            remember(call, &id, number);
            (id, number)
        }
    };
    let template = template(call.state, &TemplateRef { id: Some(id.clone()), ..TemplateRef::default() })?;
    let version = template.versions.get(&number).ok_or_else(|| no_id(&id))?;
    Ok(branch("made", [branch("launchTemplateVersion", template.render_version(number, version, call.state))]))
}

/// `DescribeLaunchTemplates`.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let known = ["LaunchTemplateId", "LaunchTemplateName", "Filter", "MaxResults", "NextToken"];
    call.params.only("DescribeLaunchTemplates", &known)?;
    let filters = Filters::read(call.params, &["launch-template-name", "create-time"])?;
    let (ids, names) = (call.params.texts("LaunchTemplateId"), call.params.texts("LaunchTemplateName"));
    let seen: Vec<&Template> = call.state.ec2.templates.values().filter(|template| call.now >= template.visible_at).collect();
    if let Some(id) = ids.iter().find(|id| !seen.iter().any(|template| template.id == **id)) {
        return Err(no_id(id));
    }
    if let Some(name) = names.iter().find(|name| !seen.iter().any(|template| template.name == **name)) {
        return Err(no_name(name));
    }
    let all = ids.is_empty() && names.is_empty();
    let rows = seen
        .into_iter()
        .filter(|template| all || ids.contains(&template.id.as_str()) || names.contains(&template.name.as_str()))
        .filter(|template| {
            filters.admit(call.state.ec2.tags_of(&template.id), |name| match name {
                "launch-template-name" => vec![template.name.clone()],
                _ => vec![template.created.to_string()],
            })
        })
        .map(|template| (template.id.clone(), template.render(call.state)))
        .collect();
    let (page, next) = page(call.params, rows, 1, 200)?;
    Ok(branch("found", std::iter::once(list("launchTemplates", "item", page)).chain(next)))
}

/// `DescribeLaunchTemplateVersions` of one template.
pub(super) fn describe_versions(call: &mut Call<'_>) -> Answer {
    let known = ["LaunchTemplateId", "LaunchTemplateName", "LaunchTemplateVersion", "MaxResults", "NextToken"];
    call.params.only("DescribeLaunchTemplateVersions", &known)?;
    let named = TemplateRef::read(call.params);
    let template = template(call.state, &named)?;
    if call.now < template.visible_at {
        return Err(named.name.as_deref().map_or_else(|| no_id(&template.id), no_name));
    }
    let asked = call.params.texts("LaunchTemplateVersion");
    let numbers = asked.iter().map(|version| template.number(version)).collect::<Result<Vec<_>, _>>()?;
    let rows = template
        .versions
        .iter()
        .filter(|(number, _)| numbers.is_empty() || numbers.contains(number))
        .map(|(number, version)| (format!("{number:020}"), template.render_version(*number, version, call.state)))
        .collect();
    let (page, next) = page(call.params, rows, 1, 200)?;
    Ok(branch("found", std::iter::once(list("launchTemplateVersionSet", "item", page)).chain(next)))
}

/// `DeleteLaunchTemplate`, with all its versions. Groups that name it can launch no more.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    call.params.only("DeleteLaunchTemplate", &["LaunchTemplateId", "LaunchTemplateName"])?;
    let gone = template(call.state, &TemplateRef::read(call.params))?.clone();
    let shown = branch("gone", [branch("launchTemplate", gone.render(call.state))]);
    call.state.ec2.templates.remove(&gone.id);
    call.state.ec2.tags.remove(&gone.id);
    call.state.ec2.template_tokens.retain(|_, made| made.template != gone.id);
    Ok(shown)
}
