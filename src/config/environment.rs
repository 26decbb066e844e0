//! `[env.NAME]`, with `[defaults]` under it: one environment.

use std::collections::BTreeMap;

use super::document::Entry;
use super::image::name;
use super::kind;
use super::problem::Problem;
use super::section::{Book, Section, Spot};
use super::service::{self, Base};
use super::{forms, hooks, scaling, watching};
use crate::model::{
    AppName, Confirm, DeployTiming, Environment, EnvironmentName, HealthCheck, Listener, LoadBalancer, Route, Scheme, SecretReference,
    Service, nearest, short_name,
};

/// What all environments have in common.
pub(super) struct Shared<'s> {
    pub app: Option<&'s Spot<AppName>>,
    pub state_table: Option<&'s Spot<String>>,
    pub services: &'s [Base],
}

fn subnet(text: &str) -> bool {
    forms::id("subnet-", text)
}

pub(super) fn security_group(text: &str) -> bool {
    forms::id("sg-", text)
}

/// One environment; `merged` are its own settings over the defaults.
pub(super) fn read(book: &Book<'_>, entry: &Entry, merged: &[Entry], shared: &Shared<'_>) -> Option<Environment> {
    let section = Section::merged(book, &entry.key, &entry.key_span, merged);
    let name = name::<EnvironmentName>(&section, entry);
    let account = section.need("account", "\"111122223333\"", kind::like("an AWS account id, 12 digits", forms::account));
    let region = section.need("region", "\"eu-central-1\"", kind::like("an AWS Region, eu-central-1", forms::region));
    let profile = section.want("profile", kind::filled);
    let confirm = section.or("confirm", "yes", kind::choice(&[("none", Confirm::None), ("yes", Confirm::Yes), ("name", Confirm::Name)]));
    let subnets = section.need("subnets", "[\"subnet-…\"]", kind::some(kind::like("a subnet id, subnet-0123456789abcdef0", subnet)));
    let groups = kind::some(kind::like("a security group id, sg-0123456789abcdef0", security_group));
    let security_groups = section.need("security-groups", "[\"sg-…\"]", groups);
    let instance_profile = section.want("instance-profile", kind::like("the name (not the ARN) of an instance profile", forms::iam_name));
    let (variables, secrets) = (service::variables(&section), service::secrets(&section));
    let default_name = match (shared.app, &name) {
        (Some(app), Some(name)) => short_name(&format!("{}-{name}", app.value)),
        _ => "app-env".into(),
    };
    let load_balancer = load_balancer(section.table("load-balancer"), &default_name, subnets.as_ref(), security_groups.as_ref());
    let services = services(&section, shared.services, variables.as_ref().zip(secrets.as_ref()));
    let timing = timing(section.table("deploy"));
    let hooks = hooks::read(section.table("hooks"));
    section.finish();
    Some(Environment {
        app: shared.app?.value.clone(),
        name: name?,
        account: account?.value,
        region: region?.value,
        profile: profile.map(|spot| spot.value),
        state_table: shared.state_table?.value.clone(),
        confirm: confirm?.value,
        subnets: subnets?.value,
        security_groups: security_groups?.value,
        instance_profile: instance_profile.map(|spot| spot.value),
        load_balancer: load_balancer?,
        services: services?,
        timing: timing?,
        hooks: hooks?,
    })
}

