//! Several calls at the same time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Waits for all futures, which run at the same time, and answers in their order. Polls each on every wake-up: meant for tens, not
/// for thousands.
pub async fn gather<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (slot, output) in running.iter_mut().zip(&mut done) {
            if let Some(future) = slot
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                (*slot, *output) = (None, Some(value));
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::gather;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn all_at_the_same_time_in_their_own_order() {
        let clock = Clock::for_tests();
        let started = clock.moment();
        let naps = [3, 1, 2].map(|seconds| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                seconds
            }
        });
        assert_eq!(gather(naps).await, [3, 1, 2]);
        assert_eq!(clock.since(started), Duration::from_secs(3));
        assert!(gather(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
