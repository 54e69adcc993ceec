//! Panels, products of every shape of tile, and projections, against scalar sums in the canonical order.

use super::panels::Panels;
use super::projection::Projection;
use super::tile::{Activate, BeforeActivation, Epilogue, Input, Multiply, Output, Store, multiply, multiply_panel};
use crate::cells::{Relu, Tanh};
use crate::kernels::rows::Rows;
use crate::kernels::testing::{ScalarCell, Sum, UNTOUCHED, assert_same, at_every_level, chains, numbers};
use crate::simd::{Kernel, Level, Simd};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

const MOST_ROWS: usize = 20;
const TERMS: [usize; 10] = [1, 3, 4, 5, 7, 8, 9, 31, 33, 70];

// ---------------------------------------------------------------- panels

#[test]
fn panels_hold_every_column_once_and_zeros_behind_the_last() {
    // Used again and again: what was there before shows where zeros are missing.
    let mut panels = Panels::default();
    panels.pack(4, &[7.0; 4000], 1, 100);
    for lanes in [4, 8, 16] {
        for (gates, columns) in (1..=4).flat_map(|gates| (1..=70).map(move |columns| (gates, columns))) {
            for rows in [1, 2, 5] {
                let matrix = numbers(columns as u64, rows * gates * columns);
                let at = |row: usize, gate: usize, column: usize| matrix[(row * gates + gate) * columns + column];
                panels.pack(lanes, &matrix, gates, columns);
                check_panels(&panels, (rows, gates, columns, lanes), at);
                // The same matrix out of its transpose, all columns of all gates as those of one.
                let columns = gates * columns;
                let transposed: Vec<f32> = (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect();
                panels.pack_transposed(lanes, &transposed, rows);
                check_panels(&panels, (rows, 1, columns, lanes), |row, _, column| matrix[row * columns + column]);
                // Some of its columns out of wider rows.
                let wider = |i: usize| {
                    if (2..2 + rows).contains(&(i % (rows + 3))) {
                        transposed[i / (rows + 3) * rows + i % (rows + 3) - 2]
                    } else {
                        7.0
                    }
                };
                let wider: Vec<f32> = (0..columns * (rows + 3)).map(wider).collect();
                panels.pack_transposed_columns(lanes, &wider, rows + 3, 2..2 + rows);
                check_panels(&panels, (rows, 1, columns, lanes), |row, _, column| matrix[row * columns + column]);
                panels.pack(lanes, &vec![7.0; rows * gates * columns + 500], 1, rows * gates * columns + 500);
            }
        }
    }
}

fn check_panels(
    panels: &Panels,
    (rows, gates, columns, lanes): (usize, usize, usize, usize),
    at: impl Fn(usize, usize, usize) -> f32,
) {
    let case = format!("{rows} rows, {gates} gates, {columns} columns, {lanes} lanes");
    let shape = [panels.rows(), panels.gates(), panels.columns(), panels.outputs()];
    assert_eq!(shape, [rows, gates, columns, gates * columns], "{case}");
    let mut next = 0;
    for i in 0..panels.count() {
        for gate in 0..gates {
            let panel = panels.panel(i, gate);
            let (first, width) = (panel.span.first, panel.span.width);
            assert_eq!(first, next, "{case}");
            let is_one_of_these = width == 2 * lanes || width == lanes || width == 8 && lanes == 16;
            assert!(is_one_of_these, "{case}: a panel of {width}");
            assert!(width < 2 * lanes || first + width <= columns, "{case}: a pair of vectors that is not full");
            assert_eq!(panel.data.len(), rows * width, "{case}");
            for (row, numbers) in panel.data.chunks_exact(width).enumerate() {
                for (column, x) in numbers.iter().enumerate() {
                    let column = first + column;
                    let expected = if column < columns { at(row, gate, column) } else { 0.0 };
                    assert_eq!(x.to_bits(), expected.to_bits(), "{case}: row {row}, column {column} of gate {gate}");
                }
            }
        }
        next += panels.panel(i, 0).span.width;
    }
    assert!((columns..columns + lanes).contains(&next), "{case}: the last panel ends at {next}");
}

// ---------------------------------------------------------------- products

/// What a product is given, for as many rows as there can be.
struct Given {
    terms: [usize; 2],
    /// Those of all gates.
    outputs: usize,
    /// Rows of inputs, one number more than terms from one to the next.
    inputs: [Vec<f32>; 2],
    /// `[terms][outputs]`
    weights: [Vec<f32>; 2],
    panels: [Panels; 2],
    start: Vec<f32>,
    /// A row for every sample.
    states: Vec<f32>,
}

impl Given {
    fn new(level: Level, terms: [usize; 2], gates: usize, columns: usize) -> Self {
        let outputs = gates * columns;
        let seed = (terms[0] * 1000 + terms[1] * 100_000 + outputs) as u64;
        let weights = [0, 1].map(|i| numbers(seed + i as u64, terms[i] * outputs));
        let mut panels = [Panels::default(), Panels::default()];
        for (panels, weights) in panels.iter_mut().zip(&weights) {
            panels.pack(level.lanes(), weights, gates, columns);
        }
        Self {
            terms,
            outputs,
            inputs: terms.map(|k| numbers(seed + 2 + k as u64, MOST_ROWS * (k + 1))),
            weights,
            panels,
            start: numbers(seed + 3, outputs),
            states: numbers(seed + 4, MOST_ROWS * outputs),
        }
    }

    /// The sums of all rows, of one product or of two.
    fn sums(&self, fused: bool, parts: usize) -> Vec<f32> {
        let of_row = |row: usize| {
            (0..self.outputs).map(move |n| {
                let mut sum = Sum::start(self.start[n]);
                for part in 0..parts {
                    let k = self.terms[part];
                    let x = &self.inputs[part][row * (k + 1)..];
                    let weight = &self.weights[part][n..];
                    sum.add_products(fused, chains(k, self.outputs), k, |k| (x[k], weight[k * self.outputs]));
                }
                sum.checked()
            })
        };
        (0..MOST_ROWS).flat_map(of_row).collect()
    }

    fn input(&self, part: usize) -> Rows<'_> {
        let stride = self.terms[part] + 1;
        Rows::new(&self.inputs[part], self.terms[part], MOST_ROWS * stride, stride)
    }
}

