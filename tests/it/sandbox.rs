//! The sandbox through the real SDK, in process and in virtual time: what it owes AWS, and each point in which it differs.

use std::time::Duration;

use adstage::sandbox::{Misfortune, Options, Sandbox, Speed, When};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceType, ResourceType,
    ShutdownBehavior, Tag, TagSpecification,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::Instant;

const BASE: &str = "ami-00000000000000001";
const SUBNET: &str = "subnet-0000000000000000a";

fn config(sandbox: &Sandbox, account: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(account, "sandbox", None, None, "test")))
        .http_client(sandbox.http_client())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .retry_config(RetryConfig::disabled())
        .build()
}

fn lifelike(seed: u64) -> (Sandbox, aws_sdk_ec2::Client) {
    let sandbox = Sandbox::in_process(Options { speed: Speed::Lifelike, seed, seeds: Vec::new() });
    let ec2 = aws_sdk_ec2::Client::new(&config(&sandbox, "111122223333"));
    (sandbox, ec2)
}

/// The code of a refusal.
fn code<T, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.err().and_then(|error| error.code().map(str::to_string)).unwrap_or_default()
}

async fn sleep(seconds: u64) {
    #[allow(clippy::disallowed_methods, reason = "virtual time")]
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A launch like adstage's own.
fn launch(
    ec2: &aws_sdk_ec2::Client,
    token: &str,
    user_data: &str,
) -> aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(tag("adstage:app", "shop"))
        .tags(tag("adstage:services", "web"))
        .build();
    let metadata = InstanceMetadataOptionsRequest::builder().instance_metadata_tags(InstanceMetadataTagsState::Enabled).build();
    ec2.run_instances()
        .image_id(BASE)
        .instance_type(InstanceType::M7iLarge)
        .min_count(1)
        .max_count(1)
        .subnet_id(SUBNET)
        .client_token(token)
        .tag_specifications(tags)
        .metadata_options(metadata)
        .user_data(BASE64.encode(user_data))
}

async fn launched(ec2: &aws_sdk_ec2::Client, token: &str, user_data: &str) -> String {
    let made = launch(ec2, token, user_data).send().await.unwrap();
    made.instances()[0].instance_id().unwrap().to_string()
}

async fn described(ec2: &aws_sdk_ec2::Client, id: &str) -> Result<aws_sdk_ec2::types::Instance, String> {
    let found = ec2.describe_instances().instance_ids(id).send().await;
    match found {
        Ok(found) => Ok(found.reservations()[0].instances()[0].clone()),
        Err(error) => Err(error.code().unwrap_or_default().to_string()),
    }
}

async fn state(ec2: &aws_sdk_ec2::Client, id: &str) -> String {
    let instance = described(ec2, id).await.unwrap();
    instance.state().and_then(|state| state.name()).map(|name| name.as_str().to_string()).unwrap_or_default()
}

async fn console(ec2: &aws_sdk_ec2::Client, id: &str) -> String {
    let output = ec2.get_console_output().instance_id(id).send().await.unwrap();
    String::from_utf8(BASE64.decode(output.output().unwrap_or_default()).unwrap()).unwrap()
}

