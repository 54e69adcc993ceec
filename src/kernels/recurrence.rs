//! The tanh recurrence over time, for the samples that one thread takes through all steps; its backward beneath it.
//!
//! Everything inside is batch-first: row `(b, t)` of `[samples][steps][hidden]`.

use super::matvec::{self, Tanh, Weights};
use super::neuron_tile::NeuronTiles;
use super::pack::{Panels, Scratch};
use super::samples_in_lanes;
use super::tile::{self, Ahead, Finish, Input, Output, Rows, Table};
use super::view::View;
use super::weight_gradient::{Block, COLUMNS_IN_PLACE, Source};
use crate::Level;
use crate::batch::BlockSums;
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::ops::Range;

/// Steps that are projected, differentiated and summed into the weight gradients together, while they are in cache.
pub(crate) const STEPS_PER_BLOCK: usize = 16;

/// Steps that are projected together where a sample goes through time alone: whole tiles of six or eight rows, so many that
/// bringing the weights of the input near, for which those of the recurrence have to go, is rare.
pub(crate) const STEPS_ALONE: usize = 96;

/// Where the blocks of a sequence begin and end, the last one first. They begin at multiples of [`STEPS_PER_BLOCK`], so
/// that a sequence cut into chunks at such multiples has the same blocks.
pub(crate) fn blocks_from_the_end(steps: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..steps.div_ceil(STEPS_PER_BLOCK))
        .rev()
        .map(move |block| (block * STEPS_PER_BLOCK, steps.min((block + 1) * STEPS_PER_BLOCK)))
}

/// Samples that go through time together in a forward pass: enough that reading the weights is cheap, few enough that
/// their states stay near.
const SAMPLES_IN_CACHE: usize = 64;

/// Samples below which each is taken through time alone, several chains at once; above, as rows of a tile.
pub(crate) const SAMPLES_FOR_TILES: usize = 4;

/// Numbers from which on rows are asked for before they are needed, 1 MB: more than lies near a core.
const MANY_NUMBERS: usize = 1024 * 1024 / size_of::<f32>();

/// The same for a backward through time, which goes through four such tables at once: 512 KB.
const MANY_NUMBERS_BACK: usize = MANY_NUMBERS / 2;

/// How many steps before: enough to come from memory, few enough to be still there.
const STEPS_AHEAD: usize = 2;

/// Numbers that stay in the second level of the cache while all panels pass by: 128 KB.
const NUMBERS_NEAR: usize = 128 * 1024 / size_of::<f32>();

/// Neurons from which on the inputs of a forward come in time without being asked for.
const NEURONS_IN_TIME: usize = 64;

/// Rows `(sample, step)` in a slice, each `width` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) width: usize,
    /// Rows from one sample to the next, and from one step to the next.
    pub(crate) sample_stride: usize,
    pub(crate) step_stride: usize,
    /// Numbers of all rows together, those of other samples and steps too.
    all: usize,
}

impl<'a> Strided<'a> {
    /// All rows of `data`.
    #[inline(always)]
    pub(crate) fn new(data: &'a [f32], width: usize, sample_stride: usize, step_stride: usize) -> Self {
        Self { data, width, sample_stride, step_stride, all: data.len() }
    }

    /// Whether all rows together are so many that the next ones are not near by themselves.
    #[inline(always)]
    pub(crate) fn is_far(&self) -> bool {
        self.all > MANY_NUMBERS
    }

    /// The same in a backward through time.
    #[inline(always)]
    fn is_far_back(&self) -> bool {
        self.all > MANY_NUMBERS_BACK
    }

