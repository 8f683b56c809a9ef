//! A well-behaved client of the socket: sends frames, and waits for one of a kind.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Account, PATIENCE, TestApp};

/// How to come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectOptions<'a> {
    /// The last `seq` seen.
    pub(crate) after: Option<i64>,
    /// The token as a second subprotocol, as browsers bring it; otherwise as `Authorization: Bearer`.
    pub(crate) by_subprotocol: bool,
    /// The page's origin, as browsers send it.
    pub(crate) origin: Option<&'a str>,
    /// Another token than the account's.
    pub(crate) token: Option<&'a str>,
}

/// An upgrade that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) problem: Value,
}

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Frames that came and were not asked for yet.
    waiting: VecDeque<Value>,
    /// All frames that came, for the words of a failure.
    history: Vec<Value>,
    closed: Option<u16>,
    pings: usize,
    /// The first frame; null when connected without waiting for it.
    pub(crate) welcome: Value,
}

impl TestApp {
    /// A socket that has been welcomed.
    pub(crate) async fn socket(&self, account: &Account) -> Socket {
        self.connect(account, ConnectOptions::default()).await
    }

    /// A socket that resumes behind a place.
    pub(crate) async fn socket_after(&self, account: &Account, after: i64) -> Socket {
        self.connect(account, ConnectOptions { after: Some(after), ..Default::default() }).await
    }

    /// A socket with options that has been welcomed.
    pub(crate) async fn connect(&self, account: &Account, options: ConnectOptions<'_>) -> Socket {
        let mut socket = self.upgrade(account, options).await.expect("an upgrade");
        socket.welcome = socket.next_frame(Instant::now() + PATIENCE).await.expect("a welcome");
        assert_eq!(socket.welcome["type"], "welcome", "the first frame");
        socket
    }

