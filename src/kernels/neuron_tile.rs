//! The register tile with samples in lanes: `M` neurons by `V` vectors of samples. Its rows are neurons, whose weights are
//! broadcast, and its columns samples; every sum has the terms of the other [`tile`](super::tile), in the same order.
//!
//! Layers this small have short sums: a tile is done in a few hundred cycles, and what it takes to begin one counts. Its
//! weights are therefore packed term by term, one run of numbers.

use super::pack::Scratch;
use super::tanh;
use super::tile::sum;
use super::{starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd};
use core::ops::Range;

/// Neurons of the tallest tile and the shortest: few shapes, as each is a function of its own.
const TALLEST: usize = 6;
const SHORTEST: usize = 4;

/// The weights of neurons, packed for tiles.
#[derive(Default, Debug)]
pub(crate) struct NeuronTiles {
    data: Scratch,
    neurons: usize,
    terms: usize,
}

impl NeuronTiles {
    /// Packs the weights of each neuron, `terms` numbers, one neuron after the other.
    pub(crate) fn pack(&mut self, weights: &[f32], terms: usize) {
        self.pack_with(weights.len() / terms, terms, |neuron, term| weights[neuron * terms + term]);
    }

    /// Packs the weights of each term, `neurons` numbers, one term after the other.
    pub(crate) fn pack_transposed(&mut self, weights: &[f32], neurons: usize) {
        self.pack_with(neurons, weights.len() / neurons, |neuron, term| weights[term * neurons + neuron]);
    }

    fn pack_with(&mut self, neurons: usize, terms: usize, weight: impl Fn(usize, usize) -> f32) {
        (self.neurons, self.terms) = (neurons, terms);
        let size = TALLEST * terms;
        let data = self.data.get(neurons.div_ceil(TALLEST) * size);
        for (neurons, to) in tiles(neurons).zip(data.chunks_exact_mut(size)) {
            for (term, to) in to.chunks_exact_mut(height(&neurons)).take(terms).enumerate() {
                to.fill(0.0);
                for (to, neuron) in to.iter_mut().zip(neurons.clone()) {
                    *to = weight(neuron, term);
                }
            }
        }
    }

    /// What is packed.
    pub(crate) fn weights(&self) -> Weights<'_> {
        let Self { data, neurons, terms } = self;
        let size = TALLEST * terms;
        Weights { data: data.as_slice(neurons.div_ceil(TALLEST) * size), neurons: *neurons, size }
    }
}

/// Packed weights: `[tile][term][neuron]`, with as much room for each tile as the tallest takes.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    data: &'a [f32],
    neurons: usize,
    /// Of a tile.
    size: usize,
}

/// The neurons of each tile: as few tiles as there can be, and nearly as many neurons in each of them.
#[inline(always)]
fn tiles(neurons: usize) -> impl Iterator<Item = Range<usize>> {
    let count = neurons.div_ceil(TALLEST);
    let (each, taller) = (neurons / count, neurons % count);
    let mut end = 0;
    (0..count).map(move |tile| {
        let first = end;
        end += each + usize::from(tile >= count - taller);
        first..end
    })
}

/// How tall a tile of some neurons is; the shortest may have fewer.
#[inline(always)]
fn height(neurons: &Range<usize>) -> usize {
    neurons.len().max(SHORTEST)
}

/// One sum of a product: its weights, its columns of samples (`[term][sample]`), and how many chains it is cut into.
#[derive(Clone, Copy)]
pub(crate) struct Sum<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) columns: &'a [f32],
    pub(crate) chains: usize,
}

/// `out[n][sample] = start[n][sample] + sums`, for whole vectors of samples, one or two.
pub(crate) struct Product<'a> {
    /// One sum, or a second that goes on from the first.
    pub(crate) sums: &'a [Sum<'a>],
    /// Nothing is zeros.
    pub(crate) start: &'a [f32],
    /// Values of tanh by whose derivative the results are multiplied; nothing leaves them.
    pub(crate) slope: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) samples: usize,
}

impl Product<'_> {
    #[inline(always)]
    pub(crate) fn run<S: Simd>(mut self, s: S) {
        let two_vectors = self.samples > S::LANES;
        for (tile, neurons) in tiles(self.sums[0].weights.neurons).enumerate() {
            let height = height(&neurons);
            let place = Place { product: &mut self, tile, neurons };
            // With 32 registers two chains go side by side.
            macro_rules! call {
                ($m:literal) => {
                    match (const { S::REGISTERS == 32 }, two_vectors) {
                        (true, true) => s.call(Tile::<2, $m, 2>(place)),
                        (true, false) => s.call(Tile::<2, $m, 1>(place)),
                        (false, true) => s.call(Tile::<1, $m, 2>(place)),
                        (false, false) => s.call(Tile::<1, $m, 1>(place)),
                    }
                };
            }
            match height {
                4 => call!(4),
                5 => call!(5),
                _ => call!(6),
            }
        }
    }
}

/// Which tile of which product.
struct Place<'a, 'p> {
    product: &'a mut Product<'p>,
    tile: usize,
    neurons: Range<usize>,
}

/// `M` neurons by `V` vectors of samples, `C` chains side by side.
struct Tile<'a, 'p, const C: usize, const M: usize, const V: usize>(Place<'a, 'p>);

impl<const C: usize, const M: usize, const V: usize> Kernel for Tile<'_, '_, C, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Place { product: Product { sums: parts, start, slope, out, .. }, tile, neurons } = self.0;
        let samples = V * S::LANES;
        let here = neurons.start * samples..neurons.end * samples;
        let mut sums: [[S::F32; V]; M] = zeros();
        if !start.is_empty() {
            sums = load(s, &start[here.clone()]);
        }
        for Sum { weights, columns, chains } in *parts {
            let of_tile = &weights.data[tile * weights.size..][..weights.size];
            let terms = weights.size / TALLEST;
            let weights: &[[f32; M]] = of_tile[..terms * M].as_chunks().0;
            sums = sum::<S, _, C, M, V>(s, &columns[..terms * samples], weights, *chains, sums);
        }
        if !slope.is_empty() {
            let y: [[S::F32; V]; M] = load(s, &slope[here.clone()]);
            unrolled!(m < M, {
                unrolled!(v < V, {
                    sums[m][v] = tanh::backward(s, sums[m][v], y[m][v]);
                });
            });
        }
        store(s, &sums, &mut out[here]);
    }
}

/// The columns of the neurons of a tile; zeros for those that it does not have, which only the shortest may lack.
#[inline(always)]
fn load<S: Simd, const M: usize, const V: usize>(s: S, from: &[f32]) -> [[S::F32; V]; M] {
    let mut vectors: [[S::F32; V]; M] = zeros();
    let from = if M > SHORTEST { &from[..M * V * S::LANES] } else { from };
    unrolled!(m < M, {
        if m * V * S::LANES < from.len() {
            unrolled!(v < V, {
                vectors[m][v] = s.load(starting_at(from, (m * V + v) * S::LANES));
            });
        }
    });
    vectors
}

/// Writes the columns of those neurons that a tile has.
#[inline(always)]
fn store<S: Simd, const M: usize, const V: usize>(s: S, vectors: &[[S::F32; V]; M], to: &mut [f32]) {
    let to = if M > SHORTEST { &mut to[..M * V * S::LANES] } else { to };
    unrolled!(m < M, {
        if m * V * S::LANES < to.len() {
            unrolled!(v < V, {
                s.store(vectors[m][v], starting_at_mut(to, (m * V + v) * S::LANES));
            });
        }
    });
}
