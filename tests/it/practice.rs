//! A small company in a sandbox of its own: a page behind the load balancer and a worker.

use crate::workshop::Workshop;

/// `adstage.toml` of it; `confirm` is production's answer.
pub fn config(confirm: &str) -> String {
    format!(
        r#"
app = "acme"

[image]
base = "ami-00000000000000001"
instance-type = "m7i.large"
environment = "production"
repositories.site = {{ path = "repositories/site" }}

[services.web]
repository = "site"
run = 'exec adstage sandbox shop web --listen "$HOST:$PORT" --page index.html --release "$ADSTAGE_RELEASE"'
port = 8001

[services.worker]
repository = "site"
run = "exec sleep 100000"

[env.production]
account = "123456789012"
region = "eu-central-1"
confirm = "{confirm}"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
load-balancer.port = 8080
deploy = {{ stable-for = "1s", watch = "1s", drain = "1s" }}

[env.production.services.web]
instances = 1
instance-type = "m7i.large"
route = {{ priority = 10, paths = ["/*"] }}

[env.production.services.worker]
instances = 1
instance-type = "m7i.large"
"#
    )
}

/// With its first commit; the sandbox runs.
pub fn open(confirm: &str) -> Workshop {
    let company = Workshop::open(&config(confirm));
    next(&company, "one");
    company
}

/// Another page, committed.
pub fn next(company: &Workshop, page: &str) {
    company.write("repositories/site/index.html", page);
    company.commit("site");
}
