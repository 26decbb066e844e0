//! The sockets of a listener: opened when the listener is there, closed when it goes; connections under way then end in peace.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::proxy::Proxy;
use crate::sandbox::elbv2::NODES;
use crate::sandbox::engine::{Context, State, pause};

/// Open sockets of one listener. Dropping them closes the ports.
pub(in crate::sandbox) struct Sockets {
    /// Always there: 127.0.0.1 and any free port.
    pub local: SocketAddr,
    /// The load balancer's own address and the listener's port, where this machine lets us have it.
    pub own: Option<SocketAddr>,
    _open: watch::Sender<()>,
}

/// Opens the sockets of listeners that have none yet.
pub(in crate::sandbox) fn open_sockets(state: &mut State, context: Context<'_>) {
    if !context.host.real() {
        return;
    }
    let elbv2 = &mut state.elbv2;
    for listener in elbv2.listeners.values_mut().filter(|listener| listener.sockets.is_none()) {
        let Some(balancer) = elbv2.load_balancers.get(&listener.load_balancer) else { continue };
        let proxy = Arc::new(Proxy::new(context.engine, &state.place, &listener.arn));
        match open(proxy, SocketAddr::new(balancer.address, listener.port)) {
            Ok(sockets) => listener.sockets = Some(Arc::new(sockets)),
            // The next tick tries again.
            Err(error) => tracing::warn!(listener = listener.arn, %error, "no socket for a listener"),
        }
    }
}

fn open(proxy: Arc<Proxy>, own: SocketAddr) -> std::io::Result<Sockets> {
    let (open, closing) = watch::channel(());
    let serve = |address: SocketAddr| -> std::io::Result<SocketAddr> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let bound = socket.local_addr()?;
        tokio::spawn(accept(TcpListener::from_std(socket)?, Arc::clone(&proxy), closing.clone()));
        Ok(bound)
    };
    let local = serve(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
    // A low port without the right to it, or an address this system does not route to itself: the local one remains.
    let own = serve(own).ok();
    Ok(Sockets { local, own, _open: open })
}

async fn accept(socket: TcpListener, proxy: Arc<Proxy>, mut closing: watch::Receiver<()>) {
    let number = AtomicUsize::new(0);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closing.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Like resolvers that hand out a load balancer's addresses in turn.
                let node = number.fetch_add(1, Ordering::Relaxed) % NODES;
                tokio::spawn(serve(stream, peer.ip(), node, Arc::clone(&proxy), closing.clone()));
            }
            // Out of file descriptors: some will come back.
            Err(_) => pause(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, node: usize, proxy: Arc<Proxy>, mut closing: watch::Receiver<()>) {
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let idle = proxy.idle();
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.answer(request, peer, node).await) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(idle).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = closing.changed() => None,
    };
    // Only the visitor is told of a broken connection; nobody here can mend it.
    let _ = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
