//! Gradients of weights and biases: blocks in every way that they may lie, single rows, and cascades.

use super::{Block, BlockSums, Cascade, Columns, RowCascade, Source, TENSORS, add_outer_product, add_row};
use crate::kernels::rows::Rows;
use crate::kernels::testing::{Sum, UNTOUCHED, assert_near, assert_same, at_every_level, gamma, numbers};
use crate::simd::{Kernel, Level, Simd};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

// ---------------------------------------------------------------- blocks

/// Inputs of which the first row lies apart from those behind it, as the states before the steps of a sequence do.
struct Apart<'a> {
    first: Rows<'a>,
    behind: Rows<'a>,
}

impl Source for Apart<'_> {
    #[inline(always)]
    fn rows(&self, sample: usize) -> (&[f32], Rows<'_>) {
        let Rows { width, inner, .. } = self.behind;
        let data = self.behind.data.get(sample * self.behind.outer..).unwrap_or_default();
        (self.first.row(sample, 0), Rows::line(data, width, inner))
    }
}

/// Where the rows of a block are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Packed,
    InPlace,
}

/// One block, as the kernel is given it.
struct Given<'a, I> {
    lie: Lie,
    d_output: Rows<'a>,
    grid: (usize, usize),
    columns: Columns,
    input: &'a I,
    d_weight: &'a mut [f32],
    d_biases: [&'a mut [f32]; 2],
}

impl<I: Source> Kernel for Given<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Given { lie, d_output, grid, columns, input, d_weight, d_biases } = self;
        let packed_columns = if lie == Lie::Packed { columns.count } else { 0 };
        let size = Block::memory(s, grid.0 * grid.1, packed_columns, d_weight.len() / columns.of);
        // Whatever was there before.
        let mut memory = vec![f32::NAN; size];
        let mut block = match lie {
            Lie::Packed => Block::pack(s, &d_output, grid, columns.count, &mut memory),
            Lie::InPlace => Block::in_place(d_output, grid, columns.count, &mut memory),
        };
        block.add_outer_products(s, input, d_weight, columns);
        block.add_rows(s, d_biases);
    }
}

fn check_block(level: Level, lie: Lie, grid: (usize, usize), inputs: usize, columns: usize) {
    check_columns(level, lie, grid, inputs, Columns::all(columns));
}

/// The columns of one gate, whose neighbours must stay as they are.
fn check_columns(level: Level, lie: Lie, grid: (usize, usize), inputs: usize, of_gate: Columns) {
    let Columns { first: gate, count: columns, of: row } = of_gate;
    let (samples, steps) = grid;
    let rows = samples * steps;
    let seed = (inputs * 1000 + columns + rows) as u64;
    // Rows with a gap behind each sample; behind the last one, two vectors of what must not count.
    let slots = steps + 1;
    let d: Vec<f32> = numbers(seed, samples * slots * columns + 2 * 16);
    let d_output = Rows::batch_first(&d, columns, slots);
    let (x, first) = (numbers(seed + 1, rows * inputs), numbers(seed + 2, samples * inputs));
    let (weights, biases) = (numbers(seed + 3, inputs * row), [4, 5].map(|i| numbers(seed + i, columns)));
    let d_at = |sample: usize, step: usize, n: usize| d[(sample * slots + step) * columns + n];
    for are_apart in [false, true] {
        let x_at = |sample: usize, step: usize, k: usize| match (are_apart, step) {
            (true, 0) => first[sample * inputs + k],
            (true, step) => x[(sample * steps + step - 1) * inputs + k],
            (false, step) => x[(sample * steps + step) * inputs + k],
        };
        let (mut d_weight, mut d_biases) = (weights.clone(), biases.clone());
        let [a, b] = &mut d_biases;
        let behind = Rows::batch_first(&x, inputs, steps);
        if are_apart {
            let input = &Apart { first: Rows::one_a_sample(&first, inputs), behind };
            level.run(Given {
                lie,
                d_output,
                grid,
                columns: of_gate,
                input,
                d_weight: &mut d_weight,
                d_biases: [a, b],
            });
        } else {
            level.run(Given {
                lie,
                d_output,
                grid,
                columns: of_gate,
                input: &behind,
                d_weight: &mut d_weight,
                d_biases: [a, b],
            });
        }
        let case = |what: &str| {
            format!("{level}: {what} of {inputs} inputs, {columns} columns, {lie:?}, {grid:?}, {are_apart}")
        };
        let places = |k: usize| (0..row).map(move |column| (k, column));
        let expected: Vec<f32> = (0..inputs)
            .flat_map(places)
            .map(|(k, column)| {
                let before = weights[k * row + column];
                let Some(n) = column.checked_sub(gate).filter(|n| *n < columns) else { return before };
                let mut sum = Sum::start(0.0);
                let factors = |row: usize| (x_at(row / steps, row % steps, k), d_at(row / steps, row % steps, n));
                sum.add_products(level.is_fused(), 1, rows, factors);
                before + sum.checked()
            })
            .collect();
        assert_same(&d_weight, &expected, || case("weights"));
        for (given, before) in d_biases.iter().zip(&biases) {
            let sum = |n: usize| {
                let mut sum = Sum::start(0.0);
                (0..rows).for_each(|row| sum.add(d_at(row / steps, row % steps, n)));
                before[n] + sum.checked()
            };
            let expected: Vec<f32> = (0..columns).map(sum).collect();
            assert_same(given, &expected, || case("biases"));
        }
    }
}

