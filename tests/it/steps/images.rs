//! What becomes of images: kept when they fail, removed, copied, shared; and made of a review box.

use adstage::aws::{InstanceState, RunSpec};
use adstage::model::{ImageState, tag};
use adstage::steps::{Errands, Reply};

use super::*;

const ELSEWHERE: &str = "us-east-1";

impl Bench {
    /// With a proved image.
    async fn baked(speed: Speed) -> (Self, ImageId, String) {
        let bench = Self::at(speed).await;
        bench.run_all(&bake("")).await;
        let image = bench.world().await.images.remove(0);
        (bench, image.id, image.name)
    }

    async fn snapshots(&self) -> usize {
        self.sandbox.inventory(&self.cx.environment.account, "eu-central-1").stray_snapshots.len()
    }
}

/// The proof's web service exits as soon as it is started.
fn crashing() -> Vec<Step> {
    let script = |step: Step| match step {
        Step::LaunchProof { bake, name, instance_type, services, time_limit, .. } => {
            let environment = environment();
            let told = UserService {
                repository: "storefront".parse().unwrap(),
                run: "bin/it".into(),
                port: None,
                health_path: "/".into(),
                variables: BTreeMap::from([("SANDBOX_SCRIPT".to_string(), "crash".to_string())]),
                secrets: BTreeMap::new(),
                release_command: None,
                grace: None,
            };
            let told = UserData::new(environment.app, environment.name, None, BTreeMap::from([(service("web"), told)]));
            Step::LaunchProof { bake, name, instance_type, user_data: told.render().unwrap(), services, time_limit }
        }
        other => other,
    };
    bake("").into_iter().map(script).collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_fails_its_proof_is_kept_with_the_reason_and_what_the_machine_said() {
    let bench = Bench::new().await;
    let steps = crashing();
    bench.run_all(&steps[..6]).await;
    bench.run(&steps[6]).await.unwrap_err();
    for step in steps.iter().rev() {
        bench.undo(step).await.unwrap();
    }
    let image = bench.world().await.images.remove(0);
    assert_eq!(image.provenance, Provenance::Failed);
    let failed = image.origin.failed.unwrap();
    assert!(failed.why.contains("web") && !failed.console.is_empty() && !failed.at.is_empty(), "{failed:?}");
    // Proved after all: nothing of it is left to be seen.
    bench.run(&Step::MarkVerified { name: image.name }).await.unwrap();
    let image = bench.world().await.images.remove(0);
    assert_eq!((image.provenance, image.origin.failed), (Provenance::Verified, None));
}

#[tokio::test(start_paused = true)]
async fn a_capture_tells_how_far_its_snapshots_are() {
    let (bench, ..) = Bench::baked(Speed::Lifelike).await;
    let told = bench.told.lock().unwrap().clone();
    assert!(told.iter().any(|line| line.contains("is being captured, ") && line.ends_with(" %")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_goes_with_its_snapshots_and_stays_while_anything_refers_to_it() {
    let (bench, image, name) = Bench::baked(Speed::Quick).await;
    let template = Step::CreateLaunchTemplate {
        fleet: fleet("web", 1),
        template: TemplateSpec { image: image.clone(), instance_type: "m7i.large".into(), user_data: "{}".into() },
    };
    bench.run(&template).await.unwrap();
    // The proof instance is forgotten by then; the template is not.
    bench.cx.clock.sleep(std::time::Duration::from_secs(7_200)).await;
    let delete = Step::DeleteImage { image, name };
    let error = bench.run(&delete).await.unwrap_err();
    assert!(error.because[0].contains(":launch-template/lt-"), "{error:?}");
    bench.undo(&template).await.unwrap();
    bench.lose_reply("DeregisterImage");
    bench.run(&delete).await.unwrap();
    bench.run(&delete).await.unwrap();
    assert!(bench.world().await.images.is_empty());
    assert_eq!(bench.snapshots().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_the_same_name_and_tags_in_another_region_and_is_adopted() {
    let (bench, image, name) = Bench::baked(Speed::Lifelike).await;
    let copy = Step::CopyImage { image, name: name.clone(), region: ELSEWHERE.into(), within: Seconds(3_600) };
    bench.lose_reply("CopyImage");
    bench.run(&copy).await.unwrap();
    bench.run(&copy).await.unwrap();
    let there = bench.cx.aws.in_region(ELSEWHERE);
    let (copied, tags) = there.ec2.image_named(&name).await.unwrap().unwrap();
    assert_eq!((copied.state, copied.provenance), (ImageState::Available, Provenance::Verified));
    assert_eq!(tags.get(tag::FROM).map(String::as_str), Some("base"));
    assert!(bench.told.lock().unwrap().iter().any(|line| line.contains("is being copied, ")));
    bench.undo(&copy).await.unwrap();
    assert!(there.ec2.image_named(&name).await.unwrap().is_some(), "a copy that is through is what was asked for");
}

#[tokio::test(start_paused = true)]
async fn an_account_an_image_is_shared_with_can_copy_it_and_others_cannot() {
    let (bench, image, name) = Bench::baked(Speed::Quick).await;
    let theirs = Aws::connect(Connection {
        region: "eu-central-1".into(),
        profile: None,
        endpoint: Some("http://sandbox.invalid".into()),
        account_keys: Some("444455556666".into()),
        http: Some(bench.sandbox.http_client()),
        clock: bench.cx.clock.clone(),
        seed: 2,
    })
    .await;
    let wanted = adstage::aws::CopySpec {
        image: image.clone(),
        region: "eu-central-1".into(),
        name: name.clone(),
        image_tags: None,
        tags: Tags::new(),
        token: "token".into(),
    };
    assert!(theirs.ec2.copy_image(&wanted).await.unwrap_err().is_not_found());
    let share = Step::ShareImage { image, name, account: "444455556666".into() };
    bench.run(&share).await.unwrap();
    bench.run(&share).await.unwrap();
    let first = theirs.ec2.copy_image(&wanted).await.unwrap();
    assert_eq!(theirs.ec2.copy_image(&wanted).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_box_is_cleaned_and_captured_and_runs_on() {
    let (bench, from, _) = Bench::baked(Speed::Quick).await;
    let pairs = [(tag::APP, "shop"), (tag::ENV, "review"), (tag::MODE, "review"), (tag::BOX, "blue")];
    let tags: Tags = pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let spec = RunSpec {
        image: from.0,
        instance_type: "m7i.large".into(),
        subnet: "subnet-0000000000000000a".into(),
        security_groups: vec!["sg-00000000000000001".into()],
        instance_profile: None,
        user_data: String::new(),
        tags,
        token: "blue".into(),
    };
    let instance = bench.cx.aws.ec2.run_one_instance(&spec).await.unwrap();
    bench.cx.clock.sleep(std::time::Duration::from_secs(60)).await;

    let (errands, mut listening) = Errands::open();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let (into, code) = (ran.clone(), Arc::new(std::sync::atomic::AtomicU8::new(3)));
    let codes = code.clone();
    tokio::spawn(async move {
        while let Some(errand) = listening.recv().await {
            into.lock().unwrap().push(errand.words.join(" "));
            let code = codes.load(std::sync::atomic::Ordering::SeqCst);
            let _ = errand.done.send(Ok(Reply { code, stderr: "cannot stop the stock".into() }));
        }
    });
    let bench = Bench { cx: Cx { errands, ..bench.cx.clone() }, ..bench };
    let of = "blue".parse().unwrap();
    let clean = Step::CleanBox { of, clean: Some("bin/clean".into()) };
    let error = bench.run(&clean).await.unwrap_err();
    assert_eq!((error.what.as_str(), error.evidence.len()), ("`sh -c bin/clean` failed on box blue with exit code 3", 1));
    code.store(0, std::sync::atomic::Ordering::SeqCst);
    bench.run(&clean).await.unwrap();
    assert_eq!(ran.lock().unwrap().as_slice(), ["sh -c bin/clean", "sh -c bin/clean", "adstage agent clean"]);

    let capture = Step::CaptureBox {
        bake: "b0b0".into(),
        name: "shop-b0b0".into(),
        of: "blue".parse().unwrap(),
        instance: instance.clone(),
        tags: Tags::from([(tag::FROM.to_string(), "box blue".to_string()), (tag::UNAPPROVED.to_string(), "in a hurry".to_string())]),
        within: Seconds(3_600),
    };
    bench.lose_reply("CreateImage");
    bench.run(&capture).await.unwrap();
    bench.run(&capture).await.unwrap();
    let image = bench.world().await.images.into_iter().find(|image| image.name == "shop-b0b0").unwrap();
    assert_eq!((image.origin.from.as_deref(), image.origin.unapproved.as_deref()), (Some("box blue"), Some("in a hurry")));
    bench.cx.clock.sleep(std::time::Duration::from_secs(60)).await;
    let found = bench.cx.aws.ec2.instances_by_id(&[instance]).await.unwrap();
    assert_eq!(found[0].state, InstanceState::Running, "the box is there still");
    bench.undo(&capture).await.unwrap();
    assert!(bench.world().await.images.iter().all(|image| image.name != "shop-b0b0"));
}