    #[inline(always)]
    pub(crate) fn row(&self, sample: usize, step: usize) -> &'a [f32] {
        let row = sample * self.sample_stride + step * self.step_stride;
        &self.data[row * self.width..][..self.width]
    }

    /// What follows from a row on, that row first.
    #[inline(always)]
    fn starting_at(&self, sample: usize, step: usize) -> &'a [f32] {
        &self.data[(sample * self.sample_stride + step * self.step_stride) * self.width..]
    }

    /// The row of a sample at a step, and those of the samples behind it.
    #[inline(always)]
    pub(super) fn view(&self, sample: usize, step: usize) -> View<'a> {
        View { data: self.starting_at(sample, step), stride: self.sample_stride * self.width }
    }

    /// The rows of a step, one for each sample.
    #[inline(always)]
    fn table(&self, step: usize) -> Table<'a> {
        let View { data, stride } = self.view(0, step);
        Table::along_inner(data, stride)
    }

    /// The rows of a step, to be asked for as far as they are wide: where they are near, nothing.
    #[inline(always)]
    fn ahead(&self, step: usize, far: bool) -> Ahead<'a> {
        Ahead { rows: self.view(0, step), width: if far { self.width } else { 0 } }
    }

    /// The same rows from `step` on.
    #[inline(always)]
    pub(crate) fn starting_at_step(self, step: usize) -> Self {
        let skip = (step * self.step_stride * self.width).min(self.data.len());
        Self { data: &self.data[skip..], ..self }
    }

    /// The same rows from `sample` on.
    #[inline(always)]
    pub(crate) fn starting_at_sample(self, sample: usize) -> Self {
        let skip = (sample * self.sample_stride * self.width).min(self.data.len());
        Self { data: &self.data[skip..], ..self }
    }
}

/// The packed weights of one layer, read-only while the threads work.
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
    /// Packs what [`Projection`] reads, of input-major weights.
    pub(crate) fn pack_input(&mut self, lanes: usize, weight_ih: &[f32], [bias_ih, bias_hh]: [&[f32]; 2]) {
        let hidden = bias_ih.len();
        self.input.pack(lanes, weight_ih, hidden);
        for (to, (a, b)) in self.bias.get(hidden).iter_mut().zip(bias_ih.iter().zip(bias_hh)) {
            *to = a + b;
        }
    }

    /// Packs what else [`Forward`] over so many samples reads.
    pub(crate) fn pack_recurrent(
        &mut self,
        lanes: usize,
        [weight_ih, weight_hh]: [&[f32]; 2],
        hidden: usize,
        samples: usize,
    ) {
        self.recurrent.pack(lanes, weight_hh, hidden);
        if samples_in_lanes::samples(lanes, hidden, samples) > 0 {
            self.input_of_neurons.pack_transposed(weight_ih, hidden);
            self.recurrent_of_neurons.pack_transposed(weight_hh, hidden);
        }
    }
}

/// `out(b, t) = bias + W x(b, t)` over a block of rows.
pub(crate) struct Projection<'a> {
    pub(crate) panels: &'a Panels,
    pub(crate) input: Strided<'a>,
    /// What the sums start from; nothing is zero.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[samples][out_steps][columns]`
    pub(crate) out: &'a mut [f32],
    pub(crate) out_steps: usize,
    pub(crate) samples: usize,
    /// The steps that are projected.
    pub(crate) steps: Range<usize>,
    /// Whether the output is asked for before it is written.
    pub(crate) far: bool,
}

impl Projection<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for Projection<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, input, bias, out, out_steps, samples, steps, far } = self;
        // Batches of nothing may have any number of steps, more than can be multiplied.
        if samples == 0 {
            return;
        }
        let columns = panels.columns();
        // The tile runs along the axis that fills it.
        let by_steps = steps.len() >= samples || steps.len() >= 8;
        let in_order = |samples: usize, steps: usize| if by_steps { (samples, steps) } else { (steps, samples) };
        let (outer, inner) = in_order(input.sample_stride * input.width, input.step_stride * input.width);
        let input = Table { data: input.starting_at_step(steps.start).data, outer, inner };
        let (outer, inner) = in_order(out_steps * columns, columns);
        let mut rows = Rows {
            input: Input::Rows(input),
            second_input: None,
            start: Table { data: bias.unwrap_or_default(), ..Table::ZEROS },
            finish: Finish::Nothing,
            output: Output { data: out, first: steps.start * columns, outer, inner, far },
            ahead: &[],
        };
        tile::multiply(s, [panels; 2], false, in_order(samples, steps.len()), &mut rows);
    }
}

/// Forward of one layer over the samples of one thread, tile by tile:
/// `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)` (Elman 1990).
pub(crate) struct Forward<'a> {
    pub(crate) input: Strided<'a>,
    /// One row a sample.
    pub(crate) initial: Strided<'a>,
    pub(crate) packed: &'a PackedCell,
    /// `[samples][steps][hidden]`
    pub(crate) out: &'a mut [f32],
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    /// One for every group of samples, of which the first is used.
    pub(crate) scratch: &'a mut [Scratch],
}

