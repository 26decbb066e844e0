//! The programs of the practice app in `examples/shop`: what the demo's services run, so that nothing but adstage has to be installed.
//!
//! They are ordinary programs to everything else: bound to the address and port they are told, stopped by SIGTERM, judged by `/up`.

pub mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, Uri};
use axum::routing::{any, get};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

/// Every answer of the shop says which release gave it, so that a visitor can tell whose error it was.
pub const RELEASE_HEADER: &str = "x-shop-release";

/// A web program: one page, and `/up`.
#[derive(Debug, Clone)]
pub struct Web {
    /// Address and port to serve.
    pub listen: SocketAddr,
    /// The page's text.
    pub page: String,
    /// The release, sent with every answer.
    pub release: String,
    /// Something it cannot reach: `/up` answers 503 and names it.
    pub unreachable: Option<String>,
    /// The store `/orders` are kept in: a GET shows them, a POST adds one.
    pub store: Option<SocketAddr>,
    /// This long after its first visitor some pages are errors; `/up` stays well. What health checks cannot see.
    pub fails_after: Option<Duration>,
    /// One page in so many then.
    pub fails_every: u64,
}

struct Serving {
    web: Web,
    pages: AtomicU64,
    first_visit: std::sync::OnceLock<Instant>,
}

/// Serves until SIGTERM, then finishes the requests it has.
pub async fn serve(web: Web) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(web.listen).await?;
    let serving = Arc::new(Serving { web, pages: AtomicU64::new(0), first_visit: std::sync::OnceLock::new() });
    let app = Router::new().route("/up", get(up)).route("/orders", get(orders).post(order)).fallback(any(page)).with_state(serving);
    let mut stop = signal(SignalKind::terminate())?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.recv().await;
        })
        .await
}

type Answer = (StatusCode, [(HeaderName, String); 1], String);

fn answer(serving: &Serving, status: StatusCode, body: String) -> Answer {
    (status, [(HeaderName::from_static(RELEASE_HEADER), serving.web.release.clone())], body)
}

async fn up(State(serving): State<Arc<Serving>>) -> Answer {
    if let Some(address) = serving.web.store
        && let Err(error) = store::ask(address, None).await
    {
        return answer(&serving, StatusCode::SERVICE_UNAVAILABLE, format!("cannot reach the orders at {address}: {error}\n"));
    }
    match &serving.web.unreachable {
        None => answer(&serving, StatusCode::OK, "well\n".into()),
        Some(what) => answer(&serving, StatusCode::SERVICE_UNAVAILABLE, format!("cannot reach {what}\n")),
    }
}

async fn orders(State(serving): State<Arc<Serving>>) -> Answer {
    kept(&serving, None).await
}

async fn order(State(serving): State<Arc<Serving>>, body: String) -> Answer {
    kept(&serving, Some(body.trim())).await
}

async fn kept(serving: &Serving, order: Option<&str>) -> Answer {
    let Some(address) = serving.web.store else { return answer(serving, StatusCode::NOT_FOUND, "no orders are kept here\n".into()) };
    match store::ask(address, order).await {
        Ok(lines) => answer(serving, StatusCode::OK, lines.iter().map(|line| format!("{line}\n")).collect()),
        Err(error) => answer(serving, StatusCode::BAD_GATEWAY, format!("{error}\n")),
    }
}

#[allow(clippy::disallowed_methods, reason = "a slow page is slow in real time; the visitor's own timeout is its deadline")]
async fn page(State(serving): State<Arc<Serving>>, uri: Uri) -> Answer {
    let count = serving.pages.fetch_add(1, Ordering::Relaxed);
    let first = *serving.first_visit.get_or_init(Instant::now);
    if uri.path().ends_with("/slow") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if serving.web.fails_after.is_some_and(|after| first.elapsed() >= after) && count.is_multiple_of(serving.web.fails_every.max(1)) {
        return answer(&serving, StatusCode::INTERNAL_SERVER_ERROR, "division by zero in checkout\n".into());
    }
    answer(&serving, StatusCode::OK, format!("{}\n", serving.web.page.trim_end()))
}

/// The worker: delivers a parcel a second and says so, until SIGTERM. `say` gets each line.
pub async fn deliver_parcels(release: &str, mut say: impl FnMut(String)) -> std::io::Result<()> {
    let mut stop = signal(SignalKind::terminate())?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for parcel in 1_u64.. {
        tokio::select! {
            _ = stop.recv() => break,
            _ = second.tick() => say(format!("parcel {parcel} delivered by {release}")),
        }
    }
    Ok(())
}
