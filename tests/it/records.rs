//! Records as tests need them.

use adstage::model::{HealthCheck, ImageId, OperationId, Release, ReleaseNumber, ReleaseRecord, Seconds, ServiceSpec, Verdict};

/// A release of one web service.
pub fn release(number: ReleaseNumber, operation: &OperationId) -> ReleaseRecord {
    let web = ServiceSpec {
        repository: "storefront".parse().unwrap(),
        run: "bin/web".into(),
        port: Some(8001),
        health_path: "/up".into(),
        variables: [("GREETING".to_string(), "hello".to_string())].into(),
        secrets: std::collections::BTreeMap::new(),
        release_command: None,
        instance_type: "m7i.large".into(),
        other_types: vec![],
        scaling: None,
        health: HealthCheck { interval: Seconds(5), timeout: Seconds(2), healthy_count: 2, unhealthy_count: 2 },
        drain: Seconds(30),
        grace: Seconds(20),
        held: false,
    };
    ReleaseRecord {
        release: Release {
            number,
            image: ImageId("ami-1".into()),
            image_name: "shop-ab12".into(),
            commits: [("storefront".parse().unwrap(), "c0ffee".to_string())].into(),
            services: [("web".parse().unwrap(), web)].into(),
        },
        verdict: Verdict::Untried,
        by: "ada".into(),
        at: "2026-11-22T10:00:00Z".into(),
        operation: operation.clone(),
    }
}
