//! Settings of sockets and of what may come through them.

use std::time::Duration;

use serde::Deserialize;

use crate::envelope::MAX_ANSWERED_BYTES;

/// `[session]`: one websocket.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionOptions {
    /// Seconds between the server's pings. After two and a half intervals of silence the socket is closed with 4408.
    pub ping_interval_seconds: u64,
    /// The longest `messageBody`, in bytes of UTF-8: 1 to 10485760.
    pub max_message_bytes: usize,
    /// The most recipients of one message: 1 to 10000.
    pub max_recipients: usize,
    /// Messages that one session may have on their way to `accepted`; further frames wait in the socket.
    pub in_flight: usize,
    /// Bytes that may wait for a client to read them. One more live message closes the socket with 4508; a single frame
    /// larger than this still goes out when nothing else waits. What a resuming client missed is read in pages and
    /// never counts as too much.
    pub outgoing_bytes: usize,
    /// Seconds that a client may take none of the bytes that wait for it. Then the socket is closed with 4508.
    pub write_timeout_seconds: u64,
    /// Frames a second, beyond accepted messages, that a session may send for long. More closes it with 4429.
    pub other_frames_per_second: u32,
    /// Such frames that may come at once.
    pub other_frames_burst: u32,
    /// Messages a second that one user may send for long, over all sessions.
    pub messages_per_second: u32,
    /// Messages that one user may send at once.
    pub message_burst: u32,
    /// Sessions that one user may have on a node. One more is closed with 4429.
    pub sessions_per_user: usize,
    /// Origins whose pages may open a socket and use the HTTP interface, such as `https://chat.example`, beside the server's own.
    pub allowed_origins: Vec<String>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ping_interval_seconds: 25,
            max_message_bytes: 64 * 1024,
            max_recipients: 256,
            in_flight: 64,
            outgoing_bytes: 1024 * 1024,
            write_timeout_seconds: 20,
            other_frames_per_second: 50,
            other_frames_burst: 500,
            messages_per_second: 50,
            message_burst: 200,
            sessions_per_user: 64,
            allowed_origins: Vec::new(),
        }
    }
}

impl SessionOptions {
    /// Time between the server's pings.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.ping_interval_seconds.max(1))
    }

    /// How long a client may take none of what waits for it.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout_seconds.max(1))
    }

    /// Bytes that may really wait for a client: room for a few of the largest messages in any case.
    #[must_use]
    pub fn outgoing_bound(&self) -> usize {
        self.outgoing_bytes.max(self.max_message_bytes * 4)
    }

    /// The largest record that can become of a message: the body as above, everybody addressed named three times
    /// (recipients, participants, those whose scripts dropped it), and each with an auto-reply.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.max_message_bytes * 6 + self.max_recipients * (63 + MAX_ANSWERED_BYTES) + 8 * 1024
    }

    /// The largest frame that can hold a message of `max_message_bytes`: JSON may write a byte as six (`\u0000`).
    #[must_use]
    pub fn max_frame_bytes(&self) -> usize {
        self.max_message_bytes * 6 + self.max_recipients * 21 + 1024
    }
}
