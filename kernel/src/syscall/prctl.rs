//! prctl(2) and arch_prctl(2).

use crate::abi::prctl as p;
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::signal::Signal;
use crate::task::{ALL_CAPABILITIES, COMM_LEN, Capability, Credentials, DEFAULT_TIMER_SLACK, SECBIT_KEEP_CAPS, Thread};
use alloc::sync::Arc;

/// Highest capability number (CAP_CHECKPOINT_RESTORE).
const CAP_LAST: u64 = 40;
/// Securebits that exist, with their locks.
const SECUREBITS: u32 = 0xff;

fn change(t: &Thread, f: impl FnOnce(&mut Credentials) -> Result<()>) -> Result<usize> {
    let mut new = (*t.credentials()).clone();
    f(&mut new)?;
    t.set_credentials(Arc::new(new));
    Ok(0)
}

fn capability(number: u64) -> Result<u64> {
    if number > CAP_LAST { Err(Errno::EINVAL.because("no such capability")) } else { Ok(1 << number) }
}

fn zero(args: &[u64]) -> Result<()> {
    if args.iter().all(|a| *a == 0) { Ok(()) } else { Err(Errno::EINVAL.because("unused arguments must be 0")) }
}

fn flag(value: u64) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL.because("neither 0 nor 1")),
    }
}

/// prctl(2)
pub fn sys_prctl(t: &Thread, option: u32, a: u64, b: u64, c: u64, d: u64) -> Result<usize> {
    let process = t.process();
    match option {
        p::PR_SET_NAME => {
            // Up to 15 bytes, wherever the string ends.
            let name = UserPtr::<u8>::new(a as usize);
            let mut comm = [0u8; COMM_LEN];
            for (i, slot) in comm.iter_mut().take(COMM_LEN - 1).enumerate() {
                *slot = name.add(i).read()?;
                if *slot == 0 {
                    break;
                }
            }
            t.set_comm(&comm);
            Ok(0)
        }
        p::PR_GET_NAME => UserPtr::new(a as usize).write(t.comm()).map(|()| 0),
        p::PR_SET_PDEATHSIG => {
            let signal = match a {
                0 => None,
                n => {
                    let signal = i32::try_from(n).ok().and_then(Signal::new);
                    Some(signal.ok_or_else(|| Errno::EINVAL.because("no such signal"))?)
                }
            };
            t.update_attributes(|x| x.parent_death_signal = signal);
            Ok(0)
        }
        p::PR_GET_PDEATHSIG => {
            let signal = t.attributes().parent_death_signal.map_or(0, Signal::number);
            UserPtr::new(a as usize).write(signal).map(|()| 0)
        }
        p::PR_GET_DUMPABLE => Ok(usize::from(process.dumpable())),
        p::PR_SET_DUMPABLE => {
            process.set_dumpable(u8::from(flag(a)?));
            Ok(0)
        }
        p::PR_SET_CHILD_SUBREAPER => {
            process.set_subreaper(a != 0);
            Ok(0)
        }
        p::PR_GET_CHILD_SUBREAPER => UserPtr::new(a as usize).write(i32::from(process.is_subreaper())).map(|()| 0),
        p::PR_SET_TIMERSLACK => {
            t.update_attributes(|x| x.timer_slack = if a as i64 > 0 { a } else { DEFAULT_TIMER_SLACK });
            Ok(0)
        }
        p::PR_GET_TIMERSLACK => Ok(t.attributes().timer_slack as usize),
        p::PR_GET_TID_ADDRESS => {
            let at = t.clear_child_tid.load(core::sync::atomic::Ordering::Relaxed);
            UserPtr::new(a as usize).write(at).map(|()| 0)
        }
        p::PR_GET_TIMING => Ok(p::PR_TIMING_STATISTICAL as usize),
        p::PR_SET_TIMING if a == u64::from(p::PR_TIMING_STATISTICAL) => Ok(0),
        p::PR_GET_TSC => UserPtr::new(a as usize).write(p::PR_TSC_ENABLE as i32).map(|()| 0),
        p::PR_SET_TSC if a == u64::from(p::PR_TSC_ENABLE) => Ok(0),
        p::PR_GET_SECCOMP => Ok(0),
        p::PR_GET_THP_DISABLE => zero(&[a, b, c, d]).map(|()| 0),
        p::PR_SET_THP_DISABLE => zero(&[b, c, d]).map(|()| 0),
        p::PR_MCE_KILL => zero(&[c, d]).map(|()| 0),
        p::PR_MCE_KILL_GET => zero(&[a, b, c, d]).map(|()| p::PR_MCE_KILL_DEFAULT as usize),
        p::PR_TASK_PERF_EVENTS_DISABLE | p::PR_TASK_PERF_EVENTS_ENABLE => Ok(0),
        // Names of anonymous mappings are shown by /proc only, which has none.
        p::PR_SET_VMA => Err(Errno::EINVAL.because("mappings have no names (CONFIG_ANON_VMA_NAME=n)")),
        _ => credentials(t, option, [a, b, c, d]),
    }
}