    /// A socket, or why there is none.
    pub(crate) async fn upgrade(&self, account: &Account, options: ConnectOptions<'_>) -> Result<Socket, Refused> {
        let query = options.after.map(|after| format!("?after={after}")).unwrap_or_default();
        let address = self.url.trim_start_matches("http://");
        let mut request = format!("ws://{address}/ws{query}").into_client_request().unwrap();
        let token = options.token.unwrap_or(&account.access_token);
        let headers = request.headers_mut();
        if options.by_subprotocol {
            headers.insert("Sec-WebSocket-Protocol", format!("parlor.v1, {token}").parse().unwrap());
        } else {
            headers.insert("Sec-WebSocket-Protocol", "parlor.v1".parse().unwrap());
            headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
        }
        if let Some(origin) = options.origin {
            headers.insert("Origin", origin.parse().unwrap());
        }
        let tcp = TcpStream::connect(address).await.unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await {
            Ok((stream, response)) => {
                let chosen = response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().unwrap());
                assert_eq!(chosen, Some("parlor.v1"), "the token is never chosen, nor nothing");
                let (waiting, history) = (VecDeque::new(), Vec::new());
                Ok(Socket { stream, waiting, history, closed: None, pings: 0, welcome: Value::Null })
            }
            Err(tungstenite::Error::Http(response)) => Err(Refused {
                status: response.status().as_u16(),
                content_type: response.headers()["content-type"].to_str().unwrap().to_owned(),
                problem: serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default(),
            }),
            Err(error) => panic!("neither upgraded nor refused: {error}"),
        }
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.expect("the socket takes a frame");
    }

    /// Sends, though the server may have closed already.
    pub(crate) async fn try_send(&mut self, frame: &Value) -> bool {
        self.stream.send(Message::text(frame.to_string())).await.is_ok()
    }

    /// Sends a frame and waits for `accepted`; says the message's uid.
    pub(crate) async fn accepted(&mut self, frame: Value) -> String {
        self.send(frame).await;
        self.expect("accepted").await["messageUid"].as_str().unwrap().to_owned()
    }

    /// The next frame of this type. Frames of other types wait for their turn; an `error` or `rejected` that nobody
    /// asked for fails the test.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> impl Future<Output = Value> {
        self.expect_within(kind, PATIENCE)
    }

    pub(crate) async fn expect_within(&mut self, kind: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        let mut looked_at = 0;
        loop {
            while let Some(frame) = self.waiting.get(looked_at) {
                if frame["type"] == kind {
                    return self.waiting.remove(looked_at).unwrap();
                }
                let refused = frame["type"] == "error" || frame["type"] == "rejected";
                assert!(!refused, "waiting for {kind:?}, refused: {frame}; {}", self.told());
                looked_at += 1;
            }
            match self.next_frame(deadline).await {
                Some(frame) => self.waiting.push_back(frame),
                None => panic!("no {kind:?} within {within:?}, closed: {:?}; {}", self.closed, self.told()),
            }
        }
    }

    /// The bodies of the next `count` messages, whose places must follow each other.
    pub(crate) async fn messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::with_capacity(count);
        while messages.len() < count {
            let message = self.expect("message").await;
            if let Some(last) = messages.last() {
                assert_eq!(message["seq"].as_i64(), last["seq"].as_i64().map(|seq| seq + 1), "no gap, no repeat");
            }
            messages.push(message);
        }
        messages
    }

    /// Fails the test if a frame of this type comes.
    pub(crate) async fn expect_none(&mut self, kind: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while let Some(frame) = self.next_frame(deadline).await {
            self.waiting.push_back(frame);
        }
        let found = self.waiting.iter().find(|frame| frame["type"] == kind);
        assert!(found.is_none(), "{found:?} was not to come; {}", self.told());
    }

    /// Frames of this type that came, or come within a time, whatever else comes.
    pub(crate) async fn gather(&mut self, kind: &str, within: Duration) -> Vec<Value> {
        let deadline = Instant::now() + within;
        while let Some(frame) = self.next_frame(deadline).await {
            self.waiting.push_back(frame);
        }
        let (wanted, other) = self.waiting.drain(..).partition(|frame| frame["type"] == kind);
        self.waiting = other;
        Vec::from(wanted)
    }

    /// The code with which the server closes the socket.
    pub(crate) async fn expect_close(&mut self) -> u16 {
        self.expect_close_within(PATIENCE).await
    }

    pub(crate) async fn expect_close_within(&mut self, within: Duration) -> u16 {
        let deadline = Instant::now() + within;
        while let Some(frame) = self.next_frame(deadline).await {
            self.waiting.push_back(frame);
        }
        match self.closed {
            Some(code) => code,
            None => panic!("not closed within {within:?}; {}", self.told()),
        }
    }

    /// Asks the server whether it is still there.
    pub(crate) async fn assert_alive(&mut self) {
        self.send(serde_json::json!({"type": "ping"})).await;
        self.expect("pong").await;
    }

    /// Closes the socket as a client should.
    pub(crate) async fn close(mut self) {
        self.stream.close(None).await.expect("the socket closes");
        assert_eq!(self.expect_close().await, 1000);
    }

    /// Vanishes with a reset, as a machine does that has lost its power and is back.
    pub(crate) fn reset(self) {
        let tcp = self.stream.into_inner();
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Protocol pings that came.
    pub(crate) fn pings(&self) -> usize {
        self.pings
    }

    /// The protocol pong that comes next, and nothing before it.
    pub(crate) async fn protocol_pong(&mut self) -> Vec<u8> {
        match timeout_at(Instant::now() + PATIENCE, self.stream.next()).await {
            Ok(Some(Ok(Message::Pong(payload)))) => payload.to_vec(),
            other => panic!("no pong but {other:?}; {}", self.told()),
        }
    }

    /// The next text frame; `None` when there is none in time, or the socket is closed.
    async fn next_frame(&mut self, deadline: Instant) -> Option<Value> {
        while self.closed.is_none() {
            match timeout_at(deadline, self.stream.next()).await {
                Err(_) => return None,
                Ok(Some(Ok(Message::Text(text)))) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    crate::asyncapi::check_frame(&frame);
                    self.history.push(frame.clone());
                    return Some(frame);
                }
                Ok(Some(Ok(Message::Ping(_)))) => self.pings += 1,
                Ok(Some(Ok(Message::Close(frame)))) => {
                    self.closed = Some(frame.map_or(1005, |frame| frame.code.into()))
                }
                Ok(Some(Ok(_))) => {}
                // Without a close frame.
                Ok(Some(Err(_)) | None) => self.closed = Some(1006),
            }
        }
        None
    }

    /// What came, for the words of a failure.
    fn told(&self) -> String {
        let tail = self.history.len().saturating_sub(20);
        let lines = self.history[tail..].iter().map(|frame| {
            let text = frame.to_string();
            format!("\n  {}", text.chars().take(300).collect::<String>())
        });
        format!("{} frames came, the last:{}", self.history.len(), lines.collect::<String>())
    }
}
