//! Names of unix sockets: in the file system, abstract, or none (unix(7), "Address format").

use super::AF_UNIX;
use super::endpoint::Endpoint;
use crate::error::{Errno, Result};
use crate::fs::inode::{FileKind, InodeId, NewKind};
use crate::fs::permission::{self, Access};
use crate::fs::{Actor, Path, Resolve};
use crate::net::file::{RawAddress, SocketAddress, SocketType};
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes before `sun_path`.
const FAMILY_LEN: usize = 2;
/// `sizeof(struct sockaddr_un)`.
const ADDRESS_MAX: usize = 110;
/// Names that autobind has: five hexadecimal digits.
const AUTOBIND_NAMES: u32 = 1 << 20;

/// The bytes of a bound socket's address after the family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// As getsockname(2) returns it; a socket without a name has a family only.
    pub(super) fn address(name: Option<&Name>) -> SocketAddress {
        let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
        if let Some(name) = name {
            bytes.extend_from_slice(&name.0);
        }
        SocketAddress::Other(bytes)
    }

    /// As `/proc/net/unix` shows it: an `@` for each NUL, none at the end.
    pub(super) fn shown(&self) -> Vec<u8> {
        let text = if self.0.first() == Some(&0) { &self.0[..] } else { self.0.strip_suffix(&[0]).unwrap_or(&self.0) };
        text.iter().map(|&b| if b == 0 { b'@' } else { b }).collect()
    }
}

/// An address that a program gave.
pub(super) enum Wanted<'a> {
    /// Any abstract name that is free.
    Any,
    /// A path name, without its NUL.
    Path(&'a [u8]),
    /// An abstract name, with its leading NUL.
    Abstract(&'a [u8]),
}

impl<'a> Wanted<'a> {
    /// EINVAL if it is no address of this family.
    pub(super) fn parse(address: &'a RawAddress) -> Result<Self> {
        let bytes = address.bytes();
        if bytes.len() < FAMILY_LEN || bytes.len() > ADDRESS_MAX || address.family()? != AF_UNIX {
            return Err(Errno::EINVAL.because("not a sockaddr_un"));
        }
        let path = &bytes[FAMILY_LEN..];
        Ok(match path.first() {
            None => Wanted::Any,
            Some(0) => Wanted::Abstract(path),
            Some(_) => Wanted::Path(path.split(|&b| b == 0).next().unwrap_or(path)),
        })
    }
}

/// Who is bound where. Entries go when their endpoint closes.
struct Names {
    paths: BTreeMap<InodeId, Weak<Endpoint>>,
    /// Sockets of different types do not see each other's abstract names.
    hidden: BTreeMap<(u8, Arc<[u8]>), Weak<Endpoint>>,
}

static NAMES: SpinLock<Names> = SpinLock::new(Rank::Socket, Names { paths: BTreeMap::new(), hidden: BTreeMap::new() });

/// A name that was taken, with the path that keeps its inode.
pub(super) struct Binding {
    pub(super) name: Name,
    pub(super) place: Option<Path>,
}

/// Gives an endpoint a name: EADDRINUSE if it is taken.
pub(super) fn bind(t: &Thread, endpoint: &Arc<Endpoint>, wanted: &Wanted<'_>) -> Result<Binding> {
    match *wanted {
        Wanted::Any => autobind(endpoint),
        Wanted::Abstract(name) => take_abstract(endpoint, name).map(|name| Binding { name, place: None }),
        Wanted::Path(path) => {
            let made = Actor::of(t).mknod(None, path, NewKind::Socket, 0o777);
            let place = made.map_err(|e| match e.errno() {
                Errno::EEXIST => Errno::EADDRINUSE.because("there is a file of this name"),
                _ => e,
            })?;
            NAMES.lock().paths.insert(place.inode().id(), Arc::downgrade(endpoint));
            let bytes = [path, &[0]].concat();
            Ok(Binding { name: Name(bytes.into()), place: Some(place) })
        }
    }
}

fn take_abstract(endpoint: &Arc<Endpoint>, name: &[u8]) -> Result<Name> {
    let bytes: Arc<[u8]> = name.into();
    let mut names = NAMES.lock();
    let key = (endpoint.kind() as u8, bytes.clone());
    if names.hidden.contains_key(&key) {
        return Err(Errno::EADDRINUSE.because("the abstract name is taken"));
    }
    names.hidden.insert(key, Arc::downgrade(endpoint));
    Ok(Name(bytes))
}

/// Any free abstract name (unix(7), "Autobind feature").
fn autobind(endpoint: &Arc<Endpoint>) -> Result<Binding> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..AUTOBIND_NAMES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % AUTOBIND_NAMES;
        let text = alloc::format!("\0{number:05x}");
        if let Ok(name) = take_abstract(endpoint, text.as_bytes()) {
            return Ok(Binding { name, place: None });
        }
    }
    Err(Errno::ENOSPC.because("all autobind names are taken"))
}

/// Gives a name back.
pub(super) fn release(kind: SocketType, binding: &Binding) {
    let mut names = NAMES.lock();
    match &binding.place {
        Some(place) => drop(names.paths.remove(&place.inode().id())),
        None => drop(names.hidden.remove(&(kind as u8, binding.name.0.clone()))),
    }
}

/// The endpoint that an address names. ENOENT, ECONNREFUSED if nobody is bound there, EPROTOTYPE if it is of another
/// type.
pub(super) fn find(t: &Thread, kind: SocketType, address: &RawAddress) -> Result<Arc<Endpoint>> {
    let found = match Wanted::parse(address)? {
        Wanted::Any => return Err(Errno::EINVAL.because("an address without a name")),
        Wanted::Abstract(name) => NAMES.lock().hidden.get(&(kind as u8, name.into())).and_then(Weak::upgrade),
        Wanted::Path(path) => {
            let actor = Actor::of(t);
            let place = actor.resolve(None, path, Resolve::empty())?;
            permission::check(&**place.inode(), Access::WRITE, &actor.who)?;
            if place.inode().kind() != FileKind::Socket {
                return Err(Errno::ECONNREFUSED.because("the file is no socket"));
            }
            NAMES.lock().paths.get(&place.inode().id()).and_then(Weak::upgrade)
        }
    };
    let found = found.ok_or(Errno::ECONNREFUSED.because("no socket is bound to this name"))?;
    if found.kind() != kind {
        return Err(Errno::EPROTOTYPE.because("the socket there is of another type"));
    }
    Ok(found)
}
