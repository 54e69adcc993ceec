//! PyTorch's random numbers, against a plain implementation of its rules: the recurrence of MT19937 as the paper states
//! it, word by word, and the distributions in `f64`.

use crate::bounds::{TINY, U};
use crate::source::{Kind, Source};
use crate::support::{Checked, torch_parameters};
use elman::{Embedding, Generator, Linear, Rnn, RnnCell};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::f64::consts::TAU;

/// Any calls in any order: words and uniforms bit for bit, normals within rounding, the layers' first values in PyTorch's
/// order; a copy goes on as the original.
pub fn generator(data: &[u8]) -> Checked {
    let source = &mut Source::new(data);
    let seed = u64::from(source.word()) << 32 | u64::from(source.word());
    let (mut given, mut plain) = (Generator::seed(seed), Plain::seed(seed));
    for _ in 0..1 + source.below(40) {
        call(source, &mut given, &mut plain)?;
    }
    prop_assert_eq!(given.random_u32(), plain.word(), "at the end");
    Ok(())
}

fn call(source: &mut Source<'_>, given: &mut Generator, plain: &mut Plain) -> Checked {
    match source.byte() % 12 {
        0 => prop_assert_eq!(given.random_u32(), plain.word()),
        1 => {
            // Across the border of a round of 624 words.
            for _ in 0..source.below(1500) {
                prop_assert_eq!(given.random_u32(), plain.word());
            }
        }
        2 => {
            let (from, to) = bounds(source);
            same_uniform(given.uniform(from, to), plain.uniform(from, to))?;
        }
        3 => {
            let (from, to) = bounds(source);
            let mut out = vec![f32::NAN; source.below(70)];
            given.fill_uniform(&mut out, from, to);
            for x in out {
                same_uniform(x, plain.uniform(from, to))?;
            }
        }
        4 => near(given.normal(), &plain.normal())?,
        5 => {
            let mut out = vec![f32::NAN; source.below(16)];
            given.fill_normal(&mut out);
            all_near(&out, &plain.normals(out.len()))?;
        }
        6 => {
            let mut out = vec![f32::NAN; source.below(100)];
            given.fill_normal(&mut out);
            all_near(&out, &plain.normals(out.len()))?;
        }
        7 => {
            let mut rows = vec![[f32::NAN; 5]; source.below(9)];
            given.fill_normal_rows(&mut rows);
            all_near(rows.as_flattened(), &plain.normals(rows.len() * 5))?;
        }
        8 => {
            let copy = &mut given.clone();
            prop_assert_eq!(copy.random_u32(), plain.clone().word());
            near(copy.normal(), &{
                let mut plain = plain.clone();
                plain.word();
                plain.normal()
            })?;
        }
        9 => {
            // Draws into what is there already, and a new one.
            let mut cell = RnnCell::<3, 5>::zeros();
            cell.reset_parameters(given);
            same_parameters(&torch_parameters(&cell).concat(), plain, 5)?;
            let rnn = Rnn::<2, 4, 3>::new(given);
            same_parameters(&torch_parameters(rnn.first()).concat(), plain, 4)?;
            for cell in rnn.rest() {
                same_parameters(&torch_parameters(cell).concat(), plain, 4)?;
            }
        }
        10 => {
            let linear = Linear::<7, 3>::new(given);
            let all: Vec<f32> = linear.weight_torch().chain(linear.bias).collect();
            same_parameters(&all, plain, 7)?;
        }
        _ => {
            let few = Embedding::<3, 5>::new(given);
            all_near(few.weight.as_flattened(), &plain.normals(15))?;
            let many = Embedding::<9, 5>::boxed(given);
            all_near(many.weight.as_flattened(), &plain.normals(45))?;
        }
    }
    Ok(())
}

/// Where uniforms lie: PyTorch's own, near each other (so that results round up to the end), and anything.
fn bounds(source: &mut Source<'_>) -> (f32, f32) {
    let from = match source.byte() % 4 {
        0 => return (0.0, 1.0),
        1 => source.number(Kind::Bits),
        _ => source.number(Kind::Moderate(1e6)),
    };
    match source.byte() % 4 {
        0 => (from, f32::from_bits(from.to_bits().wrapping_add(source.word() % 40))),
        1 => (from, from),
        2 => (from, -from),
        _ => (from, source.number(Kind::Bits)),
    }
}

fn same_uniform(given: f32, expected: f32) -> Checked {
    crate::same("a uniform", &[given], &[expected])
}

fn same_parameters(given: &[f32], plain: &mut Plain, size: usize) -> Checked {
    let bound = (1.0 / (size as f64).sqrt()) as f32;
    for given in given {
        same_uniform(*given, plain.uniform(-bound, bound))?;
    }
    Ok(())
}

