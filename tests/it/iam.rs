//! `examples/iam/*.json` allow exactly what the code can ask for: every action a command's files can reach, what AWS demands along with
//! it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

type Actions = BTreeSet<String>;

/// What AWS checks along with an action of ours.
const IMPLIED: [(&str, &[&str]); 12] = [
    // What a SecureString or a secret is encrypted with, and what a reference to a secret leads to.
    ("ssm:GetParameter", &["kms:Decrypt", "secretsmanager:GetSecretValue"]),
    // Tags at creation are authorised as CreateTags or AddTags; an instance profile as PassRole.
    ("ec2:RunInstances", &["ec2:CreateTags", "iam:PassRole"]),
    ("ec2:CreateLaunchTemplate", &["ec2:CreateTags"]),
    ("ec2:CreateImage", &["ec2:CreateTags"]),
    ("ec2:CopyImage", &["ec2:CreateTags"]),
    // It deletes the image's snapshots with it.
    ("ec2:DeregisterImage", &["ec2:DeleteSnapshot"]),
    // Auto Scaling checks that the caller could have launched the template himself; the first group ever needs a service role.
    (
        "autoscaling:CreateAutoScalingGroup",
        &["autoscaling:CreateOrUpdateTags", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "iam:CreateServiceLinkedRole"],
    ),
    ("elasticloadbalancing:CreateLoadBalancer", &["elasticloadbalancing:AddTags", "iam:CreateServiceLinkedRole"]),
    ("elasticloadbalancing:CreateListener", &["elasticloadbalancing:AddTags"]),
    ("elasticloadbalancing:CreateRule", &["elasticloadbalancing:AddTags"]),
    ("elasticloadbalancing:CreateTargetGroup", &["elasticloadbalancing:AddTags"]),
    // A transaction is authorised by its parts. No row is ever deleted.
    ("dynamodb:TransactWriteItems", &["dynamodb:ConditionCheckItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]),
];

/// Reads of records, and the writes of a holder: the lock takes its `Dynamodb` by other names than the rest.
const READ: [&str; 2] = ["dynamodb:GetItem", "dynamodb:Query"];
const HOLD: [&str; 2] = ["dynamodb:TransactWriteItems", "dynamodb:UpdateItem"];

/// A policy: the files below `src` whose calls it allows, whether it writes records, and calls in those files that it never makes.
struct Policy {
    name: &'static str,
    files: &'static [&'static str],
    holds: bool,
    never: &'static [&'static str],
}

const WORLD: &str = "observe.rs observe/activity.rs cli/access.rs";
const ROOM: &str = "observe/room.rs";
const BOXES: &str = "observe/boxes.rs cli/review/show.rs";

