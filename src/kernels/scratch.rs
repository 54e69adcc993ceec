//! Memory that kernels work in.

use super::tuning::NUMBERS_PER_LINE;
use alloc::vec::Vec;

/// Storage that starts on a cache line, so that no vector load of a panel crosses one.
///
/// It grows and never shrinks: used again at the same size it does not allocate.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    data: Vec<f32>,
}

impl Scratch {
    /// Room for `len` numbers, whatever they were before (zeros where it had to grow).
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        if self.data.len() < len + NUMBERS_PER_LINE {
            self.data.resize(len + NUMBERS_PER_LINE, 0.0);
        }
        let start = self.start();
        &mut self.data[start..start + len]
    }

    /// The first `len` numbers as `get` left them.
    pub(crate) fn as_slice(&self, len: usize) -> &[f32] {
        let start = self.start();
        &self.data[start..start + len]
    }

    /// Numbers to skip up to the next cache line; where the address cannot be known, none.
    fn start(&self) -> usize {
        let skip = self.data.as_ptr().align_offset(64);
        if skip < NUMBERS_PER_LINE { skip } else { 0 }
    }
}
