//! The Flatland kernel.
