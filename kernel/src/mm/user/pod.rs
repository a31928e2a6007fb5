//! The types that may be copied to and from guest memory.

use crate::abi;

/// Plain old data: any bytes make a valid value, and a value may be copied out byte by byte.
///
/// # Safety
/// The type has no invalid bit patterns, no references, and no padding that would leak kernel memory to the guest.
pub unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($t:ty),* $(,)?) => {
        $(
            // SAFETY: integers, arrays of them, or a `repr(C)` struct of them as Linux defines it, whose padding (where
            // it has some) is named in the struct or zeroed by whoever builds the value.
            unsafe impl Pod for $t {}
        )*
    };
}

pod!(u8, i8, u16, i16, u32, i32, u64, i64, usize, isize);

// SAFETY: an array of plain old data has the same properties.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

pod!(
    abi::general::__kernel_timespec,
    abi::general::__kernel_old_timeval,
    abi::general::__kernel_itimerspec,
    abi::general::__kernel_old_itimerval,
    abi::general::itimerspec,
    abi::general::rlimit,
    abi::general::rlimit64,
    abi::general::rusage,
    abi::general::stat,
    abi::general::statx,
    abi::general::statx_timestamp,
    abi::general::statfs64,
    abi::general::flock,
    abi::general::pollfd,
    abi::general::epoll_event,
    abi::general::open_how,
    abi::general::clone_args,
    abi::general::robust_list_head,
    abi::general::termios,
    abi::general::termios2,
    abi::general::winsize,
    abi::system::new_utsname,
);

pod!(
    crate::signal::SigAction,
    crate::signal::SigInfo,
    crate::signal::StackT,
    crate::signal::RtSigFrame,
    crate::signal::FpxSwBytes,
);