fn services(script: &str) -> String {
    format!(
        r#"{{"adstage":1,"app":"shop","environment":"staging","services":{{
            "web":{{"repository":"web","run":"x","port":8001,"health_path":"/up","variables":{{"SANDBOX_SCRIPT":"{script}"}}}},
            "unasked":{{"repository":"web","run":"x","health_path":"/","variables":{{"SANDBOX_SCRIPT":"crash"}}}}}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_launch_takes_its_time_and_a_read_may_come_too_early() {
    let mut early = 0;
    for seed in 0..20 {
        let (_sandbox, ec2) = lifelike(seed);
        let began = Instant::now();
        let id = launched(&ec2, "one", &services("")).await;
        assert!(began.elapsed() >= Duration::from_secs(1), "RunInstances answers slowly");
        early += usize::from(described(&ec2, &id).await == Err("InvalidInstanceID.NotFound".to_string()));
        sleep(3).await;
        assert_eq!(state(&ec2, &id).await, "pending");
        sleep(7).await;
        assert_eq!(state(&ec2, &id).await, "running");
        assert_eq!(console(&ec2, &id).await, "", "running is not yet booted");
        sleep(40).await;
        let console = console(&ec2, &id).await;
        assert!(console.contains(r#"adstage-agent {"event":"ready","services":["web"]}"#), "{console}");
    }
    assert!((10..20).contains(&early), "{early} of 20 first reads came too early");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_world() {
    let mut worlds = Vec::new();
    for _ in 0..2 {
        let (sandbox, ec2) = lifelike(7);
        let (first, second) = (launched(&ec2, "a", "").await, launched(&ec2, "b", "").await);
        sleep(3_600 * 6).await;
        worlds.push((first, second.clone(), state(&ec2, &second).await, sandbox.faults().calls()));
    }
    assert_eq!(worlds[0], worlds[1]);
    assert_eq!(worlds[0].3.iter().map(|call| call.mutating).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_again_by_its_token() {
    let (sandbox, ec2) = lifelike(1);
    sandbox.faults().schedule(When::Action("RunInstances".into(), 1), Misfortune::LoseReply);
    let lost = launch(&ec2, "token", "").send().await.unwrap_err();
    assert!(lost.code().is_none(), "the network broke: {lost:?}");
    let id = launched(&ec2, "token", "").await;
    sleep(10).await;
    let by_token = Filter::builder().name("client-token").values("token").build();
    let found = ec2.describe_instances().filters(by_token).send().await.unwrap();
    assert_eq!(found.reservations().len(), 1);
    assert_eq!(found.reservations()[0].instances()[0].instance_id(), Some(id.as_str()));
}

#[tokio::test(start_paused = true)]
async fn scheduled_refusals_strike_once_and_do_nothing() {
    let (sandbox, ec2) = lifelike(1);
    sandbox.faults().schedule(When::Call(0), Misfortune::Refuse(500, "InsufficientInstanceCapacity".into()));
    sandbox.faults().schedule(When::Action("RunInstances".into(), 2), Misfortune::Throttle);
    assert_eq!(code(launch(&ec2, "t", "").send().await), "InsufficientInstanceCapacity");
    assert_eq!(code(launch(&ec2, "t", "").send().await), "RequestLimitExceeded");
    sleep(60).await;
    assert!(ec2.describe_instances().send().await.unwrap().reservations().is_empty());
    launched(&ec2, "t", "").await;
    let refused: Vec<_> = sandbox.faults().calls().into_iter().map(|call| call.refused).collect();
    assert_eq!(refused, [Some("InsufficientInstanceCapacity".into()), Some("RequestLimitExceeded".into()), None, None]);
}

#[tokio::test(start_paused = true)]
async fn too_many_launches_are_throttled_and_tokens_come_back() {
    let (_sandbox, ec2) = lifelike(1);
    let tokens: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
    let mut all = tokio::task::JoinSet::new();
    for token in &tokens {
        let call = launch(&ec2, token, "");
        all.spawn(async move { code(call.send().await) });
    }
    let codes = all.join_all().await;
    assert_eq!(codes.iter().filter(|code| *code == "RequestLimitExceeded").count(), 3);
    sleep(2).await;
    assert_eq!(code(launch(&ec2, "later", "").send().await), "");
}

#[tokio::test(start_paused = true)]
async fn a_builder_provisions_and_its_fuse_burns() {
    let (_sandbox, ec2) = lifelike(1);
    let script = "#!/bin/sh\nshutdown -h +60\ncat >x <<'END'\n{\"repositories\":{\"web\":{\"commit\":\"4f2c\"}}}\nEND\nexec adstage agent provision\n";
    let id = launch(&ec2, "builder", script).instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate).send().await.unwrap();
    let id = id.instances()[0].instance_id().unwrap().to_string();
    let stays = launched(&ec2, "stays", script).await;
    sleep(180).await;
    assert_eq!(console(&ec2, &id).await, "adstage-agent {\"commits\":{\"web\":\"4f2c\"},\"event\":\"provisioned\"}\n");
    sleep(3_600).await;
    assert_eq!(described(&ec2, &id).await.unwrap().state_reason().unwrap().code(), Some("Client.InstanceInitiatedShutdown"));
    assert_eq!((state(&ec2, &id).await.as_str(), state(&ec2, &stays).await.as_str()), ("terminated", "stopped"));
    sleep(3_600).await;
    assert_eq!(described(&ec2, &id).await.unwrap_err(), "InvalidInstanceID.NotFound", "forgotten in the end");
}

#[tokio::test(start_paused = true)]
async fn scripts_of_machines_that_go_wrong() {
    let (_sandbox, ec2) = lifelike(1);
    let crash = launched(&ec2, "crash", &services("crash")).await;
    let sick = launched(&ec2, "sick", &services("unhealthy")).await;
    let lost = launched(&ec2, "lost", &services("boot-failed")).await;
    sleep(120).await;
    let said = console(&ec2, &crash).await;
    assert!(said.contains(r#""event":"crash-looping","restarts":3"#) && !said.contains("ready"), "{said}");
    assert!(!console(&ec2, &sick).await.contains("ready"));
    assert!(console(&ec2, &lost).await.contains("boot-failed"));
}

#[tokio::test(start_paused = true)]
async fn an_image_of_a_running_machine_reboots_it() {
    let (_sandbox, ec2) = lifelike(1);
    let id = launched(&ec2, "one", &services("")).await;
    sleep(60).await;
    let image = ec2.create_image().instance_id(&id).name("shop-1").send().await.unwrap().image_id().unwrap().to_string();
    sleep(5).await;
    assert_eq!(state(&ec2, &id).await, "running", "a reboot does not show in the state");
    assert_eq!(code(ec2.create_image().instance_id(&id).name("shop-1").send().await), "InvalidAMIName.Duplicate");
    let pending = ec2.describe_images().image_ids(&image).send().await.unwrap();
    assert_eq!(pending.images()[0].state().unwrap().as_str(), "pending");
    sleep(200).await;
    let ready = ec2.describe_images().image_ids(&image).send().await.unwrap();
    assert_eq!(ready.images()[0].state().unwrap().as_str(), "available");
    assert_eq!(console(&ec2, &id).await.matches("booted").count(), 2);
}

/// What the loopback server says to a request, head and body.
async fn said(address: std::net::SocketAddr, head: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}connection: close\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_loopback_door_tells_its_status_stops_when_asked_and_is_shut_to_web_pages() {
    let sandbox = Sandbox::in_process(Options::default());
    let ec2 = aws_sdk_ec2::Client::new(&config(&sandbox, "111122223333"));
    let id = launched(&ec2, "t", "").await;
    sandbox.faults().schedule(When::Action("GetCallerIdentity".into(), 1), Misfortune::LoseReply);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { sandbox.serve(listener, std::future::pending()).await });

    let status = said(address, "GET /_sandbox/status HTTP/1.1\r\nhost: 127.0.0.1\r\n").await;
    let body: serde_json::Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["instances"][0]["id"], &body["instances"][0]["services"]), (&id.into(), &serde_json::json!(["web"])));
    assert_eq!((&body["endpoint"], &body["boxes"]), (&format!("http://{address}").into(), &serde_json::json!([])));
    for page in ["host: 127.0.0.1\r\norigin: https://evil.example\r\n", "host: evil.example\r\n"] {
        let refused = said(address, &format!("POST /_sandbox/stop HTTP/1.1\r\n{page}")).await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
    let ask = "GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1\r\nhost: 127.0.0.1\r\n";
    assert_eq!(said(address, ask).await, "", "a lost reply is not a byte long");
    assert!(said(address, ask).await.contains("<Account>123456789012</Account>"));
    let stopping = said(address, "POST /_sandbox/stop HTTP/1.1\r\nhost: localhost\r\n").await;
    assert!(stopping.starts_with("HTTP/1.1 200 "), "{stopping}");
    serving.await.unwrap().unwrap();
}

// What differs from AWS, in the order of the list in `sandbox/mod.rs`.

#[tokio::test(start_paused = true)]
async fn differs_every_caller_may_do_everything() {
    let (sandbox, _) = lifelike(1);
    let anybody = aws_sdk_ec2::Client::new(&config(&sandbox, "999988887777"));
    assert_eq!(code(anybody.describe_instances().dry_run(true).send().await), "DryRunOperation");
    launched(&anybody, "t", "").await;
    let sts = aws_sdk_sts::Client::new(&config(&sandbox, "not-an-account"));
    assert_eq!(sts.get_caller_identity().send().await.unwrap().account(), Some("123456789012"));
}

#[tokio::test(start_paused = true)]
async fn differs_what_is_not_there_says_so() {
    let (_sandbox, ec2) = lifelike(1);
    assert_eq!(code(ec2.describe_volumes().send().await), "SandboxUnsupported");
    assert_eq!(code(launch(&ec2, "t", "").key_name("mine").send().await), "SandboxUnsupported");
}

#[tokio::test(start_paused = true)]
async fn differs_machines_have_no_disks_and_no_public_addresses() {
    let (_sandbox, ec2) = lifelike(1);
    let big = EbsBlockDevice::builder().volume_size(5_000).build();
    let mapping = BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(big).build();
    let made = launch(&ec2, "t", "").block_device_mappings(mapping).send().await.unwrap();
    sleep(10).await;
    let instance = described(&ec2, made.instances()[0].instance_id().unwrap()).await.unwrap();
    assert!(instance.block_device_mappings().is_empty() && instance.public_ip_address().is_none());
    assert!(instance.private_ip_address().unwrap().starts_with("127."));
}

#[tokio::test(start_paused = true)]
async fn differs_security_groups_have_no_rules() {
    let (_sandbox, ec2) = lifelike(1);
    let groups = ec2.describe_security_groups().send().await.unwrap();
    assert!(groups.security_groups().iter().all(|group| group.ip_permissions().is_empty() && group.ip_permissions_egress().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn differs_once_seen_always_seen() {
    for seed in 0..20 {
        let (_sandbox, ec2) = lifelike(seed);
        let id = launched(&ec2, "t", "").await;
        while described(&ec2, &id).await.is_err() {}
        for _ in 0..40 {
            assert!(described(&ec2, &id).await.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn differs_expired_items_stay_and_backups_restore_nothing() {
    let (sandbox, _) = lifelike(1);
    let dynamodb = aws_sdk_dynamodb::Client::new(&config(&sandbox, "111122223333"));
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, ScalarAttributeType, TableStatus,
        TimeToLiveSpecification,
    };
    let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S).build().unwrap();
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let create = dynamodb.create_table().table_name("items").billing_mode(BillingMode::PayPerRequest);
    create.attribute_definitions(attribute).key_schema(key).send().await.unwrap();
    let status = async || dynamodb.describe_table().table_name("items").send().await.unwrap().table.unwrap().table_status.unwrap();
    assert_eq!(status().await, TableStatus::Creating);
    sleep(10).await;
    assert_eq!(status().await, TableStatus::Active);
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build().unwrap();
    dynamodb.update_time_to_live().table_name("items").time_to_live_specification(ttl).send().await.unwrap();
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
    dynamodb.update_continuous_backups().table_name("items").point_in_time_recovery_specification(recovery).send().await.unwrap();
    let put =
        dynamodb.put_item().table_name("items").item("pk", AttributeValue::S("a".into())).item("expires", AttributeValue::N("1".into()));
    put.send().await.unwrap();
    sleep(3_600 * 6).await;
    let found = dynamodb.get_item().table_name("items").key("pk", AttributeValue::S("a".into())).send().await.unwrap();
    assert!(found.item().is_some());
    let restore = dynamodb.restore_table_to_point_in_time().source_table_name("items").target_table_name("u").send().await;
    assert_eq!(code(restore), "SandboxUnsupported");
}

/// A review box as adstage launches one: with a fuse in its tags, and one repository not as on its image.
async fn boxed(ec2: &aws_sdk_ec2::Client, expires: jiff::Timestamp, script: &str) -> String {
    let data = services(script).trim_end_matches('}').to_string()
        + "}}}"
        + r#","box":{"name":"blue","checkouts":{"web":{"source":{"path":"/x"},"ref":"feature","commit":"c0ffee"}}}}"#;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(tag("adstage:services", "web"))
        .tags(tag("adstage:box", "blue"))
        .tags(tag("adstage:expires", &expires.to_string()));
    let made = launch(ec2, "box", &data)
        .set_tag_specifications(Some(vec![tags.build()]))
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate);
    made.send().await.unwrap().instances()[0].instance_id().unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_scripted_box_builds_first_and_its_fuse_burns_where_the_tag_was_moved() {
    let (sandbox, ec2) = lifelike(3);
    let launched_at =
        |instance: aws_sdk_ec2::types::Instance| jiff::Timestamp::from_second(instance.launch_time().unwrap().secs()).unwrap();
    let probe = launched(&ec2, "clock", "").await;
    sleep(3).await;
    let wall = launched_at(described(&ec2, &probe).await.unwrap());
    let id = boxed(&ec2, wall + jiff::SignedDuration::from_mins(30), "").await;
    sleep(60).await;
    let building = console(&ec2, &id).await;
    assert!(building.contains(r#""event":"fetching""#) && !building.contains("booted"), "{building}");
    sleep(300).await;
    let up = console(&ec2, &id).await;
    assert!(up.contains(r#""commit":"c0ffee","event":"built""#) && up.contains(r#""event":"ready""#), "{up}");
    let later = (wall + jiff::SignedDuration::from_mins(60)).to_string();
    ec2.create_tags().resources(&id).tags(Tag::builder().key("adstage:expires").value(later).build()).send().await.unwrap();
    sleep(40 * 60).await;
    assert_eq!(state(&ec2, &id).await, "running");
    sleep(20 * 60).await;
    assert_eq!(state(&ec2, &id).await, "terminated");

    let elsewhere = aws_sdk_ec2::Client::new(&config(&sandbox, "444455556666"));
    let id = boxed(&elsewhere, wall, "").await;
    sleep(120).await;
    assert_eq!(state(&elsewhere, &id).await, "terminated", "a deadline that is past ends it at once");
}
