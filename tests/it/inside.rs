//! Machines as review boxes need them, real processes all: a shell inside, tags that change while it runs, a picture taken of one that
//! runs, an end of its own.

use aws_sdk_ec2::types::{InstanceStateName, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{BASE, Bench, carrying, eventually};

/// One exchange with a machine's metadata service.
async fn metadata(endpoint: &str, request: &str, header: &str) -> String {
    let authority = endpoint.trim().trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_runs_inside_the_instance_and_ends_with_it() {
    let bench = Bench::open();
    let id = bench.run(BASE, "#!/bin/sh\necho up\nsleep 1000\n", &[]).await;
    bench.says(&id, "up", 1).await;
    let script = "pwd; echo $ADSTAGE_ROOT; echo $HOST; command -v shutdown; command -v adstage; exit 7";
    let ran = bench.adstage(&["sandbox", "shell", &id, "--", "sh", "-c", script]);
    assert_eq!(ran.status.code(), Some(7), "{}", text(&ran.stderr));
    let root = bench.home().canonicalize().unwrap().join("machines").join(&id).join("root").display().to_string();
    let address = bench.status()["instances"][0]["address"].as_str().unwrap().to_string();
    let said = text(&ran.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], [root.as_str(), &root, &address, &format!("{root}/usr/sbin/shutdown")]);
    assert!(lines[4].ends_with("/adstage"), "{said}");

    let mut long = crate::bench::adstage(&bench.home(), &["sandbox", "shell", &id, "--", "sleep", "1000"]).spawn().unwrap();
    bench.ec2().terminate_instances().instance_ids(&id).send().await.unwrap();
    bench.until(&id, InstanceStateName::Terminated).await;
    assert!(eventually(async || long.try_wait().unwrap().is_some()).await, "the session outlives its machine");
    let refused = bench.adstage(&["sandbox", "shell", &id]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(text(&refused.stderr).contains(&format!("{id} is not on: it is terminated")), "{}", text(&refused.stderr));
    for unknown in ["i-00000000000000000", "i-0 0&x=", ""] {
        let refused = bench.adstage(&["sandbox", "shell", unknown]);
        assert_eq!((refused.status.code(), text(&refused.stderr).contains("the sandbox has no instance")), (Some(6), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_sees_its_tags_change() {
    let bench = Bench::open();
    let id = bench.run(BASE, "#!/bin/sh\necho up\nsleep 1000\n", &[("adstage:expires", "soon")]).await;
    bench.says(&id, "up", 1).await;
    let endpoint = text(&bench.adstage(&["sandbox", "shell", &id, "--", "printenv", "AWS_EC2_METADATA_SERVICE_ENDPOINT"]).stdout);
    let token = metadata(&endpoint, "PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 600\r\nContent-Length: 0").await;
    let token = format!("X-aws-ec2-metadata-token: {token}");
    let tag = async || metadata(&endpoint, "GET /latest/meta-data/tags/instance/adstage:expires", &token).await;
    assert_eq!(tag().await, "soon");
    bench.ec2().create_tags().resources(&id).tags(Tag::builder().key("adstage:expires").value("later").build()).send().await.unwrap();
    assert_eq!(tag().await, "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_comes_back_even_if_its_image_is_deregistered_while_it_goes_down() {
    let bench = Bench::open();
    let script = "#!/bin/sh\ntrap 'sleep 1; echo clean >\"$ADSTAGE_ROOT/opt/ended\"; exit' TERM\necho up\nwhile true; do sleep 0.2; done\n";
    let id = bench.run(BASE, script, &[]).await;
    bench.says(&id, "up", 1).await;
    bench.until(&id, InstanceStateName::Running).await;
    let image = bench.ec2().create_image().instance_id(&id).name("never").send().await.unwrap().image_id.unwrap();
    assert!(eventually(async || bench.ec2().deregister_image().image_id(&image).send().await.is_ok()).await);
    let inside = async || bench.adstage(&["sandbox", "shell", &id, "--", "cat", "opt/ended"]);
    assert!(eventually(async || inside().await.status.success()).await, "it came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_is_captured_with_its_processes_stopped_and_comes_back() {
    let bench = Bench::open();
    let script = "#!/bin/sh\ntrap 'echo clean >\"$ADSTAGE_ROOT/opt/ended\"; exit' TERM\necho up\nwhile true; do sleep 0.2; done\n";
    let id = bench.run(BASE, script, &[]).await;
    bench.says(&id, "up", 1).await;
    bench.until(&id, InstanceStateName::Running).await;
    let capture = async |name: &str, no_reboot: bool| {
        let image = bench.ec2().create_image().instance_id(&id).name(name).no_reboot(no_reboot).send().await.unwrap().image_id.unwrap();
        let available = eventually(async || {
            let found = bench.ec2().describe_images().image_ids(&image).send().await;
            found.is_ok_and(|found| found.images().iter().any(|image| image.state().is_some_and(|state| state.as_str() == "available")))
        });
        assert!(available.await, "{name} never became available");
        bench.home().join("images").join(image).join("opt/ended").exists()
    };
    let marker = format!("{}{id}", bench.marker());
    assert!(!capture("as-it-runs", true).await, "nothing was stopped for it");
    assert!(!carrying(&marker).is_empty());
    assert!(capture("after-a-reboot", false).await, "its processes ended politely first");
    bench.until(&id, InstanceStateName::Running).await;
    let inside = async || bench.adstage(&["sandbox", "shell", &id, "--", "cat", "opt/ended"]);
    assert!(eventually(async || inside().await.status.success()).await, "it came back");
}
