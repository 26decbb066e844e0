//! The agent on a review box, as a real process on a machine that is a folder, beside a metadata service that says what the test wants.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use adstage::model::{ConsoleLine, Inspection};
use aws_sdk_ec2::types::InstanceStateName;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get as on_get, put};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bench::{Bench, eventually, get};
use crate::typed::typed;

const WEB: &str =
    "printenv >page.new; cat file built >>page.new; exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page page.new --release box";

/// A git repository with a history.
struct Origin(PathBuf);

impl Origin {
    fn of(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let origin = Self(folder);
        origin.git(&["init", "-q", "-b", "main"]);
        origin
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.0, args)
    }

    fn commit(&self, text: &str) -> String {
        std::fs::write(self.0.join("file"), format!("{text}\n")).unwrap();
        std::fs::write(self.0.join(".gitignore"), "ignored\npage.new\n").unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", text]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn checkout(&self, reference: &str, commit: &str, build: Option<&str>) -> Value {
        json!({ "source": { "path": self.0 }, "ref": reference, "commit": commit, "build": build })
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let output = Command::new("git").current_dir(folder).args(who).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// A folder that is a machine.
struct Machine {
    home: tempfile::TempDir,
    host: String,
    endpoint: String,
    user_data: Arc<Mutex<String>>,
    instance: Arc<Mutex<String>>,
    agent: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Machine {
    async fn new(services: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("root/dev")).unwrap();
        std::fs::write(home.path().join("root/dev/console"), "").unwrap();
        // An address of its own, so that nothing else has its port 7600.
        let host = format!("127.61.{}.{}", fastrand::u8(..), fastrand::u8(1..255));
        let user_data = Arc::new(Mutex::new(String::new()));
        let instance = Arc::new(Mutex::new("i-1".to_string()));
        let id = instance.clone();
        let value = |text: &str| on_get(text.to_string());
        let metadata = Router::new()
            .route("/latest/api/token", put("token"))
            .route("/latest/meta-data/local-ipv4", value(&host))
            .route("/latest/meta-data/instance-id", on_get(async move || id.lock().unwrap().clone()))
            .route("/latest/meta-data/tags/instance/adstage:mode", value("review"))
            .route("/latest/meta-data/tags/instance/adstage:services", value(services))
            .route("/latest/meta-data/tags/instance/adstage:expires", value("2199-01-01T00:00:00Z"))
            .route("/latest/user-data", on_get(async |State(text): State<Arc<Mutex<String>>>| text.lock().unwrap().clone()))
            .fallback(async || StatusCode::NOT_FOUND)
            .with_state(user_data.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, metadata).await.unwrap() });
        let machine = Self { home, host, endpoint, user_data, instance, agent: None };
        machine.program("shutdown", "");
        machine
    }

    fn origin(&self, name: &str) -> Origin {
        Origin::of(self.home.path().join("origins").join(name))
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.root().join("opt/adstage/repositories").join(name)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap_or_default()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A program that notes how it was called.
    fn program(&self, name: &str, script: &str) {
        let (path, calls) = (self.root().join("usr/sbin").join(name), self.home.path().join("calls"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>'{}'\n{script}\n", calls.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.home.path().join("calls")).unwrap_or_default()
    }

    fn agent(&self, act: &str) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.root().join("usr/sbin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_adstage"));
        command.args(["agent", act]).env("ADSTAGE_ROOT", self.root()).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.endpoint);
        command.env("PATH", path).env("HOME", self.home.path()).stdin(Stdio::null());
        command
    }

    /// Puts repositories on its disk, as a builder does.
    fn provision(&self, repositories: &Value) {
        self.write("var/lib/adstage/provision.json", &json!({ "repositories": repositories }).to_string());
        let output = self.agent("provision").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn start(&mut self, services: &Value, review: &Value) {
        let data = json!({ "adstage": 1, "app": "shop", "environment": "review", "services": services, "box": review });
        *self.user_data.lock().unwrap() = data.to_string();
        self.agent = Some(self.agent("boot").spawn().unwrap());
    }

    fn stop(&mut self) {
        let Some(mut agent) = self.agent.take() else { return };
        kill_process(Pid::from_raw(i32::try_from(agent.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
        agent.wait().unwrap();
    }

    async fn says(&self, text: &str, times: usize) -> String {
        let mut console = String::new();
        let said = eventually(async || {
            console = self.read("dev/console");
            console.matches(text).count() >= times
        });
        if !said.await {
            panic!("the console does not say {text:?} {times} times:\n{console}");
        }
        console
    }

    async fn health(&self) -> (u16, Value) {
        let (code, body) = get(&format!("{}:7600", self.host), "/health").await.unwrap();
        (code, serde_json::from_str(&body).unwrap())
    }

    async fn page(&self) -> String {
        get(&format!("{}:8001", self.host), "/").await.unwrap().1
    }

    fn inspect(&self) -> Inspection {
        let output = self.agent("inspect").output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && line.trim_end().lines().count() == 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }
}

fn web() -> Value {
    json!({ "repository": "site", "run": WEB, "port": 8001, "health_path": "/up" })
}

const READY: &str = r#""event":"ready""#;

#[test]
fn an_act_it_does_not_know_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(typed(folder.path(), "agent stop").code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_runs_the_refs_asked_for_and_a_restart_redoes_nothing() {
    let mut machine = Machine::new("web").await;
    let (site, stock) = (machine.origin("site"), machine.origin("stock"));
    let old = stock.commit("stock one");
    let (site_main, stock_main) = (site.commit("site main"), stock.commit("stock two"));
    site.git(&["checkout", "-q", "-b", "feature-x"]);
    let feature = site.commit("site feature");
    site.commit("pushed after the box was asked for");
    let spec = |origin: &Origin, commit: &str| json!({ "source": { "path": origin.0 }, "commit": commit, "build": "echo image >built" });
    machine.provision(&json!({ "site": spec(&site, &site_main), "stock": spec(&stock, &stock_main) }));
    // A server that gives no commits by their names.
    std::fs::write(machine.home.path().join(".gitconfig"), "[protocol]\n\tversion = 0\n").unwrap();

    let build = Some("echo \"box $GIT_TERMINAL_PROMPT\" >built");
    let checkouts = json!({ "site": site.checkout("feature-x", &feature, build), "stock": stock.checkout(&old, &old, None) });
    let review = json!({ "name": "blue", "checkouts": checkouts });
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says(READY, 1).await;
    assert!(console.contains(&format!(r#""event":"fetching","repository":"site","ref":"feature-x","commit":"{feature}""#)), "{console}");
    assert_eq!(console.matches(r#""event":"built""#).count(), 2, "{console}");
    let page = machine.page().await;
    for line in ["site feature", "box 0", "ADSTAGE_ENVIRONMENT=review", "ADSTAGE_BOX=blue", &format!("ADSTAGE_COMMIT={feature}")] {
        assert!(page.contains(line), "no {line:?} in {page}");
    }
    assert!(!page.contains("ADSTAGE_RELEASE"), "{page}");
    assert_eq!(git(&machine.repository("site"), &["rev-parse", "--abbrev-ref", "HEAD"]), "feature-x");
    assert_eq!(git(&machine.repository("stock"), &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(git(&machine.repository("stock"), &["rev-parse", "HEAD"]), old);
    let (code, health) = machine.health().await;
    assert_eq!((code, &health["checkouts"]["site"]["state"]), (200, &json!("built")), "{health}");

    // Somebody goes on with it; then the box starts again, and could not even fetch.
    machine.stop();
    git(&machine.repository("site"), &["commit", "-q", "--allow-empty", "-m", "on the box"]);
    let mine = git(&machine.repository("site"), &["rev-parse", "HEAD"]);
    std::fs::write(machine.repository("site").join("file"), "uncommitted\n").unwrap();
    std::fs::remove_dir_all(machine.home.path().join("origins")).unwrap();
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says(READY, 2).await;
    assert_eq!(console.matches(r#""event":"fetching""#).count(), 2, "{console}");
    assert_eq!(console.matches(r#""event":"building""#).count(), 1, "{console}");
    let page = machine.page().await;
    assert!(page.contains("uncommitted") && page.contains(&format!("ADSTAGE_COMMIT={mine}")), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_works_on_is_left_and_named() {
    let mut machine = Machine::new("web").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine.provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main, "build": "echo image >built" } }));
    let feature = site.commit("feature");
    let gone = machine.home.path().join("gone");
    std::fs::rename(&site.0, &gone).unwrap();

    let review = json!({ "name": "blue", "checkouts": { "site": site.checkout("main", &feature, None) } });
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says("checkout-failed", 1).await;
    let Some(ConsoleLine::CheckoutFailed { repository, what, tail }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert!(repository.as_str() == "site" && what.starts_with("git fetch from") && !tail.is_empty(), "{console}");
    machine.stop();

    // Nobody was there: what the image's build left is in nobody's way.
    std::fs::rename(&gone, &site.0).unwrap();
    std::fs::write(machine.repository("site").join("file"), "mine\n").unwrap();
    std::fs::write(machine.repository("site").join("notes"), "mine too\n").unwrap();
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says(r#""event":"kept""#, 1).await;
    machine.says(READY, 1).await;
    let kept = ConsoleLine::all_of(&console).into_iter().find(|line| matches!(line, ConsoleLine::Kept { .. })).unwrap();
    assert_eq!(kept.describe(), "site has uncommitted changes and is left as it is: file, built, notes");
    assert_eq!(machine.health().await.1["checkouts"]["site"]["state"], "kept");
    let page = machine.page().await;
    assert!(page.contains("mine\n") && page.contains(&format!("ADSTAGE_COMMIT={main}")), "{page}");
    machine.stop();

    // Undone, it goes on.
    git(&machine.repository("site"), &["checkout", "file"]);
    std::fs::remove_file(machine.repository("site").join("notes")).unwrap();
    machine.start(&json!({ "web": web() }), &review);
    machine.says(READY, 2).await;
    assert_eq!(machine.inspect().commits.into_values().collect::<Vec<_>>(), [feature]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_names_its_repository_and_starts_nothing() {
    let mut machine = Machine::new("web").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine.provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main } }));
    let feature = site.commit("feature");
    let build = Some("echo 'src/main.c:1: error: \"no\"'; test -f fixed || exit 3; echo box >built");
    let review = json!({ "name": "blue", "checkouts": { "site": site.checkout("main", &feature, build) } });
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says("checkout-failed", 1).await;
    let Some(ConsoleLine::CheckoutFailed { repository, what, tail }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert_eq!((repository.as_str(), what.as_str()), ("site", "build exited 3"));
    assert_eq!(tail, ["src/main.c:1: error: \"no\""]);
    assert!(ConsoleLine::last_of(&console).unwrap().is_terminal_failure() && !console.contains("booted"), "{console}");
    let (code, health) = machine.health().await;
    assert_eq!((code, &health["healthy"]), (503, &json!(false)));
    assert_eq!(health["checkouts"]["site"], json!({ "state": "failed", "trouble": "build exited 3" }));
    assert_eq!(machine.inspect().services.into_values().collect::<Vec<_>>(), [Some("not started yet".into())]);

    // Whoever mends it on the box starts the agent again.
    machine.stop();
    std::fs::write(machine.repository("site").join("fixed"), "").unwrap();
    machine.start(&json!({ "web": web() }), &review);
    let console = machine.says(READY, 1).await;
    assert_eq!((console.matches("\"fetching\"").count(), console.matches("\"building\"").count()), (1, 2), "{console}");
}

/// A store that takes a moment, and notes each of its starts in its data.
fn store() -> Value {
    json!({
        "prepare": "test -z \"$(ls -A \"$DATA\")\" && echo \"$GREETING\" >greeting",
        "run": "echo start >>\"$DATA/starts\"; sleep 0.7; echo \"$HOST\" >\"$DATA/up\"; exec sleep 1000",
        "ready": "test -f \"$DATA/up\" || { echo still warming up; exit 7; }",
        "variables": { "GREETING": "hello" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_prepared_once_and_all_start_in_the_order_of_their_needs() {
    let mut machine = Machine::new("api web").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine.provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main, "build": "echo image >built" } }));
    let data = "var/lib/adstage/backing/cache";
    let api = format!("cat '{}/up' >api-saw; exec sleep 1000", machine.root().join(data).display());
    let api = json!({ "repository": "site", "run": api, "health_path": "/" });
    let mut web = web();
    web["run"] = json!(format!("cp api-saw web-saw; {WEB}"));
    let services = json!({ "api": api, "web": web });
    let review = json!({ "name": "blue", "backing": { "cache": store() }, "needs": { "api": ["cache"], "web": ["api", "cache"] } });
    machine.start(&services, &review);
    assert!(eventually(async || get(&format!("{}:7600", machine.host), "/health").await.is_some()).await);
    let mut waited = false;
    let asked = eventually(async || {
        let (code, health) = machine.health().await;
        waited |= health["services"]["web"]["trouble"] == "waits for api, cache" && code == 503;
        code == 200
    });
    assert!(asked.await && waited);
    let console = machine.says(READY, 1).await;
    assert!(console.contains(r#"{"event":"backing-up","store":"cache"}"#), "{console}");
    assert_eq!(std::fs::read_to_string(machine.repository("site").join("web-saw")).unwrap().trim(), machine.host);
    let health = machine.health().await.1;
    assert_eq!((&health["stores"]["cache"]["up"], health["services"].as_object().unwrap().len()), (&json!(true), 2), "{health}");

    // It is held as services are, and its data is not touched again.
    std::fs::remove_file(machine.root().join(data).join("up")).unwrap();
    let pid = i32::try_from(health["stores"]["cache"]["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    machine.says(r#""event":"exited","service":"cache","code":137"#, 1).await;
    machine.says("backing-up", 2).await;
    machine.stop();
    assert!(crate::bench::carrying(&format!("ADSTAGE_ROOT={}", machine.root().display())).is_empty(), "all end with the agent");
    machine.start(&services, &review);
    machine.says("backing-up", 3).await;
    assert_eq!(
        (machine.read(&format!("{data}/greeting")).as_str(), machine.read(&format!("{data}/starts")).lines().count()),
        ("hello\n", 3)
    );
    machine.stop();

    // The same disk under another instance is a new box, however carelessly captured: nothing of the old one's data is seen there.
    *machine.instance.lock().unwrap() = "i-2".into();
    machine.start(&services, &review);
    machine.says("backing-up", 4).await;
    assert_eq!(machine.read(&format!("{data}/starts")), "start\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_come_up_says_why() {
    let mut machine = Machine::new("web").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine.provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main } }));
    let mut never = store();
    never["run"] = json!("echo cannot read the index; exec sleep 1000");
    never["ready_within"] = json!(5);
    let needs = json!({ "web": ["cache"] });
    machine.start(&json!({ "web": web() }), &json!({ "name": "blue", "backing": { "cache": never }, "needs": needs }));
    let console = machine.says(r#""event":"unwell""#, 1).await;
    let Some(ConsoleLine::Unwell { service, answer, .. }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert_eq!(service.as_str(), "cache");
    assert!(answer.ends_with("-> exited 7 still warming up"), "{answer}");
    let (code, health) = machine.health().await;
    assert_eq!((code, &health["services"]["web"]["trouble"]), (503, &json!("waits for cache")), "{health}");

    // It is not waited for without end; but whoever mends it need not start anything again.
    let console = machine.says("backing-failed", 1).await;
    let Some(ConsoleLine::BackingFailed { what, tail, .. }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
    assert!(what.starts_with("not ready within 5s: `test -f") && what.ends_with("-> exited 7 still warming up"), "{what}");
    assert_eq!(tail, ["cannot read the index"]);
    machine.write("var/lib/adstage/backing/cache/up", "");
    let console = machine.says(READY, 1).await;
    assert_eq!((console.matches("backing-failed").count(), console.matches("backing-up").count()), (1, 1), "{console}");
    machine.stop();

    // One that cannot be prepared is tried again, on an empty folder, when the agent starts again.
    let mut broken = store();
    broken["prepare"] = json!("test -z \"$(ls -A \"$DATA\")\" || exit 5; touch half; echo no space left; exit 3");
    let review = json!({ "name": "green", "backing": { "store": broken }, "needs": { "web": ["store"] } });
    for times in [2, 3] {
        machine.start(&json!({ "web": web() }), &review);
        let console = machine.says("backing-failed", times).await;
        let Some(ConsoleLine::BackingFailed { store, what, tail }) = ConsoleLine::last_of(&console) else { panic!("{console}") };
        assert_eq!((store.as_str(), what.as_str()), ("store", "its preparation exited 3"));
        assert_eq!(tail, ["no space left"]);
        assert_eq!(machine.health().await.1["stores"]["store"]["trouble"], "its preparation exited 3");
        machine.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_systemd_runs_it_is_given_the_stores_first() {
    let mut machine = Machine::new("worker").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine.provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main } }));
    std::fs::create_dir_all(machine.root().join("run/systemd/system")).unwrap();
    let running = "MainPID=4242\\nNRestarts=0\\nSubState=running\\nExecMainStartTimestampMonotonic=100\\n\
                   ExecMainExitTimestampMonotonic=0\\n";
    machine.program("systemctl", &format!("case \"$1\" in show) printf 'MainPID=0\\n\\n{running}' ;; esac"));
    machine.program("journalctl", "");
    let worker = json!({ "repository": "site", "run": "exec sleep 1000", "health_path": "/" });
    let cache = json!({ "run": "cache", "ready": "true" });
    let review = json!({ "name": "blue", "backing": { "cache": cache }, "needs": { "worker": ["cache"] } });
    machine.start(&json!({ "worker": worker }), &review);
    assert!(eventually(async || machine.calls().contains("start --no-block adstage-worker.service")).await, "{}", machine.calls());
    let starts: Vec<String> = machine.calls().lines().filter(|line| line.starts_with("systemctl start")).map(str::to_string).collect();
    assert_eq!(starts, ["cache", "worker"].map(|name| format!("systemctl start --no-block adstage-{name}.service")));
    let unit = machine.read("run/systemd/system/adstage-worker.service");
    assert!(unit.contains("After=network-online.target adstage-cache.service\n"), "{unit}");

    let output = machine.agent("clean").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stop = "systemctl stop adstage-agent.service adstage-cache.service adstage-worker.service\n";
    assert!(machine.calls().ends_with(stop), "{}", machine.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_inspected_and_cleaned() {
    let mut machine = Machine::new("web").await;
    let site = machine.origin("site");
    let main = site.commit("main");
    machine
        .provision(&json!({ "site": { "source": { "path": site.0 }, "commit": main, "build": "echo image >ignored; cp ignored .git/x" } }));
    let output = machine.agent("clean").output().unwrap();
    assert_eq!(output.status.code(), Some(6), "no box yet: {output:?}");

    let mut web = web();
    web["run"] = json!(WEB.replace("page.new", "ignored").replace(" built", ""));
    let keys =
        [("home/ann", "of the image\nann\n"), ("home/bob", "bob\n")].map(|(home, now)| (format!("{home}/.ssh/authorized_keys"), now));
    machine.write(&keys[0].0, "of the image\nrevoked\n");
    machine.start(&json!({ "web": web }), &json!({ "name": "blue", "backing": { "cache": store() } }));
    machine.says(READY, 1).await;
    for (file, now) in &keys {
        machine.write(file, now);
    }
    let inspection = machine.inspect();
    assert_eq!(
        serde_json::to_value(&inspection).unwrap(),
        json!({ "commits": { "site": main }, "dirty": {}, "services": { "web": null } })
    );

    git(&machine.repository("site"), &["commit", "-q", "--allow-empty", "-m", "on the box"]);
    let mine = git(&machine.repository("site"), &["rev-parse", "HEAD"]);
    for path in ["file", "new file"] {
        std::fs::write(machine.repository("site").join(path), "changed\n").unwrap();
    }
    let kept = ["etc/ssh/sshd_config", "home/ann/.bashrc"];
    let removed = ["etc/ssh/ssh_host_ed25519_key", "home/ann/.bash_history", "root/.psql_history", "var/log/journal/1/system.journal"];
    for path in kept.iter().chain(&removed).chain(&["etc/machine-id"]) {
        machine.write(path, "text\n");
    }
    let found = serde_json::to_value(machine.inspect()).unwrap();
    assert_eq!((&found["commits"]["site"], &found["dirty"]["site"]), (&json!(mine), &json!(["file", "new file"])));

    let output = machine.agent("clean").output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    for line in ["/var/lib/adstage/backing", "/var/log/adstage", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/var/log/journal"] {
        assert!(told.contains(&format!("removed {line}\n")), "no {line} in {told}");
    }
    assert!(machine.agent.as_mut().unwrap().wait().unwrap().success(), "the agent has ended");
    for path in removed {
        assert!(!machine.root().join(path).exists(), "{path}");
    }
    assert_eq!(machine.read(&keys[0].0), "of the image\n", "whoever was let onto the box is not let onto every instance of its image");
    assert!(!machine.root().join(&keys[1].0).exists());
    assert_eq!(kept.map(|path| machine.read(path)), ["text\n", "text\n"]);
    assert!(machine.root().join("etc/machine-id").exists() && machine.read("etc/machine-id").is_empty());
    let manifest: Value = serde_json::from_str(&machine.read("opt/adstage/manifest.json")).unwrap();
    assert_eq!(manifest["commits"], json!({ "site": mine }), "an image of it says what is really on it");
    assert!(machine.inspect().services.into_values().all(|trouble| trouble.is_some_and(|what| what.contains("does not answer"))));
    assert_eq!(String::from_utf8(machine.agent("clean").output().unwrap().stdout).unwrap(), "nothing to remove\n");
    machine.agent = None;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_past_its_deadline_is_gone_without_anybody_coming_back() {
    let bench = Bench::open();
    let (_, site) = bench.repository(&[("file", "text")], None);
    let image = bench.image(&json!({ "repositories": { "site": site } })).await;
    let worker = json!({ "repository": "site", "run": "exec sleep 1000", "health_path": "/" });
    let data = json!({ "adstage": 1, "app": "shop", "environment": "review", "services": { "worker": worker }, "box": { "name": "blue" } });
    let expires = (adstage::clock::Clock::real().wall() + jiff::SignedDuration::from_secs(6)).to_string();
    let tags = [("adstage:mode", "review"), ("adstage:services", "worker"), ("adstage:expires", expires.as_str())];
    let id = bench.run(&image, &data.to_string(), &tags).await;
    bench.says(&id, &format!(r#"{{"event":"expires","at":"{expires}"}}"#), 1).await;
    bench.says(&id, "power off", 1).await;
    bench.until(&id, InstanceStateName::Stopped).await;
    let console = bench.console(&id).await;
    assert!(console.contains(READY) && console.contains(r#""event":"expired""#), "{console}");
}
