//! A wire between one node and one of its dependencies: a forwarder of the test's own, to be cut, stalled and mended.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// It carries.
    Whole,
    /// Connections break, new ones are refused.
    Cut,
    /// Nothing comes through and nothing breaks, as when packets are lost.
    Stalled,
}

/// Listens on an address of its own and carries to another. Dropped, it is cut for good.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    state: watch::Sender<Wire>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// A whole wire to a port of this machine, where nobody needs to listen yet.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(Wire::Whole);
        let task = tokio::spawn(listen(listener, port, state.clone()));
        Self { address, state, task }
    }

    pub(crate) fn set(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.set(Wire::Cut);
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, port: u16, state: watch::Sender<Wire>) {
    loop {
        // Out of files, say: the next one may do.
        let Ok((near, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(near, port, state.subscribe()));
    }
}

/// Carries one connection until one side ends it or the wire is cut.
async fn carry(near: TcpStream, port: u16, mut state: watch::Receiver<Wire>) {
    if *state.borrow() == Wire::Cut {
        return reset(&near);
    }
    if state.wait_for(|wire| *wire != Wire::Stalled).await.is_err() {
        return reset(&near);
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return reset(&near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let there = pump(near_read, far_write, state.clone());
    let back = pump(far_read, near_write, state.clone());
    tokio::select! {
        _ = futures_util::future::join(there, back) => {}
        // Dropped with what is under way; so is one whose forwarder is gone.
        _ = state.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Wire>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut bytes).await {
        if state.wait_for(|wire| *wire != Wire::Stalled).await.is_err() || read == 0 {
            break;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Ends a connection as one ends that nobody listens to.
fn reset(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// A server that answers every byte with itself; its port.
#[cfg(test)]
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_wire_carries_is_silent_and_breaks_as_told() {
    let forwarder = Forwarder::to(echo().await).await;
    let mut tcp = TcpStream::connect(forwarder.address).await.unwrap();
    let moment = Duration::from_millis(100);
    tcp.write_all(b"a").await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'a');
    forwarder.set(Wire::Stalled);
    tcp.write_all(b"b").await.unwrap();
    assert!(tokio::time::timeout(moment, tcp.read_u8()).await.is_err(), "stalled");
    let mut second = TcpStream::connect(forwarder.address).await.unwrap();
    second.write_all(b"c").await.unwrap();
    assert!(tokio::time::timeout(moment, second.read_u8()).await.is_err(), "stalled for newcomers too");
    forwarder.set(Wire::Whole);
    assert_eq!(tcp.read_u8().await.unwrap(), b'b', "late, and not lost");
    assert_eq!(second.read_u8().await.unwrap(), b'c');
    forwarder.set(Wire::Cut);
    assert!(tcp.read_u8().await.is_err(), "broken");
    let mut third = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(third.read_u8().await.is_err(), "refused");
    forwarder.set(Wire::Whole);
    let mut fourth = TcpStream::connect(forwarder.address).await.unwrap();
    fourth.write_all(b"d").await.unwrap();
    assert_eq!(fourth.read_u8().await.unwrap(), b'd', "mended");
}