/// A product as the kernel is given it.
struct Product<'a, E> {
    given: &'a Given,
    parts: usize,
    from_the_right: bool,
    rows: usize,
    epilogue: E,
    out: &'a mut [f32],
    first: usize,
}

impl<E: Epilogue> Kernel for Product<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Product { given, parts, from_the_right, rows, epilogue, out, first } = self;
        let mut work = Multiply {
            input: Input::Rows(given.input(0)),
            second_input: (parts == 2).then(|| Input::Rows(given.input(1))),
            start: Rows::repeated(&given.start),
            output: Output { data: out, first, outer: 0, inner: given.outputs + GAP, far: false },
            ahead: &[],
        };
        let [a, b] = &given.panels;
        multiply(s, [a, b], from_the_right, (1, rows), &mut work, epilogue);
    }
}

/// Numbers between the rows of results, and in front of the first.
const GAP: usize = 3;
const FIRST: usize = 5;

/// The results for some rows, with what stands around them.
struct Results<'a> {
    given: &'a Given,
    level: Level,
    expected: Vec<f32>,
    parts: usize,
}

impl Results<'_> {
    /// For every number of rows, in both directions.
    fn check<E: Epilogue>(&self, what: &str, epilogue: E, out: &mut Vec<f32>) {
        let Self { given, level, parts, .. } = *self;
        let stride = given.outputs + GAP;
        for (rows, from_the_right) in (1..=MOST_ROWS).flat_map(|rows| [(rows, false), (rows, true)]) {
            out.clear();
            out.resize(FIRST + rows * stride, UNTOUCHED);
            level.run(Product { given, parts, from_the_right, rows, epilogue, out, first: FIRST });
            let case = || {
                let Given { terms, outputs, .. } = given;
                let direction = if from_the_right { "from the right" } else { "from the left" };
                format!("{level}: {what} of {rows} rows, {parts} of {terms:?} terms, {outputs} outputs, {direction}")
            };
            assert_same(&out[..FIRST], &[UNTOUCHED; FIRST], case);
            let (rows, expected) = (out[FIRST..].chunks_exact(stride), self.expected.chunks_exact(given.outputs));
            for (row, expected) in rows.zip(expected) {
                assert_same(&row[..given.outputs], expected, case);
                assert_same(&row[given.outputs..], &[UNTOUCHED; GAP], case);
            }
        }
    }
}

/// All epilogues over one product, or over two.
fn check_product(level: Level, given: &Given, parts: usize, out: &mut Vec<f32>) {
    let fused = level.is_fused();
    let sums = given.sums(fused, parts);
    let results = |expected| Results { given, level, expected, parts };
    results(sums.clone()).check("sums", Store, out);
    check_cell::<Tanh>("tanh", results(sums.clone()), Tanh, out);
    check_cell::<Relu>("relu", results(sums), Relu, out);
}

fn check_cell<A: ScalarCell>(what: &str, sums: Results<'_>, cell: A, out: &mut Vec<f32>) {
    let Results { given, level, expected: sums, parts } = sums;
    let mut states = sums.clone();
    A::states(level, &mut states);
    Results { given, level, expected: states, parts }.check(what, Activate(cell), out);

    let d_sums = sums.iter().zip(&given.states).map(|(d, y)| A::d_of_sum(level.is_fused(), *d, *y)).collect();
    let states = Rows::new(&given.states, given.outputs, 0, given.outputs);
    let epilogue = BeforeActivation { cell: PhantomData::<A>, states };
    Results { given, level, expected: d_sums, parts }.check(&format!("d {what}"), epilogue, out);
}

