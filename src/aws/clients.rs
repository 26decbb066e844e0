//! How adstage is connected to AWS: one SDK configuration, clients built on first use.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_config::identity::IdentityCache;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::guard::{Gate, Guard};
use super::retry::{Repeat, Retry};
use super::{Autoscaling, Cloudwatch, Dynamodb, Ec2, Elbv2, Error, Secretsmanager, Servicequotas, Ssm, Sts};
use crate::clock::Clock;

/// The longest one attempt of a call may take. The lease guard counts on it: a call sent now has landed by then.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for RunInstances and CreateImage, which AWS answers slowly. What they make is inert and found again by token or name, so
/// one of them landing late harms nobody.
pub const LONG_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Credentials may need a person (a browser, a hardware key).
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What is needed to talk to one account and Region.
#[derive(Clone)]
pub struct Connection {
    /// Region.
    pub region: String,
    /// Profile of the user's own AWS configuration; none: whatever the SDK's chain finds.
    pub profile: Option<String>,
    /// Another endpoint for every service (the sandbox's).
    pub endpoint: Option<String>,
    /// Use these access keys' account instead of the user's credentials (the sandbox's).
    pub account_keys: Option<String>,
    /// Another HTTP client (the in-process sandbox's).
    pub http: Option<SharedHttpClient>,
    /// Time.
    pub clock: Clock,
    /// Seed of the pauses between retries.
    pub seed: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} {:?} {:?})", self.region, self.profile, self.endpoint)
    }
}

/// One account and Region. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Aws {
    /// Machines, images, templates.
    pub ec2: Ec2,
    /// Groups of machines.
    pub autoscaling: Autoscaling,
    /// Load balancers.
    pub elbv2: Elbv2,
    /// Metrics and alarms.
    pub cloudwatch: Cloudwatch,
    /// Quotas.
    pub servicequotas: Servicequotas,
    /// Parameters.
    pub ssm: Ssm,
    /// Secrets: which there are.
    pub secretsmanager: Secretsmanager,
    /// Who we are.
    pub sts: Sts,
    /// Locks and records. Never guarded: a holder in doubt must be able to prove its lease, and every write has its own condition.
    pub dynamodb: Dynamodb,
    link: Arc<Link>,
}

impl Aws {
    /// Prepares to talk; no call is made, and credentials are looked for at the first one.
    pub async fn connect(connection: Connection) -> Self {
        let clock = connection.clock.clone();
        let retry = Retry::new(clock.clone(), connection.seed);
        let sdk = match &connection.account_keys {
            Some(account) => with_keys(&connection, account),
            None => with_login(&connection).await,
        };
        Self::over(Link { sdk, retry, guard: None })
    }

    /// The same connection, but every call that changes something asks the guard first, right before it is sent.
    pub fn guarded(&self, guard: Guard) -> Self {
        Self::over(Link { guard: Some(guard), sdk: self.link.sdk.clone(), retry: self.link.retry.clone() })
    }

    /// The same login in another Region, behind the same guard: for what is copied there.
    pub fn in_region(&self, region: &str) -> Self {
        let sdk = self.link.sdk.to_builder().region(Region::new(region.to_string())).build();
        Self::over(Link { sdk, guard: self.link.guard.clone(), retry: self.link.retry.clone() })
    }

    /// Time, as the retry policy has it.
    pub fn clock(&self) -> Clock {
        self.link.clock()
    }

    fn over(link: Link) -> Self {
        let link = Arc::new(link);
        Self {
            ec2: Ec2::over(&link),
            autoscaling: Autoscaling::over(&link),
            elbv2: Elbv2::over(&link),
            cloudwatch: Cloudwatch::over(&link),
            servicequotas: Servicequotas::over(&link),
            ssm: Ssm::over(&link),
            secretsmanager: Secretsmanager::over(&link),
            sts: Sts::over(&link),
            dynamodb: Dynamodb::over(&link),
            link,
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aws({:?})", self.link.sdk.region())
    }
}

/// Declares a service: the struct, `over(link)` and `client()`, which builds the SDK's client on first use with the guard in it.
macro_rules! service {
    ($(#[$doc:meta])* $name:ident, $sdk:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            link: std::sync::Arc<$crate::aws::clients::Link>,
            client: $crate::aws::clients::Lazy<$sdk::Client>,
        }

        impl $name {
            pub(super) fn over(link: &std::sync::Arc<$crate::aws::clients::Link>) -> Self {
                Self { link: link.clone(), client: $crate::aws::clients::Lazy::new() }
            }

            fn client(&self) -> &$sdk::Client {
                self.client.get(|| {
                    let mut config = $sdk::config::Builder::from(&self.link.sdk);
                    if let Some(gate) = self.link.gate() {
                        config.push_interceptor($sdk::config::SharedInterceptor::new(gate));
                    }
                    $sdk::Client::from_conf(config.build())
                })
            }
        }
    };
}
pub(super) use service;

/// What the services share.
pub(super) struct Link {
    pub(super) sdk: SdkConfig,
    retry: Retry,
    guard: Option<Guard>,
}

impl Link {
    /// One call under the retry policy.
    pub(super) async fn call<T, E, Sent>(&self, action: &'static str, repeat: Repeat, send: impl Fn() -> Sent) -> Result<T, Error>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        Sent: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        // Boxed, because the SDK's futures are large and everything that awaits a call would be as large: without it, stacks overflow.
        let attempt = || async { Box::pin(send()).await.map_err(|error| Error::from_sdk(action, error)) };
        self.retry.call(repeat, attempt).await
    }