pub(super) fn load_balancer(
    section: Section<'_>,
    default_name: &str,
    subnets: Option<&Spot<Vec<String>>>,
    security_groups: Option<&Spot<Vec<String>>>,
) -> Option<LoadBalancer> {
    let form = "a load balancer's name: at most 32 letters, digits and inner hyphens";
    let name = section.or("name", default_name, kind::like(form, forms::load_balancer));
    let scheme = kind::choice(&[("internet-facing", Scheme::InternetFacing), ("internal", Scheme::Internal)]);
    let scheme = section.or("scheme", "internet-facing", scheme);
    let certificate = section.want("certificate", kind::like("the ARN of a certificate", forms::certificate));
    let port = section.or("port", if certificate.is_some() { "443" } else { "80" }, kind::number::<u16>(1..=65_535));
    let own = section.want("subnets", kind::some(kind::like("a subnet id, subnet-0123456789abcdef0", subnet)));
    let own_groups = section.want("security-groups", kind::some(kind::like("a security group id", security_group)));
    let subnets = own.or_else(|| subnets.cloned());
    if let Some(few) = subnets.as_ref().filter(|subnets| subnets.value.len() < 2) {
        let what = format!("a load balancer needs two subnets {}", section.place());
        let problem = Problem::new("too-few", what, few.span.clone(), "only one");
        section.note(problem.help("AWS wants subnets in at least two Availability Zones; name another here or as `load-balancer.subnets`"));
    }
    section.finish();
    Some(LoadBalancer {
        name: name?.value,
        scheme: scheme?.value,
        subnets: subnets?.value,
        security_groups: own_groups.or_else(|| security_groups.cloned())?.value,
        listener: Listener { port: port?.value, certificate: certificate.map(|spot| spot.value) },
    })
}

/// Variables and references to secrets that every service of an environment has.
type Common<'c> = (&'c BTreeMap<String, String>, &'c BTreeMap<String, SecretReference>);

fn services(section: &Section<'_>, bases: &[Base], shared: Option<Common<'_>>) -> Option<Vec<Service>> {
    let sections = section.each("services");
    if sections.is_empty() {
        let example = bases.first().map_or("NAME", |base| &base.key);
        section.missing(&format!("services.{example}"), "{ instances = 2, instance-type = \"m7i.large\" }");
        return None;
    }
    let mut priorities: Vec<(Spot<u16>, String)> = Vec::new();
    let mut services = Some(Vec::new());
    for (entry, inner) in sections {
        let base = bases.iter().find(|base| base.key == entry.key);
        if base.is_none() {
            let what = format!("there is no service `{}`", entry.key);
            let problem = Problem::new("dangling-name", what, entry.key_span.clone(), format!("[services.{}] is not defined", entry.key));
            section.note(match nearest(&entry.key, bases.iter().map(|base| base.key.as_str())) {
                Some(near) => problem.help(format!("did you mean `{near}`?")).patch(entry.key_span.clone(), near),
                None => problem,
            });
        }
        let (service, priority) = one_service(inner, base, shared);
        if let Some(priority) = priority {
            if let Some((first, other)) = priorities.iter().find(|(first, _)| first.value == priority.value) {
                let what = format!("two routes have priority {} {}", priority.value, section.place());
                let problem = Problem::new("duplicate-priority", what, priority.span.clone(), "the same priority again");
                section.note(problem.context(first.span.clone(), format!("priority of {other}")));
            }
            priorities.push((priority, entry.key.clone()));
        }
        match (service, &mut services) {
            (Some(service), Some(all)) => all.push(service),
            _ => services = None,
        }
    }
    services
}

