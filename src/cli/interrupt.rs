//! Ctrl-C and SIGTERM while an operation runs. The first asks it to stop and says what that means; the second leaves at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::execute::Interrupt;
use crate::failure::End;
use crate::model::{Event, Mark};
use crate::report::Report;

/// What was asked so far.
pub type Interrupts = watch::Receiver<Option<Interrupt>>;

/// From now on signals go here instead of ending the process. If that cannot be had they end it, as before.
pub fn listen(report: &Report) -> Interrupts {
    let (tell, told) = watch::channel(None);
    if let (Ok(keyboard), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        tokio::spawn(hear(keyboard, terminate, tell, report.clone()));
    }
    told
}

async fn hear(mut keyboard: Signal, mut terminate: Signal, tell: watch::Sender<Option<Interrupt>>, report: Report) {
    loop {
        let (said, end) = tokio::select! {
            _ = keyboard.recv() => (Interrupt::Keyboard, End::Interrupted),
            _ = terminate.recv() => (Interrupt::Signal, End::Terminated),
        };
        if tell.borrow().is_some() {
            // The journal holds every step that was begun, and the lease lapses: the next command by anyone sees both.
            report.close();
            std::process::exit(end.code().into());
        }
        let text = "stopping: before the cutover everything begun is undone, after it the new release stays. Once more leaves at once";
        report.emit(&Event::Said { mark: Mark::Warning, text: text.into() });
        tell.send_replace(Some(said));
    }
}
