//! What the internal port can say before the node is up: what it waits for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::NodeHandle;

/// Time between two tries to reach what a node stands on.
const PAUSE: Duration = Duration::from_millis(250);

/// A start under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Startup(Arc<Inner>);

#[derive(Default)]
struct Inner {
    node: OnceLock<NodeHandle>,
    waits_for: Mutex<Option<String>>,
}

impl Startup {
    /// The node, when it is up.
    #[must_use]
    pub fn node(&self) -> Option<&NodeHandle> {
        self.0.node.get()
    }

    /// The node is up.
    pub fn done(&self, node: NodeHandle) {
        // There is one start in a process.
        let _ = self.0.node.set(node);
    }

    /// What the start waits for, in words.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let said = self.0.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        said.unwrap_or_else(|| "this node is starting".to_owned())
    }

    /// Tries until it works, or fails in a way that does not pass. What is waited for is logged when it changes, so that a
    /// wait of hours is not hours of lines.
    ///
    /// # Errors
    /// The first error that `passes` says will not go away by itself.
    pub async fn keep_trying<T, E, F>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
        passes: impl Fn(&E) -> bool,
    ) -> Result<T, E>
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        loop {
            match attempt().await {
                Ok(done) => {
                    self.say(None);
                    return Ok(done);
                }
                Err(error) if passes(&error) => {
                    let words = format!("waiting for {what}: {error}");
                    if self.say(Some(words)) {
                        tracing::warn!(%error, "waiting for {what}; it is tried again until it is there");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for what tries by itself, and asks it meanwhile how it does.
    pub async fn waiting<T>(&self, what: &str, how: impl Fn() -> Option<String>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(PAUSE, &mut work).await {
                Ok(done) => {
                    self.say(None);
                    return done;
                }
                Err(_) => {
                    let words = how().unwrap_or_else(|| "it has not answered yet".to_owned());
                    if self.say(Some(format!("waiting for {what}: {words}"))) {
                        tracing::warn!(reason = words, "waiting for {what}");
                    }
                }
            }
        }
    }

    /// Whether it is news.
    fn say(&self, words: Option<String>) -> bool {
        let mut said = self.0.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *said != words;
        *said = words;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[actix::test]
    async fn it_tries_until_it_works_and_says_meanwhile_what_it_waits_for() {
        let startup = Startup::default();
        assert_eq!(startup.waits_for(), "this node is starting");
        let (tries, said) = (Cell::new(0), Cell::new(String::new()));
        let done = startup.keep_trying(
            "the bus",
            || {
                tries.set(tries.get() + 1);
                said.set(startup.waits_for());
                let outcome = if tries.get() < 3 { Err("away".to_owned()) } else { Ok(7) };
                std::future::ready(outcome)
            },
            |error| error == "away",
        );
        assert_eq!(done.await, Ok(7));
        assert_eq!((tries.get(), said.take().as_str()), (3, "waiting for the bus: away"));
        assert_eq!(startup.waits_for(), "this node is starting");
    }

    #[actix::test]
    async fn it_says_how_what_tries_by_itself_does() {
        let (startup, asked) = (Startup::default(), Cell::new(0));
        let slow = tokio::time::sleep(PAUSE * 2 + PAUSE / 2);
        let how = || {
            asked.set(asked.get() + 1);
            Some("its brokers are away".to_owned())
        };
        startup.waiting("the bus", how, slow).await;
        assert_eq!(asked.get(), 2);
        assert_eq!(startup.waits_for(), "this node is starting");
    }

    #[actix::test]
    async fn what_does_not_pass_ends_the_start_at_once() {
        let startup = Startup::default();
        let failed = startup.keep_trying("it", || std::future::ready(Err::<(), _>("wrong password")), |_| false);
        assert_eq!(failed.await, Err("wrong password"));
    }
}
