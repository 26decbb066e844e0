use std::collections::BTreeMap;

use super::*;
use crate::config;
use crate::health::{Compared, Utilization};
use crate::model::{
    CapacityKind, Conditions, FleetKey, Group, Head, ImageId, OperationId, Records, Release, ReleaseRecord, Rule, RuleAction, TargetGroup,
    TargetHealth, TargetState,
};

fn environment() -> Environment {
    let config = config::parse(include_str!("../../../examples/adstage.toml"), std::path::Path::new("/adstage.toml")).unwrap();
    config.environment("staging").unwrap().clone()
}

fn fleet(service: &str, release: u32, healthy: usize) -> Fleet {
    let key = FleetKey { service: service.parse().unwrap(), release: ReleaseNumber(release) };
    let target = |number: usize| TargetHealth {
        instance: format!("i-{number}"),
        state: TargetState::Healthy,
        reason: String::new(),
        description: String::new(),
    };
    let group =
        Group { name: key.to_string(), min: 1, max: 2, desired: 2, deleting: false, instances: vec![], activity: None, policies: vec![] };
    let target_group = TargetGroup { name: format!("tg-{key}"), arn: String::new(), targets: (0..healthy).map(target).collect() };
    Fleet { key, groups: [(CapacityKind::OnDemand, group)].into(), target_group: Some(target_group), template: None, test_rule: None }
}

fn record(number: u32, verdict: Verdict) -> ReleaseRecord {
    let release = Release {
        number: ReleaseNumber(number),
        image: ImageId("ami-1".into()),
        image_name: "shop-1".into(),
        commits: BTreeMap::from([("storefront".parse().unwrap(), "8a41be70008a41be70008a41be70008a41be7000".into())]),
        services: BTreeMap::new(),
    };
    ReleaseRecord { release, verdict, by: "ana".into(), at: "2026-11-22T11:00:00Z".into(), operation: OperationId("1".into()) }
}

/// r42 is meant to serve, the weights say r41.
fn world() -> World {
    let weights = RuleAction::Forward(BTreeMap::from([("tg-web-r41".into(), 100), ("tg-web-r42".into(), 0)]));
    let conditions = Conditions { paths: vec!["/*".into()], ..Conditions::default() };
    let meant = ["web", "worker"].map(|service| (service.parse().unwrap(), ReleaseNumber(42)));
    World {
        listener: Some("listener".into()),
        address: Some("http://shop-staging.example.com".into()),
        rules: vec![Rule { arn: "rule".into(), priority: Some(10), conditions, action: weights }],
        fleets: vec![fleet("web", 41, 2), fleet("web", 42, 1), fleet("worker", 42, 2)],
        records: Records {
            head: Some(Head { serving: meant.into(), ..Head::default() }),
            releases: vec![record(42, Verdict::Good), record(41, Verdict::Bad { reason: "5xx 3.4 %".into() })],
            ..Records::default()
        },
        ..World::default()
    }
}

