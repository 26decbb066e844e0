use std::collections::BTreeMap;
use std::path::Path;

use insta::assert_snapshot;

use super::*;
use crate::model::{Confirm, Scaling, Source};

const EXAMPLE: &str = include_str!("../../examples/adstage.toml");

/// Optional settings start with `#` and no space.
fn uncommented() -> String {
    let setting = |line: &str| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).map(String::from);
    EXAMPLE.lines().map(|line| setting(line).unwrap_or_else(|| line.to_string()) + "\n").collect()
}

fn mistakes(text: &str) -> String {
    let failure = parse(text, Path::new("/shop/adstage.toml")).expect_err("this file has mistakes");
    assert_eq!(failure.end, End::Config);
    let rendered = failure.evidence.join("\n\n") + "\n\n" + &failure.what;
    anstream::adapter::strip_str(&rendered).to_string()
}

#[test]
fn every_setting_is_in_the_example_and_explained() {
    let text = uncommented();
    let book = Book::new(&text);
    let document = document::parse(&text).unwrap();
    read(&book, &document, Path::new("/shop/adstage.toml"));
    assert_eq!(book.problems.take(), vec![]);
    let mut shown: BTreeMap<String, bool> = BTreeMap::new();
    for (setting, present) in book.asked.take() {
        *shown.entry(setting).or_default() |= present;
    }
    let missing: Vec<_> = shown.iter().filter(|(_, present)| !**present).map(|(setting, _)| setting).collect();
    assert!(missing.is_empty(), "not in examples/adstage.toml: {missing:?}");
}

#[test]
fn the_example_as_it_stands_is_valid_and_defaults_are_merged() {
    let config = parse(EXAMPLE, Path::new("/shop/adstage.toml")).unwrap();
    let production = config.environment("production").unwrap();
    assert_eq!(production.region, "eu-central-1");
    assert_eq!(production.confirm, Confirm::Name);
    assert_eq!(production.load_balancer.name, "shop-production");
    assert_eq!(production.timing.drain, Seconds(30));
    let web = &production.services[0];
    assert_eq!((web.name.as_str(), web.instances, web.max_instances, web.instance_type.as_str()), ("web", 3, 6, "m7i.large"));
    assert_eq!(config.builder.repositories.values().next().unwrap().source, Source::Path("/jobs".into()));
    let at = |path: &str| config.settings.iter().find(|setting| setting.path == path).unwrap().line;
    assert_eq!(at("env.production.deploy.drain"), None);
    let line = EXAMPLE.lines().position(|line| line.starts_with("region = ")).unwrap() + 1;
    assert_eq!(at("env.production.region"), Some(line));
}

#[test]
fn the_values_shown_as_built_in_are_the_built_in_ones() {
    let commented =
        |path: &str| parse(&uncommented(), Path::new("/shop/adstage.toml")).unwrap().settings.iter().find(|s| s.path == path).cloned();
    let built_in = parse(EXAMPLE, Path::new("/shop/adstage.toml")).unwrap();
    for setting in built_in.settings.iter().filter(|setting| setting.line.is_none() && setting.path.starts_with("env.production")) {
        // With the certificate of the example the port is another.
        if setting.path != "env.production.load-balancer.port" {
            assert_eq!(commented(&setting.path).map(|s| s.value).as_ref(), Some(&setting.value), "{}", setting.path);
        }
    }
}

#[test]
fn variables_of_the_nearest_table_win() {
    let config = parse(&uncommented(), Path::new("/shop/adstage.toml")).unwrap();
    let variables = &config.environment("production").unwrap().services[0].variables;
    assert_eq!(variables["GREETING"], "good day");
    assert_eq!(variables["LOG_LEVEL"], "info");
    assert_eq!(config.environment("staging").unwrap().services[0].variables["GREETING"], "hello");
}

#[test]
fn a_wrong_environment_name_is_answered_with_the_nearest() {
    let config = parse(EXAMPLE, Path::new("/shop/adstage.toml")).unwrap();
    let failure = config.environment("prodcution").unwrap_err();
    assert_eq!((failure.end, failure.because), (End::Usage, vec!["did you mean `production`?".to_string()]));
}

#[test]
fn spans_of_time() {
    assert_eq!(timespan("5m"), Ok(Seconds(300)));
    assert_eq!(timespan("1h 30m"), Ok(Seconds(5_400)));
    assert_eq!(timespan("2d 1h"), Ok(Seconds(2 * 86_400 + 3_600)));
    assert_eq!(timespan("1500ms"), Err("must be whole seconds".into()));
    assert_eq!(timespan("-5s"), Err("must not be negative".into()));
    assert!(timespan("5").is_err() && timespan("soon").is_err() && timespan("1mo").is_err());
}

