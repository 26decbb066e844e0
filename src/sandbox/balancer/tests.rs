//! The proxy on real sockets, with steady visitors.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::sandbox::caller::{CERTIFICATE, Caller, IMAGE, SUBNETS};
use crate::sandbox::engine::pause;
use crate::sandbox::host::{Host, Machine, ProbeError, ProbeFuture};
use crate::sandbox::latency::Speed;

/// Machines that are all this one: targets differ in their ports.
struct Local;

impl Host for Local {
    fn real(&self) -> bool {
        true
    }
    fn address(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }
    fn copy_image(&self, _from: &str, _to: &str) {}
    fn seed_image(&self, _: &str) {}
    fn start(&self, _: Machine) {}
    fn stop(&self, _: &str) {}
    fn terminate(&self, _: &str) {}
    fn running(&self, _: &str) -> bool {
        true
    }
    fn console(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }
    fn capture(&self, _: &str, _: &str) {}
    fn captured(&self, _: &str) -> Option<Result<(), String>> {
        Some(Ok(()))
    }
    fn delete_image(&self, _: &str) {}
    fn probe(&self, _: &str, port: u16, path: &str, _: Duration) -> ProbeFuture {
        let uri = format!("http://127.0.0.1:{port}{path}");
        Box::pin(async move {
            let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
            let request = Request::get(uri).body(Full::default()).unwrap();
            client.request(request).await.map(|answer| answer.status().as_u16()).map_err(|_| ProbeError::Refused)
        })
    }
}

/// A program on a target. Dropped, it dies at once, with all its connections.
struct Program {
    port: u16,
    /// Health checks it has answered.
    checks: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Program {
    async fn start() -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let (mut tasks, checks) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let counter = checks.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let counter = counter.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        counter.fetch_add(u64::from(request.uri().path() == "/up"), Ordering::Relaxed);
                        answer(request, port)
                    });
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Self { port, checks, _tasks: tasks }
    }
}

async fn answer(mut request: Request<Incoming>, port: u16) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |text: String| Ok(Response::new(Full::from(text)));
    match request.uri().path() {
        "/slow" => {
            pause(Duration::from_millis(300)).await;
            text(port.to_string())
        }
        "/never" => std::future::pending().await,
        "/headers" => text(format!("{:?}", request.headers())),
        "/echo" => Ok(Response::new(Full::from(request.into_body().collect().await.unwrap().to_bytes()))),
        "/socket" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 5];
                io.read_exact(&mut bytes).await.unwrap();
                bytes.reverse();
                io.write_all(&bytes).await.unwrap();
            });
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            Ok(response.header("connection", "upgrade").header("upgrade", "mirror").body(Full::default()).unwrap())
        }
        _ => text(port.to_string()),
    }
}

/// A load balancer with one instance that stands for every target.
struct Stage {
    caller: Caller,
    balancer: String,
    listener: String,
    instance: String,
    /// Where visitors go.
    address: SocketAddr,
}

async fn stage() -> Stage {
    let caller = Caller::on(Speed::Quick, Arc::new(Local));
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let (balancer, listener) = caller.load_balancer("shop", free).await;
    let machine = [("ImageId", IMAGE), ("InstanceType", "m7i.large"), ("MinCount", "1"), ("MaxCount", "1"), ("SubnetId", SUBNETS[0])];
    let instance = caller.ec2("RunInstances", &machine).await.one("instanceId");
    pause(Duration::from_millis(900)).await;
    let places = caller.engine.state();
    let sockets = places.values().flat_map(|state| state.elbv2.listeners.values()).find_map(|listener| listener.sockets.as_ref());
    let address = sockets.map(|sockets| (sockets.local, sockets.own)).unwrap();
    assert_eq!(address.1.map(|own| own.port()), Some(free));
    drop(places);
    Stage { caller, balancer, listener, instance, address: address.0 }
}

impl Stage {
    /// Registers programs with a target group.
    async fn register(&self, target_group: &str, programs: &[Program]) {
        let ports: Vec<String> = programs.iter().map(|program| program.port.to_string()).collect();
        self.targets("RegisterTargets", target_group, &ports).await;
    }

    async fn targets(&self, action: &str, target_group: &str, ports: &[String]) {
        let names: Vec<(String, String)> =
            (1..=ports.len()).map(|n| (format!("Targets.member.{n}.Id"), format!("Targets.member.{n}.Port"))).collect();
        let mut fields = vec![("TargetGroupArn", target_group)];
        for ((id, port), number) in names.iter().zip(ports) {
            fields.extend([(id.as_str(), self.instance.as_str()), (port.as_str(), number.as_str())]);
        }
        assert_eq!(self.caller.elb(action, &fields).await.code(), "");
    }

