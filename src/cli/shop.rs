//! `adstage sandbox shop`: the practice app's own programs. Hidden from help: services run them, people do not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::cli::Global;
use crate::failure::Failure;
use crate::sandbox::shop::{self, Web, store};

/// Run one of the practice app's programs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// A web program: one page, and /up
    Web {
        /// Address and port to serve
        #[arg(long)]
        listen: SocketAddr,
        /// File with the page's text
        #[arg(long)]
        page: PathBuf,
        /// The release it belongs to
        #[arg(long)]
        release: String,
        /// Host name of the stock service; one that does not resolve makes /up answer 503
        #[arg(long, default_value = "")]
        stock: String,
        /// Address of the store that /orders are kept in; without one there are none
        #[arg(long, default_value = "")]
        store: String,
        /// Seconds after its first visitor from which on some pages are errors
        #[arg(long)]
        fails_after: Option<u64>,
        /// One page in so many then
        #[arg(long, default_value_t = 3)]
        fails_every: u64,
    },
    /// The store: keeps lines in a file
    Store {
        /// Address and port to serve
        #[arg(long)]
        listen: SocketAddr,
        /// Folder of its file
        #[arg(long)]
        data: PathBuf,
    },
    /// Ask a store for its lines
    Ask {
        /// Its address
        store: SocketAddr,
    },
    /// The worker: delivers a parcel a second
    Courier {
        /// The release it belongs to
        #[arg(long)]
        release: String,
    },
}

/// Runs until SIGTERM.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.program {
        Program::Web { listen, page, release, stock, store, fails_after, fails_every } => {
            let page = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
            // RFC 6761 promises that nothing under .invalid ever resolves; asking a resolver would make the demo wait for one.
            let unreachable = stock.ends_with(".invalid").then_some(stock);
            // An unset variable of a shell becomes an empty one.
            let store = Some(store).filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
            let store = store.context("--store is an address and a port")?;
            let web = Web { listen, page, release, unreachable, store, fails_after: fails_after.map(Duration::from_secs), fails_every };
            shop::serve(web).await.with_context(|| format!("cannot serve {listen}"))?;
        }
        Program::Courier { release } => {
            let report = global.report.clone();
            shop::deliver_parcels(&release, |line| report.say(line)).await.context("cannot wait for signals")?;
        }
        Program::Store { listen, data } => {
            store::serve(listen, &data).await.with_context(|| format!("cannot keep anything in {}", data.display()))?;
        }
        Program::Ask { store: address } => {
            let lines = store::ask(address, None).await.with_context(|| format!("no store answers at {address}"))?;
            global.report.result(&lines, || lines.join("\n"))?;
        }
    }
    Ok(())
}
