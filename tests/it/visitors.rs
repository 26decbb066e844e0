//! A load generator of the tests' own: plain HTTP/1.1 over blocking sockets, sharing no code with what it measures.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One answered (or failed) request.
#[derive(Debug, Clone)]
pub struct Visit {
    pub at: Instant,
    /// Status and body, or what went wrong.
    pub got: Result<(u16, String), String>,
}

/// Threads asking for `/` at a steady pace, each request on a connection of its own.
pub struct Visitors {
    stop: Arc<AtomicBool>,
    visits: Arc<Mutex<Vec<Visit>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Visitors {
    /// `url` is `http://127.0.0.1:port`.
    pub fn start(url: &str, threads: usize, pause: Duration) -> Self {
        Self::at(url, &["/"], threads, pause)
    }

    /// The same at several paths: each thread at one of them.
    pub fn at(url: &str, paths: &[&str], threads: usize, pause: Duration) -> Self {
        let authority = url.strip_prefix("http://").unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let visits = Arc::new(Mutex::new(Vec::new()));
        let threads = (paths.iter().cycle().take(threads))
            .map(|path| {
                let (path, authority) = (path.to_string(), authority.clone());
                let (stop, visits) = (Arc::clone(&stop), Arc::clone(&visits));
                std::thread::spawn(move || {
                    // An upper bound for a test that forgets to stop them.
                    for _ in 0..20_000 {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let visit = Visit { at: Instant::now(), got: get(&authority, &path) };
                        visits.lock().unwrap().push(visit);
                        std::thread::sleep(pause);
                    }
                })
            })
            .collect();
        Self { stop, visits, threads }
    }

    /// Stops after the requests under way; everything they saw, in order of asking.
    pub fn finish(self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let mut visits = std::mem::take(&mut *self.visits.lock().unwrap());
        visits.sort_by_key(|visit| visit.at);
        visits
    }
}

/// One GET; the error says at what point it failed.
pub fn get(authority: &str, path: &str) -> Result<(u16, String), String> {
    let fail = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(authority).map_err(|error| fail("connect", error))?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| fail("set up", error))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").map_err(|error| fail("send", error))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| fail("receive", error))?;
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("cut short: {answer:?}"))?;
    status.map(|status| (status, body.to_string())).ok_or_else(|| format!("not HTTP: {answer:?}"))
}

/// No visit failed: every one was answered 200. Returns how many.
#[track_caller]
pub fn all_well(visits: &[Visit]) -> usize {
    let failed: Vec<_> = visits.iter().filter(|visit| !matches!(visit.got, Ok((200, _)))).collect();
    assert!(failed.is_empty(), "{} of {} visits failed: {:?}", failed.len(), visits.len(), &failed[..failed.len().min(3)]);
    visits.len()
}