    async fn delay(&self, target_group: &str, seconds: &str) {
        let key = "deregistration_delay.timeout_seconds";
        let fields = [("TargetGroupArn", target_group), ("Attributes.member.1.Key", key), ("Attributes.member.1.Value", seconds)];
        assert_eq!(self.caller.elb("ModifyTargetGroupAttributes", &fields).await.code(), "");
    }

    async fn get(&self, path: &str) -> (u16, String) {
        ask(&client(), self.address, path, true).await.unwrap()
    }
}

type Visitor = Client<HttpConnector, Full<Bytes>>;

fn client() -> Visitor {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn ask(client: &Visitor, address: SocketAddr, path: &str, keep: bool) -> Result<(u16, String), String> {
    let mut request = Request::get(format!("http://{address}{path}"));
    if !keep {
        request = request.header("connection", "close");
    }
    let answer = client.request(request.body(Full::default()).unwrap()).await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_never_notice_weights_that_move_and_targets_that_drain_and_die() {
    let stage = stage().await;
    let (old, new) = (stage.caller.target_group("old", 1).await, stage.caller.target_group("new", 1).await);
    let rule = stage.caller.rule(&stage.listener, "10", &[(&old, "100"), (&new, "0")]).await;
    let (olds, news) = ([Program::start().await, Program::start().await], [Program::start().await, Program::start().await]);
    stage.delay(&old, "10").await;
    stage.register(&old, &olds).await;
    stage.register(&new, &news).await;
    stage.caller.until_health(&old, &["healthy", "healthy"]).await;
    stage.caller.until_health(&new, &["healthy", "healthy"]).await;

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut visitors = JoinSet::new();
    for number in 0..6 {
        let (stop, served, address) = (stop.clone(), served.clone(), stage.address);
        visitors.spawn(async move {
            let client = client();
            // Some keep their connections, some do not; some requests take long.
            let path = if number % 3 == 0 { "/slow" } else { "/" };
            while !stop.load(Ordering::Relaxed) {
                let (status, _) = ask(&client, address, path, number % 2 == 0).await?;
                if status != 200 {
                    return Err(status.to_string());
                }
                served.fetch_add(1, Ordering::Relaxed);
                pause(Duration::from_millis(3)).await;
            }
            Ok(())
        });
    }
    for shares in [("100", "0"), ("50", "50"), ("0", "100"), ("90", "10"), ("0", "100")] {
        stage.caller.shares(&rule, &[(&old, shares.0), (&new, shares.1)]).await;
        pause(Duration::from_millis(600)).await;
    }
    // Half of each leaves while it is served from, then all of the old one; what has left dies at once.
    stage.caller.shares(&rule, &[(&old, "50"), (&new, "50")]).await;
    let [first, second] = olds;
    stage.targets("DeregisterTargets", &old, &[first.port.to_string()]).await;
    stage.caller.until_health(&old, &["healthy"]).await;
    drop(first);
    stage.caller.shares(&rule, &[(&old, "0"), (&new, "100")]).await;
    pause(Duration::from_millis(600)).await;
    stage.targets("DeregisterTargets", &old, &[second.port.to_string()]).await;
    stage.caller.until_health(&old, &[]).await;
    drop(second);
    pause(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(visitor) = visitors.join_next().await {
        assert_eq!(visitor.unwrap(), Ok(()));
    }
    let places = stage.caller.engine.state();
    let status = places.values().map(crate::sandbox::elbv2::status).find(|balancers| !balancers.is_empty()).unwrap();
    assert!(status[0].refused.is_empty());
    assert_eq!(status[0].target_groups.iter().map(|group| group.status_2xx).sum::<u64>(), served.load(Ordering::Relaxed));
    assert!(served.load(Ordering::Relaxed) > 100, "{served:?}");
    drop(news);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_load_balancer_says_itself() {
    let stage = stage().await;
    assert_eq!(stage.get("/").await.0, 404, "the default action");
    let group = stage.caller.target_group("web", 1).await;
    stage.caller.rule(&stage.listener, "10", &[(&group, "1")]).await;
    let redirect = [
        ("ListenerArn", stage.listener.as_str()),
        ("Priority", "5"),
        ("Conditions.member.1.Field", "path-pattern"),
        ("Conditions.member.1.Values.member.1", "/old/*"),
        ("Actions.member.1.Type", "redirect"),
        ("Actions.member.1.RedirectConfig.StatusCode", "HTTP_301"),
        ("Actions.member.1.RedirectConfig.Host", "new.example.com"),
        ("Actions.member.1.RedirectConfig.Port", "443"),
        ("Actions.member.1.RedirectConfig.Protocol", "HTTPS"),
    ];
    assert_eq!(stage.caller.elb("CreateRule", &redirect).await.code(), "");
    pause(Duration::from_millis(600)).await;
    assert_eq!(stage.get("/").await.0, 503, "no targets");
    let answer = client().get(format!("http://{}/old/a?b=c", stage.address).parse().unwrap()).await.unwrap();
    assert_eq!(answer.headers()["location"], "https://new.example.com:443/old/a?b=c");
    let program = Program::start().await;
    stage.register(&group, std::slice::from_ref(&program)).await;
    stage.caller.until_health(&group, &["healthy"]).await;
    let idle = [
        ("LoadBalancerArn", stage.balancer.as_str()),
        ("Attributes.member.1.Key", "idle_timeout.timeout_seconds"),
        ("Attributes.member.1.Value", "1"),
    ];
    stage.caller.elb("ModifyLoadBalancerAttributes", &idle).await;
    assert_eq!(stage.get("/never").await.0, 504, "silence");
    // Under way for longer than the deregistration delay: cut.
    stage.delay(&group, "2").await;
    let cut = tokio::spawn({
        let address = stage.address;
        async move { ask(&client(), address, "/never", true).await }
    });
    pause(Duration::from_millis(100)).await;
    stage.targets("DeregisterTargets", &group, &[program.port.to_string()]).await;
    assert_eq!(cut.await.unwrap().unwrap().0, 502);
    stage.register(&group, std::slice::from_ref(&program)).await;
    drop(program);
    assert_eq!(stage.get("/").await.0, 502, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_headers_and_upgrades_pass_through() {
    let stage = stage().await;
    let group = stage.caller.target_group("web", 1).await;
    stage.caller.rule(&stage.listener, "10", &[(&group, "1")]).await;
    let program = Program::start().await;
    stage.register(&group, std::slice::from_ref(&program)).await;
    stage.caller.until_health(&group, &["healthy"]).await;

    let big = Bytes::from(vec![7u8; 3_000_000]);
    let request = Request::post(format!("http://{}/echo", stage.address)).body(Full::from(big.clone())).unwrap();
    let echoed = client().request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(echoed == big);

    let (_, headers) = stage.get("/headers").await;
    for header in ["\"x-forwarded-for\": \"127.0.0.1\"", "\"x-forwarded-proto\": \"http\"", "x-amzn-trace-id"] {
        assert!(headers.contains(header), "{headers}");
    }
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    socket.write_all(b"GET /socket HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: mirror\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket.write_all(b"hello").await.unwrap();
    let mut mirrored = [0; 5];
    socket.read_exact(&mut mirrored).await.unwrap();
    assert_eq!(&mirrored, b"olleh");
}

#[tokio::test(flavor = "multi_thread")]
async fn differs_https_is_spoken_in_clear_and_two_nodes_check_once() {
    let stage = stage().await;
    let group = stage.caller.target_group("web", 1).await;
    let https = [
        ("ListenerArn", stage.listener.as_str()),
        ("Protocol", "HTTPS"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &group),
    ];
    assert_eq!(stage.caller.elb("ModifyListener", &https).await.code(), "ValidationError", "no certificate");
    let unknown = [https.as_slice(), &[("Certificates.member.1.CertificateArn", "arn:aws:acm:none")]].concat();
    assert_eq!(stage.caller.elb("ModifyListener", &unknown).await.code(), "CertificateNotFound");
    let known = [https.as_slice(), &[("Certificates.member.1.CertificateArn", CERTIFICATE)]].concat();
    assert_eq!(stage.caller.elb("ModifyListener", &known).await.code(), "");
    let program = Program::start().await;
    stage.register(&group, std::slice::from_ref(&program)).await;
    stage.caller.until_health(&group, &["healthy"]).await;
    assert!(stage.get("/headers").await.1.contains("\"x-forwarded-proto\": \"https\""));
    let before = program.checks.load(Ordering::Relaxed);
    pause(Duration::from_secs(2)).await;
    // Every half second (5 s, compressed ten times), whatever the number of nodes.
    let checks = program.checks.load(Ordering::Relaxed) - before;
    assert!((2..=5).contains(&checks), "{checks}");
}