#[test]
fn blocks_of_every_width() {
    at_every_level(|level| {
        for columns in 1..=70 {
            for inputs in (1..=20).chain([31, 33, 40]) {
                for (i, grid) in [(1, 1), (2, 3), (1, 16), (5, 2)].into_iter().enumerate() {
                    // Every grid with every width and height, but not with both.
                    if (columns + inputs) % 2 == i % 2 {
                        check_block(level, Lie::Packed, grid, inputs, columns);
                        check_block(level, Lie::InPlace, grid, inputs, columns);
                    }
                }
            }
        }
        check_block(level, Lie::Packed, (16, 16), 9, 40);
        check_block(level, Lie::InPlace, (16, 16), 9, 20);
    });
}

/// Inputs of so many tiles that they are copied.
#[test]
fn blocks_in_slabs() {
    at_every_level(|level| {
        for columns in [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 24, 32, 33, 40, 50, 70] {
            for inputs in [255, 256, 257, 300, 511, 512, 513, 516, 521, 600] {
                check_block(level, Lie::Packed, (2, 2), inputs, columns);
            }
        }
        check_block(level, Lie::Packed, (16, 16), 520, 34);
        check_block(level, Lie::InPlace, (2, 2), 520, 20);
    });
}

/// The first gate, the last, and one between others.
#[test]
fn blocks_of_one_gate() {
    at_every_level(|level| {
        for columns in (1..=35).chain([48, 70]) {
            for (gate, gates) in [(0, 2), (1, 3), (3, 4)] {
                let of_gate = Columns { first: gate * columns, count: columns, of: gates * columns };
                for inputs in [1, 2, 3, 5, 8, 13, 20, 33] {
                    check_columns(level, Lie::Packed, (2, 3), inputs, of_gate);
                    check_columns(level, Lie::InPlace, (2, 3), inputs, of_gate);
                }
            }
        }
        for columns in [1, 4, 9, 24, 33, 50] {
            let of_gate = Columns { first: columns, count: columns, of: 3 * columns };
            check_columns(level, Lie::Packed, (2, 2), 521, of_gate);
            check_columns(level, Lie::InPlace, (2, 2), 521, of_gate);
        }
    });
}

// ---------------------------------------------------------------- single rows

struct OneRow<'a> {
    input: &'a [f32],
    d_output: &'a [f32],
    d_weight: &'a mut [f32],
    d_bias: &'a mut [f32],
}

impl Kernel for OneRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        add_outer_product(s, self.input, self.d_output, self.d_weight);
        add_row(s, self.d_output, self.d_bias);
    }
}

#[test]
fn single_rows() {
    at_every_level(|level| {
        for (inputs, columns) in [1, 2, 7].into_iter().flat_map(|inputs| (1..=70).map(move |columns| (inputs, columns)))
        {
            let (input, d_output) = (numbers(1, inputs), numbers(2, columns));
            let (mut d_weight, mut d_bias) = (numbers(3, inputs * columns + 2), numbers(4, columns + 2));
            let mut expected = (d_weight.clone(), d_bias.clone());
            (d_weight[0], d_bias[0]) = (UNTOUCHED, UNTOUCHED);
            (expected.0[0], expected.1[0]) = (UNTOUCHED, UNTOUCHED);
            // A product that is rounded before it is added, at every level.
            for (i, to) in expected.0[1..=inputs * columns].iter_mut().enumerate() {
                let (before, product) = (*to, input[i / columns] * d_output[i % columns]);
                *to += product;
                let exact = f64::from(input[i / columns]) * f64::from(d_output[i % columns]);
                assert_near(*to, f64::from(before) + exact, gamma(2) * (f64::from(before).abs() + exact.abs()));
            }
            expected.1[1..=columns].iter_mut().zip(&d_output).for_each(|(to, d)| *to += d);
            level.run(OneRow {
                input: &input,
                d_output: &d_output,
                d_weight: &mut d_weight[1..=inputs * columns],
                d_bias: &mut d_bias[1..=columns],
            });
            assert_same(&d_weight, &expected.0, || format!("{level}: weights, {inputs} inputs, {columns} columns"));
            assert_same(&d_bias, &expected.1, || format!("{level}: biases, {columns} columns"));
        }
    });
}

