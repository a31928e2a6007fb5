//! What the micro-benchmarks need around the code that they measure. Run them with `cargo bench -p benches`.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod link;
