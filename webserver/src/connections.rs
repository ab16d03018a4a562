//! How many connections are open: what a load balancer calls the active ones.

use axum::serve::Listener;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The open connections of a server.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// How many there are.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn open(&self) -> Open {
        self.0.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }
}

/// One that is open.
struct Open(Connections);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listener whose connections are counted.
pub(crate) struct Counted<L> {
    listener: L,
    connections: Connections,
}

/// A connection that is counted as long as it lives.
pub(crate) struct Counting<S> {
    stream: S,
    _open: Open,
}

impl<L> Counted<L> {
    pub(crate) fn new(listener: L, connections: Connections) -> Self {
        Self { listener, connections }
    }
}

impl<L: Listener> Listener for Counted<L> {
    type Io = Counting<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = self.listener.accept().await;
        (Counting { stream, _open: self.connections.open() }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::PromptListener;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_connection_counts_until_it_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let connections = Connections::default();
        let mut counted = Counted::new(PromptListener(listener), connections.clone());
        let clients = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let (first, second) = (counted.accept().await, counted.accept().await);
        assert_eq!(connections.number(), 2);
        drop(first);
        assert_eq!(connections.number(), 1);
        drop((second, clients));
        assert_eq!(connections.number(), 0);
    }
}
