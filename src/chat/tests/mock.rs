//! A server of a few hand-answered routes and one websocket, which hands its connections to the test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    tokens: AtomicU32,
    history: Mutex<Vec<Value>>,
}

/// The server.
pub(super) struct Mock {
    pub(super) url: String,
    state: Arc<State>,
    connections: Option<mpsc::Receiver<Peer>>,
}

/// The server's end of a websocket.
pub(super) struct Peer {
    pub(super) path: String,
    pub(super) authorization: String,
    socket: WebSocketStream<TcpStream>,
}

impl Mock {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let (sender, connections) = mpsc::channel(8);
        tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&state), sender.clone()));
                }
            }
        });
        Self { url, state, connections: Some(connections) }
    }

    /// The same server, for whoever needs no connections of it.
    pub(super) fn handle(&self) -> Self {
        Self { url: self.url.clone(), state: Arc::clone(&self.state), connections: None }
    }

    pub(super) fn history(&self, messages: Vec<Value>) {
        *self.state.history.lock().unwrap() = messages;
    }

    /// The next websocket that the client opens.
    pub(super) async fn connection(&mut self) -> Peer {
        timeout(PATIENCE, self.connections.as_mut().unwrap().recv()).await.expect("the client connects").unwrap()
    }
}

impl Peer {
    pub(super) async fn welcome(&mut self, head: i64) {
        self.says(json!({
            "type": "welcome", "sessionId": uuid::Uuid::nil(), "userId": 1, "headSeq": head, "pingIntervalSeconds": 20,
            "maxMessageBytes": 65536, "tokenExpiresAt": "2025-11-23T13:00:00Z",
        }))
        .await;
    }

    pub(super) async fn says(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame of the client.
    pub(super) async fn hears(&mut self) -> Value {
        let message = timeout(PATIENCE, self.socket.next()).await.expect("the client speaks").unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    pub(super) async fn closes(mut self, code: u16) {
        self.socket.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await.unwrap();
        // Until the client has answered.
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>, connections: mpsc::Sender<Peer>) {
    let mut start = [0; 7];
    while stream.peek(&mut start).await.unwrap() < start.len() {}
    if &start == b"GET /ws" {
        let (mut path, mut authorization) = (String::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let inspect = |request: &Request, mut response: Response| {
            path = request.uri().to_string();
            authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
            assert_eq!(request.headers()["sec-websocket-protocol"], "parlor.v1");
            response.headers_mut().insert("sec-websocket-protocol", "parlor.v1".parse().unwrap());
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, inspect).await.unwrap();
        // A test that has ended wants no more.
        let _ = connections.send(Peer { path, authorization, socket }).await;
        return;
    }
    let (head, body) = read(&mut stream).await;
    let (status, answer) = state.answer(head.split(' ').take(2).collect::<Vec<_>>().as_slice(), &body);
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all((head + &answer).as_bytes()).await.unwrap();
}

async fn read(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return (head.to_owned(), serde_json::from_str(body).unwrap_or_default());
        }
    }
}

impl State {
    fn answer(&self, request: &[&str], body: &Value) -> (u16, Value) {
        let login = |status| {
            let token = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
            let user = json!({ "id": 1, "username": body["username"], "role": "user" });
            let user = if body["username"].is_null() { json!({ "id": 1, "username": "alice" }) } else { user };
            let refresh = format!("refresh-{token}");
            let access = format!("token-{token}");
            (status, json!({ "accessToken": access, "expiresIn": 900, "refreshToken": refresh, "user": user }))
        };
        match (request, body["username"].as_str()) {
            (["POST", "/api/v1/login"], Some("alice")) => login(200),
            (["POST", "/api/v1/login"], _) => (401, json!({ "code": "wrong_credentials", "detail": "wrong" })),
            (["POST", "/api/v1/users"], Some("bob")) => (409, json!({ "code": "name_taken", "detail": "taken" })),
            (["POST", "/api/v1/users"], _) => login(201),
            (["POST", "/api/v1/token/refresh"], _) => {
                assert!(body["refreshToken"].is_string());
                login(200)
            }
            (["GET", "/api/v1/users?search=bob"], _) => (
                200,
                json!({ "items": [{ "id": 5, "username": "bobby" }, { "id": 2, "username": "bob" }], "next": null }),
            ),
            (["GET", "/api/v1/users?ids=2"], _) => {
                (200, json!({ "items": [{ "id": 2, "username": "bob" }], "next": null }))
            }
            (["GET", "/api/v1/users?ids=3"], _) => {
                (200, json!({ "items": [{ "id": 3, "username": "carol" }], "next": null }))
            }
            (["GET", path], _) if path.ends_with("/messages?limit=20") => {
                (200, json!({ "items": *self.history.lock().unwrap(), "next": null }))
            }
            _ => (404, json!({ "code": "not_found", "title": "not found" })),
        }
    }
}
