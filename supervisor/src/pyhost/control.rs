//! This process's end of the control socket.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tradewind_airflow::pyhost_protocol::{MAX_MESSAGE_BYTES, Order, Report};

/// A socket of packets, with the descriptors that come along.
#[derive(Debug)]
pub(super) struct Control {
    /// Of type `SOCK_SEQPACKET`: packets like a datagram socket's, and an end like a stream's.
    socket: UnixDatagram,
}

impl Control {
    /// A connected pair: this process's end, and the one for pyhost.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let socket = UnixDatagram::from_std(std::os::unix::net::UnixDatagram::from(ours))?;
        Ok((Self { socket }, theirs))
    }

    /// Sends an order with its descriptors.
    pub(super) async fn send(&self, order: &Order, descriptors: &[OwnedFd]) -> io::Result<()> {
        let text = order.to_string();
        let descriptors: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        self.socket
            .async_io(Interest::WRITABLE, || {
                let slices = [io::IoSlice::new(text.as_bytes())];
                sendmsg::<()>(self.socket.as_raw_fd(), &slices, rights, MsgFlags::MSG_NOSIGNAL, None)?;
                Ok(())
            })
            .await
    }

    /// Tells pyhost to end; its last reports can still be received.
    pub(super) fn close(&self) {
        // An error means that pyhost is gone.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next report; `None` when pyhost is gone. Nothing is lost when the future is dropped.
    pub(super) async fn receive(&self) -> io::Result<Option<Report>> {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let length = self
            .socket
            .async_io(Interest::READABLE, || match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::ECONNRESET) => Ok(0),
                received => Ok(received?),
            })
            .await?;
        if length == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&buffer[..length]);
        let report = Report::parse(&text);
        report.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unknown report {text:?}")))
    }
}