#[test]
fn the_weights_tell_what_is_live_and_the_disagreement_is_said() {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let status = Status::of(&environment(), &world(), now, "adstage history staging".into());
    insta::assert_snapshot!(anstream::adapter::strip_str(&status.text(now)), @r"
    staging  r41 100 %
    address     http://shop-staging.example.com
    health      web r41 2/2 · worker r42 2/2
    image       shop-1: storefront 8a41be7
    lock        free
    drift       web: visitors get r41, but the records say r42
    RELEASE  STATE    WHEN    BY   CODE     NOTE
    r42      serving  1h ago  ana  8a41be7
    r41      serving  1h ago  ana  8a41be7  5xx 3.4 %
    more: adstage history staging
    ");
    insta::assert_snapshot!(serde_json::to_string_pretty(&status).unwrap(), @r#"
    {
      "environment": "staging",
      "address": "http://shop-staging.example.com",
      "live": "r41",
      "serving": {
        "r41": 100
      },
      "image": "shop-1",
      "commits": {
        "storefront": "8a41be70008a41be70008a41be70008a41be7000"
      },
      "warm": [],
      "services": [
        {
          "service": "web",
          "release": "r41",
          "healthy": 2,
          "desired": 2,
          "weight": 100
        },
        {
          "service": "web",
          "release": "r42",
          "healthy": 1,
          "desired": 2,
          "weight": 0
        },
        {
          "service": "worker",
          "release": "r42",
          "healthy": 2,
          "desired": 2,
          "weight": 100
        }
      ],
      "lock": {
        "state": "free"
      },
      "drift": [
        "web: visitors get r41, but the records say r42"
      ]
    }
    "#);
}

#[test]
fn what_needs_more_cpu_is_said_and_the_rest_is_for_programs() {
    let (now, mut world) = ("2026-11-22T12:00:00Z".parse().unwrap(), world());
    let spec = |kind: &str| {
        let spec = serde_json::json!({
            "repository": "storefront", "run": "bin/web", "port": 8001, "health_path": "/up", "variables": {}, "instance_type": kind,
            "health": { "interval": 5, "timeout": 2, "healthy_count": 2, "unhealthy_count": 2 }, "drain": 20,
        });
        BTreeMap::from([("web".parse().unwrap(), serde_json::from_value(spec).unwrap())])
    };
    world.records.releases[0].release.services = spec("c7g.large");
    world.records.releases[1].release.services = spec("m7i.large");
    let compared = |service: &str, new: Option<f64>, old: Option<f64>| {
        let key = |release| FleetKey { service: service.parse().unwrap(), release: ReleaseNumber(release) };
        let used = |cpu: Option<f64>| cpu.map(|cpu| Utilization { cpu, requests: 120.0 });
        Compared { fleet: key(42), against: key(41), new: used(new), old: used(old) }
    };
    let found = vec![compared("web", Some(60.0), Some(20.0)), compared("admin", Some(21.0), Some(20.0)), compared("pay", None, Some(3.0))];
    let said = |found| {
        let cpu = cpu::Cpu::of(&world, found);
        let status = Status { cpu, ..Status::of(&environment(), &world, now, String::new()) };
        let text = anstream::adapter::strip_str(&status.text(now)).to_string();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("cpu")).map(String::from).collect();
        let json = serde_json::to_value(&status).unwrap();
        (lines.join("\n"), [&json["cpu"], &json["cpu_unknown"]].map(ToString::to_string))
    };
    let (lines, [json, unknown]) = said(Ok(found));
    let numbers = "web-r42 uses 60 % CPU per instance at 120 requests a minute; web-r41 used 20 % at 120: 3.0 times as much";
    assert_eq!(lines, format!("cpu         {numbers} for the same traffic (c7g.large, before m7i.large)"));
    let used = |cpu, kind| format!(r#"{{"cpu":{cpu},"instance_type":"{kind}","requests":120.0}}"#);
    let web = format!(r#""before":{},"need":"more","now":{}"#, used("20.0", "m7i.large"), used("60.0", "c7g.large"));
    assert!(json.starts_with(&format!(r#"[{{"against":"r41",{web},"release":"r42","service":"web","times":3.0}}"#)), "{json}");
    let rest = r#"{"against":"r41","before":{"cpu":3.0,"requests":120.0},"need":"unknown","release":"r42","service":"pay"}]"#;
    assert!(json.contains(r#""need":"as-much""#) && json.ends_with(rest), "{json}");
    assert_eq!(unknown, "null");

    let refused = "CloudWatch refused GetMetricData";
    let (lines, [json, unknown]) = said(Err(refused.into()));
    assert_eq!((lines, json, unknown), (format!("cpu         not compared: {refused}"), "null".into(), format!("{refused:?}")));
    let (lines, cpu) = said(Ok(Vec::new()));
    assert_eq!((lines, cpu), (String::new(), ["null", "null"].map(String::from)), "nothing new, nothing said");
}

#[test]
fn the_lock_is_free_held_frozen_or_lapsed() {
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let lock = |state, open: Option<&str>| LockRecord {
        state,
        open: open.map(|id| OperationId(id.into())),
        who: "joe".into(),
        host: "mill".into(),
        doing: "deploying r43".into(),
        since: "2026-11-22T11:56:00Z".into(),
        ..LockRecord::default()
    };
    let freeze = |until: Option<&str>| FreezeRecord {
        who: "maya".into(),
        reason: "year-end close".into(),
        made: "2026-11-22T11:00:00Z".into(),
        until: until.map(Into::into),
    };
    let said = |lock: Option<LockRecord>, freeze: Option<FreezeRecord>| lock_status(lock.as_ref(), freeze.as_ref(), now).text(now);
    assert_eq!(said(None, None), "free");
    assert_eq!(said(Some(lock(LockState::Held, Some("1"))), None), "held by joe on mill, since 4m ago: deploying r43");
    assert_eq!(said(Some(lock(LockState::Free, Some("1"))), None), "lapsed by joe, since 4m ago");
    assert_eq!(said(Some(lock(LockState::Free, None)), Some(freeze(None))), "frozen by maya until somebody lifts it: \"year-end close\"");
    // Both, while the last one to begin is still at work.
    let both = lock_status(Some(&lock(LockState::Held, Some("1"))), Some(&freeze(None)), now);
    assert!(both.state == "held" && both.freeze.is_some());
    assert_eq!(said(None, Some(freeze(Some("2026-11-22T11:59:00Z")))), "free");
}
