//! Password hashing pool: Argon2id (RFC 9106) on a fixed number of threads, each with its own reused
//! memory, behind a bounded queue. While the runtime is busy, hashes go to threads of a lower scheduling
//! priority, so that a hash of tens of milliseconds does not delay requests of less than one.
//!
//! Verification takes the same work whether or not the account exists, also after the configured cost was
//! raised: a hash of lower cost is verified at its own cost, and the difference is spent on a hash that
//! is discarded. After the cost was lowered, accounts that have not signed in since take longer.

mod cost;
mod retry_times;
#[cfg(test)]
mod work_test;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use clock::Rng;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use zeroize::Zeroize as _;

pub use self::cost::HashingCost;
use self::cost::Phc;
use self::retry_times::RetryTimes;
use crate::metrics;

const SALT_LEN: usize = 16;
const OUTPUT_LEN: usize = 32;

/// Queue capacity per thread. `queue_timeout` is the effective bound.
const QUEUE_PER_THREAD: usize = 128;

/// Niceness of a low-priority thread. With 5 it gets a quarter of a core that it shares with a thread
/// that serves requests: enough for sign-ins not to time out.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

const LOAD_SAMPLED_EVERY: Duration = Duration::from_millis(100);

/// Load of the runtime, in cores, above which hashes run at low priority. Sign-ins alone cause less.
const BUSY_ABOVE: f64 = 0.5;

/// Password hashing pool; clones share it. The threads end with the last handle.
#[derive(Clone, Debug)]
pub struct Hasher {
    queue: SyncSender<Task>,
    low_priority: SyncSender<Task>,
    is_busy: Arc<AtomicBool>,
    cost: HashingCost,
    queue_timeout: Duration,
    rng: Rng,
    work: Arc<AtomicU64>,
    retry_times: Arc<RetryTimes>,
}

settings::settings! {
    /// Argon2id (RFC 9106) and the pool that runs it.
    #[derive(Copy)]
    pub struct HasherOptions {}
    "Passwords": "Passwords are rehashed at sign-in when the cost rises.", HasherSettings {
        /// Argon2id: memory of one hash.
        PASSWORD_MEMORY_KIB => memory_kib: u32 = 19456, within(8192..=1048576);
        /// Argon2id: passes over that memory.
        PASSWORD_ITERATIONS => iterations: u32 = 2, within(1..=20);
        /// Argon2id: lanes.
        PASSWORD_PARALLELISM => parallelism: u32 = 1, within(1..=16);
        /// Hashes at once; each needs its memory.
        PASSWORD_THREADS => threads: usize, computed("the number of cores", |_| Some(cores().to_string())), within(1..=256);
        /// How long a hash may wait for a thread before the request gets 503.
        PASSWORD_QUEUE_TIMEOUT => queue_timeout: Duration = "2s", at_most("60s");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256))
}

impl HasherSettings {
    /// Returns whether the cost is below that of OWASP's Password Storage Cheat Sheet.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        let Some((memory, iterations)) = self.memory_kib.zip(self.iterations) else {
            return false;
        };
        ![
            (47_104, 1),
            (19_456, 2),
            (12_288, 3),
            (9_216, 4),
            (7_168, 5),
        ]
        .iter()
        .any(|(least, passes)| memory >= *least && iterations >= *passes)
    }
}

impl HasherOptions {
    fn cost(self) -> HashingCost {
        HashingCost {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            parallelism: self.parallelism,
        }
    }
}

/// A password to verify: normalized, and as it was typed where that differs. Hashes that are older than
/// the normalization are of the typed form.
#[derive(Clone, Debug)]
pub struct PasswordForms {
    /// Normalized form.
    pub prepared: SecretString,
    /// Typed form, where it differs.
    pub typed: Option<SecretString>,
}

impl From<SecretString> for PasswordForms {
    fn from(prepared: SecretString) -> Self {
        Self {
            prepared,
            typed: None,
        }
    }
}

/// Which form of a password matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// Normalized form, as all new hashes.
    Prepared,
    /// Typed form: an old hash.
    Typed,
}

