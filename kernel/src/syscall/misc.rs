//! What belongs to no other family: names, information, random numbers, limits, personality, power.

use super::process::process_named;
use crate::abi::general as c;
use crate::abi::system::new_utsname;
use crate::error::{Errno, Result};
use crate::fs::fd_table::NR_OPEN;
use crate::host;
use crate::klog;
use crate::mm::{UserPtr, UserSlice};
use crate::sched;
use crate::task::{self, Capability, Fd, Pid, RESOURCES, Resource, Thread};
use crate::time;
use crate::utsname;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// uname(2)
pub fn sys_uname(_t: &Thread, at: UserPtr<new_utsname>) -> Result<usize> {
    let field = |s: &[u8]| {
        let mut out = [0 as core::ffi::c_char; utsname::NAME_MAX + 1];
        for (o, b) in out.iter_mut().zip(s.iter().take(utsname::NAME_MAX)) {
            *o = *b as core::ffi::c_char;
        }
        out
    };
    let or = |s: Vec<u8>| if s.is_empty() { b"(none)".to_vec() } else { s };
    at.write(new_utsname {
        sysname: field(b"Linux"),
        nodename: field(&or(utsname::hostname())),
        release: field(utsname::RELEASE.as_bytes()),
        version: field(utsname::VERSION.as_bytes()),
        machine: field(b"x86_64"),
        domainname: field(&or(utsname::domainname())),
    })?;
    Ok(0)
}

fn read_name(t: &Thread, name: UserPtr<u8>, len: i32) -> Result<Vec<u8>> {
    if !t.credentials().capable(Capability::SysAdmin) {
        return Err(Errno::EPERM.because("names need CAP_SYS_ADMIN"));
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL.because("a negative length"))?;
    UserSlice::new(name.addr(), len).read_vec(utsname::NAME_MAX)
}

/// sethostname(2)
pub fn sys_sethostname(t: &Thread, name: UserPtr<u8>, len: i32) -> Result<usize> {
    utsname::set_hostname(&read_name(t, name, len)?);
    Ok(0)
}

/// setdomainname(2)
pub fn sys_setdomainname(t: &Thread, name: UserPtr<u8>, len: i32) -> Result<usize> {
    utsname::set_domainname(&read_name(t, name, len)?);
    Ok(0)
}

