//! What a deploy and a rollback cost: calls to AWS by service, and virtual seconds. Counts, not wall time, so that they are the same on every
//! machine: `figures.txt` is what they were, and a figure that grew fails with both numbers.
//!
//! `cargo test --bench cost` compares; `cargo test --bench cost -- --write` accepts what is measured.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be taken fails at once, and is shown")]

#[path = "../tests/it/line.rs"]
#[allow(dead_code, reason = "only a part of it is needed here")]
mod line;
#[path = "../tests/it/yard.rs"]
#[allow(dead_code, unfulfilled_lint_expectations, reason = "only a part of it is needed here")]
mod yard;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use adstage::sandbox::LoggedCall;
use yard::Yard;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/figures.txt");

/// By name, `deploy elasticloadbalancing reading`.
type Figures = BTreeMap<String, u64>;

/// Moves visitors; the last one of an operation moves the last of them.
fn cuts_over(call: &LoggedCall) -> bool {
    ["ModifyRule", "ModifyListener"].contains(&call.action.as_str())
}

fn measure(operation: &str, calls: &[LoggedCall]) -> Figures {
    let mut figures = Figures::new();
    for call in calls {
        let kind = if call.mutating { "changing" } else { "reading" };
        *figures.entry(format!("{operation} calls {} {kind}", call.service)).or_default() += 1;
    }
    let (first, last) = (calls.first().unwrap().at, calls.last().unwrap().at);
    let cut_over = calls.iter().rfind(|call| cuts_over(call)).unwrap().at;
    let seconds = |span: Duration| span.as_secs_f64().round() as u64;
    figures.insert(format!("{operation} calls"), calls.len() as u64);
    figures.insert(format!("{operation} seconds to cut-over"), seconds(cut_over - first));
    figures.insert(format!("{operation} seconds to the end"), seconds(last - first));
    figures
}

/// A second deploy and the rollback of it: two web services and a worker, in virtual time.
async fn story() -> Figures {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), "two".into());
    }
    let calls = |from: usize| yard.sandbox.faults().calls().split_off(from);
    let before = calls(0).len();
    yard.operator("joe").await.deploy().await.well();
    let deploy = calls(before);
    yard.operator("maya").await.rollback().await.well();
    let rollback = calls(before + deploy.len());
    let mut figures = measure("deploy", &deploy);
    figures.extend(measure("rollback", &rollback));
    figures
}

fn shown(figures: &Figures) -> String {
    figures.iter().map(|(name, figure)| format!("{figure:>6}  {name}\n")).collect()
}

fn read(text: &str) -> Figures {
    let line = |line: &str| line.trim().split_once("  ").and_then(|(figure, name)| Some((name.to_string(), figure.parse().ok()?)));
    text.lines().filter_map(line).collect()
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let figures = runtime.block_on(story());
    print!("{}", shown(&figures));
    if std::env::args().any(|argument| argument == "--write") {
        std::fs::write(FIGURES, shown(&figures)).unwrap();
        return ExitCode::SUCCESS;
    }
    let known = read(&std::fs::read_to_string(FIGURES).unwrap_or_default());
    let was = |name: &str| known.get(name).copied().unwrap_or_default();
    let differs: Vec<_> = figures.iter().filter(|(name, figure)| was(name) != **figure).collect();
    for (name, figure) in &differs {
        println!("{name}: {} before, {figure} now", was(name));
    }
    match differs.iter().any(|(name, figure)| **figure > was(name)) {
        true => {
            println!("\nIt costs more than before. If that is wanted: cargo test --bench cost -- --write");
            ExitCode::FAILURE
        }
        false => ExitCode::SUCCESS,
    }
}