/// The queue is full, or the wait exceeded its timeout.
#[derive(Debug, thiserror::Error)]
#[error("the password hashing pool is busy")]
pub struct Busy {
    /// Time until the pool has room for this caller.
    pub retry_after: Duration,
}

/// Verification failure.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// See [`Busy`].
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The stored hash is not one of this pool.
    #[error("a stored password hash cannot be read")]
    Malformed,
}

/// One computation of Argon2.
struct Pass {
    password: SecretString,
    salt: Vec<u8>,
    cost: HashingCost,
}

/// One for each pass, `None` if the wait exceeded its timeout.
type Outputs = Option<Vec<[u8; OUTPUT_LEN]>>;

/// Computations queued together.
struct Task {
    passes: Vec<Pass>,
    work: Arc<AtomicU64>,
    queued: Instant,
    reply: oneshot::Sender<Outputs>,
}

impl Hasher {
    /// Starts the threads. Runs inside a Tokio runtime.
    ///
    /// # Panics
    /// When the operating system cannot start a thread.
    #[must_use]
    pub fn start(options: HasherOptions, rng: Rng) -> Self {
        let retry_times = Arc::new(RetryTimes::new(options.threads));
        let queue = start_threads(options, "hash", || {}, &retry_times);
        let low_priority = start_threads(options, "hash-low", lower_priority, &retry_times);
        let is_busy = Arc::new(AtomicBool::new(false));
        tokio::spawn(measure_load(Arc::downgrade(&is_busy)));
        Self {
            queue,
            low_priority,
            is_busy,
            cost: options.cost(),
            queue_timeout: options.queue_timeout,
            rng,
            work: Arc::default(),
            retry_times,
        }
    }

    /// Hashes a password with a random salt into a PHC string.
    pub async fn hash(&self, password: SecretString) -> Result<String, Busy> {
        self.hash_with_salt(password, self.rng.bytes()).await
    }

    /// Hashes a password with a given salt into a PHC string.
    pub async fn hash_with_salt(
        &self,
        password: SecretString,
        salt: [u8; SALT_LEN],
    ) -> Result<String, Busy> {
        let pass = Pass {
            password,
            salt: salt.to_vec(),
            cost: self.cost,
        };
        let outputs = self.run(vec![pass]).await?;
        Ok(Phc {
            cost: self.cost,
            salt: salt.to_vec(),
            output: *outputs.first().ok_or_else(|| self.refuse())?,
        }
        .to_string())
    }

    /// Verifies a password; returns the form that matched. The work does not depend on the result, and
    /// is that of [`Hasher::verify_dummy`] unless the stored hash costs more than the configured cost.
    pub async fn verify(
        &self,
        password: impl Into<PasswordForms>,
        phc: &str,
    ) -> Result<Option<PasswordForm>, HashError> {
        let stored = Phc::parse(phc).ok_or(HashError::Malformed)?;
        let outputs = self
            .compute(password.into(), &stored.salt, stored.cost)
            .await?;
        let is_right =
            |output: &[u8; OUTPUT_LEN]| verify_slices_are_equal(output, &stored.output).is_ok();
        let forms = [PasswordForm::Prepared, PasswordForm::Typed];
        let mut found = forms.into_iter().zip(&outputs);
        Ok(found.find_map(|(form, output)| is_right(output).then_some(form)))
    }

    /// Spends the work of a [`Hasher::verify`] for an account that does not exist.
    pub async fn verify_dummy(&self, password: impl Into<PasswordForms>) -> Result<(), Busy> {
        let salt = [0; SALT_LEN];
        self.compute(password.into(), &salt, self.cost).await?;
        Ok(())
    }

    /// Work since the start, in KiB times iterations. For tests: wall time depends on the machine's load.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    /// Hashes each form at `cost`, and spends the difference to the configured cost.
    async fn compute(
        &self,
        password: PasswordForms,
        salt: &[u8],
        cost: HashingCost,
    ) -> Result<Vec<[u8; OUTPUT_LEN]>, Busy> {
        let forms = || std::iter::once(&password.prepared).chain(&password.typed);
        let at = |cost| {
            forms().map(move |form| Pass {
                password: form.clone(),
                salt: salt.to_vec(),
                cost,
            })
        };
        let rest = cost.missing_to(self.cost);
        let passes = at(cost).chain(rest.into_iter().flat_map(at)).collect();
        let mut outputs = self.run(passes).await?;
        outputs.truncate(forms().count());
        Ok(outputs)
    }

