//! The hyperbolic tangent as the cells compute it.
//!
//! It is not public. With no bias, a state of zeros and the input 1, neuron `j` of a cell gives `tanh(weight_ih[0][j])`;
//! with weights 1, all neurons give the tanh of the input.

use crate::bounds::U;
use crate::source::{Kind, Source};
use crate::support::Checked;
use crate::{OneAnswer, same};
use elman::{Batch, Level, RnnCell, Sequences, Steps, Workspace};
use elman_reference as reference;
use proptest::prelude::*;

/// At most one unit in the last place from the reference, zero for denormal numbers, odd, never beyond 1, monotone, and NaN
/// stays NaN; in every lane, one sample at a time and in tiles.
pub fn tanh(data: &[u8]) -> Checked {
    let source = &mut Source::new(data);
    let checks: [fn(&mut Source<'_>) -> Checked; 9] = [
        lanes::<1>,
        lanes::<2>,
        lanes::<3>,
        lanes::<5>,
        lanes::<8>,
        lanes::<15>,
        lanes::<16>,
        lanes::<17>,
        lanes::<33>,
    ];
    source.choose(&checks)(source)
}

/// Numbers of all sizes, and many where something happens: around the borders of the segments, around 1.
fn number(source: &mut Source<'_>) -> f32 {
    match source.byte() % 8 {
        0..3 => source.number(Kind::Bits),
        3..5 => source.number(Kind::Moderate(10.0)),
        5 => {
            // Around a half binade.
            let border = (source.below(512) as u32) << 22;
            f32::from_bits(border.wrapping_add(source.word() % 9).wrapping_sub(4))
        }
        6 => {
            // Around the borders of the segments, (1/4, 1/2, 1, 3/2, 5/2, 7/2, 11/2) / 0.828, and the limit.
            let border = source.choose(&[
                0.301_932_37f32,
                0.603_864_7,
                1.207_729_5,
                1.811_594_2,
                3.019_323_7,
                4.227_053,
                6.642_512,
                9.031_25,
            ]);
            f32::from_bits(border.to_bits().wrapping_add(source.word() % 65).wrapping_sub(32))
        }
        _ => source.choose(&[
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xffbf_ffff),
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
        ]),
    }
}

/// What the lanes of a cell make of numbers.
fn tanh_of<const N: usize>(level: Level, x: [f32; N]) -> [f32; N] {
    let mut cell = RnnCell::<1, N>::zeros();
    cell.weight_ih[0] = x;
    let mut h = [0.0; N];
    cell.at(level).step_in_place(&[1.0], &mut h);
    h
}

fn lanes<const N: usize>(source: &mut Source<'_>) -> Checked {
    let x: [f32; N] = core::array::from_fn(|_| number(source));
    let batch = source.below(12);
    let mut one_answer = OneAnswer::default();
    for level in Level::available() {
        let y = tanh_of(level, x);
        let mirrored = tanh_of(level, x.map(|x| -x));
        let next = x.map(f32::next_up);
        let after = tanh_of(level, next);
        for j in 0..N {
            check(level, x[j], y[j])?;
            check(level, next[j], after[j])?;
            if !x[j].is_nan() {
                // A sum that starts from 0 forgets the sign of a zero.
                prop_assert!(mirrored[j] == -y[j], "tanh({:e}) is {:e}, mirrored {:e}", x[j], y[j], mirrored[j]);
                prop_assert!(after[j] >= y[j], "tanh({:e}) is {:e}, then {:e}", x[j], y[j], after[j]);
            }
        }
        one_answer.hold(level, vec![y.to_vec()])?;

        // The same numbers as samples of a batch, one step each: lone samples below 4 of them, tiles from there on.
        let mut ones = RnnCell::<1, N>::zeros();
        ones.weight_ih[0] = [1.0; N];
        let input: Vec<[f32; 1]> = x.iter().cycle().take(batch).map(|x| [*x]).collect();
        let mut workspace = Workspace::new().at(level);
        let pass = workspace.forward(&ones, Sequences::time_major(&input, Steps(1), Batch(batch))?)?;
        for (sample, y) in (0..batch).zip(y.iter().cycle()) {
            same("a sample of a batch", pass.output().row(sample, 0), &[*y; N])?;
        }
    }
    Ok(())
}

fn check(level: Level, x: f32, y: f32) -> Checked {
    if x.is_nan() {
        prop_assert!(y.is_nan(), "tanh of NaN is {:e} ({})", y, level);
        return Ok(());
    }
    prop_assert!(y.abs() <= 1.0, "tanh({:e}) is {:e} ({})", x, y, level);
    if x.abs() < f32::MIN_POSITIVE {
        prop_assert!(y == 0.0, "tanh({:e}) is {:e} ({}), not zero", x, y, level);
        return Ok(());
    }
    let expected = reference::tanh(f64::from(x));
    let exponent = (expected.abs().to_bits() >> 52).max(1023 - 126) as i32 - 1023;
    let unit = 2.0 * U * 2f64.powi(exponent);
    let error = (f64::from(y) - expected).abs() / unit;
    // The figures of the crate's documentation.
    let bound = if level.is_fused() { 0.88 } else { 1.03 };
    prop_assert!(error <= bound, "tanh({:e}) is {:e}, {} units from {:e} ({})", x, y, error, expected, level);
    if x.is_infinite() {
        prop_assert!(y.abs() == 1.0, "tanh({:e}) is {:e} ({})", x, y, level);
    }
    Ok(())
}
