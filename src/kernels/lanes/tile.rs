//! The register tile with samples in lanes: `M` neurons by `V` vectors of samples. Its rows are neurons, whose weights are
//! broadcast, and its columns samples; every sum has the terms of the other [`tile`](crate::kernels::throughput::tile), in the same order.
//!
//! Layers this small have short sums: a tile is done in a few hundred cycles, and what it takes to begin one counts. Its
//! weights are therefore packed term by term, one run of numbers.

use crate::cells::Activation;
use crate::kernels::cut::{SHORTEST_NEURON_TILE, TALLEST_NEURON_TILE, neuron_tile_height, neuron_tiles};
use crate::kernels::scratch::Scratch;
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::throughput::tile::sum;
use crate::kernels::tuning::chains_side_by_side;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use core::ops::Range;

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
        let size = TALLEST_NEURON_TILE * terms;
        let data = self.data.get(neurons.div_ceil(TALLEST_NEURON_TILE) * size);
        for (neurons, to) in neuron_tiles(neurons).zip(data.chunks_exact_mut(size)) {
            for (term, to) in to.chunks_exact_mut(neuron_tile_height(&neurons)).take(terms).enumerate() {
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
        let size = TALLEST_NEURON_TILE * terms;
        Weights { data: data.as_slice(neurons.div_ceil(TALLEST_NEURON_TILE) * size), neurons: *neurons, size }
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

/// One sum of a product: its weights, its columns of samples (`[term][sample]`), and how many chains it is cut into.
#[derive(Clone, Copy)]
pub(crate) struct NeuronSum<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) columns: &'a [f32],
    pub(crate) chains: usize,
}

/// `out[n][sample] = start[n][sample] + sums`, for whole vectors of samples, one or two.
pub(crate) struct NeuronProduct<'a> {
    /// One sum, or a second that goes on from the first.
    pub(crate) sums: &'a [NeuronSum<'a>],
    /// Nothing is zeros.
    pub(crate) start: &'a [f32],
    /// The states whose gradients the results are, which then become those of their sums; nothing leaves the results.
    pub(crate) states: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) samples: usize,
}

impl NeuronProduct<'_> {
    #[inline(always)]
    pub(crate) fn run<S: Simd, A: Activation>(mut self, s: S) {
        let two_vectors = self.samples > S::LANES;
        for (tile, neurons) in neuron_tiles(self.sums[0].weights.neurons).enumerate() {
            let height = neuron_tile_height(&neurons);
            let place = NeuronPlace { product: &mut self, tile, neurons };
            // With 32 registers two chains go side by side.
            macro_rules! call {
                ($m:literal) => {
                    match (const { chains_side_by_side::<S>() == 2 }, two_vectors) {
                        (true, true) => s.call(NeuronTile::<A, 2, $m, 2>(place, PhantomData)),
                        (true, false) => s.call(NeuronTile::<A, 2, $m, 1>(place, PhantomData)),
                        (false, true) => s.call(NeuronTile::<A, 1, $m, 2>(place, PhantomData)),
                        (false, false) => s.call(NeuronTile::<A, 1, $m, 1>(place, PhantomData)),
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
struct NeuronPlace<'a, 'p> {
    product: &'a mut NeuronProduct<'p>,
    tile: usize,
    neurons: Range<usize>,
}

/// `M` neurons by `V` vectors of samples, `C` chains side by side.
struct NeuronTile<'a, 'p, A, const C: usize, const M: usize, const V: usize>(NeuronPlace<'a, 'p>, PhantomData<A>);

impl<A: Activation, const C: usize, const M: usize, const V: usize> Kernel for NeuronTile<'_, '_, A, C, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let NeuronPlace { product: NeuronProduct { sums: parts, start, states, out, .. }, tile, neurons } = self.0;
        let samples = V * S::LANES;
        let here = neurons.start * samples..neurons.end * samples;
        let mut sums: [[S::F32; V]; M] = zeros();
        if !start.is_empty() {
            sums = load(s, &start[here.clone()]);
        }
        for NeuronSum { weights, columns, chains } in *parts {
            let of_tile = &weights.data[tile * weights.size..][..weights.size];
            let terms = weights.size / TALLEST_NEURON_TILE;
            let weights: &[[f32; M]] = of_tile[..terms * M].as_chunks().0;
            sums = sum::<S, _, C, M, V>(s, &columns[..terms * samples], weights, *chains, sums);
        }
        if !states.is_empty() {
            let y: [[S::F32; V]; M] = load(s, &states[here.clone()]);
            unrolled!(m < M, {
                unrolled!(v < V, {
                    sums[m][v] = A::d_sum(s, sums[m][v], y[m][v]);
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
    let from = if M > SHORTEST_NEURON_TILE { &from[..M * V * S::LANES] } else { from };
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
    let to = if M > SHORTEST_NEURON_TILE { &mut to[..M * V * S::LANES] } else { to };
    unrolled!(m < M, {
        if m * V * S::LANES < to.len() {
            unrolled!(v < V, {
                s.store(vectors[m][v], starting_at_mut(to, (m * V + v) * S::LANES));
            });
        }
    });
}