    /// Returns whether a stored hash has another cost than the configured one.
    #[must_use]
    pub fn is_outdated(&self, phc: &str) -> bool {
        Phc::parse(phc).is_none_or(|stored| stored.cost != self.cost)
    }

    /// Maximum wait in the queue.
    #[must_use]
    pub fn queue_timeout(&self) -> Duration {
        self.queue_timeout
    }

    async fn run(&self, passes: Vec<Pass>) -> Result<Vec<[u8; OUTPUT_LEN]>, Busy> {
        let (reply, result) = oneshot::channel();
        let task = Task {
            passes,
            work: Arc::clone(&self.work),
            queued: Instant::now(),
            reply,
        };
        let queue = if self.is_busy.load(Ordering::Relaxed) {
            &self.low_priority
        } else {
            &self.queue
        };
        let outputs = match queue.try_send(task) {
            Ok(()) => result.await.ok().flatten(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        };
        outputs.ok_or_else(|| self.refuse())
    }

    fn refuse(&self) -> Busy {
        metrics::count_refused();
        Busy {
            retry_after: self.retry_times.next(Instant::now()),
        }
    }
}

/// Starts the threads of one queue, each of which calls `init` first.
fn start_threads(
    options: HasherOptions,
    name: &str,
    init: fn(),
    retry_times: &Arc<RetryTimes>,
) -> SyncSender<Task> {
    let (queue, tasks) = sync_channel(options.threads * QUEUE_PER_THREAD);
    let tasks = Arc::new(Mutex::new(tasks));
    for number in 0..options.threads {
        let (tasks, retry_times) = (Arc::clone(&tasks), Arc::clone(retry_times));
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || {
                init();
                work(&tasks, options.queue_timeout, &retry_times);
            })
            .expect("the operating system can start threads");
    }
    queue
}

/// Samples the runtime's load for as long as the pool lives. The priority is chosen per hash, since a
/// thread cannot raise its own again, and sign-ins alone must not yield to other programs of the host.
async fn measure_load(is_busy: Weak<AtomicBool>) {
    let runtime = Handle::current().metrics();
    let busy = || -> Duration {
        let workers = 0..runtime.num_workers();
        workers
            .map(|worker| runtime.worker_total_busy_duration(worker))
            .sum()
    };
    let (mut before, mut measured) = (busy(), Instant::now());
    loop {
        tokio::time::sleep(LOAD_SAMPLED_EVERY).await;
        let Some(is_busy) = is_busy.upgrade() else {
            return;
        };
        let (now, elapsed) = (busy(), measured.elapsed());
        let share = now.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64();
        is_busy.store(share > BUSY_ABOVE, Ordering::Relaxed);
        (before, measured) = (now, Instant::now());
    }
}

/// Lowers the scheduling priority of the calling thread, which only Linux has.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        // A sandbox may forbid it. Hashes then compete with requests.
        tracing::debug!(%error, "the priority of a hashing thread cannot be lowered");
    }
}

fn work(tasks: &Mutex<Receiver<Task>>, queue_timeout: Duration, retry_times: &RetryTimes) {
    let mut memory = Vec::new();
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        if task.reply.is_closed() {
            continue; // The caller has been dropped.
        }
        let waited = task.queued.elapsed();
        metrics::observe_wait(waited);
        let result = (waited <= queue_timeout).then(|| {
            let began = Instant::now();
            let outputs = compute_all(&task, &mut memory);
            metrics::observe_hash(began.elapsed());
            retry_times.observe(began.elapsed());
            outputs
        });
        drop(task.reply.send(result));
    }
}

fn compute_all(task: &Task, memory: &mut Vec<Block>) -> Vec<[u8; OUTPUT_LEN]> {
    let passes = task.passes.iter();
    let outputs = passes.map(|pass| {
        task.work.fetch_add(pass.cost.work(), Ordering::Relaxed);
        argon2id(pass, memory)
    });
    outputs.collect()
}

