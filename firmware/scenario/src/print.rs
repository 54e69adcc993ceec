//! Numbers as text, without `core::fmt`.

/// Where text goes.
pub trait Print {
    /// Prints text, as bytes: nothing has to check them, which would take more flash than all else here.
    fn bytes(&mut self, text: &[u8]);

    /// Prints some text.
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Prints a whole number.
    fn number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let (mut rest, mut first) = (number, digits.len());
        while rest > 0 || first == digits.len() {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes(&digits[first..]);
    }

    /// Prints a number of at least zero and below 2^16 with four decimals, as `{:.4}` does.
    fn decimal(&mut self, x: f32) {
        let ten_thousandths = ten_thousandths(x);
        self.number(ten_thousandths / 10_000);
        let mut decimals = *b".0000";
        let mut rest = ten_thousandths % 10_000;
        for digit in decimals[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes(&decimals);
    }

    /// Prints 16 hexadecimal digits.
    fn hexadecimal(&mut self, number: u64) {
        let mut digits = [0; 16];
        for (i, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * i)) as usize & 15];
        }
        self.bytes(&digits);
    }

    /// Prints a line `name: hash`.
    fn hash(&mut self, name: &str, hash: u64) {
        self.text(name);
        self.text(": ");
        self.hexadecimal(hash);
        self.text("\n");
    }
}

/// `10000 x` rounded to an integer, by whole numbers: `x` is `mantissa * 2^-shift`.
fn ten_thousandths(x: f32) -> u32 {
    let exponent = x.to_bits() >> 23 & 255;
    let shift = 150 - exponent.clamp(103, 142);
    let mantissa = if exponent < 103 { 0 } else { x.to_bits() & 0x7f_ffff | 0x80_0000 };
    let product = u64::from(mantissa) * 10_000;
    let (floor, rest, half) = (product >> shift, product & ((1 << shift) - 1), 1 << (shift - 1));
    // A tie goes to the even number.
    floor as u32 + u32::from(rest > half || rest == half && floor & 1 == 1)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::Print;
    use std::string::String;

    impl Print for String {
        fn bytes(&mut self, text: &[u8]) {
            self.push_str(std::str::from_utf8(text).unwrap());
        }
    }

    #[test]
    fn decimals_are_those_of_core() {
        let mut numbers = std::vec![0.0, 1e-30, 0.000_05, 0.000_15, 0.031_25, 0.03125 / 64.0, 9.999_96, 65_535.0, 1.0];
        numbers.extend((0..100_000).map(|i| i as f32 * 0.000_037 + 1e-4));
        for x in numbers {
            let mut printed = String::new();
            printed.decimal(x);
            assert_eq!(printed, std::format!("{x:.4}"), "{x:e}");
        }
    }

    #[test]
    fn whole_and_hexadecimal_numbers() {
        let mut printed = String::new();
        for x in [0, 7, 10, u32::MAX] {
            printed.number(x);
            printed.push(' ');
        }
        printed.hexadecimal(0x0123_4567_89ab_cdef);
        assert_eq!(printed, "0 7 10 4294967295 0123456789abcdef");
    }
}
