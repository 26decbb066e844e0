//! The story of review boxes, on real processes: the practice app whole on several machines at once, each with its own code and its own
//! orders; one is found good, one is thrown away, one ends by itself.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::workshop::{Said, Workshop};

/// The practice app in a folder of its own, with the branches `blue` and `green` of the storefront.
struct Shop {
    company: Workshop,
}

impl Shop {
    fn open() -> Self {
        let company = Workshop::open(include_str!("../../examples/shop/adstage.toml"));
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
        for repository in ["storefront", "backoffice", "courier"] {
            for file in std::fs::read_dir(examples.join(repository)).unwrap().flatten() {
                let name = format!("repositories/{repository}/{}", file.file_name().to_str().unwrap());
                company.write(&name, &std::fs::read_to_string(file.path()).unwrap());
            }
            company.commit(repository);
        }
        let shop = Self { company };
        for branch in ["blue", "green"] {
            shop.git(&["checkout", "-q", "-b", branch, "main"]);
            shop.company.write("repositories/storefront/page.txt", &format!("Welcome to the {branch} shop"));
            shop.company.commit("storefront");
        }
        shop.git(&["checkout", "-q", "main"]);
        shop
    }

    /// In the storefront's repository.
    fn git(&self, args: &[&str]) -> String {
        let folder = self.company.path().join("repositories/storefront");
        let output = Command::new("git").current_dir(folder).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    fn types(&self, line: &str) -> Said {
        self.company.sandbox(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn starts(&self, line: &str) -> std::process::Child {
        let words: Vec<&str> = std::iter::once("--sandbox").chain(line.split_whitespace()).collect();
        self.company.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn boxes(&self) -> Value {
        self.types("review list --output json").ends(0).json()
    }

    /// Where the sandbox says the box is.
    fn url(&self, name: &str) -> Option<String> {
        let status = self.company.status();
        let found = status["boxes"].as_array().unwrap().iter().find(|found| found["name"] == name)?;
        Some(found["url"].as_str().unwrap().to_string())
    }

    /// As a browser asks: it knows by itself that what ends in `localhost` is here.
    fn asks(&self, name: &str, request: &str, body: &str) -> (u16, String) {
        let url = self.url(name).unwrap_or_else(|| panic!("there is no box {name}"));
        let host = url.strip_prefix("http://").unwrap();
        assert!(host.starts_with(&format!("{name}.review.localhost:")), "{host}");
        asks(&format!("127.0.0.1:{}", host.rsplit_once(':').unwrap().1), host, request, body)
    }
}

/// Code and body of what one request is answered.
pub fn asks(authority: &str, host: &str, request: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(authority).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

/// What the README tells to type about boxes, in its order: block by block.
fn readme(block: usize) -> Vec<&'static str> {
    let (_, rest) = include_str!("../../README.md").split_once("### Review boxes").unwrap();
    let (block, _) = rest.split("```console").nth(block).unwrap().split_once("```").unwrap();
    block.lines().filter_map(|line| line.strip_prefix("$ adstage ")).map(|line| line.split(" #").next().unwrap_or(line).trim()).collect()
}

#[test]
fn boxes_live_side_by_side_as_the_readme_tells_and_end_each_in_its_way() {
    let shop = Shop::open();
    let mut told = readme(1).into_iter();
    let mut types_what_is_told = |until: &str| {
        let line = told.by_ref().find(|line| {
            shop.types(&format!("--yes {line}")).ends(0);
            line.contains(until)
        });
        assert!(line.is_some(), "the README does not tell `{until}`");
    };
    shop.types("setup staging --yes").ends(0);
    types_what_is_told("setup review");
    shop.types("image bake --from-base").ends(0);
    let refused = shop.types("review create red --ref storefront=no-such-branch").ends(6);
    assert!(refused.stderr.contains("no-such-branch"), "{}", refused.stderr);

    let others = [("green", "green"), ("short", "main")];
    let others = others.map(|(name, branch)| shop.starts(&format!("review create {name} --ref storefront={branch} --ttl 1h")));
    types_what_is_told("review create blue");
    for child in others {
        Said::from(child.wait_with_output().unwrap()).ends(0);
    }
    shop.company.by_hand(async |account| account.tag_by_hand("short", &[("expires", "2026-01-01T00:00:00Z")]).await);
    each_has_its_own(&shop);
    one_is_looked_into(&shop);
    types_what_is_told("review approve blue");
    shop.types("review delete green --yes").ends(0);
    assert_eq!(shop.url("green"), None);
    assert_eq!(shop.asks("blue", "GET /", "").0, 200);

    // Nobody of adstage's has to run for it: only looking at what is left does.
    let alive = || {
        shop.company.status()["instances"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["mode"] == "review" && one["state"] == "running")
            .count()
    };
    let patience = Instant::now() + Duration::from_secs(120);
    while alive() > 1 {
        assert!(Instant::now() < patience, "a box outlives its deadline");
        std::thread::sleep(Duration::from_millis(500));
    }
    let boxes = shop.boxes();
    assert!(boxes.as_array().unwrap().iter().all(|found| found["name"] == "blue"), "{boxes}");
    let left = || shop.company.by_hand(async |account| account.inventory().await);
    let of_others = |line: &&String| line.contains("-review-") && !line.contains("-blue-");
    assert_eq!(left().iter().filter(of_others).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(shop.boxes()[0]["approved"]["who"].is_string());
    types_what_is_told("review delete blue");
    assert_eq!(left().iter().filter(|line| line.contains("-review-")).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Different code, different orders.
fn each_has_its_own(shop: &Shop) {
    for name in ["blue", "green"] {
        let commit = shop.git(&["rev-parse", "--short", name]);
        assert_eq!(shop.asks(name, "GET /", ""), (200, format!("Welcome to the {name} shop ({commit})\n")));
        assert_eq!(shop.asks(name, "GET /backoffice", "").1.split(" (").next(), Some("Back office: 3 orders waiting"));
    }
    assert_eq!(shop.asks("blue", "POST /orders", "tea"), (200, "tea\n".into()));
    assert_eq!(shop.asks("green", "GET /orders", ""), (200, String::new()));
    assert_eq!(shop.asks("blue", "GET /orders", ""), (200, "tea\n".into()));
}

fn one_is_looked_into(shop: &Shop) {
    let head = ["review", "exec", "blue", "--", "git", "-C", "opt/adstage/repositories/storefront", "rev-parse", "HEAD"];
    assert_eq!(shop.company.sandbox(&head).ends(0).stdout.trim(), shop.git(&["rev-parse", "blue"]));
    let seen = shop.types("review exec blue -- adstage agent inspect").ends(0).json();
    assert_eq!(seen["commits"]["storefront"], json!(shop.git(&["rev-parse", "blue"])), "{seen}");
    let logs = shop.types("review logs blue courier").ends(0).stdout;
    assert!(logs.contains("parcel 1 delivered by"), "{logs}");
}

/// A box that was found good becomes the image; that image, and no other, is what staging and then production get.
#[test]
fn the_box_that_was_approved_is_what_goes_to_production() {
    let shop = Shop::open();
    for line in ["setup staging --yes", "setup production --confirm production", "setup review --yes", "image bake --from-base"] {
        shop.types(line).ends(0);
    }
    shop.types("review create blue --ref storefront=blue").ends(0);
    assert_eq!(shop.asks("blue", "POST /orders", "tea"), (200, "tea\n".into()));
    let early = shop.types("image bake --from blue --yes").ends(6);
    assert!(early.stderr.contains("adstage --sandbox review approve blue"), "{}", early.stderr);
    shop.types("review approve blue").ends(0);
    let [bake, to_staging, to_production, list] = readme(2)[..] else { panic!("the README tells another story") };
    let baked = shop.types(&format!("{bake} --yes --output json")).ends(0).json();
    let (image, blue) = (baked["image"]["name"].as_str().unwrap().to_string(), shop.git(&["rev-parse", "blue"]));
    assert_eq!(baked["image"]["commits"]["storefront"], json!(blue), "{baked}");
    let again = shop.types("image bake --from blue --yes").ends(0);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
    let skips = shop.types("deploy production --confirm production").ends(6);
    assert!(skips.stderr.contains("adstage --sandbox deploy staging"), "{}", skips.stderr);
    for (environment, deploy) in [("staging", to_staging), ("production", to_production)] {
        shop.types(&format!("{deploy} --confirm {environment} --yes")).ends(0);
        let status = shop.types(&format!("status {environment} --output json")).ends(0).stdout;
        assert!(status.contains(&image) && status.contains(&blue), "{status}");
        let balancers = shop.company.status()["load_balancers"].clone();
        let door = balancers.as_array().unwrap().iter().find(|one| one["name"].as_str().unwrap().ends_with(environment)).unwrap();
        let authority = door["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_string();
        let port = authority.rsplit_once(':').unwrap().1;
        let (code, page) = asks(&format!("127.0.0.1:{port}"), &authority, "GET /", "");
        assert_eq!((code, page.as_str()), (200, &*format!("Welcome to the blue shop ({})\n", &blue[..7])), "{environment}");
        // Neither the box's store nor what was in it came along.
        let orders = asks(&format!("127.0.0.1:{port}"), &authority, "GET /orders", "");
        assert_eq!(orders, (404, "no orders are kept here\n".into()), "{environment}");
    }
    let listed = shop.types(list).ends(0).stdout;
    let row = listed.lines().find(|line| line.contains(&image)).unwrap_or_else(|| panic!("{listed}"));
    assert!(row.contains("box blue") && row.contains("production") && row.contains("staging"), "{row}");
}
