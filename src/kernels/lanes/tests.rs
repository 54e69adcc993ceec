//! Tiles of neurons with samples in lanes, against scalar sums in the canonical order.

use super::tile::{NeuronProduct, NeuronSum, NeuronTiles};
use crate::cells::{Relu, Tanh};
use crate::kernels::testing::{ScalarCell, Sum, UNTOUCHED, assert_same, at_every_level, numbers};
use crate::simd::{Kernel, Level, Simd};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// One product, as the kernel is given it.
struct Given<'a, A> {
    product: NeuronProduct<'a>,
    cell: PhantomData<A>,
}

impl<A: ScalarCell> Kernel for Given<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.product.run::<S, A>(s);
    }
}

/// Which product.
#[derive(Clone, Copy, Debug)]
struct Case {
    neurons: usize,
    terms: [usize; 2],
    chains: [usize; 2],
    samples: usize,
    parts: usize,
    has_start: bool,
    has_states: bool,
}

impl Case {
    fn check<A: ScalarCell>(self, level: Level) {
        let Case { neurons, terms, chains, samples, parts, has_start, has_states } = self;
        let seed = (neurons * 100 + terms[0] + 7 * terms[1]) as u64;
        // `[neuron][term]`, and packed from both orders.
        let weights = [0, 1].map(|part| numbers(seed + part as u64, neurons * terms[part]));
        let mut tiles = [NeuronTiles::default(), NeuronTiles::default()];
        tiles[0].pack(&vec![7.0; 30 * terms[0]], terms[0]);
        tiles[0].pack(&weights[0], terms[0]);
        let transposed: Vec<f32> =
            (0..neurons * terms[1]).map(|i| weights[1][i % neurons * terms[1] + i / neurons]).collect();
        tiles[1].pack_transposed(&transposed, neurons);

        let columns = [0, 1].map(|part| numbers(seed + 2 + part as u64, terms[part] * samples));
        let sums = [0, 1].map(|i| NeuronSum { weights: tiles[i].weights(), columns: &columns[i], chains: chains[i] });
        let start = numbers(seed + 4, if has_start { neurons * samples } else { 0 });
        let states = numbers(seed + 5, if has_states { neurons * samples } else { 0 });
        let mut out = vec![UNTOUCHED; neurons * samples + 50];
        let product = NeuronProduct { sums: &sums[..parts], start: &start, states: &states, out: &mut out, samples };
        level.run(Given { product, cell: PhantomData::<A> });

        let expected = (0..neurons * samples).map(|i| {
            let (neuron, sample) = (i / samples, i % samples);
            let mut sum = Sum::start(start.get(i).copied().unwrap_or(0.0));
            for part in 0..parts {
                let of_neuron = &weights[part][neuron * terms[part]..];
                let factors = |k: usize| (of_neuron[k], columns[part][k * samples + sample]);
                sum.add_products(level.is_fused(), chains[part], terms[part], factors);
            }
            match states.get(i) {
                Some(y) => A::d_of_sum(level.is_fused(), sum.checked(), *y),
                None => sum.checked(),
            }
        });
        let mut expected: Vec<f32> = expected.collect();
        expected.resize(out.len(), UNTOUCHED);
        assert_same(&out, &expected, || format!("{level}: {self:?}"));
    }
}

#[test]
fn products_of_every_number_of_neurons() {
    at_every_level(|level| {
        for neurons in 1..=20 {
            for (terms, chains) in [(1, 1), (3, 1), (4, 2), (5, 2), (7, 2), (8, 4), (9, 4), (31, 4), (33, 2), (70, 1)] {
                for vectors in [1, 2] {
                    let samples = vectors * level.lanes();
                    for choice in 0..8 {
                        let (has_start, has_states) = (choice & 1 != 0, choice & 2 != 0);
                        let parts = 1 + (choice >> 2);
                        let case = Case {
                            neurons,
                            terms: [terms, 10],
                            chains: [chains, 4],
                            samples,
                            parts,
                            has_start,
                            has_states,
                        };
                        case.check::<Tanh>(level);
                        case.check::<Relu>(level);
                        // The other way round, as both are packed in an order of their own.
                        let Case { terms: [a, b], chains: [c, d], .. } = case;
                        Case { terms: [b, a], chains: [d, c], ..case }.check::<Tanh>(level);
                    }
                }
            }
        }
    });
}
