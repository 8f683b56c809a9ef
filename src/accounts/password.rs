//! Passwords: argon2id off the async threads, with a bound on what is hashed side by side and on what waits.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use tokio::sync::{Semaphore, oneshot};

use crate::config::secret::Secret;

/// The shortest password, in bytes.
pub const MIN_BYTES: usize = 8;
/// The longest password, in bytes: hashing is slow on purpose, what is hashed is bounded.
pub const MAX_BYTES: usize = 1024;
/// When to come back if too many passwords wait: the queue is emptied faster than that.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_secs(2);

// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What went wrong with a password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Under [`MIN_BYTES`].
    #[error("a password has at least {MIN_BYTES} bytes")]
    TooShort,
    /// Over [`MAX_BYTES`].
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// As many passwords wait as may: nothing was hashed, try again after [`BUSY_RETRY_AFTER`].
    #[error("too many passwords are waiting to be checked")]
    Busy,
    /// The hash could not be made, or the stored one not be read.
    #[error("password hash: {0}")]
    Hash(Arc<str>),
}

/// Whether a password may be chosen.
///
/// # Errors
/// [`Error::TooShort`], [`Error::TooLong`].
pub fn check(password: &Secret) -> Result<(), Error> {
    match password.expose().len() {
        0..MIN_BYTES => Err(Error::TooShort),
        MIN_BYTES..=MAX_BYTES => Ok(()),
        _ => Err(Error::TooLong),
    }
}

/// Hashes and checks passwords. Cheap to clone; clones share the bounds.
#[derive(Clone, Debug)]
pub struct Hasher {
    /// Leave to be here at all. When it is out, [`Error::Busy`].
    admitted: Arc<Semaphore>,
    most: usize,
    threads: Threads,
    argon2: Argon2<'static>,
    /// A hash of no password, to be checked when there is no user, so that it takes as long.
    dummy: Arc<str>,
}

impl Hasher {
    /// A hasher that runs `concurrency` hashes side by side while up to `waiting` more wait.
    ///
    /// # Errors
    /// [`Error::Hash`] when argon2 refuses its parameters, which are fixed: never, in a build that passed its tests.
    pub fn new(concurrency: usize, waiting: usize) -> Result<Self, Error> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(hash_error)?;
        let concurrency = concurrency.max(1);
        Ok(Self {
            admitted: Arc::new(Semaphore::new(concurrency + waiting)),
            most: concurrency + waiting,
            threads: Threads::start(concurrency, params.block_count()).map_err(hash_error)?,
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            dummy: dummy().into(),
        })
    }

    /// How many are hashed or wait for it, and how many may.
    pub(super) fn in_line(&self) -> (usize, usize) {
        (self.most.saturating_sub(self.admitted.available_permits()), self.most)
    }

    /// The hash of a password, as a PHC string with a salt of its own.
    ///
    /// # Errors
    /// [`Error::TooShort`], [`Error::TooLong`], [`Error::Busy`], [`Error::Hash`].
    pub async fn hash(&self, password: &Secret) -> Result<String, Error> {
        check(password)?;
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.run(move |memory| {
            let salt = Salt::generate();
            let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
            argon2
                .hash_password_into_with_memory(password.expose().as_bytes(), &salt, &mut output, memory)
                .map_err(hash_error)?;
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(argon2.params()).map_err(hash_error)?,
                salt: Some(salt),
                hash: Some(Output::new(&output).map_err(hash_error)?),
            };
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash the answer is no, and takes as long.
    ///
    /// # Errors
    /// [`Error::Busy`]; [`Error::Hash`] when `hash` is not one.
    pub async fn verify(&self, password: &Secret, hash: Option<&str>) -> Result<bool, Error> {
        // No account has such a password, so saying no at once says nothing about any account.
        if check(password).is_err() {
            return Ok(false);
        }
        let password = password.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.dummy).to_owned();
        self.run(move |memory| {
            let hash = PasswordHash::new(&hash).map_err(hash_error)?;
            let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
                return Err(hash_error("it has no salt or output"));
            };
            // With the parameters that it was made with, which an older version may have chosen otherwise.
            let argon2 = Argon2::new(
                Algorithm::try_from(hash.algorithm.as_str()).map_err(hash_error)?,
                hash.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(hash_error)?,
                Params::try_from(&hash).map_err(hash_error)?,
            );
            memory.resize(memory.len().max(argon2.params().block_count()), Block::default());
            let mut output = vec![0; expected.len()];
            argon2
                .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut output, memory)
                .map_err(hash_error)?;
            // `Output` compares in constant time.
            Ok(Output::new(&output).map_err(hash_error)? == *expected && known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Error::Busy)?;
        let (reply, answer) = oneshot::channel();
        // A thread that hashes cannot be called back: the leave goes with it, also when the one who asked has gone.
        self.threads.run(Box::new(move |memory| {
            let result = work(memory);
            // Before the answer: whoever has it finds room for the next.
            drop(admitted);
            // Nobody may be waiting any more.
            let _ = reply.send(result);
        }));
        answer.await.map_err(|_| hash_error("the hash was not finished"))?
    }
}