    /// Time, as the retry policy has it.
    pub(super) fn clock(&self) -> Clock {
        self.retry.clock().clone()
    }

    /// The interceptor, if this connection is guarded.
    pub(super) fn gate(&self) -> Option<Gate> {
        self.guard.clone().map(Gate)
    }
}

/// All pages of a listing. An empty page may still carry a token, so only the token ends it.
pub(super) async fn pages<T, Page>(fetch: impl Fn(Option<String>) -> Page) -> Result<Vec<T>, Error>
where
    Page: Future<Output = Result<(Vec<T>, Option<String>), Error>>,
{
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let (page, next) = fetch(token).await?;
        found.extend(page);
        match next.filter(|next| !next.is_empty()) {
            Some(next) => token = Some(next),
            None => return Ok(found),
        }
    }
}

/// A client that is built when it is first needed: building costs milliseconds, and most commands use two or three.
#[derive(Debug)]
pub(super) struct Lazy<Client>(Arc<OnceLock<Client>>);

impl<Client> Clone for Lazy<Client> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Client> Lazy<Client> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn get(&self, build: impl FnOnce() -> Client) -> &Client {
        self.0.get_or_init(build)
    }
}

/// Limits for one call that needs longer than [`CALL_TIMEOUT`].
pub(super) fn patient() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(LONG_CALL_TIMEOUT).operation_timeout(LONG_CALL_TIMEOUT).build()
}

fn limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3_100))
        .operation_attempt_timeout(CALL_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// Pinned: `latest()` would change timeouts and retries under us with an update.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// rustls with ring, the one TLS stack in the tree. Certificates are loaded at the first HTTPS connection, not here.
fn http(connection: &Connection) -> SharedHttpClient {
    let own = || aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring));
    connection.http.clone().unwrap_or_else(|| own().build_https())
}

/// The sandbox: its access key is an account id, and nothing is looked for on this machine.
fn with_keys(connection: &Connection, account: &str) -> SdkConfig {
    let keys = Credentials::new(account, "sandbox", None, None, "adstage sandbox");
    let time = Time(connection.clock.clone());
    let mut config = SdkConfig::builder()
        .behavior_version(behavior())
        .region(Region::new(connection.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .http_client(http(connection))
        .sleep_impl(time.clone())
        .time_source(time)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(limits());
    config.set_endpoint_url(connection.endpoint.clone());
    config.build()
}

/// The user's own credentials: environment, profile (SSO, role chain, credential_process, login), web identity, container, instance.
async fn with_login(connection: &Connection) -> SdkConfig {
    let time = Time(connection.clock.clone());
    let mut loader = aws_config::defaults(behavior())
        .region(Region::new(connection.region.clone()))
        .http_client(http(connection))
        .identity_cache(IdentityCache::lazy().load_timeout(LOGIN_TIMEOUT).build())
        .sleep_impl(time.clone())
        .time_source(time)
        .retry_config(RetryConfig::disabled())
        // The limits per attempt do the same job and also hold while nothing was received at all.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(limits());
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &connection.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// The SDK's time is ours, so that it stands still when a test's does.
#[derive(Debug, Clone)]
struct Time(Clock);

impl AsyncSleep for Time {
    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.0.clone();
        Sleep::new(async move { clock.sleep(duration).await })
    }
}

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        self.0.wall().into()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::{Aws, Connection};
    use crate::aws::ErrorKind;
    use crate::aws::dynamodb::{Key, Write, WriteError};
    use crate::aws::error::Again;
    use crate::clock::Clock;

    fn connection(endpoint: &str) -> Connection {
        Connection {
            region: "eu-central-1".into(),
            profile: None,
            endpoint: Some(endpoint.into()),
            account_keys: Some("111122223333".into()),
            http: None,
            clock: Clock::real(),
            seed: 1,
        }
    }

    #[tokio::test]
    async fn an_endpoint_nobody_listens_at_is_a_network_error_that_changed_nothing() {
        // Port 9, discard: nobody.
        let connection = connection("http://127.0.0.1:9");
        let error = Aws::connect(connection).await.sts.caller().await.unwrap_err();
        assert_eq!((error.kind, error.again), (ErrorKind::Network, Again::NotSent), "{error}");
        assert!(error.message.starts_with("AWS cannot be reached: "), "{error}");
    }

    #[tokio::test]
    async fn a_connection_that_closes_before_the_answer_may_have_changed_something() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request is read, so the end is a clean one: no I/O error, just nothing more.
            let mut request = [0; 16 * 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
        });
        let aws = Aws::connect(connection(&endpoint)).await;
        let answer = aws.dynamodb.write("t", &Write::delete(Key::new("p", "s"))).await;
        server.await.unwrap();
        let Err(WriteError::Unknown(error)) = answer else { panic!("{answer:?}") };
        assert_eq!((error.kind, error.again), (ErrorKind::Network, Again::Unknown), "{error}");
    }

    fn is_send<T: Send>(_: T) {}

    #[allow(dead_code, reason = "compiling it is the test: steps run on other threads")]
    fn calls_can_be_spawned(aws: &'static Aws) {
        is_send(aws.elbv2.rules("listener"));
        is_send(aws.elbv2.target_healths(&[]));
        is_send(aws.autoscaling.groups_named(&[]));
        is_send(aws.ec2.console("i-1"));
        is_send(aws.ec2.instances_by_id(&[]));
    }
}
