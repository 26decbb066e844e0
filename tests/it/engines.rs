//! The lock and the journal against DynamoDBs that nobody here wrote, over HTTP and in real time, behind a line that loses and repeats
//! requests. What holds in the sandbox must hold there: the sandbox's engine is ours to be wrong about.

mod contest;
mod differences;
mod neighbours;
mod proxy;
mod replies;
mod rows;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use adstage::aws::dynamodb::Query;
use adstage::aws::{Aws, Connection};
use adstage::clock::Clock;
use adstage::lock::Identity;

use crate::lease::{Process, scope};
use crate::python;
use proxy::Proxy;
use server::{Engine, Server};

/// No scenario needs as long; one that hangs must not hang the whole run.
const LONGEST: Duration = Duration::from_secs(600);

/// A server with an account of one's own, at the other end of a line that can be made bad.
pub struct Ground {
    engine: Engine,
    line: Proxy,
    account: String,
    _server: Arc<Server>,
}

static ACCOUNTS: AtomicU64 = AtomicU64::new(300_000_000_000);

impl Ground {
    async fn new(engine: Engine) -> Self {
        let server = engine.server().await;
        let account = ACCOUNTS.fetch_add(1, SeqCst).to_string();
        let ground = Self { engine, line: Proxy::to(&server.endpoint).await, account, _server: server };
        let made = ground.process("setup").await.db.create_table(&scope().table).await;
        match engine {
            // It has no backups to ask about; the table is there by then.
            Engine::Dynoxide => assert_eq!(made.unwrap_err().code, "UnknownOperationException"),
            Engine::Ministack | Engine::Sandbox => made.unwrap(),
        }
        ground
    }

    /// One process of adstage: its own clock, its own connections.
    pub async fn process(&self, name: &str) -> Process {
        let clock = Clock::for_tests();
        let connection = Connection {
            region: "eu-central-1".into(),
            profile: None,
            endpoint: Some(self.line.endpoint.clone()),
            account_keys: Some(self.account.clone()),
            http: None,
            clock: clock.clone(),
            seed: name.bytes().map(u64::from).sum(),
        };
        let who = Identity {
            owner: format!("owner-{name}"),
            who: name.into(),
            host: format!("{name}-laptop"),
            via: "laptop".into(),
            arn: format!("arn:aws:sts::{}:assumed-role/deploy/{name}", self.account),
            cli: "0.1.0".into(),
        };
        Process { db: Aws::connect(connection).await.dynamodb, clock, line: Arc::default(), who }
    }
}

/// The figures of a run.
#[allow(clippy::print_stderr, reason = "they are what the run is for")]
fn show(figures: &str) {
    eprintln!("{figures}");
}

/// Runs a scenario on each of these servers, one after the other.
#[allow(clippy::print_stderr, reason = "a skipped engine must say so")]
fn on(engines: &[Engine], scenario: impl AsyncFn(&Ground)) {
    for engine in engines {
        match engine.ready() {
            Ok(()) => {}
            // Nothing installs it, so CI may lack it, too.
            Err(why) if *engine == Engine::Dynoxide => {
                eprintln!("\n*** {engine:?} skipped: {why} (cargo install dynoxide-rs) ***\n");
                continue;
            }
            Err(why) if python::in_ci() => panic!("{engine:?}: {why}"),
            Err(why) => {
                eprintln!("\n*** {engine:?} SKIPPED: {why}; CI runs this ***\n");
                continue;
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let run = async { scenario(&Ground::new(*engine).await).await };
        let done = runtime.block_on(async { tokio::time::timeout(LONGEST, run).await });
        done.unwrap_or_else(|_| panic!("{engine:?}: not done after {} s", LONGEST.as_secs()));
    }
}

const ALL: [Engine; 3] = [Engine::Ministack, Engine::Dynoxide, Engine::Sandbox];

/// Every row of a partition. An empty prefix would do for the sandbox; AWS and ministack refuse it.
fn everything(pk: &str) -> Query {
    Query::between(pk, " ", "~")
}
