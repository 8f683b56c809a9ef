//! The connection to Redis: one, shared by all, with a limit on every wait.
//!
//! Whoever asks uses the connection that is there, or is told at once that Redis is away; only the task behind
//! [`Redis::start`] ever waits for a new one. So a Redis that is gone costs nobody anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, RedisResult, ScriptInvocation};
use deadpool_redis::{Connection, Manager, Pool, Runtime};
use tokio::sync::Notify;

use crate::config::redis::RedisOptions;
use crate::config::secret::Secret;

/// Time before another connection is tried.
const PAUSE: Duration = Duration::from_millis(200);
/// After a question that took too long, messages do not wait for an answer for this long.
const COOLING: Duration = Duration::from_millis(500);
/// The one in use, one that is being made, and those that somebody still waits on.
const CONNECTIONS: usize = 4;

/// Why Redis did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be.
    #[error("settings: redis_url: {0}")]
    Url(String),
    /// It is away, or too slow.
    #[error("Redis does not answer: {0}")]
    Away(Arc<str>),
}

/// The connection. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    pool: Pool,
    options: RedisOptions,
    live: Mutex<Live>,
    lost: Notify,
    born: Instant,
    /// Milliseconds since `born` until which messages do not wait.
    cooling: AtomicU64,
}

struct Live {
    /// Counts connections, so that a late failure of an old one does not end a new one.
    number: u64,
    connection: Option<Connection>,
    why: Arc<str>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("up", &self.up()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Redis at `url`; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &Secret, options: &RedisOptions) -> Result<Self, Error> {
        let refuse = |error: &dyn std::fmt::Display| Error::Url(error.to_string());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect()))
            .set_response_timeout(Some(options.command()));
        let manager = Manager::new_with_config(url.expose(), config).map_err(|error| refuse(&error))?;
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect()))
            .create_timeout(Some(options.connect()))
            .recycle_timeout(Some(options.command()))
            .build()
            .map_err(|error| refuse(&error))?;
        let live = Live { number: 0, connection: None, why: "not connected yet".into() };
        Ok(Self(Arc::new(Inner {
            pool,
            options: options.clone(),
            live: Mutex::new(live),
            lost: Notify::new(),
            born: crate::clock::monotonic(),
            cooling: AtomicU64::new(0),
        })))
    }

    /// No Redis: it is always away.
    ///
    /// # Errors
    /// None.
    pub fn absent(options: &RedisOptions) -> Result<Self, Error> {
        let redis = Self::new(&Secret::new("redis://localhost"), options)?;
        redis.lock().why = "redis_url is not set".into();
        Ok(redis)
    }

    /// Connects, and connects again whenever the connection is lost, for as long as the task is not aborted.
    pub async fn keep_connected(self) {
        let mut told = false;
        loop {
            let found = tokio::time::timeout(self.0.options.connect() + self.0.options.command(), self.connect()).await;
            match found.unwrap_or_else(|_| Err("no answer in time".into())) {
                Ok(connection) => {
                    self.set(connection);
                    tracing::info!("Redis answers");
                    told = false;
                    self.0.lost.notified().await;
                    crate::metrics::redis_up(0.0);
                    tracing::warn!(error = %self.why(), "Redis does not answer: every node is told of every message until it does");
                }
                Err(error) => {
                    crate::metrics::redis_up(0.0);
                    if !told {
                        tracing::warn!(%error, "Redis cannot be reached; it is tried again and again");
                        told = true;
                    }
                    self.lock().why = error.into();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let mut connection = self.0.pool.get().await.map_err(|error| error.to_string())?;
        // A process that is stopped still has connections made to it, by the kernel.
        let ping = deadpool_redis::redis::cmd("PING");
        ping.query_async::<String>(&mut connection).await.map_err(|error| error.to_string())?;
        Ok(connection)
    }

    /// Whether there is a connection that answered last.
    #[must_use]
    pub fn up(&self) -> bool {
        self.lock().connection.is_some()
    }

    /// Why there is none, if there is none.
    #[must_use]
    pub fn why(&self) -> Arc<str> {
        self.lock().why.clone()
    }

    /// Asks, with the time that a command has. An answer that does not come ends the connection.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        let (number, mut connection) = self.live()?;
        let answer = tokio::time::timeout(self.0.options.command(), commands.query_async(&mut connection)).await;
        self.judge(number, answer.map_err(|_| "no answer in time"))
    }

    /// Runs a script, with the time that a command has.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        let (number, mut connection) = self.live()?;
        let answer = tokio::time::timeout(self.0.options.command(), script.invoke_async(&mut connection)).await;
        self.judge(number, answer.map_err(|_| "no answer in time"))
    }

    /// Asks for a message that waits: with the little time that it has, and not at all shortly after that was too short.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn ask_quickly<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        self.quickly(async |connection| commands.query_async(connection).await).await
    }

    /// Runs a script for a message that waits, as [`Redis::ask_quickly`] asks.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn run_quickly<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        self.quickly(async |connection| script.invoke_async(connection).await).await
    }

    async fn quickly<T>(&self, f: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> Result<T, Error> {
        let now = self.millis();
        if now < self.0.cooling.load(Ordering::Acquire) {
            return Err(Error::Away("it was too slow a moment ago".into()));
        }
        let (number, mut connection) = self.live()?;
        let Ok(answer) = tokio::time::timeout(self.0.options.lookup(), f(&mut connection)).await else {
            let until = self.millis() + u64::try_from(COOLING.as_millis()).unwrap_or_default();
            self.0.cooling.store(until, Ordering::Release);
            return Err(Error::Away("no answer in the time that a message waits".into()));
        };
        self.judge(number, Ok(answer))
    }

    fn millis(&self) -> u64 {
        u64::try_from(crate::clock::monotonic().saturating_duration_since(self.0.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn live(&self) -> Result<(u64, MultiplexedConnection), Error> {
        let live = self.lock();
        let connection = live.connection.as_ref().ok_or_else(|| Error::Away(live.why.clone()))?;
        Ok((live.number, (**connection).clone()))
    }

    /// Whatever is wrong, another connection is the cure, or there is none.
    fn judge<T>(&self, number: u64, answer: Result<RedisResult<T>, &'static str>) -> Result<T, Error> {
        let why: Arc<str> = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string().into(),
            Err(late) => late.into(),
        };
        let mut live = self.lock();
        if live.number == number && live.connection.take().is_some() {
            live.why = why.clone();
            self.0.lost.notify_one();
        }
        Err(Error::Away(why))
    }

    fn set(&self, connection: Connection) {
        let mut live = self.lock();
        live.number += 1;
        live.connection = Some(connection);
        live.why = "ok".into();
        drop(live);
        self.0.cooling.store(0, Ordering::Release);
        crate::metrics::redis_up(1.0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
