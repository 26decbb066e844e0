//! A loopback sandbox in a folder of its own, with instances started by hand. Dropping it stops the sandbox.

#![allow(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::types::{
    HttpTokensState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceStateName, InstanceType, ResourceType, Tag,
    TagSpecification,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

pub const BASE: &str = "ami-00000000000000001";

pub struct Bench {
    folder: tempfile::TempDir,
}

/// `adstage` in a home of its own, without anything this computer is logged in to.
pub fn adstage(home: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adstage"));
    command.args(args).current_dir(home.parent().unwrap()).env("ADSTAGE_SANDBOX_HOME", home).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
}

impl Bench {
    pub fn open() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        assert!(bench.adstage(&["sandbox", "start", "--detach"]).status.success());
        bench
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn adstage(&self, args: &[&str]) -> Output {
        adstage(&self.home(), args).output().unwrap()
    }

    pub fn status(&self) -> Value {
        let output = self.adstage(&["sandbox", "status", "--output", "json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What marks the processes of its machines.
    pub fn marker(&self) -> String {
        format!("ADSTAGE_SANDBOX_MACHINE={}/", self.status()["id"].as_str().unwrap())
    }

    pub fn ec2(&self) -> aws_sdk_ec2::Client {
        let keys = Credentials::new("111122223333", "sandbox", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .endpoint_url(self.status()["endpoint"].as_str().unwrap())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        aws_sdk_ec2::Client::new(&config)
    }

    /// A git repository of these files; the commit, and the repository as a provision spec wants it.
    pub fn repository(&self, files: &[(&str, &str)], build: Option<&str>) -> (String, Value) {
        let folder = self.folder.path().join("repository");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let git = |args: &[&str]| {
            let who = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
            let output = Command::new("git").current_dir(&folder).args(who).args(args).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_string()
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", "one"]);
        let commit = git(&["rev-parse", "HEAD"]);
        // A later commit must not find its way onto the image.
        git(&["commit", "-q", "--allow-empty", "-m", "two"]);
        (commit.clone(), json!({ "source": { "path": folder }, "commit": commit, "build": build }))
    }

    pub async fn run(&self, image: &str, user_data: &str, tags: &[(&str, &str)]) -> String {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_tokens(HttpTokensState::Required)
            .instance_metadata_tags(InstanceMetadataTagsState::Enabled);
        let ran = self.ec2().run_instances().image_id(image).min_count(1).max_count(1).instance_type(InstanceType::T3Micro);
        let ran = ran
            .subnet_id("subnet-0000000000000000a")
            .user_data(BASE64.encode(user_data))
            .metadata_options(metadata.build())
            .tag_specifications(TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags)).build())
            .send()
            .await
            .unwrap();
        ran.instances()[0].instance_id().unwrap().to_string()
    }

    /// What the instance wrote to its console; nothing while the id is too new to be known.
    pub async fn console(&self, id: &str) -> String {
        let output = self.ec2().get_console_output().instance_id(id).latest(true).send().await;
        let encoded = output.ok().and_then(|output| output.output().map(str::to_string)).unwrap_or_default();
        String::from_utf8_lossy(&BASE64.decode(encoded).unwrap()).into_owned()
    }

    /// Waits for a text on the console, this many times.
    pub async fn says(&self, id: &str, text: &str, times: usize) -> String {
        let mut console = String::new();
        let said = eventually(async || {
            console = self.console(id).await;
            console.matches(text).count() >= times
        });
        if !said.await {
            panic!("the console of {id} does not say {text:?} {times} times:\n{console}");
        }
        console
    }

    pub async fn until(&self, id: &str, state: InstanceStateName) {
        let reached = eventually(async || {
            let described = self.ec2().describe_instances().instance_ids(id).send().await.unwrap();
            described.reservations()[0].instances()[0].state().unwrap().name() == Some(&state)
        });
        assert!(reached.await, "{id} never became {state}");
    }

    /// A builder's user data for this spec, as a bake writes it.
    pub fn provisioning(spec: &Value) -> String {
        let spec: adstage::model::ProvisionSpec = serde_json::from_value(spec.clone()).unwrap();
        spec.script(None, adstage::model::Seconds(3_600)).unwrap()
    }

    /// A captured builder.
    pub async fn image(&self, spec: &Value) -> String {
        let builder = self.run(BASE, &Self::provisioning(spec), &[("adstage:mode", "builder")]).await;
        self.says(&builder, r#"{"event":"provisioned""#, 1).await;
        self.ec2().stop_instances().instance_ids(&builder).send().await.unwrap();
        self.until(&builder, InstanceStateName::Stopped).await;
        let image = self.ec2().create_image().instance_id(&builder).name("shop").send().await.unwrap().image_id.unwrap();
        let available = eventually(async || {
            let found = self.ec2().describe_images().image_ids(&image).send().await;
            found.is_ok_and(|found| found.images().iter().any(|image| image.state().is_some_and(|state| state.as_str() == "available")))
        });
        assert!(available.await, "{image} never became available");
        image
    }
}

/// Looks, in real time, until it holds; false if it never does.
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..600 {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = adstage(&self.home(), &["sandbox", "stop"]).output();
    }
}

/// Processes whose environment holds this text.
pub fn carrying(text: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let carries = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(text.len()).any(|window| window == text.as_bytes())
    };
    pids.filter(carries).collect()
}

/// Status and body of a GET; `None` if nobody answers.
pub async fn get(authority: &str, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(authority).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, body.to_string()))
}
