//! `[review]` and `[backing.NAME]`: review boxes, and the stores each of them has for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Entry;
use super::environment::{load_balancer, security_group};
use super::image::name;
use super::problem::Problem;
use super::section::{Section, Spot};
use super::service::{self, Base};
use super::{entries, forms, kind};
use crate::model::{
    AppName, BACKING_READY_WITHIN, Backing, BackingName, Environment, EnvironmentName, Hooks, REVIEW, Review, Seconds, Service,
    ServiceName, short_name,
};

/// Through the Session Manager, as the caller: nothing on the box listens, and every session is in CloudTrail.
const SHELL: &[&str] = &["aws", "ssm", "start-session", "--region", "{region}", "--target", "{instance}"];
/// The same for one command.
const RUN: &[&str] = &[
    "aws",
    "ssm",
    "start-session",
    "--region",
    "{region}",
    "--target",
    "{instance}",
    "--document-name",
    "AWS-StartNonInteractiveCommand",
    "--parameters",
    "{command-json}",
];

/// What stands in a template for what is known only when it is used.
const PLACEHOLDERS: &[&str] = &["{instance}", "{address}", "{region}", "{box}", "{command}", "{command-json}"];

/// What is known of the rest of the file.
pub(super) struct Around<'a> {
    pub app: Option<&'a Spot<AppName>>,
    pub environments: Option<&'a BTreeMap<EnvironmentName, Environment>>,
    /// The names of the environments, right or wrong.
    pub names: &'a [String],
    pub services: &'a [Base],
}

/// The inner `None`: there are no review boxes. The outer: something is wrong.
pub(super) fn read(root: &Section<'_>, around: &Around<'_>) -> Option<Option<Review>> {
    let backing = backing(root);
    let needs = needs(root, around.services, backing.as_ref());
    let Some(entry) = root.entry("review") else {
        return backing.zip(needs).map(|_| None);
    };
    let review = table(root.table("review"), entry, around);
    taken(root, around.names);
    let Table { environment, domain, ttl, ready_within, instance_type, shell, run, clean } = review?;
    Some(Some(Review { environment, domain, instance_type, ttl, ready_within, backing: backing?, needs: needs?, shell, run, clean }))
}

/// The name is review boxes' own.
fn taken(root: &Section<'_>, names: &[String]) {
    let Some(all) = root.entry("env").filter(|_| names.iter().any(|name| name == REVIEW)) else { return };
    if let Some(entry) = entries(&all.node).iter().find(|entry| entry.key == REVIEW) {
        let problem = Problem::new("conflict", "an environment cannot be called `review`", entry.key_span.clone(), "review boxes are");
        root.note(
            problem.help("boxes have this name for what they share: a load balancer and a security group; call the environment otherwise"),
        );
    }
}

/// What the table itself says.
struct Table {
    environment: Environment,
    domain: String,
    ttl: Seconds,
    ready_within: Seconds,
    instance_type: String,
    shell: Vec<String>,
    run: Vec<String>,
    clean: Option<String>,
}