// ---------------------------------------------------------------- cascades

/// The sum of some terms: 64 of them to a sum, 64 such sums to one of the next level, and so on; then what is left of each
/// level, the lowest first.
fn cascade(terms: &[f32]) -> f32 {
    let add_up = |terms: &[f32]| terms.iter().fold(0.0, |sum, x| sum + x);
    let (mut level, mut total) = (terms.to_vec(), 0.0);
    while !level.is_empty() {
        let whole = level.chunks_exact(64);
        total += add_up(whole.remainder());
        level = whole.map(add_up).collect();
    }
    total
}

/// A term passes at most 64 roundings a level, and one more for each level at the end.
fn check_cascade(terms: &[f32], sum: f32) {
    let levels = terms.len().max(1).ilog2() as usize / 6 + 1;
    let exact: f64 = terms.iter().map(|x| f64::from(*x)).sum();
    let magnitude: f64 = terms.iter().map(|x| f64::from(*x).abs()).sum();
    assert_near(sum, exact, gamma(65 * levels) * magnitude);
}

/// Numbers of blocks around those where levels fill up.
const COUNTS: [usize; 18] = [
    0,
    1,
    2,
    63,
    64,
    65,
    127,
    128,
    130,
    64 * 63,
    64 * 64 - 1,
    64 * 64,
    64 * 64 + 1,
    64 * 65 + 7,
    64 * 128,
    64 * 64 * 3 + 64 * 5 + 9,
    64 * 64 * 64 - 1,
    64 * 64 * 64 + 64 * 64 + 70,
];

#[test]
fn blocks_that_are_summed_level_by_level() {
    let mut of_all = Cascade::default();
    // The largest first, so that later ones find what they left.
    for count in COUNTS.into_iter().rev() {
        of_all.reset();
        // All of one sign, which long sums suffer from, and of both.
        let terms = numbers(count as u64, count);
        let sizes: Vec<f32> = terms.iter().map(|x| x.abs()).collect();
        let mut memory: [Vec<f32>; TENSORS] = [vec![0.0; 2], vec![0.0; 1], Vec::new(), vec![0.0; 3]];
        let tensors = memory.each_mut().map(Vec::as_mut_slice);
        let mut sums = BlockSums { tensors, cascade: &mut of_all };
        for i in 0..count {
            for (t, tensor) in sums.tensors.iter_mut().enumerate() {
                for (n, x) in tensor.iter_mut().enumerate() {
                    *x += if n == 1 { terms[i] } else { sizes[i] } * (1 << t) as f32;
                }
            }
            sums.count_block();
        }
        let BlockSums { mut tensors, cascade: of_blocks } = sums;
        of_blocks.finish(&mut tensors);
        let of = [cascade(&sizes), cascade(&terms)];
        check_cascade(&sizes, of[0]);
        check_cascade(&terms, of[1]);
        for (t, tensor) in tensors.iter().enumerate() {
            // A power of two makes no rounding.
            let expected: Vec<f32> = (0..tensor.len()).map(|n| of[usize::from(n == 1)] * (1 << t) as f32).collect();
            assert_same(tensor, &expected, || format!("{count} blocks, tensor {t}"));
        }
    }
}

#[test]
fn rows_that_are_summed_level_by_level() {
    let mut rows = RowCascade::default();
    for round in 0..2 {
        // Each row has terms of its own, which come in turn; in the second round the other way round.
        let mut counts = COUNTS;
        counts[..16].rotate_left(5 * round);
        let terms: Vec<Vec<f32>> = (0..).zip(counts).map(|(seed, count)| numbers(seed, count)).collect();
        let mut sums = vec![[0f32; 2]; counts.len()];
        rows.reset(counts.len());
        for i in 0..counts[17].max(counts[16]) {
            for (row, (terms, sum)) in terms.iter().zip(&mut sums).enumerate() {
                if let Some(x) = terms.get(i) {
                    sum[0] += x;
                    sum[1] += x.abs();
                    rows.count(row, sum);
                }
            }
        }
        rows.finish(&mut sums);
        for (row, (terms, sum)) in terms.iter().zip(&sums).enumerate() {
            let sizes: Vec<f32> = terms.iter().map(|x| x.abs()).collect();
            let expected = [cascade(terms), cascade(&sizes)];
            check_cascade(terms, expected[0]);
            check_cascade(&sizes, expected[1]);
            assert_same(sum, &expected, || format!("row {row} of {} terms", terms.len()));
        }
    }
}
