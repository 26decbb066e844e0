//! `adstage agent boot`: learn what to be, be it, and tell.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::checkout::Tree;
use super::console::Console;
use super::duty::{self, Duty};
use super::environment::Surroundings;
use super::fuse::{self, Fuse};
use super::health::Health;
use super::identity::{BootError, BoxIdentity, COMMIT, Identity, identity};
use super::imds::Imds;
use super::layout::Layout;
use super::memory::Memory;
use super::release_command;
use super::secrets::Secrets;
use super::service::{Board, names};
use super::store;
use super::supervisor::{Shift, Supervisor, told_to_stop};
use super::workbench::{Stages, Workbench};
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::model::{ConsoleLine, tag};

/// What the agent works with.
#[derive(Debug)]
struct Agent<'a> {
    surroundings: &'a Surroundings,
    layout: Layout,
    console: Console,
    clock: &'a Clock,
    /// What goes on beside the services: answers, announcements, the fuse.
    beside: JoinSet<()>,
}

/// Runs this instance's services until it is told to stop.
pub async fn boot(surroundings: &Surroundings, clock: &Clock) -> Result<(), Failure> {
    let layout = Layout::new(&surroundings.root);
    let console = Console::of(&layout);
    let stop = stop_signal().map_err(|error| Failure::new(End::Unexpected, "cannot listen for signals").because(error))?;
    let mut agent = Agent { surroundings, layout, console: console.clone(), clock, beside: JoinSet::new() };
    let ended = agent.hold(stop).await;
    ended.map_err(|error| {
        console.mark(&ConsoleLine::BootFailed { what: error.to_string() });
        Failure::new(End::Unexpected, error.to_string())
    })
}

impl Agent<'_> {
    async fn hold(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), BootError> {
        // If an agent before this one was told when to end, that holds, whatever this one can learn.
        let fuse = Fuse::new(self.surroundings, &self.layout, &self.console, self.clock);
        let lit = fuse.is_lit();
        if lit {
            self.beside.spawn(fuse.burn());
        }
        let (imds, mode) = tokio::select! {
            met = self.meet() => met?,
            () = told_to_stop(&mut stop) => return Ok(()),
        };
        match mode.as_str() {
            "builder" => self.console.say("this instance is a builder: no services to run"),
            "review" => {
                if !lit {
                    self.beside.spawn(Fuse::new(self.surroundings, &self.layout, &self.console, self.clock).burn());
                }
                if let Err(error) = self.run(imds, true, stop.clone()).await {
                    // To start the agent again and again would not help, and its fuse must go on burning.
                    self.console.mark(&ConsoleLine::BootFailed { what: error.to_string() });
                    told_to_stop(&mut stop).await;
                }
            }
            _ => self.run(imds, false, stop).await?,
        }
        Ok(())
    }

    /// Asks the metadata service what this instance is for.
    async fn meet(&self) -> Result<(Imds, String), BootError> {
        let imds = Imds::open(&self.surroundings.metadata_endpoint, self.clock).await?;
        fuse::light(&imds, self.surroundings, &self.console).await?;
        let mode = imds.tag(tag::MODE).await?.ok_or(BootError::NoTag(tag::MODE))?;
        Ok((imds, mode))
    }

    async fn run(&mut self, imds: Imds, is_box: bool, mut stop: watch::Receiver<bool>) -> Result<(), BootError> {
        let Identity { host, services, release_commands, active, review } = tokio::select! {
            identity = identity(&imds, is_box, self.surroundings, &self.layout) => identity?,
            () = told_to_stop(&mut stop) => return Ok(()),
        };
        let board = Board::of(&services);
        let stages = review.as_ref().map(|review| Stages::of(&review.told.checkouts));
        let (duty, orders) = Duty::of(active.unwrap_or(true));
        let health =
            Arc::new(Health { services: services.clone(), board: board.clone(), host, stages: stages.clone(), duty: duty.clone() });
        let answering = health.listen(&self.layout).await.map_err(BootError::Start)?;
        self.beside.spawn(answering);
        let (layout, console, clock) = (self.layout.clone(), self.console.clone(), self.clock.clone());
        let secrets = Secrets::new(&self.surroundings.metadata_endpoint, self.clock);
        let mut shift = Shift { services, board, layout, console, secrets, clock, duty, path: self.surroundings.path.clone() };
        if let (Some(review), Some(stages)) = (review, stages) {
            let set_up = tokio::select! {
                set_up = set_up(&mut shift, &review, stages) => set_up?,
                () = told_to_stop(&mut stop) => return Ok(()),
            };
            if !set_up {
                // The console and the health answer say why. Whoever mends it starts the agent again.
                told_to_stop(&mut stop).await;
                return Ok(());
            }
            self.ask_stores(&shift);
        }
        for (service, command) in release_commands {
            let once = release_command::Once { shift: shift.clone(), service, command };
            self.beside.spawn(once.hold(self.surroundings.metadata_endpoint.clone()));
        }
        self.console.mark(&ConsoleLine::Booted { services: names(&shift.services) });
        if active.is_some() {
            self.beside.spawn(duty::follow(imds, orders, names(&shift.services), self.console.clone(), self.clock.clone()));
        }
        let (supervisor, announced) = (Supervisor::here(&self.layout), shift.clone());
        self.beside.spawn(async move { health.announce(&announced, supervisor).await });
        supervisor.hold(&shift, stop).await.map_err(BootError::Start)
    }

    fn ask_stores(&mut self, shift: &Shift) {
        for service in shift.services.clone() {
            let shift = shift.clone();
            if let Some(store) = service.store.clone() {
                self.beside.spawn(async move { store::ask(&shift, &service, &store).await });
            }
        }
    }
}

/// Makes a review box of an instance: its repositories and stores. False if it cannot be one, which the console tells.
async fn set_up(shift: &mut Shift, review: &BoxIdentity, stages: Stages) -> Result<bool, BootError> {
    let memory = Memory::of(&shift.layout, &review.instance);
    memory.begin().map_err(BootError::Start)?;
    let bench = Workbench { layout: shift.layout.clone(), console: shift.console.clone(), memory: memory.clone(), stages };
    if !bench.set_up(&review.told.checkouts).await || !store::prepare(shift, &memory).await {
        return Ok(false);
    }
    // What is really there: somebody may have gone on since.
    for service in &mut shift.services {
        let Some(repository) = review.repositories.get(&service.name) else { continue };
        if let Ok(commit) = Tree::of(&shift.layout, repository).head().await {
            service.variables.insert(COMMIT.into(), commit.into());
        }
    }
    Ok(true)
}

/// Turns true at SIGTERM or SIGINT, or when the pipe on stdin ends: whoever held its other end is gone.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, told) = watch::channel(false);
    let (pipe_ended, pipe) = oneshot::channel::<()>();
    let held = stdin_is_held();
    if held {
        // A thread of its own, since nothing can interrupt the reading; it ends with the process.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut buffer = [0; 64];
            while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
            let _ = pipe_ended.send(());
        })?;
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = pipe, if held => {}
        }
        let _ = tell.send(true);
    });
    Ok(told)
}

fn stdin_is_held() -> bool {
    rustix::fs::fstat(std::io::stdin().as_fd()).is_ok_and(|stat| {
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        kind == rustix::fs::FileType::Fifo || kind == rustix::fs::FileType::Socket
    })
}
