//! What calls take and how they refuse it: views of sequences, errors.

pub(crate) mod error;
pub(crate) mod sequences;
pub(crate) mod zero;
