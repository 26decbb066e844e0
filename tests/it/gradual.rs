//! Visitors come little by little to a real program that fails one page in twenty.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::time::{Duration, Instant};

use crate::visitors::{Visitors, all_well};
use crate::workshop::Workshop;

const DEPLOY: [&str; 4] = ["deploy", "production", "--confirm", "production"];

/// Two instances of the practice program; `more` is what its command has besides.
fn config(more: &str) -> String {
    format!(
        r#"
app = "acme"

[image]
base = "ami-00000000000000001"
instance-type = "t3.medium"
environment = "production"
repositories.site.path = "repositories/site"

[services.web]
repository = "site"
run = 'exec adstage sandbox shop web --listen "$HOST:$PORT" --page index.html --release "$ADSTAGE_RELEASE" {more}'
port = 8001
health = "/up"

[env.production]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
confirm = "name"

[env.production.load-balancer]
port = 8080

[env.production.services.web]
instances = 2
instance-type = "t3.micro"
route = {{ priority = 10, paths = ["/*"] }}

[env.production.deploy]
healthy-within = "60s"
stable-for = "2s"
drain = "5s"
shift = [{{ percent = 10, watch = "60s" }}, {{ percent = 100, watch = "5s" }}]
"#
    )
}

#[test]
fn m04_one_page_in_twenty_failing_at_ten_percent_is_caught_and_taken_back_while_visitors_hardly_notice() {
    let shop = Workshop::open(&config(""));
    shop.write("repositories/site/index.html", "release one");
    shop.commit("site");
    shop.sandbox(&["setup", "production", "--confirm", "production"]).ends(0);
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    shop.sandbox(&DEPLOY).ends(0);

    shop.write("adstage.toml", &config("--fails-after 0 --fails-every 20"));
    let url = shop.url("acme-production");
    let visitors = Visitors::start(&url, 6, Duration::from_millis(20));
    let failed = shop.sandbox(&DEPLOY).ends(7);
    let back = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let visits = visitors.finish();

    assert!(failed.stderr.contains("requests failed") && failed.stderr.contains("Now serving: r1"), "{}", failed.stderr);
    let (during, after): (Vec<_>, Vec<_>) = visits.into_iter().partition(|visit| visit.at < back);
    let bad: Vec<_> = during.iter().filter(|visit| !matches!(visit.got, Ok((200, _)))).collect();
    assert!(bad.iter().all(|visit| matches!(visit.got, Ok((500, _)))), "nothing but what the release itself does: {bad:?}");
    assert!(!bad.is_empty() && bad.len() * 100 < during.len(), "{} of {} failed", bad.len(), during.len());
    assert!(all_well(&after) > 100);

    let history = shop.sandbox(&["history", "production", "r2"]).ends(0).stdout;
    assert!(history.contains("requests failed") && history.contains("watch"), "{history}");
    let status = shop.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!((status["live"].as_str(), status["drift"].as_array().map(Vec::len)), (Some("r1"), Some(0)), "{status}");
}