impl Forward<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { mut input, mut initial, packed, mut out, mut samples, steps, scratch } = self;
        let hidden = packed.recurrent.columns();
        let mut in_lanes = samples_in_lanes::samples(S::LANES, hidden, samples);
        while in_lanes > 0 {
            let done = in_lanes.min(2 * S::LANES);
            let (now, later) = out.split_at_mut(done * steps * hidden);
            samples_in_lanes::forward(s, Forward { input, initial, packed, out: now, samples: done, steps, scratch });
            (input, initial) = (input.starting_at_sample(done), initial.starting_at_sample(done));
            (out, samples, in_lanes) = (later, samples - done, in_lanes - done);
        }
        if samples == 0 {
            return;
        }
        // Groups of nearly equal size, whole tiles but for the last one.
        let group = samples.div_ceil(samples.div_ceil(SAMPLES_IN_CACHE)).next_multiple_of(8);
        for (out, first) in out.chunks_mut(group * steps * hidden).zip((0..).step_by(group)) {
            let samples = group.min(samples - first);
            let (input, initial) = (input.starting_at_sample(first), initial.starting_at_sample(first));
            let asks = input.is_far() && hidden < NEURONS_IN_TIME;
            for step in 0..steps {
                let ahead = asks.then(|| input.ahead((step + STEPS_AHEAD).min(steps - 1), true));
                let mut rows = Rows {
                    input: Input::Rows(input.table(step)),
                    second_input: Some(match step {
                        0 => Input::Rows(initial.table(0)),
                        t => Input::Results((t - 1) * hidden),
                    }),
                    start: Table { data: packed.bias.as_slice(hidden), ..Table::ZEROS },
                    finish: Finish::Tanh,
                    output: Output { data: out, first: step * hidden, outer: 0, inner: steps * hidden, far: false },
                    ahead: ahead.as_slice(),
                };
                // Alternating direction: what the last step left in L1 is used first.
                tile::multiply(s, [&packed.input, &packed.recurrent], step % 2 == 1, (1, samples), &mut rows);
            }
        }
    }
}

/// All steps of one sample alone, inputs and states together: `h_t = tanh(bias + W_ih x_t + W_hh h_{t-1})`.
pub(crate) struct Steps<'a, const IN: usize, const HID: usize> {
    pub(crate) weights: Weights<'a, IN, HID>,
    /// One sample.
    pub(crate) input: Strided<'a>,
    /// The state before the first step.
    pub(crate) before: &'a [f32; HID],
    pub(crate) states: &'a mut [[f32; HID]],
}

impl<const IN: usize, const HID: usize> Kernel for Steps<'_, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut before = self.before;
        for (step, state) in self.states.iter_mut().enumerate() {
            if let Some(x) = self.input.row(0, step).first_chunk() {
                *state = self.weights.step(s, x, before);
            }
            before = state;
        }
    }
}

/// Steps of one sample alone whose inputs are projected already: `h_t = tanh(z_t + W_hh h_{t-1})`, in place.
pub(crate) struct OneSample<'a, const HID: usize> {
    pub(crate) weight_hh: &'a [[f32; HID]; HID],
    /// The state before the first step.
    pub(crate) before: &'a [f32; HID],
    /// On entry the projected inputs, on exit the hidden states.
    pub(crate) states: &'a mut [[f32; HID]],
}

impl<const HID: usize> Kernel for OneSample<'_, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut before = self.before;
        for state in self.states {
            matvec::add_product(s, self.weight_hh, before, state, Tanh);
            before = state;
        }
    }
}

/// The transposed weights of one layer, for the way back.
#[derive(Default, Debug)]
pub(crate) struct PackedTranspose {
    pub(crate) input: Panels,
    pub(crate) recurrent: Panels,
    /// For samples in lanes: what each input gives to each neuron, and each neuron to each.
    pub(crate) input_of_neurons: NeuronTiles,
    pub(crate) recurrent_of_neurons: NeuronTiles,
}

