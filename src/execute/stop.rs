//! Being asked to stop: by the keyboard, by a signal, by a colleague through the lock.

use tokio::sync::watch;

use crate::lock::Held;

/// Who said stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C.
    Keyboard,
    /// SIGTERM.
    Signal,
    /// Somebody asked through the lock: who and why.
    Colleague(String, String),
}

/// Listens to both.
pub(super) struct Stop<'a> {
    keyboard: watch::Receiver<Option<Interrupt>>,
    held: &'a Held,
}

impl<'a> Stop<'a> {
    pub fn new(keyboard: watch::Receiver<Option<Interrupt>>, held: &'a Held) -> Self {
        Self { keyboard, held }
    }

    /// Somebody said stop, before now.
    pub fn asked(&self) -> Option<Interrupt> {
        let colleague = || self.held.halted().map(|halt| Interrupt::Colleague(halt.who, halt.why));
        self.keyboard.borrow().clone().or_else(colleague)
    }

    /// Waits until somebody says stop, or the lock is lost.
    pub async fn wait(&mut self) {
        let held = self.held;
        let pressed = async {
            if self.keyboard.wait_for(Option::is_some).await.is_err() {
                // Nobody listens to the keyboard any more.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = pressed => {}
            () = held.halted_or_lost() => {}
        }
    }
}
