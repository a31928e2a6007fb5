//! System V messages: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use super::sysv;
use crate::error::{Errno, Result};
use crate::ipc::sysv::NOWAIT;
use crate::ipc::sysv::messages::{self, COPY, EXCEPT, Message, Status, Want};
use crate::mm::UserPtr;
use crate::task::{Gid, Thread, Uid};
use core::sync::atomic::Ordering;

const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const MSG_STAT_ANY: i32 = 13;

/// Values that Linux only reports (`MSGSSZ`, `MSGSEG`).
const SEGMENT_SIZE: u32 = 16;
const SEGMENTS: u32 = 0xffff;

/// `struct msqid_ds`, in words.
type MsqidDs = [u64; 15];

/// msgget(2)
pub fn sys_msgget(t: &Thread, key: i32, flags: i32) -> Result<usize> {
    messages::get(key, flags, &t.credentials()).map(|id| id as usize)
}

/// msgsnd(2)
pub fn sys_msgsnd(t: &Thread, id: i32, message: UserPtr<i64>, size: usize, flags: i32) -> Result<usize> {
    let kind = message.read()?;
    if size as u64 > messages::MAX.load(Ordering::Relaxed) || (size as isize) < 0 || id < 0 {
        return Err(Errno::EINVAL.because("longer than msgmax, or a negative identifier"));
    }
    if kind < 1 {
        return Err(Errno::EINVAL.because("message types are above 0"));
    }
    let text = message.add(1).cast::<u8>().read_many(size)?;
    messages::send(t, id, &Message { kind, text }, flags).map(|()| 0)
}

/// msgrcv(2)
pub fn sys_msgrcv(t: &Thread, id: i32, message: UserPtr<i64>, size: usize, kind: i64, flags: i32) -> Result<usize> {
    if id < 0 || (size as isize) < 0 {
        return Err(Errno::EINVAL.because("a negative identifier or size"));
    }
    if flags & COPY != 0 && (flags & EXCEPT != 0 || flags & NOWAIT == 0) {
        return Err(Errno::EINVAL.because("MSG_COPY goes with IPC_NOWAIT and without MSG_EXCEPT"));
    }
    let received = messages::receive(t, id, Want::new(kind, flags), size, flags)?;
    message.write(received.kind)?;
    message.add(1).cast::<u8>().write_many(&received.text)?;
    Ok(received.text.len())
}

fn encode(s: &Status) -> MsqidDs {
    let p = sysv::encode_permissions(&s.permissions, s.id);
    let pids = u64::from(s.last_sender.0 as u32) | u64::from(s.last_receiver.0 as u32) << 32;
    let (sent, received, changed) = (s.sent as u64, s.received as u64, s.changed as u64);
    let count = s.messages as u64;
    [p[0], p[1], p[2], p[3], p[4], p[5], sent, received, changed, s.bytes, count, s.limit, pids, 0, 0]
}

/// msgctl(2)
pub fn sys_msgctl(t: &Thread, id: i32, command: i32, at: usize) -> Result<usize> {
    let who = t.credentials();
    let ds = UserPtr::<MsqidDs>::new(at);
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL.because("a negative identifier or command"));
    }
    match command {
        sysv::IPC_INFO | MSG_INFO => {
            let value = |v: &core::sync::atomic::AtomicU64| v.load(Ordering::Relaxed) as u32;
            let (max, bytes, most) = (value(&messages::MAX), value(&messages::QUEUE_BYTES), value(&messages::MOST));
            let (pool, map, headers) = if command == MSG_INFO {
                let all = messages::list();
                let waiting: usize = all.iter().map(|s| s.messages).sum();
                let held: u64 = all.iter().map(|s| s.bytes).sum();
                (all.len() as u32, waiting as u32, held as u32)
            } else {
                ((u64::from(most) * u64::from(bytes) / 1024) as u32, bytes, bytes)
            };
            UserPtr::new(at).write([pool, map, max, bytes, most, SEGMENT_SIZE, headers, SEGMENTS])?;
            Ok(messages::highest_index() as usize)
        }
        sysv::IPC_STAT => ds.write(encode(&messages::status(id, &who)?)).map(|()| 0),
        MSG_STAT | MSG_STAT_ANY => {
            let s = messages::status_at(id, (command == MSG_STAT).then_some(&*who))?;
            ds.write(encode(&s))?;
            Ok(s.id as usize)
        }
        sysv::IPC_SET => {
            let words = ds.read()?;
            let (uid, gid, mode) = sysv::decode_owner(&words);
            messages::change(id, Uid(uid), Gid(gid), mode, words[11], &who).map(|()| 0)
        }
        sysv::IPC_RMID => messages::remove(id, &who).map(|()| 0),
        _ => Err(Errno::EINVAL.because("no such command")),
    }
}