impl PackedTranspose {
    /// Packs what [`Backward`] over groups of so many samples reads of input-major weights; those of the inputs, if anybody
    /// asks for their gradient.
    pub(crate) fn pack(
        &mut self,
        lanes: usize,
        weight_ih: Option<&[f32]>,
        weight_hh: &[f32],
        hidden: usize,
        samples: usize,
    ) {
        let in_lanes = samples_in_lanes::back(lanes, hidden, samples);
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

/// What a backward over samples reads.
#[derive(Clone, Copy)]
pub(crate) struct BackwardInputs<'a> {
    pub(crate) hidden: usize,
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    pub(crate) input: Strided<'a>,
    pub(crate) initial: Strided<'a>,
    /// What the forward computed, `[samples][steps][hidden]`.
    pub(crate) output: Strided<'a>,
    pub(crate) d_output: Strided<'a>,
    /// Gradient of the last hidden state, one row a sample, on top of `d_output`.
    pub(crate) d_final: Option<Strided<'a>>,
    pub(crate) packed: &'a PackedTranspose,
}

impl BackwardInputs<'_> {
    /// The last step of a block, `dz = dh * (1 - h^2)`, with the gradient that comes from behind it in `dh`. Rows of `dz` are
    /// `stride` apart.
    #[inline(always)]
    fn last_step<S: Simd>(&self, s: S, step: usize, d_final: Option<Strided<'_>>, d_sums: &mut [f32], stride: usize) {
        for (sample, row) in d_sums.chunks_mut(stride).take(self.samples).enumerate() {
            for first in (0..self.hidden).step_by(S::LANES) {
                let mut d_hidden = load_some(s, &self.d_output.row(sample, step)[first..]);
                if let Some(d_final) = d_final {
                    d_hidden = s.add(d_hidden, load_some(s, &d_final.row(sample, 0)[first..]));
                }
                let h = load_some(s, &self.output.row(sample, step)[first..]);
                store_some(s, super::tanh::backward(s, d_hidden, h), &mut row[first..self.hidden]);
            }
        }
    }

    /// From `step` on.
    fn starting_at_step(self, step: usize) -> Self {
        Self { output: self.output.starting_at_step(step), d_output: self.d_output.starting_at_step(step), ..self }
    }

    /// Those of the first `samples` samples, and the others.
    pub(crate) fn split_at(self, samples: usize) -> (Self, Self) {
        let rest = Self {
            samples: self.samples - samples,
            input: self.input.starting_at_sample(samples),
            initial: self.initial.starting_at_sample(samples),
            output: self.output.starting_at_sample(samples),
            d_output: self.d_output.starting_at_sample(samples),
            d_final: self.d_final.map(|rows| rows.starting_at_sample(samples)),
            ..self
        };
        (Self { samples, ..self }, rest)
    }
}

/// Backward of one layer over one group of samples (Werbos 1990):
/// `dz_t = (dh_t + W_hh^T dz_{t+1}) * (1 - h_t^2)`, and from it the gradients of everything.
pub(crate) struct Backward<'a> {
    pub(crate) inputs: BackwardInputs<'a>,
    pub(crate) scratch: &'a mut Scratch,
    /// `[samples][steps][inputs]`, where anybody asks for it.
    pub(crate) d_input: Option<&'a mut [f32]>,
    /// `[samples][hidden]`: of each block, and at the end of the first one
    pub(crate) d_initial: &'a mut [f32],
    /// Gradients of the weights of the input, of the recurrence, and of the bias are added to these.
    pub(crate) gradients: [BlockSums<'a>; 3],
}