fn one_service(section: Section<'_>, base: Option<&Base>, shared: Option<Common<'_>>) -> (Option<Service>, Option<Spot<u16>>) {
    let instances = section.need("instances", "2", kind::number::<u32>(1..=500));
    let twice = instances.as_ref().map_or(2, |instances| instances.value * 2).to_string();
    let max = section.or("max-instances", &twice, kind::number::<u32>(1..=1000));
    if let (Some(instances), Some(max)) = (&instances, &max)
        && max.value < instances.value
    {
        let problem =
            Problem::new("impossible-size", format!("`max-instances` is too small {}", section.place()), max.span.clone(), "at most");
        section.note(problem.context(instances.span.clone(), "but this many are wanted"));
    }
    let scaling = scaling::read(&section, base, instances.as_ref(), max.as_ref());
    let types = types(&section);
    let spot = section.or("spot", "0", kind::number::<u32>(0..=100));
    let grace = section.want("grace", kind::span(1..=3_600));
    let overlap = overlap(&section, base);
    let (route, priority) = route(&section, base);
    let (own, own_secrets) = (service::variables(&section), service::secrets(&section));
    section.finish();
    let service = (|| {
        let parts = base?.parts.as_ref()?;
        let mut variables = parts.variables.clone();
        variables.extend(shared?.0.clone());
        variables.extend(own?);
        let mut secrets = shared?.1.clone();
        secrets.extend(own_secrets?);
        // What has a reference has no plain value.
        variables.retain(|name, _| !secrets.contains_key(name));
        Some(Service {
            name: parts.name.clone(),
            repository: parts.repository.clone(),
            run: parts.run.clone(),
            port: parts.port,
            health_path: parts.health_path.clone(),
            variables,
            secrets,
            release_command: parts.release_command.clone(),
            route: route?,
            instance_type: types.as_ref()?.0.clone(),
            other_types: types?.1,
            spot: spot?.value,
            instances: instances?.value,
            max_instances: max?.value,
            scaling: scaling?,
            grace: grace.as_ref().map_or(parts.grace, |grace| grace.value),
            overlap: overlap?,
        })
    })();
    (service, priority)
}

/// The instance type, and those to take in its stead. Without one of its own, the first of the others is the best.
fn types(section: &Section<'_>) -> Option<(String, Vec<String>)> {
    let form = || kind::like("an instance type, m7i.large", forms::instance_type);
    let written = section.entry("instance-types").is_some();
    let others = section.want("instance-types", kind::some(form()));
    let one = match (section.entry("instance-type"), &others) {
        (None, Some(others)) => others.value.first().cloned(),
        (None, None) if written => None,
        _ => section.need("instance-type", "\"m7i.large\"", form()).map(|one| one.value),
    }?;
    let mut all: Vec<String> = Vec::new();
    for other in others.map(|others| others.value).unwrap_or_default() {
        if other != one && !all.contains(&other) {
            all.push(other);
        }
    }
    Some((one, all))
}

/// Only workers can be held, so only they can opt out of it.
fn overlap(section: &Section<'_>, base: Option<&Base>) -> Option<bool> {
    let Some(written) = section.entry("overlap") else { return Some(false) };
    let overlap = section.want("overlap", kind::flag)?;
    if let Some(base) = base.filter(|base| base.has_port) {
        let what = format!("`overlap` is for workers {}", section.place());
        let problem = Problem::new("conflict", what, written.key_span.clone(), format!("but {} has a port", base.key));
        section.note(problem.help("remove it: a new release gets visitors at the cutover, and not before"));
    }
    Some(overlap.value)
}

/// The route, which is needed exactly when the service has a port. The outer `None`: something is wrong with it.
fn route(section: &Section<'_>, base: Option<&Base>) -> (Option<Option<Route>>, Option<Spot<u16>>) {
    let written = section.entry("route");
    match (written, base) {
        (None, Some(base)) if base.has_port => {
            section.missing("route", "{ priority = 10, paths = [\"/*\"] }");
            return (None, None);
        }
        (None, _) => return (Some(None), None),
        (Some(entry), Some(base)) if !base.has_port => {
            let what = format!("a worker has no route {}", section.place());
            let problem = Problem::new("conflict", what, entry.key_span.clone(), format!("but {} has no port", base.key));
            section.note(problem.help(format!("remove the route, or give [services.{}] a port", base.key)));
        }
        (Some(_), _) => {}
    }
    let route = section.table("route");
    let priority = route.need("priority", "10", kind::number::<u16>(1..=50_000));
    let hosts = kind::list(kind::like("a host name, shop.example.com", forms::host));
    let hosts = if route.entry("hosts").is_some() { route.want("hosts", hosts).map(|spot| spot.value) } else { Some(Vec::new()) };
    let paths = kind::list(kind::like("a path pattern, /admin/*", forms::path_pattern));
    let paths = if route.entry("paths").is_some() { route.want("paths", paths).map(|spot| spot.value) } else { Some(Vec::new()) };
    if let (Some(hosts), Some(paths)) = (&hosts, &paths) {
        // *Quotas for your Application Load Balancers*: five condition values per rule.
        let label = match hosts.len() + paths.len() {
            0 => Some("needs `hosts` or `paths`; [\"/*\"] is everything"),
            1..=5 => None,
            _ => Some("a rule can hold at most five hosts and paths together"),
        };
        if let Some(label) = label {
            route.note(Problem::new("bad-route", format!("no rule can be made of this {}", route.place()), route.heading.clone(), label));
        }
    }
    route.finish();
    let whole = (|| Some(Some(Route { priority: priority.as_ref()?.value, hosts: hosts?, paths: paths? })))();
    (whole, priority)
}

