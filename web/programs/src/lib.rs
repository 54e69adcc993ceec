//! What the page computes, without a heap: a training, a network that learns while it runs, and steps to be timed.
//!
//! The page's module and the host compile the same source, so that their answers can be compared bit for bit.
#![no_std]

pub mod hash;
pub mod hello;
pub mod pointer;
pub mod race;
