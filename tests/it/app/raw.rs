//! A client that need not behave: it writes the bytes of frames itself, and reads only when told to.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Account, PATIENCE, TestApp};

/// A frame of RFC 6455, as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// FIN and the reserved bits and the opcode.
    pub(crate) first: u8,
    /// Clients must mask what they send.
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A whole text frame.
    pub(crate) fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self { first: 0x81, masked: true, payload: payload.into() }
    }

    /// The bytes on the wire. The mask is all zeros, which is one like any other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match self.payload.len() {
            length @ ..126 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
            length @ ..0x1_0000 => {
                bytes.push(mask_bit | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend([0; 4]);
        }
        bytes.extend(&self.payload);
        bytes
    }
}

/// An upgraded connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects and upgrades, and reads no further.
    pub(crate) async fn connect(app: &TestApp, account: &Account) -> Self {
        Self::connect_after(app, account, None, None).await
    }

    /// The same, with this many bytes of the kernel's for what the server sends.
    pub(crate) async fn connect_with_buffer(app: &TestApp, account: &Account, buffer: Option<u32>) -> Self {
        Self::connect_after(app, account, buffer, None).await
    }

    /// The same, resuming behind a place.
    pub(crate) async fn connect_after(
        app: &TestApp,
        account: &Account,
        buffer: Option<u32>,
        after: Option<i64>,
    ) -> Self {
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let address = app.url.trim_start_matches("http://");
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut tcp = socket.connect(address.parse().unwrap()).await.unwrap();
        let request = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: parlor.v1\r\nAuthorization: Bearer {}\r\n\r\n",
            account.access_token
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, tcp.read_u8()).await.expect("in time").expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(tcp)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.expect("in time").expect("the server takes it");
    }

    /// Writes, though the server may have closed already.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await;
    }

    /// The next frame's first byte and payload; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, read(&mut self.0)).await.expect("a frame or the end, in time").ok()
    }

    /// The next text frame.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some((0x81, payload)) => return serde_json::from_slice(&payload).unwrap(),
                Some((0x89, _)) => {}
                other => panic!("no text but {other:?}"),
            }
        }
    }

    /// Reads on to the server's close frame; says its code, and that the connection ends behind it. 1006: it ended
    /// without one.
    pub(crate) async fn expect_close(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some((0x88, payload)) => {
                    let rest = timeout(PATIENCE, self.0.read_u8()).await.expect("the server ends the connection");
                    assert!(rest.is_err(), "nothing may follow the close frame");
                    return u16::from_be_bytes([payload[0], payload[1]]);
                }
                Some(_) => {}
                None => return 1006,
            }
        }
    }
}

async fn read(tcp: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = tcp.read_u8().await?;
    let length = match tcp.read_u8().await? {
        126 => u64::from(tcp.read_u16().await?),
        127 => tcp.read_u64().await?,
        length => u64::from(length),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    tcp.read_exact(&mut payload).await?;
    Ok((first, payload))
}