const POLICIES: [Policy; 8] = [
    Policy { name: "read-only", files: &[WORLD, ROOM, BOXES, "observe/cpu.rs health/probe.rs"], holds: false, never: &[] },
    Policy { name: "instance", files: &["agent/secrets.rs"], holds: false, never: &[] },
    Policy {
        name: "deploy",
        holds: true,
        files: &[
            WORLD,
            ROOM,
            "health/probe.rs health/metrics.rs",
            "steps/await_healthy.rs steps/compare_capacity.rs steps/create_launch_template.rs steps/create_target_group.rs",
            "steps/await_spot.rs steps/cover_spot.rs steps/scale_fleet.rs",
            "steps/claims.rs steps/create_test_rule.rs steps/cut_over_traffic.rs steps/idle_in_route.rs steps/launch_fleet.rs",
            "steps/leave_route.rs",
            "steps/listener.rs steps/pin_size.rs steps/resize_fleet.rs steps/retire_fleet.rs steps/route.rs steps/settle_fleet.rs",
            "steps/traffic_guard.rs steps/watch_fleet.rs steps/run_hook.rs steps/run_release_command.rs steps/set_active.rs",
            "steps/set_scaling.rs",
        ],
        never: &[],
    },
    Policy {
        name: "rollback",
        holds: true,
        files: &[
            WORLD,
            // `scale` is done with it too.
            ROOM,
            "health/probe.rs",
            "steps/await_healthy.rs steps/create_launch_template.rs steps/create_target_group.rs steps/create_test_rule.rs",
            "steps/await_spot.rs steps/cover_spot.rs steps/scale_fleet.rs",
            "steps/cut_over_traffic.rs steps/launch_fleet.rs steps/leave_route.rs steps/listener.rs steps/pin_size.rs steps/resize_fleet.rs",
            "steps/retire_fleet.rs steps/route.rs steps/settle_fleet.rs steps/traffic_guard.rs steps/watch_fleet.rs",
            "steps/set_active.rs steps/set_scaling.rs",
        ],
        // To a release whose fleets are warm: it can start nothing new, only remove. Otherwise use the deploy policy.
        never: &[
            "ec2:CreateLaunchTemplate",
            "elasticloadbalancing:CreateTargetGroup",
            "elasticloadbalancing:ModifyTargetGroupAttributes",
            "autoscaling:CreateAutoScalingGroup",
        ],
    },
    Policy {
        name: "bake",
        holds: true,
        files: &[
            "cli/access.rs",
            "steps/await_proof.rs steps/await_provision.rs steps/bake_machine.rs steps/capture_image.rs steps/launch_builder.rs",
            "steps/capture_box.rs",
            "steps/launch_proof.rs steps/mark_verified.rs steps/stop_builder.rs steps/terminate_builder.rs steps/terminate_proof.rs",
        ],
        never: &[],
    },
    Policy {
        name: "image",
        holds: true,
        files: &[
            "cli/access.rs observe/shelf.rs observe/uses.rs",
            "steps/capture_image.rs steps/copy_image.rs steps/fetch_image.rs steps/delete_image.rs steps/share_image.rs",
        ],
        // It only waits as a capture does.
        never: &["ec2:CreateImage"],
    },
    Policy {
        name: "review",
        holds: true,
        files: &[
            WORLD,
            ROOM,
            BOXES,
            "steps/approve_box.rs steps/await_box.rs steps/bake_machine.rs steps/claims.rs steps/create_box_rules.rs",
            "steps/create_box_target_groups.rs steps/delete_box_rules.rs steps/delete_box_target_groups.rs steps/extend_box.rs",
            "steps/launch_box.rs steps/listener.rs steps/register_box.rs steps/terminate_box.rs",
        ],
        // What the rest of the world is looked at with.
        never: &["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribePolicies", "ec2:DescribeLaunchTemplates"],
    },
    Policy {
        name: "setup",
        holds: true,
        files: &[WORLD, "aws/dynamodb/table.rs steps/create_listener.rs steps/create_load_balancer.rs steps/create_route_rule.rs"],
        never: &[],
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The prefix of a service's actions, by the file of `src/aws` its methods are in.
fn service(path: &str) -> Option<(&'static str, &'static str)> {
    let services = [
        ("ec2", "ec2"),
        ("autoscaling", "autoscaling"),
        ("elbv2", "elasticloadbalancing"),
        ("dynamodb", "dynamodb"),
        ("secretsmanager", "secretsmanager"),
        ("ssm", "ssm"),
        ("servicequotas", "servicequotas"),
        ("sts", "sts"),
        ("cloudwatch", "cloudwatch"),
    ];
    services.into_iter().find(|(module, _)| path.starts_with(&format!("src/aws/{module}")))
}

/// The words that follow a marker, if they look like actions.
fn quoted_after(text: &str, marker: &str) -> Vec<String> {
    let rest = text.split(marker).skip(1);
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>();
    rest.map(word).filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

/// Methods called on something of this name, over line ends.
fn methods_called(text: &str, receiver: &str) -> Vec<String> {
    let squeezed: String = text.split_whitespace().collect();
    let pattern = format!("{receiver}.");
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = squeezed.match_indices(&pattern).filter(|(at, _)| !squeezed[..*at].ends_with(inside)).map(|(at, _)| at + pattern.len());
    let name = |at: usize| {
        let name: String = squeezed[at..].chars().take_while(|c| inside(*c)).collect();
        squeezed[at + name.len()..].starts_with('(').then_some(name)
    };
    starts.filter_map(name).collect()
}

/// For every method of `src/aws`, `(service module, method)`: the actions it can send, its own and those of the methods it calls.
fn method_table() -> BTreeMap<(String, String), Actions> {
    let mut own: BTreeMap<(String, String), (Actions, Vec<String>)> = BTreeMap::new();
    for source in crate::architecture::source::Source::all("src/aws") {
        let Some((module, prefix)) = service(&source.path) else { continue };
        let text = read(&source.path);
        let lines: Vec<&str> = text.lines().collect();
        for (line, name, length) in crate::architecture::source::functions(source.production()) {
            let body = lines[line - 1..line - 1 + length].join("\n");
            let markers = ["call(\"", "ACTION: &str = \"", "one_error(\"", "from_sdk(\""];
            let actions = markers.iter().flat_map(|marker| quoted_after(&body, marker)).map(|action| format!("{prefix}:{action}"));
            let entry = own.entry((module.to_string(), name)).or_default();
            entry.0.extend(actions);
            entry.1.extend(methods_called(&body, "self"));
        }
    }
    let reach = |start: &(String, String)| {
        let (mut seen, mut todo, mut actions) = (BTreeSet::new(), vec![start.clone()], Actions::new());
        while let Some(method) = todo.pop() {
            if let Some((direct, calls)) = own.get(&method).filter(|_| seen.insert(method.clone())) {
                actions.extend(direct.iter().cloned());
                todo.extend(calls.iter().map(|call| (method.0.clone(), call.clone())));
            }
        }
        actions
    };
    own.keys().map(|method| (method.clone(), reach(method))).collect()
}

/// The actions that a file can cause.
fn actions_of(file: &str, table: &BTreeMap<(String, String), Actions>) -> Actions {
    let path = format!("src/{file}");
    if let Some((module, _)) = service(&path) {
        let here = crate::architecture::source::Source::new(&path, &read(&path));
        let names = crate::architecture::source::functions(here.production());
        return names.into_iter().flat_map(|(_, name, _)| table[&(module.to_string(), name)].clone()).collect();
    }
    let source = crate::architecture::source::Source::new(&path, &read(&path));
    let services = ["ec2", "autoscaling", "elbv2", "dynamodb", "secretsmanager", "servicequotas", "ssm", "sts", "cloudwatch"];
    let called = services
        .iter()
        .flat_map(|module| methods_called(source.production(), module).into_iter().map(|method| (module.to_string(), method)));
    called.filter_map(|method| table.get(&method)).flatten().cloned().collect()
}

fn with_implied(actions: Actions) -> Actions {
    let implied = IMPLIED.iter().filter(|(with, _)| actions.contains(*with)).flat_map(|(_, more)| more.iter());
    let mut all: Actions = implied.map(|action| action.to_string()).collect();
    all.extend(actions);
    // A transaction has no action of its own.
    all.remove("dynamodb:TransactWriteItems");
    all
}

fn wanted(policy: &Policy, table: &BTreeMap<(String, String), Actions>) -> Actions {
    let files = policy.files.iter().flat_map(|files| files.split(' '));
    let mut actions: Actions =
        files.flat_map(|file| actions_of(file, table)).filter(|action| !policy.never.contains(&action.as_str())).collect();
    // An instance knows nothing of the records.
    let reads = !policy.files.iter().any(|files| files.starts_with("agent/"));
    actions.extend(READ.iter().filter(|_| reads).map(|action| action.to_string()));
    actions.extend(HOLD.iter().filter(|_| policy.holds).map(|action| action.to_string()));
    with_implied(actions)
}

fn statements(name: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&read(&format!("examples/iam/{name}.json"))).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().map(|value| value.as_str().unwrap().to_string()).collect(),
        other => panic!("{other}"),
    }
}

fn allowed(name: &str) -> Actions {
    statements(name).iter().flat_map(|statement| texts(&statement["Action"])).collect()
}

#[test]
fn policies_allow_exactly_what_their_commands_can_ask_for() {
    let table = method_table();
    for policy in &POLICIES {
        let (wanted, allowed) = (wanted(policy, &table), allowed(policy.name));
        let missing: Vec<_> = wanted.difference(&allowed).collect();
        let excess: Vec<_> = allowed.difference(&wanted).collect();
        assert!(missing.is_empty() && excess.is_empty(), "{}.json: missing {missing:?}, excess {excess:?}", policy.name);
    }
}

#[test]
fn no_action_of_the_code_is_without_a_policy() {
    let all: Actions = method_table().into_values().flatten().collect();
    // Nothing is ever deleted from the table.
    let unused: Actions = ["dynamodb:DeleteItem".to_string()].into();
    let covered: Actions = POLICIES.iter().flat_map(|policy| allowed(policy.name)).collect();
    let uncovered: Vec<_> = with_implied(all).into_iter().filter(|action| !covered.contains(action) && !unused.contains(action)).collect();
    assert!(uncovered.is_empty(), "{uncovered:?}");
}

#[test]
fn every_step_belongs_to_a_policy() {
    let listed: BTreeSet<&str> = POLICIES.iter().flat_map(|policy| policy.files).flat_map(|files| files.split(' ')).collect();
    let table = method_table();
    let steps = crate::architecture::source::Source::all("src/steps");
    let files = steps.iter().filter(|source| !source.is_test()).map(|source| source.path.trim_start_matches("src/").to_string());
    let forgotten: Vec<_> = files.filter(|file| !listed.contains(file.as_str()) && !actions_of(file, &table).is_empty()).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn whoever_only_looks_changes_nothing_and_a_rollback_starts_nothing() {
    let changes =
        |action: &String| !["Describe", "Get", "List", "Query"].iter().any(|read| action.split(':').nth(1).unwrap().starts_with(read));
    assert_eq!(allowed("read-only").into_iter().filter(changes).collect::<Vec<_>>(), Vec::<String>::new());
    let starts = ["ec2:RunInstances", "autoscaling:CreateAutoScalingGroup", "iam:PassRole"];
    assert!(starts.iter().all(|action| !allowed("rollback").contains(*action)));
}

#[test]
fn wildcards_have_a_reason() {
    for policy in &POLICIES {
        for statement in statements(policy.name) {
            let (sid, actions) = (statement["Sid"].as_str().unwrap(), texts(&statement["Action"]));
            assert!(actions.iter().all(|action| !action.contains('*')), "{}: {sid}", policy.name);
            // Describe and its like accept no resource; the others name theirs, or are bound by their condition.
            let everything = texts(&statement["Resource"]) == ["*"];
            let reason = sid == "Look" || statement["Condition"].is_object();
            assert!(!everything || reason, "{}: {sid} allows everything for no reason", policy.name);
        }
        let size = serde_json::to_string(&statements(policy.name)).unwrap().len();
        assert!(size < 6_144, "{}: {size} characters, more than a managed policy may have", policy.name);
    }
}

#[test]
fn the_table_follows_a_method_through_the_methods_it_calls() {
    let table = method_table();
    let reaches = |module: &str, method: &str| table[&(module.to_string(), method.to_string())].clone();
    assert_eq!(reaches("ec2", "image_named"), ["ec2:DescribeImages".to_string()].into());
    assert!(reaches("dynamodb", "create_table").contains("dynamodb:UpdateTimeToLive"));
    assert!(reaches("dynamodb", "write").contains("dynamodb:TransactWriteItems"));
    assert_eq!(reaches("sts", "caller"), ["sts:GetCallerIdentity".to_string()].into());
}
