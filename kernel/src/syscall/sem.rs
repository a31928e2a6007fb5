//! System V semaphores: semget(2), semop(2), semtimedop(2), semctl(2).

use super::sysv;
use crate::abi::general::__kernel_timespec;
use crate::error::{Errno, Result};
use crate::ipc::sysv::semaphores::{self, MAX_VALUE, Operation, Question, Status};
use crate::mm::UserPtr;
use crate::task::{Gid, Thread, Uid};
use crate::time::{self, Instant, timespec};
use alloc::vec::Vec;

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const SEM_STAT_ANY: i32 = 20;

/// What a process's undo structure is said to take (`SEMUSZ`).
const UNDO_SIZE: i32 = 20;

/// `struct semid_ds`, in words.
type SemidDs = [u64; 13];
/// `struct sembuf`: number, operation, flags.
type Sembuf = [u16; 3];

/// semget(2)
pub fn sys_semget(t: &Thread, key: i32, count: i32, flags: i32) -> Result<usize> {
    semaphores::get(key, count, flags, &t.credentials()).map(|id| id as usize)
}

/// semop(2)
pub fn sys_semop(t: &Thread, id: i32, operations: UserPtr<Sembuf>, count: u32) -> Result<usize> {
    operate(t, id, operations, count, None)
}

/// semtimedop(2)
pub fn sys_semtimedop(
    t: &Thread,
    id: i32,
    operations: UserPtr<Sembuf>,
    count: u32,
    timeout: UserPtr<__kernel_timespec>,
) -> Result<usize> {
    let deadline = match timeout.non_null() {
        Some(p) => Some(time::now() + timespec::duration_of(p.read()?)?),
        None => None,
    };
    operate(t, id, operations, count, deadline)
}

fn operate(t: &Thread, id: i32, operations: UserPtr<Sembuf>, count: u32, deadline: Option<Instant>) -> Result<usize> {
    if count < 1 || id < 0 {
        return Err(Errno::EINVAL.because("no operation, or a negative identifier"));
    }
    if u64::from(count) > semaphores::limits()[2] {
        return Err(Errno::E2BIG.because("SEMOPM"));
    }
    let decode = |[number, change, flags]: Sembuf| Operation { number, change: change as i16, flags: flags as i16 };
    let operations: Vec<Operation> = operations.read_many(count as usize)?.into_iter().map(decode).collect();
    semaphores::operate(t, id, operations, deadline).map(|()| 0)
}

fn encode(s: &Status) -> SemidDs {
    let p = sysv::encode_permissions(&s.permissions, s.id);
    let (operated, changed) = (s.operated as u64, s.changed as u64);
    [p[0], p[1], p[2], p[3], p[4], p[5], operated, 0, changed, 0, s.semaphores as u64, 0, 0]
}

/// semctl(2)
pub fn sys_semctl(t: &Thread, id: i32, number: i32, command: i32, argument: usize) -> Result<usize> {
    let who = t.credentials();
    let pid = t.process().pid();
    let ds = UserPtr::<SemidDs>::new(argument);
    if id < 0 {
        return Err(Errno::EINVAL.because("a negative identifier"));
    }
    match command {
        sysv::IPC_INFO | SEM_INFO => {
            let [per_set, in_all, operations, sets_limit] = semaphores::limits().map(|n| n as i32);
            let (sets, in_use, highest) = semaphores::usage();
            let (size, adjust) =
                if command == SEM_INFO { (sets as i32, in_use as i32) } else { (UNDO_SIZE, MAX_VALUE) };
            UserPtr::new(argument).write([
                in_all, sets_limit, in_all, in_all, per_set, operations, operations, size, MAX_VALUE, adjust,
            ])?;
            Ok(highest as usize)
        }
        sysv::IPC_STAT => ds.write(encode(&semaphores::status(id, &who)?)).map(|()| 0),
        SEM_STAT | SEM_STAT_ANY => {
            let s = semaphores::status_at(id, (command == SEM_STAT).then_some(&*who))?;
            ds.write(encode(&s))?;
            Ok(s.id as usize)
        }
        GETVAL => semaphores::ask(id, number, Question::Value, &who),
        GETPID => semaphores::ask(id, number, Question::LastPid, &who),
        GETNCNT => semaphores::ask(id, number, Question::WaitingForMore, &who),
        GETZCNT => semaphores::ask(id, number, Question::WaitingForZero, &who),
        GETALL => UserPtr::new(argument).write_many(&semaphores::values(id, &who)?).map(|()| 0),
        SETVAL => semaphores::set_value(id, number, argument as i32, &who, pid).map(|()| 0),
        SETALL => {
            let values = UserPtr::<u16>::new(argument).read_many(semaphores::count_to_set(id, &who)?)?;
            semaphores::set_values(id, &values, &who, pid).map(|()| 0)
        }
        sysv::IPC_SET => {
            let (uid, gid, mode) = sysv::decode_owner(&ds.read()?);
            semaphores::change(id, Uid(uid), Gid(gid), mode, &who).map(|()| 0)
        }
        sysv::IPC_RMID => semaphores::remove(id, &who).map(|()| 0),
        _ => Err(Errno::EINVAL.because("no such command")),
    }
}
