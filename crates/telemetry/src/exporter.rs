//! Exporter of error reports: a bounded queue and a thread that posts its items.
//!
//! Nothing waits for it: items that do not fit are dropped, and so are those that cannot be delivered.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use tokio::runtime::Runtime;

/// Timeout of one delivery.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a 429 without `Retry-After`.
const PAUSE: Duration = Duration::from_mins(1);

/// Where to post, and how many items at once.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The name of the thread.
    pub(crate) name: &'static str,
    /// The address.
    pub(crate) url: String,
    /// Headers of every delivery.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Items that may wait.
    pub(crate) queue_size: usize,
    /// Items of one delivery at most.
    pub(crate) batch: usize,
    /// How long the first item of a delivery waits for others.
    pub(crate) delay: Duration,
}

/// A bounded queue of items and the thread that posts them; a clone is another handle on it.
#[derive(Debug)]
pub(crate) struct Exporter<T> {
    queue: SyncSender<T>,
    pending: Arc<Pending>,
}

impl<T> Clone for Exporter<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            pending: Arc::clone(&self.pending),
        }
    }
}

#[derive(Debug, Default)]
struct Pending {
    items: Mutex<usize>,
    fewer: Condvar,
}

impl<T: Send + 'static> Exporter<T> {
    /// Starts the thread; `encode` converts a batch to the body of a delivery.
    pub(crate) fn start(
        destination: Destination,
        encode: impl Fn(&[T]) -> Vec<u8> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, items) = sync_channel(destination.queue_size);
        let pending = Arc::new(Pending::default());
        let delivered = Arc::clone(&pending);
        std::thread::Builder::new()
            .name(destination.name.to_owned())
            .spawn(move || deliver(&items, &destination, encode, &delivered))?;
        Ok(Self { queue, pending })
    }

    /// Takes an item, or drops it when too many wait already.
    pub(crate) fn send(&self, item: T) {
        self.pending.add();
        if self.queue.try_send(item).is_err() {
            self.pending.remove(1);
        }
    }

    /// Waits until nothing waits any more, but not beyond `deadline`; answers whether that was so.
    #[must_use]
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let items = self.pending.lock();
        let waited = self
            .pending
            .fewer
            .wait_timeout_while(items, left, |items| *items > 0);
        let (items, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *items == 0
    }
}

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.lock() += 1;
    }

    fn remove(&self, items: usize) {
        *self.lock() -= items;
        self.fewer.notify_all();
    }
}

/// HTTP client of the exporters.
pub(crate) fn http_client() -> reqwest::Result<Client> {
    Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Runtime of an exporter's thread.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn deliver<T>(
    items: &Receiver<T>,
    destination: &Destination,
    encode: impl Fn(&[T]) -> Vec<u8>,
    pending: &Pending,
) {
    let (Ok(runtime), Ok(client)) = (runtime(), http_client()) else {
        return tracing::warn!(
            thread = destination.name,
            "telemetry cannot be sent from here"
        );
    };
    let mut paused_until = Instant::now();
    while let Some(batch) = next_batch(items, destination) {
        if Instant::now() >= paused_until {
            let body = encode(&batch);
            if let Some(pause) = post(&runtime, &client, destination, body) {
                paused_until = Instant::now() + pause;
            }
        }
        pending.remove(batch.len());
    }
}

fn next_batch<T>(items: &Receiver<T>, destination: &Destination) -> Option<Vec<T>> {
    let mut batch = vec![items.recv().ok()?];
    let until = Instant::now() + destination.delay;
    while batch.len() < destination.batch {
        let left = until.saturating_duration_since(Instant::now());
        match items.recv_timeout(left) {
            Ok(item) => batch.push(item),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

/// Delivers once; answers how long to pause where the collector asks for it.
fn post(
    runtime: &Runtime,
    client: &Client,
    destination: &Destination,
    body: Vec<u8>,
) -> Option<Duration> {
    let mut request = client.post(&destination.url).body(body);
    for (name, value) in &destination.headers {
        request = request.header(*name, value);
    }
    // The client looks for the runtime's clock as soon as it is asked to send.
    let response = runtime.block_on(async { request.send().await }).ok()?;
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let asked = response.headers().get(RETRY_AFTER);
    let seconds = asked.and_then(|text| text.to_str().ok()?.parse().ok());
    Some(seconds.map_or(PAUSE, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn destination(listener: &TcpListener) -> Destination {
        Destination {
            name: "test",
            url: format!("http://{}/", listener.local_addr().unwrap()),
            headers: vec![("x-test", "yes".to_owned())],
            queue_size: 4,
            batch: 1,
            delay: Duration::ZERO,
        }
    }

    fn encode(items: &[u8]) -> Vec<u8> {
        items.to_vec()
    }

    /// Reads one delivery and answers it.
    fn answer(mut stream: &TcpStream, status: &str) -> String {
        let mut request = String::new();
        let mut buffer = [0; 1024];
        while !request.ends_with('7') {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{request}");
            request.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).unwrap();
        request
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn items_are_delivered_and_flushed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporter = Exporter::start(destination(&listener), encode).unwrap();
        exporter.send(b'7');
        let request = answer(&listener.accept().unwrap().0, "200 OK");
        assert!(request.starts_with("POST / HTTP/1.1"), "{request}");
        assert!(request.contains("x-test: yes"), "{request}");
        assert!(exporter.flush(soon()));
    }

    #[test]
    fn a_collector_that_has_had_enough_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporter = Exporter::start(destination(&listener), encode).unwrap();
        exporter.send(b'7');
        answer(&listener.accept().unwrap().0, "429 Too Many Requests");
        assert!(exporter.flush(soon()));
        exporter.send(b'7');
        assert!(exporter.flush(soon()), "it is forgotten");
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "and not delivered");
    }

    #[test]
    fn a_silent_collector_costs_neither_the_sender_nor_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporter = Exporter::start(destination(&listener), encode).unwrap();
        for _ in 0..10_000 {
            exporter.send(b'7');
        }
        let deadline = Instant::now() + Duration::from_millis(100);
        assert!(!exporter.flush(deadline));
        assert!(Instant::now() < soon());
    }
}
