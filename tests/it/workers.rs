//! A queue of jobs worked off by real worker processes across a deploy and a rollback: every job is done exactly once, by exactly one
//! release at any moment after a hand-over has settled, and none is lost when the old worker is told to stop.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::workshop::Workshop;

/// Takes one job after the other: whoever moves it first has it. Told to stop, it finishes the one it has.
const WORKER: &str = r#"
stop=
trap 'stop=1' TERM
while [ -z "$stop" ]; do
    job=$(ls "$QUEUE/todo" | head -n 1)
    if [ -z "$job" ]; then sleep 0.05; continue; fi
    mv "$QUEUE/todo/$job" "$QUEUE/taken/$job" 2>/dev/null || continue
    begun=$(date +%s%N)
    (trap '' TERM; sleep 0.4)
    echo "$job $ADSTAGE_RELEASE $begun" >>"$QUEUE/done"
done
"#;

fn config(queue: &Path, page: &str) -> String {
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
run = "exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page page --release \"$ADSTAGE_RELEASE\""
port = 8001

[services.worker]
repository = "site"
run = "exec sh worker.sh"
grace = "10s"

[env.production]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
confirm = "name"
variables = {{ QUEUE = "{queue}", PAGE = "{page}" }}

[env.production.load-balancer]
port = 8080

[env.production.services.web]
instances = 1
instance-type = "t3.micro"
route = {{ priority = 10, paths = ["/*"] }}

[env.production.services.worker]
instances = 2
instance-type = "t3.micro"

[env.production.deploy]
healthy-within = "60s"
stable-for = "2s"
watch = "3s"
drain = "2s"
keep-warm = 1
"#,
        queue = queue.display(),
    )
}

/// Somebody who puts in one job after the other.
struct Producer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Producer {
    fn start(queue: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !told.load(Ordering::Relaxed) {
                std::fs::write(queue.join("todo").join(format!("{count:06}")), "").unwrap();
                count += 1;
                std::thread::sleep(Duration::from_millis(300));
            }
            count
        });
        Self { stop, thread }
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A job that is done.
struct Job {
    number: String,
    release: String,
    /// Nanoseconds of the wall clock.
    begun: u128,
}

fn done(queue: &Path) -> Vec<Job> {
    let text = std::fs::read_to_string(queue.join("done")).unwrap_or_default();
    let job = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Job { number: words[0].into(), release: words[1].into(), begun: words[2].parse().unwrap() }
    };
    text.lines().map(job).collect()
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// Which releases began jobs in a span.
fn at_work(jobs: &[Job], from: u128, to: u128) -> Vec<String> {
    let mut releases: Vec<String> = jobs.iter().filter(|job| job.begun >= from && job.begun < to).map(|job| job.release.clone()).collect();
    releases.sort();
    releases.dedup();
    releases
}

/// `worker` in `status`: each release with what it is at.
fn activities(shop: &Workshop) -> Vec<(String, String)> {
    let status = shop.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!(status["drift"], serde_json::json!([]), "{status}");
    let services = status["services"].as_array().unwrap().iter().filter(|one| one["service"] == "worker");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    services.map(|one| (text(&one["release"]), text(&one["activity"]))).collect()
}

#[test]
fn every_job_is_done_once_by_one_release_across_a_deploy_and_a_rollback() {
    const DEPLOY: [&str; 4] = ["deploy", "production", "--confirm", "production"];
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().to_path_buf();
    ["todo", "taken"].iter().for_each(|name| std::fs::create_dir(queue.join(name)).unwrap());
    let shop = Workshop::open(&config(&queue, "one"));
    shop.write("repositories/site/worker.sh", WORKER);
    shop.write("repositories/site/page", "hello");
    shop.commit("site");
    shop.sandbox(&["setup", "production", "--confirm", "production"]).ends(0);
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    shop.sandbox(&DEPLOY).ends(0);
    let pair = |release: &str, activity: &str| (release.to_string(), activity.to_string());
    assert_eq!(activities(&shop), [pair("r1", "active")]);

    let producer = Producer::start(queue.clone());
    let first = now();
    shop.write("adstage.toml", &config(&queue, "two"));
    shop.sandbox(&DEPLOY).ends(0);
    let second = now();
    assert_eq!(activities(&shop), [pair("r1", "held"), pair("r2", "active")]);
    std::thread::sleep(Duration::from_secs(3));
    let back = now();
    shop.sandbox(&["rollback", "production", "--yes"]).ends(0);
    let settled = now();
    assert_eq!(activities(&shop), [pair("r1", "active"), pair("r2", "held")]);
    std::thread::sleep(Duration::from_secs(3));
    let count = producer.end();

    let patience = Instant::now() + Duration::from_secs(30);
    while done(&queue).len() < count && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(100));
    }
    let jobs = done(&queue);
    let mut numbers: Vec<&str> = jobs.iter().map(|job| job.number.as_str()).collect();
    numbers.sort_unstable();
    let all: Vec<String> = (0..count).map(|number| format!("{number:06}")).collect();
    assert_eq!(numbers, all, "every job once, none lost");
    assert_eq!(at_work(&jobs, second, back), ["r2"], "once the deploy has settled");
    assert_eq!(at_work(&jobs, settled, u128::MAX), ["r1"], "once the rollback has settled");
    assert_eq!(at_work(&jobs, first, second), ["r1", "r2"], "there was no time without a worker worth the name");
    // Each release began its work once: the old one took no job after the new one had been at it for as long as a hand-over takes.
    let of = |release: &str| -> Vec<u128> {
        jobs.iter().filter(|job| job.release == release && job.begun < second).map(|job| job.begun).collect()
    };
    let both = of("r1").into_iter().max().unwrap().saturating_sub(of("r2").into_iter().min().unwrap());
    assert!(both < Duration::from_secs(6).as_nanos(), "both worked for {} ms", both / 1_000_000);
}
