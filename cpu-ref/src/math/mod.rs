//! Elementary functions whose loops vectorise.

pub(crate) mod double;
pub(crate) mod single;