type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// Threads that do nothing but hash, as many as may hash side by side, each with the memory for it. Neither the
/// runtime's pool nor memory taken anew for each hash: the allocator keeps 19 MiB and more for every thread that ever
/// hashed (750 MiB after 200 registrations, measured).
#[derive(Clone, Debug)]
struct Threads(mpsc::Sender<Work>);

impl Threads {
    fn start(count: usize, blocks: usize) -> std::io::Result<Self> {
        let (sender, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for _ in 0..count {
            let work = work.clone();
            std::thread::Builder::new().name("parlor-hash".into()).spawn(move || {
                let mut memory = vec![Block::default(); blocks];
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(next) = next else { return };
                    // A panic ends one hash, whose asker is told by the dropped reply, and not the thread.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next(&mut memory)));
                }
            })?;
        }
        Ok(Self(sender))
    }

    fn run(&self, work: Work) {
        // The threads live as long as this sender does.
        let _ = self.0.send(work);
    }
}

/// A well-formed hash, with the parameters of the real ones, of which no password is known.
fn dummy() -> String {
    let salt = "A".repeat(22);
    let hash = "A".repeat(43);
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}")
}

fn hash_error(error: impl Display) -> Error {
    Error::Hash(error.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[tokio::test]
    async fn hashes_have_the_recommended_parameters_and_a_salt_of_their_own() {
        let hasher = Hasher::new(2, 8).unwrap();
        let one = hasher.hash(&secret("correct horse")).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hasher.hash(&secret("correct horse")).await.unwrap());
        assert!(hasher.verify(&secret("correct horse"), Some(&one)).await.unwrap());
        assert!(!hasher.verify(&secret("Correct horse"), Some(&one)).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_has_8_to_1024_bytes() {
        let hasher = Hasher::new(1, 0).unwrap();
        assert!(matches!(hasher.hash(&secret("1234567")).await, Err(Error::TooShort)));
        assert!(check(&secret("12345678")).is_ok());
        assert!(check(&secret("ääää")).is_ok(), "bytes, not characters");
        assert!(check(&secret(&"x".repeat(1024))).is_ok());
        assert!(matches!(hasher.hash(&secret(&"x".repeat(1025))).await, Err(Error::TooLong)));
    }

    #[tokio::test]
    async fn without_a_hash_the_same_work_is_done_and_the_answer_is_no() {
        let dummy = dummy();
        let parsed = PasswordHash::new(&dummy).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19_456, 2, 1));
        let hasher = Hasher::new(1, 0).unwrap();
        assert!(!hasher.verify(&secret("whatever it is"), None).await.unwrap());
        assert!(matches!(hasher.verify(&secret("whatever it is"), Some("junk")).await, Err(Error::Hash(_))));
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_and_room_comes_back() {
        let hasher = Hasher::new(1, 1).unwrap();
        let password = secret("correct horse");
        let (a, b, c) = tokio::join!(hasher.hash(&password), hasher.hash(&password), hasher.hash(&password));
        assert!(a.is_ok() && b.is_ok());
        assert!(matches!(c, Err(Error::Busy)));
        assert!(hasher.hash(&password).await.is_ok());
    }

    #[tokio::test]
    async fn who_leaves_before_the_end_still_counts_until_it() {
        let hasher = Hasher::new(1, 0).unwrap();
        let password = secret("correct horse");
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let mut gone = Box::pin(hasher.run(move |_| {
            begun.send(()).unwrap();
            ends.recv().map_err(hash_error)
        }));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        begins.recv().unwrap();
        assert!(matches!(hasher.hash(&password).await, Err(Error::Busy)));
        end.send(()).unwrap();
    }
}
