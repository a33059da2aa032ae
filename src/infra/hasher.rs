//! Argon2id (RFC 9106) on a fixed set of threads, each with memory of its own that it uses again:
//! a flood of sign-ins waits in line, costs no more memory than one sign-in a thread, and leaves
//! the threads that serve other requests alone. While other requests keep the processors busy, hashes
//! go to threads of a lower scheduling priority, so that one of tens of milliseconds does not delay
//! requests of a fraction of one.
//!
//! Comparing costs the same whether or not there is an account, also after the configured cost was
//! raised: a hash of lower cost is compared at its own cost, and the rest of the configured cost is
//! spent on a hash that is discarded. After the cost was lowered, accounts that have not signed in
//! since take longer than unknown addresses.

mod cost;
#[cfg(test)]
mod work_test;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use zeroize::Zeroize as _;

pub use self::cost::HashingCost;
use self::cost::Phc;
use super::Rng;
use crate::config::PasswordConfig;
use crate::metrics;

const SALT_LEN: usize = 16;
const OUTPUT_LEN: usize = 32;

/// Hashes that may wait for each thread; the time limit on waiting is the bound that is felt.
const WAITING_PER_THREAD: usize = 128;

/// Niceness that is added to a low-priority thread. With 5 it gets a quarter of a core that it
/// shares with a thread that serves requests: enough for sign-ins not to time out beside them.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// How often it is measured how busy the runtime is.
const LOAD_EVERY: Duration = Duration::from_millis(100);

/// The part of a core's time that the runtime's threads are busy for, in all, above which hashes give
/// way. Sign-ins alone keep them busy for less.
const BUSY: f64 = 0.5;

/// The hashing pool; a clone is another handle on it. The threads end with the last handle.
#[derive(Clone, Debug)]
pub struct Hasher {
    queue: SyncSender<Task>,
    low_priority: SyncSender<Task>,
    is_busy: Arc<AtomicBool>,
    cost: HashingCost,
    patience: Duration,
    rng: Rng,
    work: Arc<AtomicU64>,
}

/// A password to compare with a hash: as it is prepared for hashing, and as it was typed where
/// preparation changed it. Hashes made before passwords were prepared are of the typed form.
#[derive(Clone, Debug)]
pub struct PasswordForms {
    /// The form that is hashed.
    pub prepared: SecretString,
    /// The form that was typed, where it differs.
    pub typed: Option<SecretString>,
}

impl From<SecretString> for PasswordForms {
    fn from(prepared: SecretString) -> Self {
        let typed = None;
        Self { prepared, typed }
    }
}

/// The form of a password that a hash was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// The prepared form, as all new hashes.
    Prepared,
    /// The typed form: the hash is older than the preparation of passwords.
    Typed,
}

/// The pool has more to do than can be done in time.
#[derive(Debug, thiserror::Error)]
#[error("the password hashing pool is busy")]
pub struct Busy;

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Come back later.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What is stored is no hash that we made.
    #[error("a stored password hash cannot be read")]
    Malformed,
}

/// One computation of Argon2.
struct Pass {
    password: SecretString,
    salt: Vec<u8>,
    cost: HashingCost,
}

/// Computations that take one place in the queue.
struct Task {
    passes: Vec<Pass>,
    work: Arc<AtomicU64>,
    queued: Instant,
    answer: oneshot::Sender<Result<Vec<[u8; OUTPUT_LEN]>, Busy>>,
}

impl Hasher {
    /// Starts the pool's threads.
    ///
    /// # Panics
    /// When the operating system has no threads to give, at start.
    #[must_use]
    pub fn start(config: &PasswordConfig, rng: Rng) -> Self {
        let queue = start_threads(config, "hash", || {});
        let low_priority = start_threads(config, "hash-low", lower_priority);
        let is_busy = Arc::new(AtomicBool::new(false));
        tokio::spawn(measure_load(Arc::downgrade(&is_busy)));
        let cost = HashingCost {
            memory_kib: config.memory_kib,
            iterations: config.iterations,
            parallelism: config.parallelism,
        };
        Self {
            queue,
            low_priority,
            is_busy,
            cost,
            patience: config.queue_timeout,
            rng,
            work: Arc::default(),
        }
    }

    /// Hashes a password with a new salt; the answer is a PHC string.
    pub async fn hash(&self, password: SecretString) -> Result<String, Busy> {
        self.hash_with_salt(password, self.rng.bytes()).await
    }