#[test]
fn products_of_every_height_and_width() {
    at_every_level(|level| {
        let mut out = Vec::new();
        for (i, terms) in TERMS.into_iter().enumerate() {
            for columns in 1..=70 {
                let second = TERMS[(i + 4) % TERMS.len()];
                let given = Given::new(level, [terms, second], 1, columns);
                check_product(level, &given, 1, &mut out);
                check_product(level, &given, 2, &mut out);
            }
        }
    });
}

#[test]
fn products_of_many_outputs_which_are_one_chain() {
    at_every_level(|level| {
        let mut out = Vec::new();
        for columns in [96, 127, 128, 129, 139, 144, 150] {
            for terms in [[3, 33], [9, 4], [33, 3], [70, 70]] {
                let given = Given::new(level, terms, 1, columns);
                check_product(level, &given, 1, &mut out);
                check_product(level, &given, 2, &mut out);
            }
        }
    });
}

/// Their columns lie side by side; the sums have the chains of all outputs together.
#[test]
fn products_of_several_gates() {
    at_every_level(|level| {
        let mut out = Vec::new();
        for (gates, columns) in [2, 3, 4].into_iter().flat_map(|gates| (1..=40).map(move |columns| (gates, columns))) {
            for terms in [[1, 8], [8, 9], [33, 7]] {
                let given = Given::new(level, terms, gates, columns);
                check_product(level, &given, 1, &mut out);
                check_product(level, &given, 2, &mut out);
            }
        }
    });
}

/// One gate of each matrix, into a place of its own.
struct OneGate<'a> {
    given: &'a Given,
    gates: [usize; 2],
    to: usize,
    rows: usize,
    out: &'a mut [f32],
}

impl Kernel for OneGate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let OneGate { given, gates, to, rows, out } = self;
        let [a, b] = &given.panels;
        for panel in 0..a.count() {
            let mut work = Multiply {
                input: Input::Rows(given.input(0)),
                second_input: Some(Input::Rows(given.input(1))),
                start: Rows::repeated(&given.start),
                output: Output { data: out, first: 0, outer: 0, inner: given.outputs, far: false },
                ahead: &[],
            };
            multiply_panel(s, [(a, gates[0]), (b, gates[1])], panel, to, (1, rows), &mut work, Store);
        }
    }
}

#[test]
fn single_gates_go_where_they_are_sent() {
    at_every_level(|level| {
        for columns in 1..=40 {
            let given = Given::new(level, [9, 5], 3, columns);
            for (gates, to, rows) in [([0, 2], 1, 7), ([2, 1], 0, 1), ([1, 1], 2, 16)] {
                let mut out = vec![UNTOUCHED; rows * given.outputs];
                level.run(OneGate { given: &given, gates, to, rows, out: &mut out });
                for (row, out) in out.chunks_exact(given.outputs).enumerate() {
                    for (n, x) in out.iter().enumerate() {
                        let mut expected = UNTOUCHED;
                        if n / columns == to {
                            let mut sum = Sum::start(given.start[n]);
                            for (part, gate) in gates.into_iter().enumerate() {
                                let k = given.terms[part];
                                let x = &given.inputs[part][row * (k + 1)..];
                                let weight = &given.weights[part][gate * columns + n % columns..];
                                let factors = |k| (x[k], weight[k * given.outputs]);
                                sum.add_products(level.is_fused(), chains(k, given.outputs), k, factors);
                            }
                            expected = sum.checked();
                        }
                        assert_eq!(x.to_bits(), expected.to_bits(), "{level}: {columns} columns, output {n}");
                    }
                }
            }
        }
    });
}

/// A grid of rows whose second inputs are results of before, with starts of their own, and with prefetches.
struct FromResults<'a> {
    given: &'a Given,
    start: Rows<'a>,
    grid: (usize, usize),
    strides: (usize, usize),
    first: usize,
    results: usize,
    out: &'a mut [f32],
}

impl Kernel for FromResults<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let FromResults { given, start, grid, strides: (outer, inner), first, results, out } = self;
        let Rows { data, width, inner: stride, .. } = given.input(0);
        let input = Rows::new(data, width, grid.1 * stride, stride);
        let ahead = [input.along_inner(0, 0), start];
        let mut work = Multiply {
            input: Input::Rows(input),
            second_input: Some(Input::Results(results)),
            start,
            output: Output { data: out, first, outer, inner, far: true },
            ahead: &ahead,
        };
        let [a, b] = &given.panels;
        multiply(s, [a, b], false, grid, &mut work, Activate(Tanh));
    }
}