/// The options that concern credentials.
fn credentials(t: &Thread, option: u32, [a, b, c, d]: [u64; 4]) -> Result<usize> {
    let mine = t.credentials();
    match option {
        p::PR_SET_NO_NEW_PRIVS => {
            if a != 1 {
                return Err(Errno::EINVAL.because("no_new_privs can only be set"));
            }
            zero(&[b, c, d])?;
            change(t, |n| {
                n.no_new_privs = true;
                Ok(())
            })
        }
        p::PR_GET_NO_NEW_PRIVS => zero(&[a, b, c, d]).map(|()| usize::from(mine.no_new_privs)),
        p::PR_GET_KEEPCAPS => Ok(usize::from(mine.securebits & SECBIT_KEEP_CAPS != 0)),
        p::PR_SET_KEEPCAPS => {
            let keep = flag(a)?;
            if mine.securebits & SECBIT_KEEP_CAPS << 1 != 0 {
                return Err(Errno::EPERM.because("SECBIT_KEEP_CAPS is locked"));
            }
            change(t, |n| {
                n.securebits = n.securebits & !SECBIT_KEEP_CAPS | if keep { SECBIT_KEEP_CAPS } else { 0 };
                Ok(())
            })
        }
        p::PR_GET_SECUREBITS => Ok(mine.securebits as usize),
        p::PR_SET_SECUREBITS => {
            let wanted = u32::try_from(a).ok().filter(|w| w & !SECUREBITS == 0);
            let wanted = wanted.ok_or_else(|| Errno::EPERM.because("unknown securebits"))?;
            // Bit n + 1 locks bit n, and locks stay.
            let locks = mine.securebits & 0xaa;
            let changed = mine.securebits ^ wanted;
            if !mine.capable(Capability::Setpcap) || changed & (locks | locks >> 1) != 0 {
                return Err(Errno::EPERM.because("locked securebits, or no CAP_SETPCAP"));
            }
            change(t, |n| {
                n.securebits = wanted;
                Ok(())
            })
        }
        p::PR_CAPBSET_READ => Ok(usize::from(mine.bounding & capability(a)? != 0)),
        p::PR_CAPBSET_DROP => {
            if !mine.capable(Capability::Setpcap) {
                return Err(Errno::EPERM.because("no CAP_SETPCAP"));
            }
            let bit = capability(a)?;
            change(t, |n| {
                n.bounding &= !bit & ALL_CAPABILITIES;
                Ok(())
            })
        }
        p::PR_CAP_AMBIENT => ambient(t, &mine, a as u32, [b, c, d]),
        _ => Err(Errno::EINVAL.because("no such prctl option here")),
    }
}

fn ambient(t: &Thread, mine: &Credentials, operation: u32, [b, c, d]: [u64; 3]) -> Result<usize> {
    zero(&[c, d])?;
    match operation {
        p::PR_CAP_AMBIENT_CLEAR_ALL => {
            zero(&[b])?;
            change(t, |n| {
                n.ambient = 0;
                Ok(())
            })
        }
        p::PR_CAP_AMBIENT_IS_SET => Ok(usize::from(mine.ambient & capability(b)? != 0)),
        p::PR_CAP_AMBIENT_RAISE => {
            let bit = capability(b)?;
            if mine.permitted & mine.inheritable & bit == 0 {
                return Err(Errno::EPERM.because("not both permitted and inheritable"));
            }
            change(t, |n| {
                n.ambient |= bit;
                Ok(())
            })
        }
        p::PR_CAP_AMBIENT_LOWER => {
            let bit = capability(b)?;
            change(t, |n| {
                n.ambient &= !bit;
                Ok(())
            })
        }
        _ => Err(Errno::EINVAL.because("no such PR_CAP_AMBIENT operation")),
    }
}

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;
const ARCH_GET_CPUID: u32 = 0x1011;
const ARCH_SET_CPUID: u32 = 0x1012;

/// arch_prctl(2): the FS and GS bases. GS holds the vCPU's block until the program asks for a base of its own; then its
/// patched call sites, whose entry needs the vCPU's, go back to trapping.
pub fn sys_arch_prctl(t: &Thread, operation: u32, addr: UserPtr<u64>) -> Result<usize> {
    match operation {
        ARCH_SET_FS | ARCH_SET_GS if addr.addr() >= crate::abi::USER_ADDRESS_END => {
            Err(Errno::EPERM.because("not a user address"))
        }
        ARCH_SET_FS => {
            t.context.with_frame(|f| f.fs_base = addr.addr() as u64);
            Ok(0)
        }
        ARCH_GET_FS => addr.write(t.context.with_frame(|f| f.fs_base)).map(|()| 0),
        ARCH_GET_GS => addr.write(t.context.guest_gs().unwrap_or(0)).map(|()| 0),
        ARCH_SET_GS => {
            t.mm().restore_patched_calls();
            t.context.set_guest_gs(Some(addr.addr() as u64));
            Ok(0)
        }
        ARCH_GET_CPUID => Ok(1),
        ARCH_SET_CPUID if addr.addr() == 1 => Ok(0),
        ARCH_SET_CPUID => Err(Errno::ENODEV.because("cpuid faulting is not offered")),
        _ => Err(Errno::EINVAL.because("no such arch_prctl operation here")),
    }
}