fn timing(section: Section<'_>) -> Option<DeployTiming> {
    let healthy_within = section.or("healthy-within", "10m", kind::span(10..=7_200));
    let stable_for = section.or("stable-for", "20s", kind::span(0..=3_600));
    let watch = section.or("watch", "5m", kind::span(0..=86_400));
    let drain = section.or("drain", "30s", kind::span(0..=3_600));
    let keep_warm = section.or("keep-warm", "1", kind::number::<u32>(0..=3));
    let min_capacity = section.or("min-capacity", "100", kind::number::<u32>(1..=100));
    let watching = watching::read(&section, watch.as_ref());
    if let (Some(stable), Some(within)) = (&stable_for, &healthy_within)
        && stable.value >= within.value
    {
        let what = format!("`stable-for` can never be reached {}", section.place());
        let problem = Problem::new("impossible-span", what, stable.span.clone(), format!("not less than {}", within.value));
        section.note(problem.help("`stable-for` is part of `healthy-within`"));
    }
    let health = health(section.table("health"));
    section.finish();
    Some(DeployTiming {
        health: health?,
        healthy_within: healthy_within?.value,
        stable_for: stable_for?.value,
        watch: watch?.value,
        drain: drain?.value,
        keep_warm: keep_warm?.value,
        min_capacity: min_capacity?.value,
        watching: watching?,
    })
}

fn health(section: Section<'_>) -> Option<HealthCheck> {
    let interval = section.or("interval", "5s", kind::span(5..=300));
    let timeout = section.or("timeout", "2s", kind::span(2..=120));
    let healthy_count = section.or("healthy-count", "2", kind::number::<u32>(2..=10));
    let unhealthy_count = section.or("unhealthy-count", "2", kind::number::<u32>(2..=10));
    if let (Some(interval), Some(timeout)) = (&interval, &timeout)
        && timeout.value >= interval.value
    {
        let what = format!("`timeout` must be less than `interval` {}", section.place());
        section.note(Problem::new("impossible-span", what, timeout.span.clone(), format!("not less than {}", interval.value)));
    }
    section.finish();
    Some(HealthCheck {
        interval: interval?.value,
        timeout: timeout?.value,
        healthy_count: healthy_count?.value,
        unhealthy_count: unhealthy_count?.value,
    })
}

/// What can only be wrong between environments: two that would share a load balancer would cut over each other's visitors.
pub(super) fn check_together(book: &Book<'_>, all: &[Entry], environments: &BTreeMap<EnvironmentName, Environment>) {
    let place =
        |environment: &Environment| (environment.account.clone(), environment.region.clone(), environment.load_balancer.name.clone());
    let span = |name: &EnvironmentName| {
        let found = all.iter().find(|entry| entry.key == name.as_str());
        found.map(|entry| entry.key_span.clone()).unwrap_or_default()
    };
    let list: Vec<&Environment> = environments.values().collect();
    for (index, one) in list.iter().enumerate() {
        for other in list[..index].iter().filter(|other| place(other) == place(one)) {
            let what = format!("{} and {} have the same load balancer `{}`", other.name, one.name, one.load_balancer.name);
            let problem = Problem::new("shared-load-balancer", what, span(&one.name), "same account, Region and name");
            book.note(problem.context(span(&other.name), "as here"));
        }
    }
}