    /// Hashes a password with this salt; returns a PHC string, which is the same for the same password.
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
            output: *outputs.first().ok_or(Busy)?,
        }
        .to_string())
    }

    /// The form of `password` that was hashed, if either was. The work does not depend on the
    /// result, and is that of [`Hasher::verify_nobody`] unless the stored hash costs more than the
    /// configured one.
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

    /// Spends the work of a [`Hasher::verify`] on a password that nobody has.
    pub async fn verify_nobody(&self, password: impl Into<PasswordForms>) -> Result<(), Busy> {
        let salt = [0; SALT_LEN];
        self.compute(password.into(), &salt, self.cost).await?;
        Ok(())
    }

    /// The work since the start in KiB that were filled, for tests: time is not a measure on a busy
    /// machine.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    /// The hashes of each form at `cost`. Where that is less than the configured cost, the
    /// difference is spent as well.
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

    /// Whether a stored hash was made at another cost than is now configured.
    #[must_use]
    pub fn is_outdated(&self, phc: &str) -> bool {
        Phc::parse(phc).is_none_or(|stored| stored.cost != self.cost)
    }

    /// How long a hash may wait for its turn, which is when to come back after a [`Busy`].
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    async fn run(&self, passes: Vec<Pass>) -> Result<Vec<[u8; OUTPUT_LEN]>, Busy> {
        let (answer, result) = oneshot::channel();
        let task = Task {
            passes,
            work: Arc::clone(&self.work),
            queued: Instant::now(),
            answer,
        };
        let queue = if self.is_busy.load(Ordering::Relaxed) {
            &self.low_priority
        } else {
            &self.queue
        };
        match queue.try_send(task) {
            Ok(()) => result.await.unwrap_or(Err(Busy)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                metrics::count_hash_refused();
                Err(Busy)
            }
        }
    }
}

/// Starts as many threads as hash at once, each of which does `first` before; returns their queue.
fn start_threads(config: &PasswordConfig, name: &str, first: fn()) -> SyncSender<Task> {
    let (queue, tasks) = sync_channel(config.threads * WAITING_PER_THREAD);
    let tasks = Arc::new(Mutex::new(tasks));
    for number in 0..config.threads {
        let tasks = Arc::clone(&tasks);
        let patience = config.queue_timeout;
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || {
                first();
                work(&tasks, patience);
            })
            .expect("the operating system gives threads at start");
    }
    queue
}

/// Measures whether other requests keep the processors busy, for as long as the pool lives. A thread
/// cannot raise its priority again, and sign-ins alone shall not yield to other programs of the host,
/// so that the priority is chosen for each hash.
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
        tokio::time::sleep(LOAD_EVERY).await;
        let Some(is_busy) = is_busy.upgrade() else {
            return;
        };
        let (now, elapsed) = (busy(), measured.elapsed());
        let share = now.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64();
        is_busy.store(share > BUSY, Ordering::Relaxed);
        (before, measured) = (now, Instant::now());
    }
}

/// Lowers the scheduling priority of the calling thread. Linux alone has one for each thread.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        // A sandbox may forbid the call. Hashes then compete with requests.
        tracing::debug!(%error, "the priority of a hashing thread cannot be lowered");
    }
}

fn work(tasks: &Mutex<Receiver<Task>>, patience: Duration) {
    let mut memory = Vec::new();
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        if task.answer.is_closed() {
            continue; // the client has gone
        }
        let waited = task.queued.elapsed();
        metrics::observe_hash_wait(waited, waited <= patience);
        let result = if waited > patience {
            Err(Busy)
        } else {
            let began = Instant::now();
            let outputs = compute_all(&task, &mut memory);
            metrics::observe_hash(began.elapsed());
            Ok(outputs)
        };
        // A client that has gone meanwhile needs no answer.
        drop(task.answer.send(result));
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
    // The last block holds what the output was made of; the rest is overwritten by the next hash.
    if let Some(last) = memory.last_mut() {
        last.zeroize();
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PasswordConfig {
        PasswordConfig {
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
        let hasher = Hasher::start(&config(), Rng::seeded(1));
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
        assert_eq!(verify("correct house").await, None);
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
        let hasher = Hasher::start(&config(), Rng::seeded(1));
        let found = hasher.verify(secret("password"), phc).await;
        assert_eq!(found.expect("it is compared"), Some(PasswordForm::Prepared));
        assert!(hasher.is_outdated(phc));
    }

    #[tokio::test]
    async fn a_stored_hash_that_asks_for_too_much_is_refused() {
        let hasher = Hasher::start(&config(), Rng::seeded(1));
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
        let hasher = Hasher::start(&config(), Rng::seeded(1));
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
        let slow = PasswordConfig {
            memory_kib: 16_384,
            iterations: 20,
            threads: 1,
            queue_timeout: Duration::from_millis(500),
            ..config()
        };
        let hasher = Hasher::start(&slow, Rng::seeded(1));
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
