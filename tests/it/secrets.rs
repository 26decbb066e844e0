//! Secrets with real processes: pinned per release, read by the instances alone, and nowhere to be found but in the process they are for.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::stage::{DEPLOY, company, config, server};
use crate::visitors::get;
use crate::workshop::{Workshop, processes_of};

/// What nobody may ever see; each is one version.
const VALUES: [&str; 2] = ["postgres://hunter2@db-one", "postgres://swordfish@db-two"];
const KEYS: [&str; 2] = ["sk-first-of-two", "sk-second-of-two"];

/// `aws ssm put-parameter`.
fn put(shop: &Workshop, name: &str, value: &str) -> Value {
    asked(shop, "AmazonSSM.PutParameter", &json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true }))
}

/// `aws secretsmanager create-secret` or `put-secret-value`; a version's id is its name here.
fn keep(shop: &Workshop, action: &str, version: &str, value: &str) {
    let told = json!({ "Name": "acme/api", "SecretId": "acme/api", "ClientRequestToken": version, "SecretString": value });
    assert_eq!(asked(shop, &format!("secretsmanager.{action}"), &told)["VersionId"], version);
}

/// A call, as it is on the wire.
fn asked(shop: &Workshop, target: &str, body: &Value) -> Value {
    let (body, service) = (body.to_string(), if target.starts_with("AmazonSSM") { "ssm" } else { "secretsmanager" });
    let endpoint = shop.status()["endpoint"].as_str().unwrap().to_string();
    let authority = endpoint.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {authority}\r\nX-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=123456789012/20261122/eu-central-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap()
}

/// What a page says of values without saying them.
fn digest(values: [&str; 2]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(values.concat().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Files below a folder that hold this text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(holding(&path, text)),
            kind if kind.is_file() => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
            _ => {}
        }
    }
    found
}

/// Processes of the sandbox's machines that have this among their variables.
fn running_with(shop: &Workshop, variable: &str) -> usize {
    let id = shop.status()["id"].as_str().unwrap().to_string();
    let has = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    };
    processes_of(&id).iter().filter(|pid| has(pid)).count()
}

#[test]
fn secrets_are_pinned_per_release_and_known_to_their_process_only() {
    let run = format!("printf %s \"$DATABASE_URL$API_KEY\" | sha256sum | cut -c1-12 > index.html; {}", server());
    let text = config(&run, 1, "30s");
    let shop = company(&text, "nothing");
    // The image is proved without: a proof has the environment's references, and there were none yet.
    let secrets = "secrets = { DATABASE_URL = \"ssm:/acme/production/db\", API_KEY = \"secretsmanager:acme/api\" }";
    shop.write("adstage.toml", &text.replace("instances = 1", &format!("instances = 1\n{secrets}")));
    let missing = shop.sandbox(&DEPLOY).ends(6);
    for what in ["DATABASE_URL of web: there is no parameter /acme/production/db", "API_KEY of web: there is no secret acme/api"] {
        assert!(missing.stderr.contains(what), "{}", missing.stderr);
    }

    let deploy = [&DEPLOY[..], &["--events-file", "events.ndjson", "-v"]].concat();
    assert_eq!(put(&shop, "/acme/production/db", VALUES[0])["Version"], 1);
    keep(&shop, "CreateSecret", "11111111-1111-4111-8111-111111111111", KEYS[0]);
    let mut said = vec![shop.sandbox(&deploy).ends(0)];
    let url = shop.url("acme-production");
    let page = || get(url.strip_prefix("http://").unwrap(), "/").unwrap().1.trim().to_string();
    assert_eq!(page(), digest([VALUES[0], KEYS[0]]));

    assert_eq!(put(&shop, "/acme/production/db", VALUES[1])["Version"], 2);
    keep(&shop, "PutSecretValue", "22222222-2222-4222-8222-222222222222", KEYS[1]);
    said.push(shop.sandbox(&["deploy", "production", "--plan"]).ends(0));
    for note in [
        "DATABASE_URL of web changes from ssm:/acme/production/db:1 to ssm:/acme/production/db:2",
        "API_KEY of web changes from secretsmanager:acme/api:11111111-1111-4111-8111-111111111111 to secretsmanager:acme/api:22222222-2222-4222-8222-222222222222",
    ] {
        assert!(said[1].stdout.contains(note), "{}", said[1].stdout);
    }
    said.push(shop.sandbox(&["deploy", "production", "--plan", "--output", "json"]).ends(0));
    said.push(shop.sandbox(&deploy).ends(0));
    assert_eq!(page(), digest([VALUES[1], KEYS[1]]));
    assert!(running_with(&shop, &format!("DATABASE_URL={}", VALUES[1])) > 0);

    said.push(shop.sandbox(&["rollback", "production", "--yes"]).ends(0));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(page(), digest([VALUES[0], KEYS[0]]), "the running process has the old one again");

    for release in ["r1", "r2"] {
        said.push(shop.sandbox(&["history", "production", release]).ends(0));
        said.push(shop.sandbox(&["history", "production", release, "--output", "json"]).ends(0));
    }
    assert!(said.last().unwrap().stdout.contains("ssm:/acme/production/db:2"), "references are no secret");
    for value in VALUES.into_iter().chain(KEYS) {
        assert_eq!(holding(shop.path(), value), Vec::<String>::new(), "on a disk, in a log, on a console, in an event");
        let tellers = said.iter().filter(|said| said.stdout.contains(value) || said.stderr.contains(value)).count();
        assert_eq!(tellers, 0, "a command said it");
    }
}