fn table(section: Section<'_>, entry: &Entry, around: &Around<'_>) -> Option<Table> {
    let example = around.names.first().map_or_else(|| "\"staging\"".into(), |name| format!("\"{name}\""));
    let like = section.need::<EnvironmentName>("environment", &example, kind::defined("environment", around.names));
    let domain = section.need("domain", "\"review.example.com\"", kind::like("a domain, review.example.com", forms::host));
    let instance_type = section.want("instance-type", kind::like("an instance type, m7i.large", forms::instance_type));
    let groups = kind::some(kind::like("a security group id, sg-0123456789abcdef0", security_group));
    let security_groups = section.need("security-groups", "[\"sg-…\"]", groups);
    let instance_profile = section.want("instance-profile", kind::like("the name (not the ARN) of an instance profile", forms::iam_name));
    let ttl = section.or("ttl", "8h", kind::span(300..=30 * 86_400));
    let ready_within = section.or("ready-within", "15m", kind::span(30..=7_200));
    let shell = template(&section, "shell", SHELL);
    let run = template(&section, "run", RUN);
    let clean = section.want("clean", kind::filled);
    let variables = service::variables(&section);
    references(&section);
    let base = like.as_ref().and_then(|like| around.environments?.get(&like.value));
    let default_name = around.app.map_or_else(|| "app-review".into(), |app| short_name(&format!("{}-{REVIEW}", app.value)));
    let subnets = base.map(|base| Spot { value: base.subnets.clone(), span: entry.key_span.clone() });
    let load_balancer = load_balancer(section.table("load-balancer"), &default_name, subnets.as_ref(), security_groups.as_ref());
    if let (Some(groups), Some(environments)) = (&security_groups, around.environments) {
        own_groups(&section, groups, environments);
    }
    section.finish();
    let base = base?;
    let environment = Environment {
        name: EnvironmentName::new(REVIEW).ok()?,
        security_groups: security_groups?.value,
        instance_profile: instance_profile.map(|spot| spot.value),
        load_balancer: load_balancer?,
        services: services(base, around.services, &variables?),
        hooks: Hooks::default(),
        ..base.clone()
    };
    let instance_type =
        instance_type.map_or_else(|| environment.services.first().map(|one| one.instance_type.clone()), |spot| Some(spot.value));
    Some(Table {
        environment,
        domain: domain?.value,
        ttl: ttl?.value,
        ready_within: ready_within?.value,
        instance_type: instance_type?,
        shell: shell?,
        run: run?,
        clean: clean.map(|spot| spot.value),
    })
}

/// The same programs as in the environment boxes are like, with none of its variables: those may lead to what it uses.
fn services(base: &Environment, bases: &[Base], variables: &BTreeMap<String, String>) -> Vec<Service> {
    let own = |service: &Service| {
        let parts = bases.iter().filter_map(|base| base.parts.as_ref()).find(|parts| parts.name == service.name);
        let mut own = parts.map(|parts| parts.variables.clone()).unwrap_or_default();
        own.extend(variables.clone());
        own
    };
    // What a release does once is done to an environment's stores, and a box has its own.
    let on_a_box = |service: &Service| Service {
        variables: own(service),
        secrets: BTreeMap::new(),
        release_command: None,
        instances: 1,
        max_instances: 1,
        scaling: None,
        ..service.clone()
    };
    base.services.iter().map(on_a_box).collect()
}

/// A box that shares a security group with an environment could reach whatever that environment's instances reach.
fn own_groups(section: &Section<'_>, groups: &Spot<Vec<String>>, environments: &BTreeMap<EnvironmentName, Environment>) {
    for environment in environments.values() {
        if let Some(shared) = groups.value.iter().find(|group| environment.security_groups.contains(group)) {
            let what = format!("review boxes and {} have the same security group `{shared}`", environment.name);
            let problem = Problem::new("shared-security-group", what, groups.span.clone(), "boxes need one of their own");
            section.note(problem.help("a box runs code nobody has reviewed; it must not reach what other environments use"));
        }
    }
}

/// Secrets are never given to a box.
fn references(section: &Section<'_>) {
    let Some(variables) = section.entry("variables") else { return };
    for variable in entries(&variables.node) {
        let super::Value::Text(text) = &variable.node.value else { continue };
        let secret = ["ssm:", "secretsmanager:", "arn:aws:ssm:", "arn:aws:secretsmanager:"].iter().any(|form| text.starts_with(form));
        if secret {
            let what = format!("`{}` refers to a secret {}", variable.key, section.place());
            let problem = Problem::new("secret-on-a-box", what, variable.node.span.clone(), "boxes get no secrets");
            section.note(problem.help("whoever has a box can read everything on it; give it a value made for boxes"));
        }
    }
}