#[test]
fn every_mistake_is_reported_at_once() {
    assert_snapshot!(mistakes(
        r#"app = "Shop"
stat-table = "adstage"

[image]
base = "ami-123"
instance-type = "m7i.large"
environment = "stagign"
time-limit = "10s"
repositories.web = { url = "https://git.example.com/web.git", path = "../web" }

[services.web]
repository = "wbe"
run = ""
port = "8001"
variables = { "2FAST" = "x", PORT = "1", RETRIES = 3 }

[services.api]
repository = "web"
run = "bin/api"
port = 8002

[services.admin]
repository = "web"
run = "bin/admin"
port = 8002

[defaults]
regoin = "eu-central-1"
deploy.drain = "2h"

[env.staging]
account = "1111"
region = "eu-central-1"
confirm = "nmae"
subnets = ["subnet-0000000000000000a"]
security-groups = ["sg-00000000000000001", "sg-00000000000000001"]

[env.staging.services.api]
instances = 4
max-instances = 2
instance-type = "large"
route = { priority = 10, paths = ["/api/*"] }

[env.staging.services.admin]
instances = 0
instance-type = "m7i.large"
route = { priority = 10 }

[env.staging.services.wbe]
instances = 1
instance-type = "m7i.large"

[env.staging.deploy]
stable-for = "20m"
health = { interval = "5s", timeout = "5s" }
"#
    ));
}

#[test]
fn a_syntax_error_has_its_place() {
    assert_snapshot!(mistakes("app = \"shop\nimage = 3\napp = \"x\"\n"));
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    assert_snapshot!(mistakes(""));
}

#[test]
fn a_route_goes_with_a_port_and_a_port_with_a_route() {
    let text = EXAMPLE.replace(
        "[env.staging.services.worker]\ninstances = 1",
        "[env.staging.services.worker]\ninstances = 1\nroute = { priority = 11, paths = [\"/w\"] }",
    );
    let text = text.replace("instances = 1\nroute = { priority = 10, paths = [\"/*\"] }", "instances = 1");
    assert_snapshot!(mistakes(&text));
}

#[test]
fn two_environments_never_share_a_load_balancer() {
    let text = EXAMPLE.replace("444455556666", "111122223333").replace("#name = \"shop-production\"", "name = \"shop-staging\"");
    assert_snapshot!(mistakes(&text));
}

#[test]
fn a_file_for_a_newer_adstage_says_only_that() {
    assert_snapshot!(mistakes("required-version = \">=99\"\nnew-key = true\n"));
}

#[test]
fn a_review_box_reaches_nothing_of_other_environments() {
    let text = EXAMPLE
        .replace("security-groups = [\"sg-00000000000000009\"]", "security-groups = [\"sg-00000000000000001\"]")
        .replace("variables = { REDIS_URL", "variables = { KEY = \"ssm:/shop/production/key\", REDIS_URL")
        .replace("#run = [\"ssh\",", "run = [\"ssh\", \"{user}\",")
        .replace("#needs = [\"postgres\"]", "needs = [\"postgres\", \"worker\", \"queue\"]")
        .replace("[services.worker]\nrepository", "[services.worker]\nneeds = [\"web\"]\nrepository");
    let told = mistakes(&text);
    for part in [
        "review boxes and staging have the same security group `sg-00000000000000001`",
        "`KEY` refers to a secret in [review]",
        "`run` has an unknown placeholder {user} in [review]",
        "there is no service and no backing store `queue`",
        "`web` needs itself in the end",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let text = EXAMPLE.replace("user = \"postgres\"", "user = \"Post Gres\"").replace("#ready-within = \"2m\"", "ready-within = \"1s\"");
    let told = mistakes(&text);
    for part in ["must look like the name of a user of the machine, postgres", "must be from 5s to 1h"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let text = EXAMPLE.replace("[env.production]", "[env.review]\naccount = \"111122223333\"\n\n[env.production]");
    assert!(mistakes(&text).contains("an environment cannot be called `review`"));
}

#[test]
fn what_a_service_follows_has_room_and_a_metric_it_can_have() {
    let with = |service: &str, scaling: &str| {
        let section = format!("[env.production.services.{service}]\n");
        EXAMPLE.replace(&section, &format!("{section}scaling = {scaling}\n"))
    };
    let config = parse(&with("web", "{ target-cpu = 60 }"), Path::new("/shop/adstage.toml")).unwrap();
    let scaling = config.environment("production").unwrap().services[0].scaling.clone();
    assert_eq!(scaling, Some(Scaling { cpu: Some(60), requests: None, min: 3, warmup: Seconds(300) }));
    for (service, scaling, part) in [
        ("web", "{}", "nothing to follow in [env.production.services.web.scaling]"),
        ("web", "{ target-cpu = 0 }", "must be from 1 to 100"),
        ("web", "{ target-cpu = 60, min = 4 }", "`min` is too big"),
        ("web", "{ target-cpu = 60, min = 3 }\nmax-instances = 3", "there is no room to scale"),
        ("web", "{ target-cpu = 60, warmup = \"2h\" }", "must be from 0s to 1h"),
        ("web", "{ target-cpu = 60, max = 9 }", "unknown key `max`"),
        ("worker", "{ target-requests-per-instance = 60 }", "a worker gets no requests"),
        ("web", "60", "has the wrong type"),
    ] {
        let told = mistakes(&with(service, scaling));
        assert!(told.contains(part), "{part} is not in {told}");
    }
}