impl Backward<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = self.inputs;
        let BackwardInputs { hidden, samples, steps, input, initial, output, d_output, d_final: last, packed, .. } =
            inputs;
        let in_lanes = samples_in_lanes::back(S::LANES, hidden, samples);
        // One row more than there are steps: samples a power of two apart would share the same few sets of the cache.
        let slots = STEPS_PER_BLOCK.min(steps) + 1;
        let in_place = hidden <= COLUMNS_IN_PLACE;
        let packed_columns = if in_place { 0 } else { hidden };
        let block_memory = Block::memory(s, samples * slots, packed_columns, hidden.max(input.width));
        // In place, up to two vectors are read behind the last row.
        let d_sums = samples * slots * hidden + 2 * S::LANES;
        let columns = if in_lanes { samples_in_lanes::backward_memory(s, &inputs) } else { 0 };
        let (block_memory, rest) = self.scratch.get(block_memory + d_sums + columns).split_at_mut(block_memory);
        let (d_sums, columns) = rest.split_at_mut(d_sums);
        let d_input = &mut self.d_input.unwrap_or_default();
        let mut gradients = self.gradients;
        // What the steps read, and the outer products of their block.
        let streams = [d_output, output, input];
        let far = streams.iter().any(|rows| rows.is_far_back());
        for (start, end) in blocks_from_the_end(steps) {
            // What reaches the last step of the block from the steps behind it.
            let following = Strided::new(self.d_initial, hidden, 1, 0);
            let d_final = if end == steps { last } else { Some(following) };
            // With samples in lanes, only the last step goes by rows.
            let by_rows = if in_lanes { end - 1..end } else { start..end };
            for step in by_rows.rev() {
                let ahead = (far && step >= STEPS_AHEAD)
                    .then(|| streams.map(|rows| rows.ahead(step - STEPS_AHEAD, rows.is_far_back())));
                let ahead = ahead.as_slice().as_flattened();
                let first = (step - start) * hidden;
                if step + 1 == end {
                    for rows in ahead {
                        rows.prefetch(s, 0..samples, 0..hidden, hidden);
                    }
                    inputs.last_step(s, step, d_final, &mut d_sums[first..], slots * hidden);
                    continue;
                }
                let mut rows = Rows {
                    input: Input::Results(first + hidden),
                    second_input: None,
                    start: d_output.table(step),
                    finish: Finish::Slope(output.table(step)),
                    output: Output { data: d_sums, first, outer: 0, inner: slots * hidden, far: false },
                    ahead,
                };
                tile::multiply(s, [&packed.recurrent; 2], step % 2 == 1, (1, samples), &mut rows);
            }
            if in_lanes {
                let inputs = inputs.starting_at_step(start);
                let d_input = d_input.get_mut(start * input.width..).filter(|rows| !rows.is_empty());
                samples_in_lanes::backward(s, &inputs, end - start, (d_sums, slots), d_input, columns);
            }
            let d_sum_rows = Strided::new(d_sums, hidden, slots, 1);
            let grid = (samples, end - start);
            let mut block = if in_place {
                Block::in_place(d_sum_rows, grid, hidden, block_memory)
            } else {
                Block::pack(s, &d_sum_rows, grid, hidden, block_memory)
            };
            let [d_weight_ih, d_weight_hh, d_bias] = gradients.each_mut().map(|gradient| &mut *gradient.sums);
            block.add_outer_products(s, &input.starting_at_step(start), d_weight_ih);
            block.add_outer_products(s, &Previous { initial, output, first: start }, d_weight_hh);
            block.add_rows(s, d_bias);
            gradients.iter_mut().for_each(BlockSums::count_block);
            if !d_input.is_empty() && !in_lanes {
                let together = (NUMBERS_NEAR / (slots * hidden)).max(1);
                for first in (0..samples).step_by(together) {
                    let projection = Projection {
                        panels: &packed.input,
                        input: d_sum_rows.starting_at_sample(first),
                        bias: None,
                        out: &mut d_input[(first * steps + start) * input.width..],
                        out_steps: steps,
                        samples: together.min(samples - first),
                        steps: 0..end - start,
                        far: input.is_far_back(),
                    };
                    projection.run(s);
                }
            }
            // The gradient of the state before the block: W_hh^T dz of its first step.
            let projection = Projection {
                panels: &packed.recurrent,
                input: d_sum_rows,
                bias: None,
                out: self.d_initial,
                out_steps: 1,
                samples,
                steps: 0..1,
                far: false,
            };
            projection.run(s);
        }
    }
}

impl Source for Strided<'_> {
    #[inline(always)]
    fn rows(&self, sample: usize) -> (&[f32], View<'_>) {
        let data = self.data.get((sample * self.sample_stride + self.step_stride) * self.width..).unwrap_or_default();
        (self.row(sample, 0), View { data, stride: self.step_stride * self.width })
    }
}

/// The hidden states that the steps from `first` on started from.
struct Previous<'a> {
    initial: Strided<'a>,
    output: Strided<'a>,
    first: usize,
}

impl Source for Previous<'_> {
    #[inline(always)]
    fn rows(&self, sample: usize) -> (&[f32], View<'_>) {
        let before = match self.first {
            0 => self.initial.row(sample, 0),
            t => self.output.row(sample, t - 1),
        };
        let data = self.output.starting_at(sample, self.first);
        (before, View { data, stride: self.output.step_stride * self.output.width })
    }
}
