//! Signals that end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Registers the handlers at once; the future resolves at the first SIGTERM or SIGINT. A second one
/// ends the process.
pub fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("signal handlers cannot be registered: the process can only be killed");
            return std::future::pending().await;
        };
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(130);
        });
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
