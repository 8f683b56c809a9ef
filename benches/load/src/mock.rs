//! A server for tests: the two routes and the frames that the generator uses, in memory, with faults on request.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};

/// What the server does wrong to the tenth message that goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Says `accepted` and forgets it.
    Lose,
    /// Puts it into the inboxes twice.
    Repeat,
    /// Puts it behind the one after it.
    Reorder,
    /// Jumps over a `seq`.
    Gap,
    /// Answers `rejected`.
    Reject,
    /// Drops the sender's socket after taking it, before answering.
    HangUp,
}

#[derive(Debug, Default)]
struct User {
    /// By `seq`, from 1 on; a gap is an empty frame.
    inbox: Vec<String>,
    sessions: Vec<mpsc::UnboundedSender<String>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mock {
    fault: Fault,
    users: RefCell<Vec<User>>,
    known: RefCell<HashMap<(usize, String), ()>>,
    held_back: RefCell<Option<(usize, Value)>>,
    count: Cell<u64>,
    /// Registrations still to be answered by 429.
    pub(crate) busy: Cell<u32>,
    /// How long tokens live.
    pub(crate) expires_in: Cell<u64>,
    /// `refreshToken` frames that came.
    pub(crate) refreshed: Cell<u64>,
}

impl Mock {
    /// Serves on a free port until the test's `LocalSet` ends; gives the address.
    pub(crate) async fn start(fault: Fault) -> (Rc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mock = Rc::new(Self {
            fault,
            users: RefCell::default(),
            known: RefCell::default(),
            held_back: RefCell::default(),
            count: Cell::new(0),
            busy: Cell::new(0),
            expires_in: Cell::new(900),
            refreshed: Cell::new(0),
        });
        let server = Rc::clone(&mock);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(Rc::clone(&server).serve(stream));
            }
        });
        (mock, url)
    }

    async fn serve(self: Rc<Self>, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut start = [0; 4];
        while stream.peek(&mut start).await.unwrap_or(0) == 1 {}
        if &start == b"POST" { self.serve_http(stream).await } else { self.serve_socket(stream).await }
    }

    /// One request a connection.
    async fn serve_http(&self, mut stream: TcpStream) {
        let (mut request, mut chunk) = (String::new(), [0; 4096]);
        while !request.ends_with('}') {
            let length = stream.read(&mut chunk).await.unwrap();
            request.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
        let answer = if self.busy.get() > 0 {
            self.busy.update(|busy| busy - 1);
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into()
        } else {
            // The refresh token is the user's id: whoever has one is not new.
            let id = match request.split_once(r#""refreshToken":""#) {
                Some((_, rest)) => rest.split('"').next().unwrap().parse().unwrap(),
                None => {
                    self.users.borrow_mut().push(User::default());
                    self.users.borrow().len()
                }
            };
            let body = json!({"accessToken": id.to_string(), "refreshToken": id.to_string(),
                "expiresIn": self.expires_in.get(), "user": {"id": id, "username": "u", "role": "user"}});
            let body = body.to_string();
            format!("HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    async fn serve_socket(self: Rc<Self>, stream: TcpStream) {
        let (user, after) = (Cell::new(0), Cell::new(None));
        let accept = |request: &Request, mut response: Response| {
            let token = request.headers()["Authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
            user.set(token.parse::<usize>().unwrap());
            after.set(request.uri().query().and_then(|query| query.strip_prefix("after=")?.parse::<usize>().ok()));
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("parlor.v1"));
            Ok(response)
        };
        let Ok(socket) = accept_hdr_async(stream, accept).await else { return };
        let (user, after) = (user.get(), after.get());
        let (mut sink, mut frames) = socket.split();
        let (queue, mut outgoing) = mpsc::unbounded_channel::<String>();
        {
            let mut users = self.users.borrow_mut();
            let user = &mut users[user - 1];
            let head = user.inbox.len();
            queue.send(json!({"type": "welcome", "userId": user.sessions.len(), "headSeq": head}).to_string()).unwrap();
            user.inbox[after.unwrap_or(head)..].iter().for_each(|frame| queue.send(frame.clone()).unwrap());
            user.sessions.push(queue.clone());
        }
        loop {
            tokio::select! {
                Some(frame) = outgoing.recv() => {
                    if !frame.is_empty() && sink.send(Message::text(frame)).await.is_err() { return }
                }
                frame = frames.next() => match frame {
                    Some(Ok(Message::Text(text))) if text.contains("accessToken") => {
                        self.refreshed.update(|count| count + 1);
                    }
                    Some(Ok(Message::Text(text))) => {
                        match self.take(user, &serde_json::from_str(&text).unwrap()) {
                            Some(answer) => queue.send(answer).unwrap(),
                            None => return,
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }

    /// Takes a `sendMessage`; the answer, or to hang up.
    fn take(&self, sender: usize, frame: &Value) -> Option<String> {
        let id = frame["clientMessageId"].as_str().unwrap();
        let answer = |kind: &str| Some(json!({"type": kind, "clientMessageId": id, "code": "no"}).to_string());
        if self.known.borrow_mut().insert((sender, id.into()), ()).is_some() {
            return answer("accepted");
        }
        self.count.update(|count| count + 1);
        let is_faulty = self.count.get() == 10;
        match self.fault {
            Fault::Reject if is_faulty => return answer("rejected"),
            Fault::Lose if is_faulty => return answer("accepted"),
            Fault::Repeat if is_faulty => self.deliver(sender, frame),
            Fault::Gap if is_faulty => self.skip_seq(sender),
            Fault::Reorder if is_faulty => {
                *self.held_back.borrow_mut() = Some((sender, frame.clone()));
                return answer("accepted");
            }
            _ => {}
        }
        self.deliver(sender, frame);
        if self.held_back.borrow().as_ref().is_some_and(|(held, _)| *held == sender)
            && let Some((sender, frame)) = self.held_back.take()
        {
            self.deliver(sender, &frame);
        }
        if self.fault == Fault::HangUp && is_faulty { None } else { answer("accepted") }
    }

    fn deliver(&self, sender: usize, frame: &Value) {
        let recipients = frame["recipientIds"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as usize);
        for id in recipients.chain([sender]) {
            let user = &mut self.users.borrow_mut()[id - 1];
            let seq = user.inbox.len() + 1;
            let message = json!({"type": "message", "seq": seq, "senderId": sender,
                "recipientIds": frame["recipientIds"], "messageBody": frame["messageBody"], "fromAutoReply": false});
            user.inbox.push(message.to_string());
            user.sessions.retain(|session| session.send(message.to_string()).is_ok());
        }
    }

    fn skip_seq(&self, user: usize) {
        self.users.borrow_mut()[user - 1].inbox.push(String::new());
    }
}

/// What can the generator do by itself? `cargo test --release -p parlor-bench -- --ignored --nocapture calibration`, and
/// in another terminal `parlor-bench --url … pairs`: look at the generator's share of a processor.
#[tokio::test]
#[ignore = "serves until it is stopped"]
async fn calibration() {
    let all = tokio::task::LocalSet::new();
    all.run_until(async {
        let (_mock, url) = Mock::start(Fault::None).await;
        println!("mock ready: {url}");
        std::future::pending::<()>().await;
    })
    .await;
}
