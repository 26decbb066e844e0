//! Steady visitors of the practice app: they ask for pages through the load balancer and count what they get.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::sandbox::shop::RELEASE_HEADER;

/// What each visitor asks for, again and again: two services, one page that takes a second (a cutover must not cut it short), and one
/// visitor who opens a new connection every time.
const VISITORS: [(&str, Duration, bool); 5] = [
    ("/", Duration::from_millis(40), true),
    ("/product/7", Duration::from_millis(40), true),
    ("/backoffice", Duration::from_millis(60), true),
    ("/", Duration::from_millis(80), false),
    ("/slow", Duration::from_millis(100), true),
];

/// A visitor gives up after this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What visitors got in a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answers below 500.
    pub(super) served: u64,
    /// No answer, or an error the load balancer made.
    pub(super) failed: u64,
    /// Errors a release made by itself, by release.
    pub(super) own_errors: BTreeMap<String, u64>,
    /// Good answers by release.
    pub(super) by_release: BTreeMap<String, u64>,
    /// The first few failures, for people.
    pub(super) samples: Vec<String>,
}

/// Running visitors. Dropping them stops them.
pub(super) struct Visitors {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

impl Visitors {
    /// Starts them against a load balancer's URL.
    pub(super) fn start(url: &str) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let (stop, stopped) = watch::channel(false);
        let client: HttpClient = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let mut tasks = JoinSet::new();
        for (path, pause, keep_alive) in VISITORS {
            tasks.spawn(visit(client.clone(), format!("{url}{path}"), pause, keep_alive, Arc::clone(&tally), stopped.clone()));
        }
        Self { tally, stop, tasks }
    }

    /// What they got since the last call.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets every visitor finish the request it is waiting for, then returns what they got since the last `take`.
    pub(super) async fn finish(mut self) -> Tally {
        // The receivers live in the tasks; if all are gone there is nobody to tell.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        self.take()
    }
}

async fn visit(
    client: HttpClient,
    url: String,
    pause: Duration,
    keep_alive: bool,
    tally: Arc<Mutex<Tally>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pace = interval(pause);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = pace.tick() => {}
        }
        let visit = ask(&client, &url, keep_alive).await;
        count(&mut tally.lock().unwrap_or_else(PoisonError::into_inner), &url, visit);
    }
}

struct Visit {
    status: u16,
    release: Option<String>,
}

/// One request with its whole body; the error is for people.
async fn ask(client: &HttpClient, url: &str, keep_alive: bool) -> Result<Visit, String> {
    let mut request = hyper::Request::get(url);
    if !keep_alive {
        request = request.header("connection", "close");
    }
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let exchange = async {
        let response = client.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let release = response.headers().get(RELEASE_HEADER).and_then(|value| value.to_str().ok()).map(str::to_string);
        response.into_body().collect().await.map_err(|error| chain(&error))?;
        Ok(Visit { status, release })
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn count(tally: &mut Tally, url: &str, visit: Result<Visit, String>) {
    let failure = match visit {
        Ok(Visit { status, release }) if status < 500 => {
            tally.served += 1;
            *tally.by_release.entry(release.unwrap_or_default()).or_default() += 1;
            return;
        }
        Ok(Visit { release: Some(release), .. }) => {
            *tally.own_errors.entry(release).or_default() += 1;
            return;
        }
        Ok(Visit { status, release: None }) => format!("{url}: the load balancer answered {status}"),
        Err(error) => format!("{url}: {error}"),
    };
    tally.failed += 1;
    if tally.samples.len() < 3 {
        tally.samples.push(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_page_of_a_release_is_its_own_and_one_without_a_release_is_a_failure() {
        let mut tally = Tally::default();
        count(&mut tally, "u", Ok(Visit { status: 200, release: Some("r1".into()) }));
        count(&mut tally, "u", Ok(Visit { status: 500, release: Some("r4".into()) }));
        count(&mut tally, "u", Ok(Visit { status: 503, release: None }));
        count(&mut tally, "u", Err("connection reset".into()));
        assert_eq!((tally.served, tally.failed, tally.own_errors.get("r4")), (1, 2, Some(&1)));
        assert_eq!(tally.samples, ["u: the load balancer answered 503", "u: connection reset"]);
    }
}
