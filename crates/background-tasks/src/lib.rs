//! Background tasks of a process that stop in two steps, and periodic work.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    running: TaskTracker,
    stop: CancellationToken,
    stop_last: CancellationToken,
}

impl Tasks {
    /// Token of tasks that stop when the shutdown begins.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Token of tasks that write data of requests, and so stop after the last response.
    #[must_use]
    pub fn last_token(&self) -> CancellationToken {
        self.stop_last.clone()
    }

    /// Starts a task, and logs its end by its name.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.running.spawn(async move {
            task.await;
            tracing::debug!(task = name, "background task ended");
        });
    }

    /// Stops all tasks except those that wait for the last response.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops the rest after the last response, and waits for all tasks to end.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.stop_last.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Runs work now and after each period, for ever. Missed ticks are not caught up on.
pub async fn every<F: Future<Output = ()>>(period: Duration, work: impl Fn() -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_stop_in_two_steps() {
        let tasks = Tasks::default();
        let ticks = Arc::new(AtomicU32::new(0));
        let counter = ticks.clone();
        let work = async move {
            let count = || async {
                counter.fetch_add(1, Ordering::SeqCst);
            };
            every(Duration::from_secs(10), count).await;
        };
        tasks.spawn("first", tasks.stop_token().run_until_cancelled_owned(work));
        let last = tasks.last_token();
        tasks.spawn("last", last.clone().cancelled_owned());
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 3);
        tasks.stop();
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 3);
        assert!(!last.is_cancelled());
        tasks.finish().await;
    }
}
