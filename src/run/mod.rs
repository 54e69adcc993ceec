//! Drivers of models: streams, traces step by step, long sequences in chunks.

#[cfg(feature = "alloc")]
pub(crate) mod chunked;
pub(crate) mod step_trace;
pub(crate) mod stream;
