//! What the differential test is made of: the corpus, its compilers, the guest's root, and the two ways to run.

pub mod corpus;
pub mod guest_root;
pub mod laboratory;
pub mod machine;
pub mod outcome;
pub mod toolchain;
