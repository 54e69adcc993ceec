//! A hash of the bits of numbers: FNV-1a with 64 bits.

use elman::Parameters;

/// Takes numbers in, one after the other.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Hash {
    /// The hash of nothing.
    pub const EMPTY: Self = Hash(0xcbf2_9ce4_8422_2325);

    /// Takes in the bits of numbers, the lowest byte first.
    pub fn add(&mut self, numbers: &[f32]) {
        for byte in numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The hash of what has been taken in.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The hash of all weights.
    pub fn of_weights(model: &impl Parameters) -> u64 {
        let mut hash = Self::EMPTY;
        model.visit(&mut |tensor| hash.add(tensor));
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn published_values() {
        assert_eq!(Hash::EMPTY.value(), 0xcbf2_9ce4_8422_2325);
        let mut hash = Hash::EMPTY;
        hash.add(&[f32::from_bits(u32::from_le_bytes(*b"foob")), f32::from_bits(u32::from_le_bytes(*b"arfo"))]);
        let mut expected = 0xcbf2_9ce4_8422_2325u64;
        for byte in *b"foobarfo" {
            expected = (expected ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        assert_eq!(hash.value(), expected);
    }
}
