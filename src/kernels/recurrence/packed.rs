//! The weights of one recurrent layer, packed for its passes over batches.

use crate::cells::Feeds;
use crate::kernels::lanes::tile::NeuronTiles;
use crate::kernels::scratch::Scratch;
use crate::kernels::throughput::panels::Panels;
use crate::kernels::tuning::{back_in_lanes, samples_in_lanes};

/// For a forward; read-only while the threads work.
#[derive(Default, Debug)]
pub(crate) struct PackedCell {
    pub(crate) input: Panels,
    pub(crate) recurrent: Panels,
    /// Where each sum starts: its biases, added.
    pub(crate) bias: Scratch,
    /// For samples in lanes: what each neuron is given by each input, and by each neuron.
    pub(crate) input_of_neurons: NeuronTiles,
    pub(crate) recurrent_of_neurons: NeuronTiles,
}

impl PackedCell {
    /// Packs what a projection of the inputs reads, of input-major weights.
    pub(crate) fn pack_input(
        &mut self,
        lanes: usize,
        feeds: &Feeds,
        weight_ih: &[f32],
        [bias_ih, bias_hh]: [&[f32]; 2],
    ) {
        let hidden = bias_ih.len() / feeds.gates;
        self.input.pack(lanes, weight_ih, feeds.gates, hidden);
        let bias = self.bias.get(feeds.sums * hidden);
        for (sum, to) in bias.chunks_exact_mut(hidden).enumerate() {
            let of_input = bias_ih.chunks_exact(hidden).nth(sum);
            let of_state = feeds.recurrent_gates[sum].map(|gate| &bias_hh[gate * hidden..]);
            match (of_input, of_state) {
                (Some(a), Some(b)) => to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = a + b),
                (Some(only), None) | (None, Some(only)) => to.copy_from_slice(&only[..hidden]),
                (None, None) => to.fill(0.0),
            }
        }
    }

    /// Packs the rest of what a forward over `samples` samples reads.
    pub(crate) fn pack_recurrent(
        &mut self,
        lanes: usize,
        feeds: &Feeds,
        [weight_ih, weight_hh]: [&[f32]; 2],
        hidden: usize,
        samples: usize,
    ) {
        self.recurrent.pack(lanes, weight_hh, feeds.gates, hidden);
        if feeds.sums == 1 && samples_in_lanes(lanes, hidden, samples) > 0 {
            self.input_of_neurons.pack_transposed(weight_ih, hidden);
            self.recurrent_of_neurons.pack_transposed(weight_hh, hidden);
        }
    }
}

/// The transposed weights, for the way back.
#[derive(Default, Debug)]
pub(crate) struct PackedTranspose {
    pub(crate) input: Panels,
    /// Of the gates whose sums lie side by side, and of the others, if there are some.
    pub(crate) recurrent: [Panels; 2],
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
        feeds: &Feeds,
        weight_ih: Option<&[f32]>,
        weight_hh: &[f32],
        hidden: usize,
        samples: usize,
    ) {
        let row = feeds.gates * hidden;
        let in_lanes = feeds.sums == 1 && back_in_lanes(lanes, hidden, samples);
        let run = feeds.first_run() * hidden;
        self.recurrent[0].pack_transposed_columns(lanes, weight_hh, row, 0..run);
        if run < row {
            self.recurrent[1].pack_transposed_columns(lanes, weight_hh, row, run..row);
        }
        if let Some(weight_ih) = weight_ih {
            self.input.pack_transposed(lanes, weight_ih, row);
            if in_lanes {
                self.input_of_neurons.pack(weight_ih, hidden);
            }
        }
        if in_lanes {
            self.recurrent_of_neurons.pack(weight_hh, hidden);
        }
    }
}
