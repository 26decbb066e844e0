//! Forty operators at once, three environments.

use std::collections::BTreeMap;

use super::typing::Running;
use crate::workshop::{Said, Workshop};

const ENVIRONMENTS: [&str; 3] = ["staging", "preview", "production"];
const OPERATORS: usize = 40;

/// One service at one instance in each environment. No instance becomes healthy before the gate is there.
fn config(gate: &str) -> String {
    let environment = |name: &&str| {
        format!(
            r#"
[env.{name}]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]

[env.{name}.load-balancer]
port = 8080

[env.{name}.services.web]
instances = 1
instance-type = "t3.micro"
route = {{ priority = 10, paths = ["/*"] }}

[env.{name}.deploy]
healthy-within = "15m"
stable-for = "1s"
watch = "1s"
drain = "1s"
"#
        )
    };
    let environments: String = ENVIRONMENTS.iter().map(environment).collect();
    format!(
        r#"
app = "acme"
state-table = "adstage"

[image]
base = "ami-00000000000000001"
instance-type = "t3.medium"
environment = "production"
repositories.site.path = "repositories/site"

[services.web]
repository = "site"
run = '''until [ -e {gate} ]; do sleep 0.1; done; exec adstage sandbox shop web --listen "$HOST:$PORT" --page page --release r'''
port = 8001
{environments}"#
    )
}

fn start(shop: &Workshop, who: &str, args: &[&str]) -> Running {
    let mut command = shop.command(&[&["--sandbox"], args].concat());
    command.env("USER", who);
    Running::start(command, shop.path().join(format!("said/{who}-{}", args[0])))
}

/// The winners' releases start only when the gate opens, and it opens when everybody else has their answer: however slow the machine is,
/// all forty meet deploys that are under way.
#[test]
fn m02_of_forty_operators_of_three_environments_three_proceed_and_all_others_name_whom_they_met() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let shop = Workshop::open(&config(gate.to_str().unwrap()));
    shop.write("repositories/site/page", "hello");
    shop.commit("site");
    let mut made: Vec<_> = ENVIRONMENTS.iter().map(|name| start(&shop, &format!("setup-{name}"), &["setup", name, "--yes"])).collect();
    made.drain(..).for_each(|setup| _ = setup.end().ends(0));
    // A bake proves that the service comes up.
    std::fs::write(&gate, "").unwrap();
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    std::fs::remove_file(&gate).unwrap();

    let mut running: Vec<_> = ENVIRONMENTS.into_iter().cycle().take(OPERATORS).enumerate().collect::<Vec<_>>();
    fastrand::Rng::with_seed(2).shuffle(&mut running);
    let mut running: Vec<_> = running
        .into_iter()
        .map(|(number, environment)| {
            let who = format!("operator-{number}");
            let deploy = start(&shop, &who, &["deploy", environment, "--yes"]);
            (environment, who, deploy)
        })
        .collect();
    let mut blocked: BTreeMap<&str, Vec<Said>> = BTreeMap::new();
    super::shop::until("all but three have their answer", || {
        for index in (0..running.len()).rev() {
            if running[index].2.is_over() {
                let (environment, _, deploy) = running.swap_remove(index);
                blocked.entry(environment).or_default().push(deploy.end());
            }
        }
        running.len() <= ENVIRONMENTS.len()
    });
    std::fs::write(&gate, "").unwrap();
    for (environment, who, deploy) in running {
        let met = blocked.remove(environment).unwrap_or_default();
        assert!(met.len() >= OPERATORS / ENVIRONMENTS.len() - 1, "{environment}: {} were answered", met.len());
        for said in met {
            let said = said.ends(5);
            let names = said.stderr.contains(&format!("{environment} is locked: {who} is deploying r1"));
            assert!(names, "{environment} is {who}'s, but:\n{}", said.stderr);
        }
        deploy.end().ends(0);
    }
}
