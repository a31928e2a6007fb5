//! Micro-benchmarks of Flatland.
