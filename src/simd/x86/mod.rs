//! The instruction sets of x86-64, the only place of `unsafe` beside their trampolines.

mod avx2;
mod avx512;

pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;
