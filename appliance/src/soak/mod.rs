//! `appliance soak`: something is done for long, and looked at whether it holds.

pub mod process;
pub mod storage;
