//! Bytes of the fuzzer as decisions and numbers.

use crate::support::{Numbers, Values};
use arbitrary::Unstructured;

/// Decisions and numbers: from the bytes as long as they last, from there on from a seed, which is the first of them. So
/// a short file can fill a large network.
pub struct Source<'a> {
    bytes: Unstructured<'a>,
    numbers: Numbers,
}

/// Kinds of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In `-size .. size`.
    Moderate(f32),
    /// Ordinary, large, tiny, denormal numbers and zeros side by side.
    Mixed,
    /// Any finite number.
    Finite,
    /// In `-1 .. 1`, but about one in `2^rarity` has any bits.
    Spoiled(u32),
    /// Any bits.
    Bits,
}

impl<'a> Source<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        let mut bytes = Unstructured::new(data);
        let seed = bytes.arbitrary::<u32>().unwrap_or_default();
        Source { bytes, numbers: Numbers(u64::from(seed)) }
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.bytes(1) {
            Ok(byte) => byte[0],
            Err(_) => self.numbers.next() as u8,
        }
    }

    pub fn word(&mut self) -> u32 {
        match self.bytes.bytes(4) {
            Ok(word) => u32::from_le_bytes([word[0], word[1], word[2], word[3]]),
            Err(_) => self.numbers.next() as u32,
        }
    }

    /// One of `0 .. n`.
    pub fn below(&mut self, n: usize) -> usize {
        if n <= 256 { usize::from(self.byte()) % n } else { self.word() as usize % n }
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Yes, once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Mostly moderate.
    pub fn kind(&mut self) -> Kind {
        let rarity = u32::from(self.byte() % 12);
        let moderate = [Kind::Moderate(1.0), Kind::Moderate(1.0), Kind::Moderate(3.0), Kind::Moderate(100.0)];
        let others = [Kind::Mixed, Kind::Finite, Kind::Spoiled(rarity), Kind::Spoiled(rarity), Kind::Bits];
        self.choose(&[moderate.as_slice(), &others].concat())
    }

    pub fn number(&mut self, kind: Kind) -> f32 {
        let bits = self.word();
        let mut numbers = Numbers(u64::from(bits));
        let unit = (bits as i32 >> 8) as f32 / (1 << 23) as f32;
        match kind {
            Kind::Moderate(size) => unit * size,
            Kind::Mixed => Values::Mixed.one(&mut numbers),
            // An exponent of ones is that of NaN and infinity.
            Kind::Finite if !f32::from_bits(bits).is_finite() => f32::from_bits(bits & !(1 << 30)),
            Kind::Finite => f32::from_bits(bits),
            Kind::Spoiled(rarity) if numbers.below(1 << rarity) > 0 => unit,
            // Of all bits hardly any are those of an infinity.
            Kind::Spoiled(_) | Kind::Bits => match numbers.below(16) {
                0 => f32::INFINITY,
                1 => f32::NEG_INFINITY,
                2 => f32::NAN,
                3 => f32::MAX,
                _ => f32::from_bits(bits),
            },
        }
    }

    pub fn many(&mut self, kind: Kind, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number(kind)).collect()
    }
}
