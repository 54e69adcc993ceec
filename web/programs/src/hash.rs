//! One number that tells whether two runs gave the same bits.

use elman::Parameters;

/// The 64-bit hash of Fowler, Noll and Vo (FNV-1a) over the bits of numbers, lowest byte first.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Hash {
    /// Of no numbers.
    #[must_use]
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on over these numbers.
    pub fn add(&mut self, numbers: &[f32]) {
        for byte in numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The hash of all numbers so far.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

/// The hash of all weights, in PyTorch's order of tensors and in the memory order of elman.
#[must_use]
pub fn of_parameters(parameters: &impl Parameters) -> u64 {
    let mut hash = Hash::new();
    parameters.visit(&mut |tensor| hash.add(tensor));
    hash.finish()
}
