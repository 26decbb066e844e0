//! What runs on an instance: a builder's image, and the instances booted from it.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use adstage::model::ConsoleLine;
use aws_sdk_ec2::types::InstanceStateName;
use axum::Router;
use axum::routing::{get as on_get, put};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bench::{Bench, carrying, eventually, get};

const WEB: &str = "printenv >page; cat built >>page; exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page page --release r42";

fn user_data(services: &Value) -> String {
    json!({ "adstage": 1, "app": "shop", "environment": "production", "release": "r42", "services": services }).to_string()
}

fn shop() -> String {
    let web = json!({ "repository": "site", "run": WEB, "port": 8001, "health_path": "/up", "variables": { "GREETING": "hello $HOME" } });
    let worker = json!({ "repository": "site", "run": "exec sleep 1000", "health_path": "/" });
    user_data(&json!({ "web": web, "worker": worker }))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_runs_exactly_what_its_tags_name_and_keeps_it_running() {
    let bench = Bench::open();
    let (commit, site) = bench.repository(&[("file", "text")], Some("echo built-by-provision >built"));
    let image = bench.image(&json!({ "repositories": { "site": site } })).await;
    let id = bench.run(&image, &shop(), &[("adstage:mode", "fleet"), ("adstage:services", "web")]).await;
    bench.says(&id, r#"{"event":"ready","services":["web"]}"#, 1).await;

    let status = bench.status();
    let found = status["instances"].as_array().unwrap().iter().find(|instance| instance["id"] == *id).unwrap().clone();
    let address = found["address"].as_str().unwrap().to_string();
    let (_, page) = get(&format!("{address}:8001"), "/").await.unwrap();
    let wanted = [
        format!("HOST={address}"),
        "PORT=8001".into(),
        format!("ADSTAGE_COMMIT={commit}"),
        "ADSTAGE_RELEASE=r42".into(),
        "GREETING=hello $HOME".into(),
        "built-by-provision".into(),
    ];
    for line in wanted {
        assert!(page.contains(&line), "no {line:?} in {page}");
    }
    let (code, health) = get(&format!("{address}:7600"), "/health").await.unwrap();
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!((code, &health["healthy"]), (200, &json!(true)));
    assert_eq!(health["services"].as_object().unwrap().keys().collect::<Vec<_>>(), ["web"]);

    let pid = i32::try_from(health["services"]["web"]["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let console = bench.says(&id, r#""event":"ready""#, 2).await;
    let exits: Vec<_> = ConsoleLine::all_of(&console).into_iter().filter(|line| matches!(line, ConsoleLine::Exited { .. })).collect();
    assert!(matches!(&exits[..], [ConsoleLine::Exited { code: 137, restarts: 1, .. }]), "{console}");

    bench.ec2().terminate_instances().instance_ids(&id).send().await.unwrap();
    bench.until(&id, InstanceStateName::Terminated).await;
    let marker = format!("{}{id}", bench.marker());
    assert!(eventually(async || carrying(&marker).is_empty()).await, "{:?}", carrying(&marker));
    assert!(eventually(async || !bench.home().join("machines").join(&id).exists()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_is_told_with_its_last_words() {
    let bench = Bench::open();
    let (_, site) = bench.repository(&[("file", "text")], Some("echo 'src/main.c:1: error: \"no\"'; exit 3"));
    let spec = json!({ "repositories": { "site": site } });
    let id = bench.run(crate::bench::BASE, &Bench::provisioning(&spec), &[("adstage:mode", "builder")]).await;
    let console = bench.says(&id, "provision-failed", 1).await;
    let Some(ConsoleLine::ProvisionFailed { repository, what, tail }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert_eq!((repository.unwrap().as_str(), what.as_str()), ("site", "build exited 3"));
    assert_eq!(tail, ["src/main.c:1: error: \"no\""]);

    let missing = json!({ "repositories": { "site": { "source": { "path": "/nowhere" }, "commit": "0".repeat(40) } } });
    let id = bench.run(crate::bench::BASE, &Bench::provisioning(&missing), &[("adstage:mode", "builder")]).await;
    let console = bench.says(&id, "provision-failed", 1).await;
    assert!(console.contains("git fetch from /nowhere failed"), "{console}");

    let spec: adstage::model::ProvisionSpec = serde_json::from_value(spec).unwrap();
    let script = spec.script(Some("echo \"it's\ta \\ mess\"; false"), adstage::model::Seconds(60)).unwrap();
    let id = bench.run(crate::bench::BASE, &script, &[("adstage:mode", "builder")]).await;
    let console = bench.says(&id, "provision-failed", 1).await;
    let failed = ConsoleLine::ProvisionFailed { repository: None, what: "setup exited with 1".into(), tail: vec!["it's a \\ mess".into()] };
    assert_eq!(ConsoleLine::last_of(&console), Some(failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_terminal_evidence_on_the_console() {
    let bench = Bench::open();
    let (_, site) = bench.repository(&[("file", "text")], None);
    let image = bench.image(&json!({ "repositories": { "site": site } })).await;
    let web = json!({ "repository": "site", "run": "echo KEY is not set; exit 4", "port": 8001, "health_path": "/up" });
    let data = user_data(&json!({ "web": web }));
    let looping = bench.run(&image, &data, &[("adstage:mode", "fleet"), ("adstage:services", "web")]).await;
    let console = bench.says(&looping, "crash-looping", 1).await;
    let Some(ConsoleLine::CrashLooping { restarts: 3, tail, .. }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert_eq!(tail, ["KEY is not set"]);
    let address = bench.status()["instances"].as_array().unwrap().iter().find(|found| found["id"] == *looping).unwrap()["address"].clone();
    assert_eq!(get(&format!("{}:7600", address.as_str().unwrap()), "/health").await.unwrap().0, 503);

    let stranger = bench.run(&image, &data, &[("adstage:mode", "fleet"), ("adstage:services", "web queue")]).await;
    let console = bench.says(&stranger, "boot-failed", 1).await;
    assert!(console.contains("name queue, of which its user data says nothing"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_runs_but_is_not_well_says_why_on_the_console() {
    let bench = Bench::open();
    let (_, site) = bench.repository(&[("page", "text")], None);
    let image = bench.image(&json!({ "repositories": { "site": site } })).await;
    let run =
        "echo looking for stock; exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page page --release r42 --stock stock.invalid";
    let web = json!({ "repository": "site", "run": run, "port": 8001, "health_path": "/up" });
    let data = user_data(&json!({ "web": web }));
    let id = bench.run(&image, &data, &[("adstage:mode", "fleet"), ("adstage:services", "web")]).await;
    let console = bench.says(&id, "GET /up -> 503", 1).await;
    let Some(ConsoleLine::Unwell { service, answer, tail }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert_eq!((service.as_str(), answer.as_str()), ("web", "GET /up -> 503 cannot reach stock.invalid"));
    assert_eq!(tail, ["looking for stock"]);
    assert!(!console.contains(r#""event":"ready""#), "{console}");
}

/// Stands for systemd: a program for each name that notes how it was called.
fn stand_in(folder: &std::path::Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>\"$CALLS\"\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_systemd_runs_it_is_given_the_services() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    for folder in ["dev", "run/systemd/system", "opt/adstage/repositories/site", "programs"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("dev/console"), "").unwrap();
    let manifest = json!({ "adstage": "0.1.0", "commits": { "site": "4f2c" } });
    std::fs::write(root.join("opt/adstage/manifest.json"), manifest.to_string()).unwrap();
    let shown = "MainPID=0\\nNRestarts=1\\nSubState=auto-restart\\nExecMainCode=1\\nExecMainStatus=7\\n\
                 ExecMainStartTimestampMonotonic=100\\nExecMainExitTimestampMonotonic=200\\n";
    stand_in(&root.join("programs"), "systemctl", &format!("case \"$1\" in show) printf '{shown}' ;; esac"));
    stand_in(&root.join("programs"), "journalctl", "echo from the journal");

    // An address of its own, so that nothing else has its port 7600.
    let host = format!("127.60.{}.{}", fastrand::u8(..), fastrand::u8(1..255));
    let value = |text: &str| on_get(text.to_string());
    let metadata = Router::new()
        .route("/latest/api/token", put("token"))
        .route("/latest/meta-data/local-ipv4", value(&host))
        .route("/latest/meta-data/tags/instance/adstage:mode", value("fleet"))
        .route("/latest/meta-data/tags/instance/adstage:services", value("worker"))
        .route("/latest/user-data", value(&shop()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, metadata).await.unwrap() });

    let path = format!("{}:/usr/bin:/bin", root.join("programs").display());
    let mut agent = Command::new(env!("CARGO_BIN_EXE_adstage"))
        .args(["agent", "boot"])
        .env("ADSTAGE_ROOT", &root)
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        .env("PATH", path)
        .env("CALLS", home.path().join("calls"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    assert!(eventually(async || read(root.join("dev/console")).contains("exited")).await);
    assert_eq!(get(&format!("{host}:7600"), "/health").await.unwrap().0, 503);
    kill_process(Pid::from_raw(i32::try_from(agent.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());

    let console = read(root.join("dev/console"));
    assert!(console.contains(r#""code":7,"restarts":1,"tail":["from the journal"]"#), "{console}");
    let calls = read(home.path().join("calls"));
    assert!(calls.starts_with("systemctl daemon-reload\nsystemctl start --no-block adstage-worker.service\nsystemctl show "), "{calls}");
    assert!(!calls.contains("stop"), "services outlive the agent: {calls}");
    let unit = read(root.join("run/systemd/system/adstage-worker.service"));
    assert!(
        unit.contains("ExecStart=/bin/sh -c \"exec sleep 1000\"\n") && unit.contains(&format!("Environment=\"HOST={host}\"\n")),
        "{unit}"
    );
}
