use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sandbox::Visit;
use crate::sandbox::caller::{ACCOUNT, Caller, REGION};
use crate::sandbox::engine::pause;
use crate::sandbox::latency::Speed;
use crate::sandbox::wire::cbor;

/// One target group with a machine behind a load balancer, and twenty visitors; the ends of their ARNs.
async fn visited(caller: &Caller) -> (String, String) {
    let (balancer, listener) = caller.load_balancer("shop", 80).await;
    let group = caller.target_group("web", 8001).await;
    caller.rule(&listener, "10", &[(&group, "100")]).await;
    let template = caller.template("web", "").await;
    caller.group("web", &template, "1", &group).await;
    caller.until_health(&group, &["healthy"]).await;
    for _ in 0..20 {
        let visit = Visit { account: ACCOUNT, region: REGION, load_balancer: "shop", host: "shop", path: "/", headers: &[] };
        assert_eq!(caller.engine.visit(&visit).await.unwrap().status, 200);
    }
    let end = |arn: &str, mark: &str| arn.split_once(mark).unwrap().1.to_string();
    (end(&group, ":targetgroup/"), end(&balancer, ":loadbalancer/"))
}

fn question(group: &str, balancer: &str, now: i64) -> Value {
    let dimensions =
        json!([{ "Name": "TargetGroup", "Value": format!("targetgroup/{group}") }, { "Name": "LoadBalancer", "Value": balancer }]);
    let query = |id: &str, name: &str, stat: &str| {
        let metric = json!({ "Namespace": "AWS/ApplicationELB", "MetricName": name, "Dimensions": dimensions });
        json!({ "Id": id, "MetricStat": { "Metric": metric, "Period": 60, "Stat": stat } })
    };
    let queries =
        [query("a", "RequestCount", "Sum"), query("b", "HTTPCode_Target_5XX_Count", "Sum"), query("c", "TargetResponseTime", "p90")];
    json!({ "MetricDataQueries": queries, "StartTime": now - 600, "EndTime": now + 60 })
}

/// The same in the protocol of aws-sdk-cloudwatch, or in that of the `aws` command.
async fn ask(caller: &Caller, action: &str, question: &Value, in_cbor: bool) -> (u16, Value) {
    let credential = format!("AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/monitoring/aws4_request, SignedHeaders=host");
    let request = match in_cbor {
        true => http::Request::post(format!("/service/GraniteServiceVersion20100801/operation/{action}"))
            .header("smithy-protocol", "rpc-v2-cbor")
            .header("authorization", credential)
            .body(Bytes::from(cbor::encode(question))),
        false => http::Request::post("/")
            .header("x-amz-target", format!("GraniteServiceVersion20100801.{action}"))
            .header("authorization", credential)
            .body(Bytes::from(question.to_string())),
    };
    let response = caller.engine.call(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body();
    (status, if in_cbor { cbor::decode(&body).unwrap() } else { serde_json::from_slice(&body).unwrap() })
}

#[tokio::test(start_paused = true)]
async fn counters_come_late_and_what_did_not_happen_has_no_number() {
    let caller = Caller::new(Speed::Lifelike);
    let (group, balancer) = visited(&caller).await;
    let known = async |in_cbor| {
        let now = caller.engine.wall().as_second();
        let (status, answer) = ask(&caller, "GetMetricData", &question(&group, &balancer, now), in_cbor).await;
        assert_eq!(status, 200, "{answer}");
        let results = answer["MetricDataResults"].as_array().unwrap().clone();
        let sum = |at: usize| results[at]["Values"].as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>();
        (sum(0), results[1]["Values"].as_array().unwrap().len(), results[2]["Values"].as_array().unwrap().len())
    };
    assert_eq!(known(true).await, (0.0, 0, 0));
    pause(Duration::from_secs(125)).await;
    let (requests, failures, times) = known(true).await;
    assert_eq!((requests, failures), (20.0, 0));
    assert!(times > 0);
    assert_eq!(known(false).await, known(true).await);
}

#[tokio::test(start_paused = true)]
async fn alarms_are_what_somebody_says_they_are() {
    let caller = Caller::new(Speed::Quick);
    for in_cbor in [true, false] {
        let name = json!({ "AlarmName": "checkout" });
        ask(&caller, "PutMetricAlarm", &name, in_cbor).await;
        let set = json!({ "AlarmName": "checkout", "StateValue": "ALARM", "StateReason": "12 errors" });
        assert_eq!(ask(&caller, "SetAlarmState", &set, in_cbor).await.0, 200);
        let (_, shown) = ask(&caller, "DescribeAlarms", &json!({ "AlarmNames": ["checkout", "other"] }), in_cbor).await;
        let alarms = shown["MetricAlarms"].as_array().unwrap();
        assert_eq!((alarms.len(), alarms[0]["StateValue"].as_str()), (1, Some("ALARM")));
        let (status, error) =
            ask(&caller, "SetAlarmState", &json!({ "AlarmName": "x", "StateValue": "OK", "StateReason": "" }), in_cbor).await;
        assert_eq!((status, error["__type"].as_str()), (404, Some("com.amazonaws.cloudwatch#ResourceNotFound")));
    }
}