/// A command as a list of arguments with placeholders.
fn template(section: &Section<'_>, key: &'static str, built_in: &[&str]) -> Option<Vec<String>> {
    if section.entry(key).is_none() {
        return Some(built_in.iter().map(ToString::to_string).collect());
    }
    let template = section.want(key, kind::arguments)?;
    for argument in &template.value {
        let mut rest = argument.as_str();
        while let Some(at) = rest.find('{') {
            rest = &rest[at..];
            let Some(end) = rest.find('}') else { break };
            let found = &rest[..=end];
            let word = found[1..end].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if word && !PLACEHOLDERS.contains(&found) {
                let what = format!("`{key}` has an unknown placeholder {found} {}", section.place());
                let problem =
                    Problem::new("unknown-placeholder", what, template.span.clone(), format!("known are {}", PLACEHOLDERS.join(", ")));
                section.note(problem);
                return None;
            }
            rest = &rest[end..];
        }
    }
    Some(template.value)
}

fn backing(root: &Section<'_>) -> Option<BTreeMap<BackingName, Backing>> {
    let mut all = Some(BTreeMap::new());
    for (entry, section) in root.each("backing") {
        let name = name::<BackingName>(&section, entry);
        let run = section.need("run", "\"postgres -D $DATA\"", kind::filled);
        let ready = section.need("ready", "\"pg_isready\"", kind::filled);
        let prepare = section.want("prepare", kind::filled);
        let user = section.want("user", kind::like("the name of a user of the machine, postgres", forms::user));
        let ready_within = section.or("ready-within", "2m", kind::span(5..=3_600));
        let variables = service::variables(&section);
        section.finish();
        let one = (|| {
            let (prepare, user) = (prepare.map(|spot| spot.value), user.map(|spot| spot.value));
            // Older agents know no other patience.
            let ready_within = Some(ready_within?.value).filter(|within| *within != BACKING_READY_WITHIN);
            Some((name?, Backing { run: run?.value, ready: ready?.value, prepare, user, ready_within, variables: variables? }))
        })();
        match (one, &mut all) {
            (Some((name, one)), Some(all)) => drop(all.insert(name, one)),
            _ => all = None,
        }
    }
    all
}

/// What each service wants to be up before it starts: names of backing stores and of other services.
fn needs(
    root: &Section<'_>,
    services: &[Base],
    backing: Option<&BTreeMap<BackingName, Backing>>,
) -> Option<BTreeMap<ServiceName, Vec<String>>> {
    let mut all = BTreeMap::new();
    let backing: Vec<&str> = backing?.keys().map(BackingName::as_str).collect();
    let mut right = true;
    for base in services {
        if backing.contains(&base.key.as_str()) {
            let heading = root.heading.clone();
            root.note(Problem::new(
                "duplicate-name",
                format!("`{}` is both a service and a backing store", base.key),
                heading,
                "one of them",
            ));
            right = false;
        }
        let Some(needs) = &base.needs else { continue };
        for need in &needs.value {
            let known = backing.contains(&need.as_str()) || services.iter().any(|other| other.key == *need);
            if !known {
                let what = format!("there is no service and no backing store `{need}`");
                root.note(Problem::new("dangling-name", what, needs.span.clone(), format!("needed by {}", base.key)));
                right = false;
            }
        }
        if let Some(parts) = &base.parts {
            all.insert(parts.name.clone(), needs.value.clone());
        }
    }
    let circular = services.iter().find(|base| reaches(&base.key, services, &mut BTreeSet::new(), &base.key));
    if let Some((base, needs)) = circular.and_then(|base| Some((base, base.needs.as_ref()?))) {
        let what = format!("`{}` needs itself in the end", base.key);
        root.note(Problem::new("circular-needs", what, needs.span.clone(), "this leads back to it"));
        right = false;
    }
    right.then_some(all)
}

fn reaches<'s>(from: &'s str, services: &'s [Base], seen: &mut BTreeSet<&'s str>, to: &str) -> bool {
    let needs = services.iter().find(|base| base.key == from).and_then(|base| base.needs.as_ref());
    let next = needs.map(|spot| spot.value.as_slice()).unwrap_or_default();
    next.iter().any(|need| need == to || (seen.insert(need) && reaches(need, services, seen, to)))
}
