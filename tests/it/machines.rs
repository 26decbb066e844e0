//! `adstage sandbox start`, `stop`, `status`: one sandbox per folder, and nothing left of it, however it ends.

use aws_sdk_ec2::types::InstanceStateName;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bench::{BASE, Bench, adstage, carrying, eventually};

const SLEEPER: &str = "#!/bin/sh\necho up\nsetsid sleep 1000 &\ntrap '' TERM\nwhile true; do sleep 1; done\n";

#[test]
fn a_folder_has_one_sandbox_and_a_second_start_says_where_it_is() {
    let bench = Bench::open();
    let endpoint = bench.status()["endpoint"].clone();
    let again = bench.adstage(&["sandbox", "start", "--detach", "--output", "json"]);
    assert!(again.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["endpoint"], endpoint);
    assert!(bench.adstage(&["sandbox", "stop"]).status.success());
    assert!(bench.adstage(&["sandbox", "stop"]).status.success(), "stopping is repeatable");
    let status = bench.adstage(&["sandbox", "status", "--output", "json"]);
    assert_eq!(status.status.code(), Some(6));
    assert_eq!(serde_json::from_slice::<Value>(&status.stdout).unwrap()["error"]["next"][0], "adstage sandbox start --detach");
}

#[test]
fn a_sandbox_that_cannot_start_says_why() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = adstage(&home.path().join("home"), &["sandbox", "start", "--detach", "--port", &port]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the sandbox did not start") && told.contains("in use"), "{told}");

    std::fs::write(home.path().join("adstage.toml"), "app = 7\n").unwrap();
    let output = adstage(&home.path().join("home"), &["sandbox", "start"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "a broken adstage.toml is no empty one");
}

/// A sandbox killed with its machines running, and what must bring order: `stop`, or the next `start`.
async fn killed_then(order: &[&str]) {
    let bench = Bench::open();
    let id = bench.run(BASE, SLEEPER, &[]).await;
    bench.says(&id, "up", 1).await;
    let marker = bench.marker();
    assert!(carrying(&marker).len() >= 2);
    let pid = i32::try_from(bench.status()["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert!(bench.adstage(order).status.success());
    assert_eq!(carrying(&marker), Vec::<u32>::new());
    assert!(!bench.home().join("machines").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_what_a_killed_sandbox_left() {
    killed_then(&["sandbox", "stop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_ends_what_a_killed_sandbox_left() {
    killed_then(&["sandbox", "start", "--detach"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_sandbox_is_killed_ends_its_services_by_itself() {
    let bench = Bench::open();
    let (_, site) = bench.repository(&[("file", "text")], None);
    let image = bench.image(&serde_json::json!({ "repositories": { "site": site } })).await;
    let data = r#"{"adstage":1,"app":"shop","environment":"production","services":{"worker":{"repository":"site","run":"sleep 1000","health_path":"/"}}}"#;
    let id = bench.run(&image, data, &[("adstage:mode", "proof"), ("adstage:services", "worker")]).await;
    bench.says(&id, r#"{"event":"ready","services":["worker"]}"#, 1).await;
    let marker = bench.marker();
    let pid = i32::try_from(bench.status()["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert!(eventually(async || carrying(&marker).is_empty()).await, "still there: {:?}", carrying(&marker));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuse_ends_a_machine_nobody_comes_back_for() {
    let bench = Bench::open();
    let id = bench.run(BASE, "#!/bin/sh\nshutdown -h +0\nsleep 1000\n", &[]).await;
    bench.says(&id, "power off", 1).await;
    bench.until(&id, InstanceStateName::Stopped).await;
}
