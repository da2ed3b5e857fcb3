//! Meta Flow Maps as a C and C++ library.
//!
//! Three layers: `include/mfm/mfm.hpp`, C++17 and header-only, over `include/mfm/mfm.h`, the C functions that cross the library's boundary, which
//! `cpp/shim.cc` implements over the cxx [`bridge`]; everything beneath is Rust. Nothing here computes: operations are those of `mfm-core` and
//! `mfm-nn`, on whichever [`backend`] a model was loaded to.
//!
//! | module | what is there |
//! |---|---|
//! | [`bridge`] | what C++ sees of Rust, and Rust of C++ |
//! | [`failure`], [`guard`] | errors with their codes; panics become errors |
//! | [`backend`], [`dlpack`] | devices, and tensors that cross without copies |
//! | [`model`], [`session`] | the two handles |
//! | [`host`] | the host's callbacks |
//! | [`draws`], [`steering`], [`training`] | what a session does |

pub mod backend;
pub mod bridge;
pub mod dlpack;
pub mod draws;
pub mod failure;
pub mod guard;
pub mod host;
pub mod model;
pub mod session;
pub mod steering;
pub mod training;
