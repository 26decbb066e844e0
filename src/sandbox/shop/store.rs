//! A store of lines in a file, for those parts of the practice app that must remember something: whoever connects may send one line to be
//! kept, ends what it sends, and is told all that is there.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// A store on the same machine answers from memory or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nobody's line is longer.
const LONGEST: u64 = 4_096;

/// Serves until SIGTERM. One at a time, so that no line is torn.
pub async fn serve(listen: SocketAddr, data: &Path) -> io::Result<()> {
    fs::create_dir_all(data).await?;
    let file = data.join("lines");
    let listener = TcpListener::bind(listen).await?;
    let mut stop = signal(SignalKind::terminate())?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = stop.recv() => return Ok(()),
        };
        // A client that leaves early, or never ends, loses only its own answer.
        let _ = tokio::time::timeout(PATIENCE, answer(stream, &file)).await;
    }
}

async fn answer(mut stream: TcpStream, file: &Path) -> io::Result<()> {
    let mut sent = String::new();
    (&mut stream).take(LONGEST).read_to_string(&mut sent).await?;
    if let Some(line) = sent.lines().next().filter(|line| !line.is_empty()) {
        let mut kept = OpenOptions::new().create(true).append(true).open(file).await?;
        kept.write_all(format!("{line}\n").as_bytes()).await?;
        kept.sync_data().await?;
    }
    stream.write_all(&fs::read(file).await.unwrap_or_default()).await?;
    stream.shutdown().await
}

/// Has a line kept, if there is one, and asks for all.
pub async fn ask(store: SocketAddr, line: Option<&str>) -> io::Result<Vec<String>> {
    let exchange = async {
        let mut stream = TcpStream::connect(store).await?;
        stream.write_all(line.unwrap_or_default().as_bytes()).await?;
        stream.shutdown().await?;
        let mut kept = String::new();
        stream.read_to_string(&mut kept).await?;
        Ok(kept.lines().map(str::to_string).collect())
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for round in 1..=2 {
            let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let data = data.clone();
            let serving = tokio::spawn(async move { serve(address, &data).await });
            while ask(address, None).await.is_err() {
                tokio::task::yield_now().await;
            }
            assert_eq!(ask(address, Some("tea")).await.unwrap(), vec!["tea"; round]);
            assert_eq!(ask(address, None).await.unwrap().len(), round);
            serving.abort();
        }
    }
}
