//! Options of unix sockets (unix(7), socket(7)).

use super::endpoint::{Endpoint, Role};
use super::queue::DEFAULT_SEND_BUFFER;
use super::rights::Credential;
use crate::abi::net::*;
use crate::error::{Errno, Result};
use crate::net::file::OptionValue;
use crate::net::file::option::{SOL_SOCKET, int_bytes, unknown_option};
use crate::task::{Capability, Thread};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Least send buffer (`SOCK_MIN_SNDBUF`).
const MIN_BUFFER: usize = 4608;

/// setsockopt(2).
pub(super) fn set(endpoint: &Endpoint, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP.because("unix sockets have options of SOL_SOCKET only"));
    }
    match name as u32 {
        SO_PASSCRED => {
            endpoint.pass_credentials.store(value.int()? != 0, Ordering::Relaxed);
            Ok(())
        }
        SO_SNDBUF => {
            let bytes = value.int()?.max(0) as usize;
            endpoint.account.set_limit((bytes.min(DEFAULT_SEND_BUFFER) * 2).max(MIN_BUFFER));
            Ok(())
        }
        SO_SNDBUFFORCE => {
            if !t.credentials().capable(Capability::NetAdmin) {
                return Err(Errno::EPERM.because("needs CAP_NET_ADMIN"));
            }
            let bytes = value.int()?.max(0) as usize;
            endpoint.account.set_limit((bytes * 2).max(MIN_BUFFER));
            Ok(())
        }
        // What a receiver may have unread is bounded by its senders' buffers.
        SO_RCVBUF | SO_RCVBUFFORCE | SO_REUSEADDR | SO_REUSEPORT | SO_BROADCAST | SO_KEEPALIVE => value.int().map(drop),
        SO_LINGER => value.ints().map(drop),
        SO_RCVLOWAT => value.int().map(drop),
        SO_ERROR | SO_ACCEPTCONN | SO_PEERCRED | SO_SNDLOWAT => Err(Errno::ENOPROTOOPT.because("cannot be set")),
        _ => Err(unknown_option(level)),
    }
}

/// getsockopt(2).
pub(super) fn get(endpoint: &Endpoint, level: i32, name: i32) -> Result<Vec<u8>> {
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP.because("unix sockets have options of SOL_SOCKET only"));
    }
    Ok(match name as u32 {
        SO_PASSCRED => int_bytes(endpoint.pass_credentials.load(Ordering::Relaxed).into()),
        SO_PEERCRED => {
            let nobody = Credential { pid: 0, uid: u32::MAX, gid: u32::MAX };
            endpoint.lock().peer.unwrap_or(nobody).bytes()
        }
        SO_SNDBUF => int_bytes(i32::try_from(endpoint.account.limit()).unwrap_or(i32::MAX)),
        SO_RCVBUF => int_bytes(DEFAULT_SEND_BUFFER as i32),
        SO_ERROR => int_bytes(endpoint.lock().error.take().map_or(0, Errno::raw)),
        SO_ACCEPTCONN => int_bytes(matches!(endpoint.lock().role, Role::Listening { .. }).into()),
        SO_REUSEADDR | SO_REUSEPORT | SO_BROADCAST | SO_KEEPALIVE => int_bytes(0),
        SO_RCVLOWAT | SO_SNDLOWAT => int_bytes(1),
        SO_LINGER => vec![0; 8],
        _ => return Err(unknown_option(level)),
    })
}
