//! Connections with small socket buffers: what the client does not read soon blocks the service.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::FromRawFd;

/// Size of the client's receive buffer, in bytes.
const RECEIVES: libc::c_int = 4096;
/// Bytes of a segment. On the loopback it is 64 KiB otherwise, and the service's kernel keeps room for dozens of them.
const SEGMENT: libc::c_int = 1400;

/// A connection to `address` on which both kernels together buffer about 100 KB instead of several megabytes.
pub fn connect(address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("tests listen on 127.0.0.1") };
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: each pointer is to a value of the size passed with it; the stream becomes the descriptor's only owner.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert!(socket >= 0, "a socket");
        let set = |level, option, value: &libc::c_int| {
            let size = size_of_val(value) as libc::socklen_t;
            libc::setsockopt(socket, level, option, std::ptr::from_ref(value).cast(), size);
        };
        set(libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVES);
        set(libc::IPPROTO_TCP, libc::TCP_MAXSEG, &SEGMENT);
        let size = size_of_val(&to) as libc::socklen_t;
        assert_eq!(libc::connect(socket, std::ptr::from_ref(&to).cast(), size), 0, "a connection");
        TcpStream::from_raw_fd(socket)
    }
}
