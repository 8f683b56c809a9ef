//! How a websocket is had: the upgrade with its token and place, tried again for as long as that may help.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error as WsError, client::IntoClientRequest, error::ProtocolError, http::HeaderValue, protocol::WebSocketConfig,
    },
};

use crate::hub::Hub;

/// How long a connection tries to come back before the run is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const MAX_BACK_OFF: Duration = Duration::from_secs(2);

/// A websocket of ours.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects as `account` with the mailbox and inbox `index`, with back-off, for a minute at most; at `place`, or wherever it
/// succeeds.
pub(crate) async fn patiently(hub: &Hub, index: usize, account: usize, place: &mut usize) -> anyhow::Result<Socket> {
    let start = Instant::now();
    let mut back_off = FIRST_BACK_OFF;
    loop {
        match once(hub, index, account, *place).await {
            Ok(socket) => return Ok(socket),
            Err(ConnectError::Final(error)) => return Err(error),
            Err(ConnectError::Later { why, wait }) => {
                if start.elapsed() >= GIVE_UP_AFTER {
                    return Err(why.context(format!("after {} s of trying", GIVE_UP_AFTER.as_secs())));
                }
                hub.book.borrow_mut().complain(format!("connecting: {why}"));
                let elsewhere = hub.next_place(index, *place);
                // Another node need not be waited for because this one said so.
                let wait = wait.filter(|_| elsewhere == *place);
                *place = elsewhere;
                tokio::time::sleep(wait.unwrap_or(back_off)).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
}

async fn once(hub: &Hub, index: usize, account: usize, place: usize) -> Result<Socket, ConnectError> {
    let after = hub.book.borrow_mut().inbox(index).and_then(|inbox| inbox.last_seq());
    let ws_url = hub.ws_urls.get(place).map_or("", String::as_str);
    let url = match after {
        Some(seq) => format!("{ws_url}?after={seq}"),
        None => ws_url.to_owned(),
    };
    let mut request = url.into_client_request().context("the socket's address").map_err(ConnectError::Final)?;
    let bearer = HeaderValue::try_from(format!("Bearer {}", hub.accounts.access_token(account)))
        .context("the access token does not fit a header")
        .map_err(ConnectError::Final)?;
    request.headers_mut().insert("Authorization", bearer);
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("parlor.v1"));
    let config = WebSocketConfig::default().read_buffer_size(hub.read_buffer_bytes);
    let (socket, _response) =
        connect_async_with_config(request, Some(config), true).await.map_err(ConnectError::from)?;
    Ok(socket)
}

/// Why a socket could not be had.
#[derive(Debug)]
enum ConnectError {
    /// Trying again may help, after `wait` if the server said so.
    Later { why: anyhow::Error, wait: Option<Duration> },
    /// It will not.
    Final(anyhow::Error),
}

impl From<WsError> for ConnectError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Http(response) => {
                let status = response.status();
                let wait = crate::accounts::retry_after(response.headers());
                let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let why = anyhow!("the upgrade was answered by {status} {body}");
                match status.as_u16() {
                    400 | 403 | 404 => Self::Final(why),
                    _ => Self::Later { why, wait },
                }
            }
            WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) | WsError::Url(_) | WsError::Tls(_) => {
                Self::Final(error.into())
            }
            _ => Self::Later { why: error.into(), wait: None },
        }
    }
}
