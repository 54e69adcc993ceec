//! The weights of one recurrent layer, packed for its passes over batches.

use crate::kernels::lanes::tile::NeuronTiles;
use crate::kernels::scratch::Scratch;
use crate::kernels::throughput::panels::Panels;
use crate::kernels::tuning::{back_in_lanes, samples_in_lanes};

/// For a forward; read-only while the threads work.
#[derive(Default, Debug)]
pub(crate) struct PackedCell {
    pub(crate) input: Panels,
    pub(crate) recurrent: Panels,
    /// `bias_ih + bias_hh`
    pub(crate) bias: Scratch,
    /// For samples in lanes: what each neuron is given by each input, and by each neuron.
    pub(crate) input_of_neurons: NeuronTiles,
    pub(crate) recurrent_of_neurons: NeuronTiles,
}

impl PackedCell {
    /// Packs what a projection of the inputs reads, of input-major weights.
    pub(crate) fn pack_input(&mut self, lanes: usize, weight_ih: &[f32], [bias_ih, bias_hh]: [&[f32]; 2]) {
        let hidden = bias_ih.len();
        self.input.pack(lanes, weight_ih, 1, hidden);
        for (to, (a, b)) in self.bias.get(hidden).iter_mut().zip(bias_ih.iter().zip(bias_hh)) {
            *to = a + b;
        }
    }

    /// Packs the rest of what a forward over `samples` samples reads.
    pub(crate) fn pack_recurrent(
        &mut self,
        lanes: usize,
        [weight_ih, weight_hh]: [&[f32]; 2],
        hidden: usize,
        samples: usize,
    ) {
        self.recurrent.pack(lanes, weight_hh, 1, hidden);
        if samples_in_lanes(lanes, hidden, samples) > 0 {
            self.input_of_neurons.pack_transposed(weight_ih, hidden);
            self.recurrent_of_neurons.pack_transposed(weight_hh, hidden);
        }
    }
}

/// The transposed weights, for the way back.
#[derive(Default, Debug)]
pub(crate) struct PackedTranspose {
    pub(crate) input: Panels,
    pub(crate) recurrent: Panels,
    /// For samples in lanes: what each input gives to each neuron, and each neuron to each.
    pub(crate) input_of_neurons: NeuronTiles,
    pub(crate) recurrent_of_neurons: NeuronTiles,
}

impl PackedTranspose {
    /// Packs what a backward over groups of `samples` samples reads, of input-major weights; those of the input only if its
    /// gradient is requested.
    pub(crate) fn pack(
        &mut self,
        lanes: usize,
        weight_ih: Option<&[f32]>,
        weight_hh: &[f32],
        hidden: usize,
        samples: usize,
    ) {
        let in_lanes = back_in_lanes(lanes, hidden, samples);
        let recurrent = Some((weight_hh, &mut self.recurrent, &mut self.recurrent_of_neurons));
        let input = weight_ih.map(|weights| (weights, &mut self.input, &mut self.input_of_neurons));
        for (weights, panels, of_neurons) in recurrent.into_iter().chain(input) {
            panels.pack_transposed(lanes, weights, hidden);
            if in_lanes {
                of_neurons.pack(weights, hidden);
            }
        }
    }
}
