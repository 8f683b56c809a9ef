//! Limits that hold over all nodes: each counts in Redis by the generic cell rate algorithm, many in one round trip.
//!
//! A node counts by itself first, which refuses most of a flood without asking anybody, and is all that counts while Redis
//! is away: then a limit holds on each node for itself.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::Script;
use tokio::sync::{mpsc, oneshot};

use super::redis::Redis;
use crate::clock::monotonic;
use crate::ids::UserId;

/// Questions in one round trip.
const BATCH: usize = 512;
/// Questions that wait; one more is not asked, and the node's own count decides.
const WAITING: usize = 4096;
/// Sends of one user that are taken at once, at most, and then need no question.
const MOST_AT_ONCE: u32 = 16;
/// How long they may be used.
const PURSE_TIME: Duration = Duration::from_secs(2);
/// Purses kept before those that ran out are thrown away.
const PURSES: usize = 50_000;

/// For each key: the interval of one cell and the whole allowance in microseconds, and how many cells are wanted. Answers how
/// many are given, or how long it takes until there is one, as a negative number. By the clock of Redis, so that those of
/// the nodes do not matter. Once half of the allowance is used they are given one by one, so that none lies unused on one node
/// while another is refused. A key that is ahead of it by more than the allowance (the clock was set back) is not believed.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local answers = {}
        for i, key in ipairs(KEYS) do
            local interval, whole, wanted = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
            local at = tonumber(redis.call('GET', key) or now)
            if at < now then at = now elseif at > now + whole then at = now + whole end
            local free = math.floor((now + whole - at) / interval)
            if free < 1 then
                answers[i] = at + interval - now - whole
                answers[i] = -math.max(answers[i], 1)
            else
                local half = math.floor(whole / interval / 2)
                local given = math.max(1, math.min(free - half, wanted))
                at = at + given * interval
                redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
                answers[i] = given
            end
        end
        return answers",
    )
});

/// So many at once, and one more in each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How long until each comes back.
    pub interval: Duration,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many are given: at least one.
    Given(u32),
    /// None for so long.
    Wait(Duration),
    /// Redis did not say: the node's own count decides.
    Unknown,
}

struct Question {
    key: String,
    rate: Rate,
    wanted: u32,
    answer: oneshot::Sender<Answer>,
}

/// Sends that were taken in one question and not used yet.
#[derive(Clone, Copy, Debug)]
struct Purse {
    left: u32,
    /// How many are taken next time: twice as many when all were used in time.
    next: u32,
    until: Instant,
}

/// The limits of a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rates {
    prefix: Arc<str>,
    questions: mpsc::Sender<Question>,
    purses: Arc<Mutex<HashMap<UserId, Purse>>>,
}

/// Asks Redis; to be run beside [`Rates`] for as long as they are used.
#[derive(Debug)]
pub struct Counting {
    redis: Redis,
    questions: mpsc::Receiver<Question>,
}

impl Rates {
    /// Limits under keys that begin with `prefix`, and what asks Redis for them.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> (Self, Counting) {
        let (sender, questions) = mpsc::channel(WAITING);
        (Self { prefix: prefix.into(), questions: sender, purses: Arc::default() }, Counting { redis, questions })
    }

    /// Counts one message of `user`.
    ///
    /// # Errors
    /// How long to wait: the user has sent too many, over all nodes.
    pub async fn message(&self, user: UserId, rate: Rate) -> Result<(), Duration> {
        let wanted = match self.spend(user) {
            Some(()) => return Ok(()),
            None => self.wanted(user, rate),
        };
        match self.ask(format!("{}:rate:message:{user}", self.prefix), rate, wanted).await {
            Answer::Given(given) => {
                self.fill(user, given - 1, wanted);
                Ok(())
            }
            Answer::Wait(time) => {
                self.lock().remove(&user);
                Err(time)
            }
            Answer::Unknown => Ok(()),
        }
    }

    /// Counts one attempt of `key`, of what is counted as `what`.
    ///
    /// # Errors
    /// How long to wait.
    pub async fn attempt(&self, what: &str, key: &str, rate: Rate) -> Result<(), Duration> {
        match self.ask(format!("{}:rate:{what}:{key}", self.prefix), rate, 1).await {
            Answer::Wait(time) => Err(time),
            Answer::Given(_) | Answer::Unknown => Ok(()),
        }
    }

    async fn ask(&self, key: String, rate: Rate, wanted: u32) -> Answer {
        if rate.interval.as_micros() == 0 {
            // More than one in a microsecond is no limit.
            return Answer::Given(wanted.max(1));
        }
        let (answer, receiver) = oneshot::channel();
        if self.questions.try_send(Question { key, rate, wanted, answer }).is_err() {
            crate::metrics::rate_unknown(1);
            return Answer::Unknown;
        }
        receiver.await.unwrap_or(Answer::Unknown)
    }

    /// Takes one out of the user's purse.
    fn spend(&self, user: UserId) -> Option<()> {
        let mut purses = self.lock();
        let purse = purses.get_mut(&user).filter(|purse| purse.left > 0 && monotonic() < purse.until)?;
        purse.left -= 1;
        Some(())
    }

    /// How many to ask for: more and more while they are used up in time, and never much of what the user may send at once.
    fn wanted(&self, user: UserId, rate: Rate) -> u32 {
        let purses = self.lock();
        let next = purses
            .get(&user)
            .filter(|purse| purse.left == 0 && monotonic() < purse.until)
            .map_or(1, |purse| purse.next);
        next.min(rate.burst / 8).clamp(1, MOST_AT_ONCE)
    }

    fn fill(&self, user: UserId, left: u32, wanted: u32) {
        let (mut purses, now) = (self.lock(), monotonic());
        if purses.len() >= PURSES {
            purses.retain(|_, purse| purse.until > now);
        }
        let purse = purses.entry(user).or_insert(Purse { left: 0, next: 1, until: now });
        // Two questions at once: both were paid for.
        purse.left = if purse.until > now { purse.left + left } else { left };
        purse.next = wanted.saturating_mul(2);
        purse.until = now + PURSE_TIME;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, Purse>> {
        self.purses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting {
    /// Asks for as long as somebody may have a question: what gathers during one round trip goes into the next.
    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.questions.recv_many(&mut waiting, BATCH).await > 0 {
            let mut call = COUNT.prepare_invoke();
            for question in &waiting {
                let interval = micros(question.rate.interval);
                call.key(&question.key);
                call.arg(interval).arg(interval.saturating_mul(question.rate.burst.into())).arg(question.wanted);
            }
            match self.redis.run_quickly::<Vec<i64>>(&call).await {
                Ok(answers) if answers.len() == waiting.len() => {
                    for (question, answer) in waiting.drain(..).zip(answers) {
                        // Whoever asked may be gone.
                        let _ = question.answer.send(read(answer));
                    }
                }
                _ => {
                    crate::metrics::rate_unknown(waiting.len() as u64);
                    waiting.clear();
                }
            }
        }
    }
}

fn read(answer: i64) -> Answer {
    match u32::try_from(answer) {
        Ok(given @ 1..) => Answer::Given(given),
        _ => Answer::Wait(Duration::from_micros(answer.unsigned_abs())),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
