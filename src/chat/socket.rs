//! The websocket: dials, sends, and tells what came as events.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::event::Failure;
use super::frames::ClientFrame;
use crate::ids::Seq;

/// The subprotocol that both ends speak.
const SUBPROTOCOL: &str = "parlor.v1";
/// A connection that takes longer to make, or a frame that takes longer to leave, is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A farewell is not waited for longer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Something that came over the socket.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text frame.
    Text(String),
    /// A sign of life: a ping, which is answered by itself, a pong.
    Heard,
    /// The end, with the close code if there was one.
    Closed(Option<u16>),
}

/// An open websocket.
pub(super) struct Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>);

impl Socket {
    /// Connects to `url` under `token`, resuming after `after` if there is one.
    pub(super) async fn dial(url: String, token: String, after: Option<Seq>) -> Result<Self, Failure> {
        let url = match after {
            Some(after) => format!("{url}?after={after}"),
            None => url,
        };
        let uri: Uri = url.parse().map_err(|error| Failure::Final(format!("{url}: {error}")))?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {token}"))
            .with_sub_protocol(SUBPROTOCOL);
        match timeout(PATIENCE, connect_async(request)).await {
            Ok(Ok((stream, _))) => Ok(Self(Box::new(stream))),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure::Passing("the server does not answer".to_owned())),
        }
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Incoming {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
            // Answered by whoever closes: a wait here could be cut short, and the code lost with it.
            Some(Ok(Message::Close(frame))) => Incoming::Closed(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => Incoming::Heard,
            Some(Err(_)) | None => Incoming::Closed(None),
        }
    }

    /// Sends a frame; false if the connection is lost.
    pub(super) async fn send(&mut self, frame: &ClientFrame) -> bool {
        let Ok(text) = serde_json::to_string(frame) else { return false };
        matches!(timeout(PATIENCE, self.0.send(Message::text(text))).await, Ok(Ok(())))
    }

    /// Says goodbye, if the server still listens.
    pub(super) async fn close(&mut self) {
        // A farewell that does not arrive changes nothing: the connection is dropped next.
        let _ = timeout(FAREWELL, self.0.as_mut().close(None)).await;
    }
}

/// What a failed attempt means.
fn failure(error: &tungstenite::Error) -> Failure {
    use tungstenite::Error;
    match error {
        Error::Http(response) => {
            let why = format!("the server answered {}", response.status());
            match response.status().as_u16() {
                401 => Failure::Token,
                429 => Failure::TooMuch(why),
                400 | 403 | 404 | 405 | 426 => Failure::Final(format!("{why} to the websocket")),
                _ => Failure::Passing(why),
            }
        }
        Error::Url(_) | Error::HttpFormat(_) => Failure::Final(error.to_string()),
        Error::Protocol(tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Failure::Final(format!("the server does not speak {SUBPROTOCOL}"))
        }
        _ => Failure::Passing("cannot reach the server".to_owned()),
    }
}