fn argon2id(pass: &Pass, memory: &mut Vec<Block>) -> [u8; OUTPUT_LEN] {
    let HashingCost {
        memory_kib,
        iterations,
        parallelism,
    } = pass.cost;
    let params = Params::new(memory_kib, iterations, parallelism, Some(OUTPUT_LEN))
        .expect("costs are checked where they are read");
    memory.resize_with(params.block_count(), Block::new);
    let mut output = [0; OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(
            pass.password.expose_secret().as_bytes(),
            &pass.salt,
            &mut output,
            &mut *memory,
        )
        .expect("lengths of password, salt and output are within Argon2's");
    // The output derives from the last block. The others are overwritten by the next hash.
    if let Some(last) = memory.last_mut() {
        last.zeroize();
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> HasherOptions {
        HasherOptions {
            memory_kib: 64,
            iterations: 1,
            parallelism: 1,
            threads: 2,
            queue_timeout: Duration::from_secs(5),
        }
    }

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_no_other() {
        let hasher = Hasher::start(options(), Rng::seeded(1));
        let phc = hasher
            .hash(secret("correct horse"))
            .await
            .expect("it is hashed");
        assert!(phc.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{phc}");
        let verify = async |text| {
            let found = hasher.verify(secret(text), &phc).await;
            found.expect("it is compared")
        };
        assert_eq!(verify("correct horse").await, Some(PasswordForm::Prepared));
        assert_eq!(verify("correct horses").await, None);
        let again = hasher
            .hash(secret("correct horse"))
            .await
            .expect("it is hashed");
        assert_ne!(phc, again, "each hash has a salt of its own");
    }

    #[tokio::test]
    async fn the_reference_vector_of_the_phc_winner_verifies() {
        // argon2id of "password" with the salt "somesalt", made by the reference implementation.
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                   $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hasher = Hasher::start(options(), Rng::seeded(1));
        let found = hasher.verify(secret("password"), phc).await;
        assert_eq!(found.expect("it is compared"), Some(PasswordForm::Prepared));
        assert!(hasher.is_outdated(phc));
    }

    #[tokio::test]
    async fn a_stored_hash_that_asks_for_too_much_is_refused() {
        let hasher = Hasher::start(options(), Rng::seeded(1));
        for phc in [
            "",
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=9999,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$AAAA",
        ] {
            let result = hasher.verify(secret("password"), phc).await;
            assert!(matches!(result, Err(HashError::Malformed)), "{phc}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_hashing_thread_yields_to_others_and_the_rest_of_the_process_does_not() {
        let priority = || rustix::process::getpriority_process(None).expect("it has one");
        let before = priority();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            priority()
        });
        let lowered = lowered.join().expect("it ends");
        assert_eq!(lowered, (before + NICENESS).min(19));
        assert_eq!(priority(), before);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hashes_give_way_while_the_runtime_is_busy_and_no_longer() {
        let hasher = Hasher::start(options(), Rng::seeded(1));
        let becomes = async |busy: bool| {
            let begun = Instant::now();
            while hasher.is_busy.load(Ordering::Relaxed) != busy {
                assert!(begun.elapsed() < Duration::from_secs(20), "not {busy}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let load = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(5) {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        });
        becomes(true).await;
        let phc = hasher.hash(secret("correct horse")).await;
        let phc = phc.expect("it is hashed at a low priority");
        stop.store(true, Ordering::Relaxed);
        load.await.expect("it ends");
        becomes(false).await;
        let is_right = hasher.verify(secret("correct horse"), &phc).await;
        assert!(is_right.expect("it is compared").is_some());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_turned_away() {
        let slow = HasherOptions {
            memory_kib: 16_384,
            iterations: 20,
            parallelism: 1,
            threads: 1,
            queue_timeout: Duration::from_millis(500),
        };
        let hasher = Hasher::start(slow, Rng::seeded(1));
        // Fifty hashes of no less than 20 ms each, in half a second.
        let waiting = (0..50).map(|_| hasher.hash(secret("x")));
        let results = futures_util::future::join_all(waiting).await;
        assert!(results.iter().any(Result::is_ok), "the first is hashed");
        assert!(
            results.iter().any(Result::is_err),
            "the last is not waited for"
        );
    }
}
