//! The `appliance` program: builds guest root directories, wires namespaces and taps around `vmlinux`, runs programs in
//! the guest and measures them against the same programs run natively.
//!
//! Data flow of a measurement: [`bench::plan`] turns options into cases; [`wiring`] makes two network namespaces with a
//! tap and a veth pair; [`bench::systems`] says how a tool is started in each system, [`bench::workloads`] which tool
//! with what arguments and how its output reads; [`bench::round`] runs them interleaved through [`process`]; [`report`]
//! folds the runs into medians, ratios and intervals. Everything made on the host hangs off a guard object, and off a
//! state file for [`down`].

#![forbid(unsafe_code)]

pub mod bench;
pub mod cache;
pub mod cli;
pub mod doctor;
pub mod down;
pub mod guest;
pub mod interrupt;
pub mod privilege;
pub mod process;
pub mod progress;
pub mod report;
pub mod rootfs;
pub mod shell;
pub mod soak;
pub mod wiring;
