//! Numbers that name things to the guest.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A process (thread group) number; also names process groups and sessions by their leader.
    Pid(i32)
);
id!(
    /// A thread number; the first thread of a process has the process's number.
    Tid(i32)
);
id!(
    /// A user number.
    Uid(u32)
);
id!(
    /// A group number.
    Gid(u32)
);
id!(
    /// A file descriptor. Negative numbers, and AT_FDCWD, occur in calls and are checked where they are used.
    Fd(i32)
);

impl Fd {
    /// "Relative to the working directory" in the *at calls.
    pub const CWD: Fd = Fd(-100);
}

impl From<Pid> for Tid {
    fn from(p: Pid) -> Tid {
        Tid(p.0)
    }
}