/// getrandom(2): from the host. A signal cuts requests for more than 256 bytes short, as on Linux.
pub fn sys_getrandom(t: &Thread, at: UserPtr<u8>, len: usize, flags: u32) -> Result<usize> {
    let known = c::GRND_NONBLOCK | c::GRND_RANDOM | c::GRND_INSECURE;
    if flags & !known != 0 || flags & (c::GRND_RANDOM | c::GRND_INSECURE) == c::GRND_RANDOM | c::GRND_INSECURE {
        return Err(Errno::EINVAL.because("unknown or contradictory getrandom flags"));
    }
    let mut done = 0;
    let mut chunk = [0u8; 256];
    let len = len.min(i32::MAX as usize);
    while done < len {
        let n = (len - done).min(chunk.len());
        host::random(&mut chunk[..n]);
        match UserSlice::new(at.addr().wrapping_add(done), n).write(&chunk[..n]) {
            Ok(_) => done += n,
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
        sched::breathe();
        if t.signal_pending() {
            break;
        }
    }
    Ok(done)
}

/// getrlimit(2)
pub fn sys_getrlimit(t: &Thread, resource: u32, at: UserPtr<c::rlimit64>) -> Result<usize> {
    sys_prlimit64(t, Pid(0), resource, UserPtr::new(0), at)
}

/// setrlimit(2)
pub fn sys_setrlimit(t: &Thread, resource: u32, at: UserPtr<c::rlimit64>) -> Result<usize> {
    if at.is_null() {
        return Err(Errno::EFAULT.into());
    }
    sys_prlimit64(t, Pid(0), resource, at, UserPtr::new(0))
}

/// prlimit64(2)
pub fn sys_prlimit64(
    t: &Thread,
    pid: Pid,
    resource: u32,
    new: UserPtr<c::rlimit64>,
    old: UserPtr<c::rlimit64>,
) -> Result<usize> {
    let resource = resource as usize;
    if resource >= RESOURCES {
        return Err(Errno::EINVAL.because("no such resource"));
    }
    let wanted = match new.non_null() {
        Some(p) => Some(p.read()?),
        None => None,
    };
    let target = process_named(t, pid)?;
    if !Arc::ptr_eq(&target, t.process()) {
        check_same_ids(t, &target)?;
    }
    let privileged = t.credentials().capable(Capability::SysResource);
    let before = target.update_rlimits(|limits| {
        let before = limits.by_number(resource).ok_or(Errno::EINVAL)?;
        if let Some(w) = wanted {
            if w.rlim_cur > w.rlim_max {
                return Err(Errno::EINVAL.because("the soft limit is above the hard limit"));
            }
            if resource == Resource::OpenFiles as usize && w.rlim_max > NR_OPEN {
                return Err(Errno::EPERM.because("beyond /proc/sys/fs/nr_open"));
            }
            if w.rlim_max > before.rlim_max && !privileged {
                return Err(Errno::EPERM.because("raising a hard limit needs CAP_SYS_RESOURCE"));
            }
            limits.set_by_number(resource, w);
        }
        Ok(before)
    })?;
    if wanted.is_some() && resource == Resource::Cpu as usize {
        target.timers.watch_cpu_limit();
    }
    old.write_if_given(before)?;
    Ok(0)
}

fn check_same_ids(t: &Thread, target: &task::Process) -> Result<()> {
    let mine = t.credentials();
    let Some(theirs) = target.credentials() else { return Ok(()) };
    let users = [theirs.ruid, theirs.euid, theirs.suid].iter().all(|id| *id == mine.ruid);
    let groups = [theirs.rgid, theirs.egid, theirs.sgid].iter().all(|id| *id == mine.rgid);
    if (users && groups) || mine.capable(Capability::SysResource) {
        return Ok(());
    }
    Err(Errno::EPERM.because("another user's process"))
}

/// getrusage(2)
pub fn sys_getrusage(t: &Thread, who: i32, at: UserPtr<c::rusage>) -> Result<usize> {
    let (times, switches) = match who {
        0 => {
            let switches = t.process().threads().iter().map(|o| o.entity.switches()).sum();
            (t.process().cpu_times(), switches)
        }
        c::RUSAGE_CHILDREN => (t.process().children_cpu_times(), 0),
        1 => (t.cpu_times(), t.entity.switches()),
        _ => return Err(Errno::EINVAL.because("getrusage knows SELF, CHILDREN and THREAD")),
    };
    at.write(super::process::rusage_of(times, switches))?;
    Ok(0)
}

/// personality(2): kept, of no effect.
pub fn sys_personality(t: &Thread, persona: u32) -> Result<usize> {
    Ok(t.update_attributes(|a| {
        let old = a.personality;
        if persona != u32::MAX {
            a.personality = persona;
        }
        old as usize
    }))
}

/// unshare(2): descriptors and file-system context; there are no namespaces.
pub fn sys_unshare(t: &Thread, flags: u64) -> Result<usize> {
    use task::CloneFlags as F;
    let flags = F::from_bits_retain(flags);
    let harmless = F::FS | F::FILES | F::SYSVSEM;
    let alone = F::THREAD | F::SIGHAND | F::VM;
    if flags.intersects(F::NAMESPACES) {
        return Err(Errno::EINVAL.because("there are no namespaces (CONFIG_NAMESPACES=n)"));
    }
    if !(harmless | alone).contains(flags) || (flags.intersects(alone) && t.process().threads().len() > 1) {
        return Err(Errno::EINVAL.because("this cannot be unshared"));
    }
    if flags.contains(F::FS) {
        t.set_fs(Arc::new(t.fs().fork()));
    }
    if flags.contains(F::SYSVSEM) {
        t.set_undo_owner(None);
    }
    if flags.contains(F::FILES) {
        t.set_files(Some(Arc::new(t.files().fork())));
    }
    Ok(0)
}

/// setns(2): there are no namespaces.
pub fn sys_setns(t: &Thread, fd: Fd, _kind: i32) -> Result<usize> {
    t.file(fd)?;
    Err(Errno::EINVAL.because("there are no namespaces"))
}

/// vhangup(2).
pub fn sys_vhangup(t: &Thread) -> Result<usize> {
    if t.credentials().capable(Capability::SysTtyConfig) {
        crate::tty::hang_up_own(t);
        Ok(0)
    } else {
        Err(Errno::EPERM.because("vhangup needs CAP_SYS_TTY_CONFIG"))
    }
}

/// reboot(2): every way down ends the machine.
pub fn sys_reboot(t: &Thread, magic: u32, magic2: u32, command: u32, _arg: UserPtr<u8>) -> Result<usize> {
    if !t.credentials().capable(Capability::SysBoot) {
        return Err(Errno::EPERM.because("reboot needs CAP_SYS_BOOT"));
    }
    let second = [c::LINUX_REBOOT_MAGIC2, c::LINUX_REBOOT_MAGIC2A, c::LINUX_REBOOT_MAGIC2B, c::LINUX_REBOOT_MAGIC2C];
    if magic != c::LINUX_REBOOT_MAGIC1 || !second.contains(&magic2) {
        return Err(Errno::EINVAL.because("wrong magic numbers"));
    }
    match command {
        c::LINUX_REBOOT_CMD_CAD_ON | c::LINUX_REBOOT_CMD_CAD_OFF => return Ok(0),
        c::LINUX_REBOOT_CMD_RESTART | c::LINUX_REBOOT_CMD_RESTART2 => klog!(Notice, "reboot: restarting system"),
        c::LINUX_REBOOT_CMD_HALT => klog!(Notice, "reboot: system halted"),
        c::LINUX_REBOOT_CMD_POWER_OFF => klog!(Notice, "reboot: power down"),
        _ => return Err(Errno::EINVAL.because("no such reboot command here")),
    }
    host::stop(0);
    // The caller never returns to its program.
    t.process().begin_exit(task::ExitStatus::Exited(0));
    Ok(0)
}

/// sysinfo(2)
pub fn sys_sysinfo(_t: &Thread, at: UserPtr<[u64; 14]>) -> Result<usize> {
    let (threads, _) = task::counts();
    let (used, total) = crate::mm::window::get().map_or((0, 0), |w| w.usage());
    let (used, total) = (used as u64, total as u64);
    let uptime = time::since_boot().as_secs();
    let processes = (threads as u64).min(u64::from(u16::MAX));
    // struct sysinfo: uptime, loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap,
    // procs (u16) and padding, totalhigh, freehigh, mem_unit (u32) and padding.
    // Loads have sixteen bits behind the point (SI_LOAD_SHIFT).
    let [one, five, fifteen] = task::load_averages().map(|average| average << (16 - task::FRACTION_BITS));
    at.write([uptime, one, five, fifteen, total, total.saturating_sub(used), 0, 0, 0, 0, processes, 0, 0, 1])?;
    Ok(0)
}

const SYSLOG_READ_ALL: i32 = 3;
const SYSLOG_READ_CLEAR: i32 = 4;
const SYSLOG_CONSOLE_LEVEL: i32 = 8;
const SYSLOG_SIZE_UNREAD: i32 = 9;
const SYSLOG_SIZE_BUFFER: i32 = 10;

/// syslog(2): the kernel's log. Clearing and the reader's position are not kept.
pub fn sys_syslog(t: &Thread, action: i32, at: UserPtr<u8>, len: i32) -> Result<usize> {
    let capable = t.credentials().capable(Capability::Syslog) || t.credentials().capable(Capability::SysAdmin);
    if !capable && action != SYSLOG_READ_ALL && action != SYSLOG_SIZE_BUFFER {
        return Err(Errno::EPERM.because("syslog needs CAP_SYSLOG"));
    }
    match action {
        0 | 1 | 5 | 6 | 7 => Ok(0),
        SYSLOG_READ_ALL | SYSLOG_READ_CLEAR => {
            let len = usize::try_from(len).map_err(|_| Errno::EINVAL.because("a negative length"))?;
            let log = klog::read_all();
            let tail = &log.as_bytes()[log.len().saturating_sub(len)..];
            UserSlice::new(at.addr(), tail.len()).write(tail)
        }
        SYSLOG_CONSOLE_LEVEL => {
            let level = u8::try_from(len).ok().filter(|l| (1..=8).contains(l));
            klog::set_console_level(level.ok_or_else(|| Errno::EINVAL.because("console levels are 1 to 8"))?);
            Ok(0)
        }
        SYSLOG_SIZE_UNREAD => Ok(0),
        SYSLOG_SIZE_BUFFER => Ok(klog::RING_BYTES),
        _ => Err(Errno::EINVAL.because("no such syslog action")),
    }
}

/// Commands of membarrier(2) that are supported: the global and private expedited ones, and their registrations.
const MEMBARRIER_SUPPORTED: u32 = 0x7f;
/// PRIVATE_EXPEDITED and PRIVATE_EXPEDITED_SYNC_CORE; the next bit above each is its registration.
const MEMBARRIER_PRIVATE: u32 = 1 << 3 | 1 << 5;

/// membarrier(2): with one vCPU every return to the guest is a barrier for all its threads.
pub fn sys_membarrier(t: &Thread, command: u32, flags: u32, _cpu: i32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("membarrier has no flags here"));
    }
    if command == 0 {
        return Ok(MEMBARRIER_SUPPORTED as usize);
    }
    if command & MEMBARRIER_SUPPORTED == 0 || !command.is_power_of_two() {
        return Err(Errno::EINVAL.because("no such membarrier command"));
    }
    let registered = t.process().membarriers();
    if command & MEMBARRIER_PRIVATE != 0 && registered & command == 0 {
        return Err(Errno::EPERM.because("the process has not registered for this command"));
    }
    t.process().set_membarriers(registered | command >> 1 & MEMBARRIER_PRIVATE);
    Ok(0)
}

/// seccomp(2): filters are refused; what runs here is confined by the host process.
pub fn sys_seccomp(_t: &Thread, _operation: u32, _flags: u32, _args: UserPtr<u8>) -> Result<usize> {
    Err(Errno::EINVAL.because("no seccomp (CONFIG_SECCOMP=n)"))
}