#[test]
fn grids_of_rows_that_go_on_from_results() {
    at_every_level(|level| {
        for (columns, terms) in (1..=40).flat_map(|columns| [1, 5, 33].map(|terms| (columns, terms))) {
            let given = Given::new(level, [terms, columns], 1, columns);
            for grid in [(1, 9), (2, 10), (3, 5), (20, 1)] {
                // Of each row: what was there before, the result, and a gap.
                let inner = 2 * columns + GAP;
                let outer = grid.1 * inner + 2;
                let rows = grid.0 * grid.1;
                let starts = numbers(9, rows * (columns + 1));
                let start = Rows::new(&starts, columns, grid.1 * (columns + 1), columns + 1);
                let mut out = vec![UNTOUCHED; grid.0 * outer];
                let before = numbers(8, rows * columns);
                let at = |row: usize| row / grid.1 * outer + row % grid.1 * inner;
                for (row, before) in before.chunks_exact(columns).enumerate() {
                    out[at(row)..][..columns].copy_from_slice(before);
                }
                let mut expected = out.clone();
                for row in 0..rows {
                    let mut sums: Vec<f32> = (0..columns)
                        .map(|n| {
                            let mut sum = Sum::start(starts[row * (columns + 1) + n]);
                            for (part, k, x) in [
                                (0, terms, &given.inputs[0][row * (terms + 1)..]),
                                (1, columns, &before[row * columns..]),
                            ] {
                                let weight = &given.weights[part][n..];
                                let factors = |k: usize| (x[k], weight[k * columns]);
                                sum.add_products(level.is_fused(), chains(k, columns), k, factors);
                            }
                            sum.checked()
                        })
                        .collect();
                    Tanh::states(level, &mut sums);
                    expected[at(row) + columns..][..columns].copy_from_slice(&sums);
                }
                let strides = (outer, inner);
                let work =
                    FromResults { given: &given, start, grid, strides, first: columns, results: 0, out: &mut out };
                level.run(work);
                assert_same(&out, &expected, || format!("{level}: {terms} terms, {columns} outputs, grid {grid:?}"));
            }
        }
    });
}

// ---------------------------------------------------------------- projections

#[test]
fn projections_of_steps_in_either_order() {
    at_every_level(|level| {
        let mut panels = Panels::default();
        for outputs in [1, 4, 7, 8, 15, 16, 17, 25, 32, 33, 40, 64, 70] {
            for terms in [1, 5, 9, 33] {
                let weights = numbers(outputs as u64, terms * outputs);
                panels.pack(level.lanes(), &weights, 1, outputs);
                let bias = numbers(3, outputs);
                for (samples, all, first, steps) in [
                    (1, 20, 0, 20),
                    (3, 8, 1, 2),
                    (2, 12, 3, 9),
                    (17, 9, 8, 1),
                    (9, 9, 2, 5),
                    (30, 9, 0, 9),
                    (1, 1, 0, 1),
                ] {
                    let case = Projected { samples, all, first, steps, terms, outputs };
                    for (time_major, bias) in [(false, None), (true, Some(&bias[..])), (false, Some(&bias[..]))] {
                        case.check(level, &panels, &weights, bias, time_major);
                    }
                }
            }
        }
    });
}

#[derive(Clone, Copy, Debug)]
struct Projected {
    samples: usize,
    /// Steps of each sample, the first one that is projected, and how many are.
    all: usize,
    first: usize,
    steps: usize,
    terms: usize,
    outputs: usize,
}

impl Projected {
    fn check(self, level: Level, panels: &Panels, weights: &[f32], bias: Option<&[f32]>, time_major: bool) {
        let Self { samples, all, first, steps, terms, outputs } = self;
        let x = numbers(terms as u64, samples * all * terms);
        let input =
            if time_major { Rows::new(&x, terms, terms, samples * terms) } else { Rows::batch_first(&x, terms, all) };
        let mut out = vec![UNTOUCHED; samples * all * outputs];
        let mut expected = out.clone();
        for (sample, step) in (0..samples).flat_map(|sample| (first..first + steps).map(move |step| (sample, step))) {
            let row = if time_major { step * samples + sample } else { sample * all + step };
            let x = &x[row * terms..];
            for n in 0..outputs {
                let mut sum = Sum::start(bias.map_or(0.0, |bias| bias[n]));
                let factors = |k: usize| (x[k], weights[k * outputs + n]);
                sum.add_products(level.is_fused(), chains(terms, outputs), terms, factors);
                expected[(sample * all + step) * outputs + n] = sum.checked();
            }
        }
        let far = time_major;
        let steps = first..first + steps;
        Projection { panels, input, bias, out: &mut out, out_steps: all, samples, steps, far }.at(level);
        assert_same(&out, &expected, || format!("{level}: {self:?}, time-major: {time_major}"));
    }
}
