//! Socket options by which the kernel ends connections of clients that do not read.

use std::os::fd::AsRawFd;
use std::time::Duration;

use actix_web::rt::net::TcpStream;

/// Sets after how long without an acknowledgement, or with a closed window, the kernel gives a connection up
/// (`TCP_USER_TIMEOUT`): the process has no control over response bytes that the kernel has accepted.
pub fn set_write_timeout(connection: &TcpStream, write_timeout: Duration) {
    #[cfg(target_os = "linux")]
    {
        let millis = libc::c_uint::try_from(write_timeout.as_millis()).unwrap_or(libc::c_uint::MAX);
        set_option(connection, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
}

/// Makes closing `connection` discard unsent data: its client does not read.
pub fn close_at_once(connection: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(connection, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Sets a socket option whose value, as the kernel reads it, is a `T`. A refusal by the kernel is ignored.
fn set_option<T>(connection: &TcpStream, level: libc::c_int, option: libc::c_int, value: &T) {
    // SAFETY: the descriptor is open, and the size that is passed is that of the value.
    unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        );
    }
}