/// A normal, and how far the crate's may be off: so many times the unit roundoff `U` of itself, and so much whatever its
/// size.
struct Normal {
    value: f64,
    roundings: f64,
    absolute: f64,
}

fn all_near(given: &[f32], expected: &[Normal]) -> Checked {
    prop_assert_eq!(given.len(), expected.len());
    given.iter().zip(expected).try_for_each(|(given, expected)| near(*given, expected))
}

fn near(given: f32, expected: &Normal) -> Checked {
    let Normal { value, roundings, absolute } = *expected;
    let error = (f64::from(given) - value).abs();
    prop_assert!(
        error <= roundings * U * value.abs() + absolute + TINY,
        "a normal is {:e}, {} roundings from {:e}",
        given,
        error / (U * value.abs()),
        value
    );
    prop_assert!(given.to_bits() != (-0f32).to_bits(), "a normal is -0");
    Ok(())
}

/// The last 624 words of `x[k + 624] = x[k + 397] ^ ((upper bit of x[k], lower bits of x[k + 1]) A)`.
#[derive(Clone)]
struct Plain {
    words: VecDeque<u32>,
    spare: Option<f64>,
}

impl Plain {
    fn seed(seed: u64) -> Self {
        let mut words = VecDeque::from([seed as u32]);
        for i in 1..624 {
            let last = words[i - 1];
            words.push_back(1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32));
        }
        Plain { words, spare: None }
    }

    fn word(&mut self) -> u32 {
        let joined = (self.words[0] & (1 << 31)) | (self.words[1] & !(1 << 31));
        let mut new = self.words[397] ^ (joined >> 1);
        if joined % 2 == 1 {
            new ^= 0x9908_b0df;
        }
        self.words.pop_front();
        self.words.push_back(new);
        let mut y = new;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `k / 2^24`
    fn unit(&mut self) -> f32 {
        (self.word() % (1 << 24)) as f32 / (1 << 24) as f32
    }

    fn uniform(&mut self, from: f32, to: f32) -> f32 {
        let value = self.unit().mul_add(to - from, from);
        if value == to { from } else { value }
    }

    /// `k / 2^53`, the high word first.
    fn unit_of_two_words(&mut self) -> f64 {
        let high = u64::from(self.word());
        let both = high << 32 | u64::from(self.word());
        (both % (1 << 53)) as f64 / (1u64 << 53) as f64
    }

    /// One of a pair in `f64`; the second is kept. What is left is the rounding to `f32`.
    fn normal(&mut self) -> Normal {
        let value = self.spare.take().unwrap_or_else(|| {
            let (u1, u2) = (self.unit_of_two_words(), self.unit_of_two_words());
            let (radius, angle) = ((-2.0 * (-u2).ln_1p()).sqrt(), TAU * u1);
            self.spare = Some(radius * angle.sin());
            radius * angle.cos()
        });
        Normal { value, roundings: 1.001, absolute: 0.0 }
    }

    fn normals(&mut self, count: usize) -> Vec<Normal> {
        if count < 16 {
            return (0..count).map(|_| self.normal()).collect();
        }
        let mut uniforms: Vec<f32> = (0..count).map(|_| self.unit()).collect();
        let mut normals: Vec<Normal> = Vec::new();
        for block in uniforms.chunks_exact(16) {
            normals.extend(Self::block(block));
        }
        if !count.is_multiple_of(16) {
            uniforms = (0..16).map(|_| self.unit()).collect();
            normals.truncate(count - 16);
            normals.extend(Self::block(&uniforms));
        }
        normals
    }

    /// Eight radii, eight angles: eight cosines, eight sines. The angle is a product in `f32`.
    ///
    /// The rest the crate computes in single precision too, as PyTorch does. A sweep of all words (`src/torch/generator.rs`,
    /// `parts_of_normals_at_every_word`) bounds a radius by 1.64 roundings and a sine or cosine by 2 and 6.87e-15, which
    /// counts near its zeros; the product rounds once.
    fn block(uniforms: &[f32]) -> Vec<Normal> {
        let (first, second) = uniforms.split_at(8);
        let pairs = first.iter().zip(second).map(|(u1, u2)| {
            let radius = (-2.0 * (1.0 - f64::from(*u1)).ln()).sqrt();
            (radius, f64::from(std::f32::consts::TAU * u2))
        });
        let pairs: Vec<(f64, f64)> = pairs.collect();
        let cosines = pairs.iter().map(|(radius, angle)| (radius, angle.cos()));
        let sines = pairs.iter().map(|(radius, angle)| (radius, angle.sin()));
        let normal = |(radius, turn): (&f64, f64)| Normal {
            value: radius * turn,
            roundings: 1.64 + 2.0 + 1.01,
            absolute: 1.01 * radius * 6.87e-15,
        };
        cosines.chain(sines).map(normal).collect()
    }
}
