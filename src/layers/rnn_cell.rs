//! One tanh recurrent layer: `RnnCell`.

use super::{draw_in_torch_order, torch_order};
use crate::kernels::flat_mut;
use crate::kernels::matvec::{Weights, matvec_transposed};
use crate::kernels::tanh;
use crate::kernels::transpose::copy_transposed;
use crate::kernels::weight_gradient::{add_outer_product, add_row};
use crate::parameters::{Parameters, impl_parameters};
use crate::simd::{Kernel, Simd};
use crate::{Error, Generator, Level};

/// One layer of the Elman network (Elman 1990, "Finding structure in time"):
///
/// `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`
///
/// PyTorch's `nn.RNNCell(IN, HID)`, with the same numbers for the same seed. It is plain data: its own gradient has
/// its type, it can be a `static`, it needs no heap.
///
/// The weights are stored **input-major**, the transpose of PyTorch's layout: `weight_ih[i][j]` is what input `i` gives
/// to neuron `j`. [`RnnCell::from_torch`] and [`RnnCell::weight_ih_torch`] convert.
///
/// States below the smallest normal number (1.2e-38) become zero, so that one that nothing feeds any longer does not slow the
/// steps to come, as such numbers do on many CPUs; so do gradients in front of tanh below 2^-110 (7.7e-34), which products with
/// weights and states would make as small. PyTorch keeps both, unless `torch.set_flush_denormal` is on.
///
/// A cell lies where it is put; one with `HID = 1024` takes 8 MB. Put such ones on the heap with `RnnCell::boxed`,
/// which never has them on the stack.
///
/// ```
/// use elman::{Generator, RnnCell};
/// let cell = RnnCell::<4, 2>::new(&mut Generator::seed(0));
/// let mut h = [0.0; 2];
/// for x in [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]] {
///     cell.step_in_place(&x, &mut h);
/// }
/// assert!(h.iter().all(|h| h.abs() < 1.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct RnnCell<const IN: usize, const HID: usize> {
    /// What each input gives to each neuron.
    pub weight_ih: [[f32; HID]; IN],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [[f32; HID]; HID],
    /// Bias of the input.
    pub bias_ih: [f32; HID],
    /// Bias of the recurrence.
    pub bias_hh: [f32; HID],
}

/// The weights of one recurrent layer as PyTorch keeps them, row-major `[out][in]`.
#[derive(Clone, Copy, Debug)]
pub struct RnnWeights<'a> {
    /// `[HID][IN]`
    pub weight_ih: &'a [f32],
    /// `[HID][HID]`
    pub weight_hh: &'a [f32],
    /// `[HID]`
    pub bias_ih: &'a [f32],
    /// `[HID]`
    pub bias_hh: &'a [f32],
}

impl<const IN: usize, const HID: usize> RnnCell<IN, HID> {
    /// The fields are public, so every way to compute with a cell asks for this, not only the ways to make one.
    const CHECK: () = assert!(IN > 0 && HID > 0, "an RnnCell needs at least one input and one neuron");

    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { Self::CHECK };
        Self { weight_ih: [[0.0; HID]; IN], weight_hh: [[0.0; HID]; HID], bias_ih: [0.0; HID], bias_hh: [0.0; HID] }
    }

    /// PyTorch's initial values: all parameters uniform in `-1/sqrt(HID) .. 1/sqrt(HID)`, in the order `weight_ih`,
    /// `weight_hh`, `bias_ih`, `bias_hh`.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut cell = Self::zeros();
        cell.reset_parameters(generator);
        cell
    }

    /// [`RnnCell::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed(generator: &mut Generator) -> alloc::boxed::Box<Self> {
        let mut cell = Self::zeros_boxed();
        cell.reset_parameters(generator);
        cell
    }

    /// [`RnnCell::zeros`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn zeros_boxed() -> alloc::boxed::Box<Self> {
        const { Self::CHECK };
        bytemuck::zeroed_box()
    }

    /// Draws all parameters anew, as [`RnnCell::new`] does.
    pub fn reset_parameters(&mut self, generator: &mut Generator) {
        let bound = uniform_bound(HID);
        draw_in_torch_order(generator, bound, self.weight_ih.as_flattened_mut(), HID);
        draw_in_torch_order(generator, bound, self.weight_hh.as_flattened_mut(), HID);
        generator.fill_uniform(&mut self.bias_ih, -bound, bound);
        generator.fill_uniform(&mut self.bias_hh, -bound, bound);
    }

    /// A cell with PyTorch's weights.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] naming the tensor whose length does not fit.
    pub fn from_torch(weights: &RnnWeights<'_>) -> Result<Self, Error> {
        let mut cell = Self::zeros();
        cell.load_torch(weights)?;
        Ok(cell)
    }

    /// Takes over PyTorch's weights, as they are: [`Parameters::flush_denormals`] is for denormal ones, which are slow.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] naming the tensor whose length does not fit; nothing has changed then.
    pub fn load_torch(&mut self, weights: &RnnWeights<'_>) -> Result<(), Error> {
        const { Self::CHECK };
        Error::check_length("weight_ih", HID * IN, weights.weight_ih.len())?;
        Error::check_length("weight_hh", HID * HID, weights.weight_hh.len())?;
        Error::check_length("bias_ih", HID, weights.bias_ih.len())?;
        Error::check_length("bias_hh", HID, weights.bias_hh.len())?;
        copy_transposed(weights.weight_ih, IN, self.weight_ih.as_flattened_mut());
        copy_transposed(weights.weight_hh, HID, self.weight_hh.as_flattened_mut());
        self.bias_ih.copy_from_slice(weights.bias_ih);
        self.bias_hh.copy_from_slice(weights.bias_hh);
        Ok(())
    }

    /// `weight_ih` in PyTorch's order: `[HID][IN]`, row after row.
    pub fn weight_ih_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(&self.weight_ih)
    }

    /// `weight_hh` in PyTorch's order: `[HID][HID]`, row after row.
    pub fn weight_hh_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(&self.weight_hh)
    }

    /// The next hidden state.
    #[must_use]
    #[inline]
    pub fn step(&self, x: &[f32; IN], h: &[f32; HID]) -> [f32; HID] {
        let mut next = *h;
        self.step_in_place(x, &mut next);
        next
    }

    /// Replaces the hidden state by the next one.
    #[inline]
    pub fn step_in_place(&self, x: &[f32; IN], h: &mut [f32; HID]) {
        self.step_at(Level::detect(), x, h);
    }

    /// [`RnnCell::step_in_place`] at a given level.
    #[inline]
    pub fn step_at(&self, level: Level, x: &[f32; IN], h: &mut [f32; HID]) {
        level.narrow_alone(HID).run(Step { cell: self, x, h });
    }

    /// One step of a batch: row `n` of `x` drives row `n` of `h`. See [`Streams`](crate::Streams).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as hidden states.
    pub fn step_batch(&self, x: &[[f32; IN]], h: &mut [[f32; HID]]) -> Result<(), Error> {
        self.step_batch_at(Level::detect(), x, h)
    }

    /// [`RnnCell::step_batch`] at a given level.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as hidden states.
    pub fn step_batch_at(&self, level: Level, x: &[[f32; IN]], h: &mut [[f32; HID]]) -> Result<(), Error> {
        Error::check_length("rows of x", h.len(), x.len())?;
        self.step_together(level, x, h);
        Ok(())
    }

    /// One step of each of as many samples as there are rows.
    #[inline]
    pub(crate) fn step_together(&self, level: Level, x: &[[f32; IN]], h: &mut [[f32; HID]]) {
        level.narrow(HID).run(StepTogether { cell: self, x, h });
    }

    /// The backward of one step `h_next = step(x, h)`, given the gradient of `h_next`: adds the gradients of the
    /// parameters to `gradients` and returns those of `x` and of `h`.
    ///
    /// `dz = d_h_next * (1 - h_next^2)`, `dx = W_ih^T dz`, `dh = W_hh^T dz`, `dW += dz (x, h)^T`, `db += dz`.
    ///
    /// This is the form for training without a heap, one sample at a time; it takes 64 bytes of stack for each neuron. Over
    /// sequences and batches `Layer` does the same much faster.
    #[must_use]
    pub fn step_backward(
        &self,
        x: &[f32; IN],
        h: &[f32; HID],
        h_next: &[f32; HID],
        d_h_next: &[f32; HID],
        gradients: &mut Self,
    ) -> ([f32; IN], [f32; HID]) {
        self.step_backward_at(Level::detect(), x, h, h_next, d_h_next, gradients)
    }

    /// [`RnnCell::step_backward`] at a given level.
    #[must_use]
    pub fn step_backward_at(
        &self,
        level: Level,
        x: &[f32; IN],
        h: &[f32; HID],
        h_next: &[f32; HID],
        d_h_next: &[f32; HID],
        gradients: &mut Self,
    ) -> ([f32; IN], [f32; HID]) {
        let mut d_x = [0.0; IN];
        let d_h = self.step_backward_into(level, (x, h, h_next), d_h_next, Some(&mut d_x), gradients);
        (d_x, d_h)
    }

    /// [`RnnCell::step_backward_at`] of a step from `x` and `h` to `h_next`, with the gradient of `x` where anybody asks for
    /// it.
    #[inline]
    pub(crate) fn step_backward_into(
        &self,
        level: Level,
        step: (&[f32; IN], &[f32; HID], &[f32; HID]),
        d_h_next: &[f32; HID],
        d_x: Option<&mut [f32; IN]>,
        gradients: &mut Self,
    ) -> [f32; HID] {
        level.narrow(HID).run(StepBackward { cell: self, step, d_h_next, d_x, gradients })
    }
}

impl<const IN: usize, const HID: usize> RnnCell<IN, HID> {
    #[inline(always)]
    fn weights(&self) -> Weights<'_, IN, HID> {
        const { Self::CHECK };
        let Self { weight_ih, weight_hh, bias_ih, bias_hh } = self;
        Weights { weight_ih, weight_hh, bias_ih, bias_hh }
    }
}

/// `1 / sqrt(size)`, as PyTorch computes it.
pub(super) fn uniform_bound(size: usize) -> f32 {
    (1.0 / libm::sqrt(size as f64)) as f32
}

struct Step<'a, const IN: usize, const HID: usize> {
    cell: &'a RnnCell<IN, HID>,
    x: &'a [f32; IN],
    h: &'a mut [f32; HID],
}

impl<const IN: usize, const HID: usize> Kernel for Step<'_, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Step { cell, x, h } = self;
        *h = cell.weights().step(s, x, h);
    }
}

struct StepTogether<'a, const IN: usize, const HID: usize> {
    cell: &'a RnnCell<IN, HID>,
    x: &'a [[f32; IN]],
    h: &'a mut [[f32; HID]],
}

impl<const IN: usize, const HID: usize> Kernel for StepTogether<'_, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.cell.weights().step_together(s, self.x, self.h);
    }
}

struct StepBackward<'a, const IN: usize, const HID: usize> {
    cell: &'a RnnCell<IN, HID>,
    /// `x`, `h`, `h_next`
    step: (&'a [f32; IN], &'a [f32; HID], &'a [f32; HID]),
    d_h_next: &'a [f32; HID],
    d_x: Option<&'a mut [f32; IN]>,
    gradients: &'a mut RnnCell<IN, HID>,
}

impl<const IN: usize, const HID: usize> Kernel for StepBackward<'_, IN, HID> {
    type Output = [f32; HID];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; HID] {
        let StepBackward { cell, step: (x, h, h_next), d_h_next, d_x, gradients } = self;
        let d_sum = tanh::times_derivative(s, d_h_next, h_next);
        add_outer_product(s, x, &d_sum, flat_mut(&mut gradients.weight_ih));
        add_outer_product(s, h, &d_sum, flat_mut(&mut gradients.weight_hh));
        add_row(s, &d_sum, &mut gradients.bias_ih);
        add_row(s, &d_sum, &mut gradients.bias_hh);
        if let Some(d_x) = d_x {
            *d_x = matvec_transposed(s, &cell.weight_ih, &d_sum);
        }
        matvec_transposed(s, &cell.weight_hh, &d_sum)
    }
}

impl_parameters!(RnnCell<IN, HID> { weight_ih flattened, weight_hh flattened, bias_ih, bias_hh });

#[cfg(feature = "alloc")]
pub(super) mod over_sequences {
    use super::*;
    use crate::batch::{self, ShareMemory, ShareOutputs};
    use crate::kernels::BYTES_IN_L1;
    use crate::kernels::pack::Scratch;
    use crate::kernels::recurrence::{
        BackwardInputs, Forward, OneSample, PackedCell, PackedTranspose, Projection, SAMPLES_FOR_TILES, STEPS_ALONE,
        Steps, Strided,
    };
    use crate::kernels::samples_in_lanes;
    use crate::layers::rnn_threads::{BackwardShares, ForwardSamples};
    use crate::model::{Layer, Run, check_output_shape};
    use crate::sequences::{Sequences, SequencesBuf};
    use alloc::vec::Vec;

    /// What an [`RnnCell`] keeps between forward and backward, and its memory for both.
    #[derive(Debug, Default)]
    pub struct RnnCellCache<const IN: usize, const HID: usize> {
        output: SequencesBuf<[f32; HID]>,
        /// One row a sample.
        initial: Vec<[f32; HID]>,
        last: Vec<[f32; HID]>,
        packed: PackedCell,
        packed_transpose: PackedTranspose,
        /// One for every group of samples.
        scratch: Vec<Scratch>,
        share_gradients: ShareMemory<3>,
        d_input: SequencesBuf<[f32; IN]>,
        d_initial: Vec<[f32; HID]>,
    }

    impl<const IN: usize, const HID: usize> RnnCellCache<IN, HID> {
        pub(in crate::layers) fn output(&self) -> Sequences<'_, [f32; HID]> {
            self.output.view()
        }
        pub(in crate::layers) fn d_input(&self) -> Sequences<'_, [f32; IN]> {
            self.d_input.view()
        }
        /// Does something with the memory of the gradient of the input beside all else.
        pub(in crate::layers) fn beside_d_input<R>(
            &mut self,
            work: impl FnOnce(&mut Self, &mut SequencesBuf<[f32; IN]>) -> R,
        ) -> R {
            let mut d_input = core::mem::take(&mut self.d_input);
            let result = work(self, &mut d_input);
            self.d_input = d_input;
            result
        }
        /// The state after the last step, one row a sample.
        pub(in crate::layers) fn last(&self) -> &Vec<[f32; HID]> {
            &self.last
        }
        /// The gradient of the initial state, one row a sample.
        pub(in crate::layers) fn d_initial(&self) -> &Vec<[f32; HID]> {
            &self.d_initial
        }
    }

    /// Whether a backward over `layers` layers fits the forward, whose outputs had a shape.
    pub(in crate::layers) fn check_rows<const IN: usize, const HID: usize>(
        input: Sequences<'_, [f32; IN]>,
        shape: (usize, usize),
        d_output: (usize, usize),
        layers: usize,
        d_final: &[[f32; HID]],
    ) -> Result<(), Error> {
        input.check_shape("the input of the backward", shape)?;
        check_output_shape(shape, d_output)?;
        if !d_final.is_empty() {
            Error::check_length("rows of the gradient of the final state", layers * shape.1, d_final.len())?;
        }
        Ok(())
    }

    /// Whether a state has one row for each layer and sample, or none at all.
    pub(in crate::layers) fn check_state<const HID: usize>(
        layers: usize,
        batch: usize,
        state: &[[f32; HID]],
    ) -> Result<(), Error> {
        if state.is_empty() {
            return Ok(());
        }
        Error::check_length("rows of the initial state", layers * batch, state.len())
    }

    /// One row a sample.
    fn rows_of_samples<const N: usize>(rows: &[[f32; N]]) -> Strided<'_> {
        Strided::new(rows.as_flattened(), N, 1, 0)
    }

    impl<const IN: usize, const HID: usize> RnnCell<IN, HID> {
        /// Whether one sample's steps take inputs and states together; otherwise, where both matrices do not stay in L1, the
        /// inputs are projected in bulk first.
        const STEPS_TOGETHER: bool = (IN + HID) * HID * size_of::<f32>() <= BYTES_IN_L1;

        /// How many samples, the last ones, each go through time alone in a forward: all of a few, and the few that those
        /// in lanes leave.
        const fn samples_alone(lanes: usize, samples: usize) -> usize {
            let left = samples - samples_in_lanes::samples(lanes, HID, samples);
            if left < SAMPLES_FOR_TILES { left } else { 0 }
        }

        /// What a backward computes; the gradient of the other bias is the same.
        fn tensors_mut(&mut self) -> [&mut [f32]; 3] {
            let Self { weight_ih, weight_hh, bias_ih, .. } = self;
            [weight_ih.as_flattened_mut(), weight_hh.as_flattened_mut(), bias_ih]
        }

        /// Forward; `initial` has one row a sample, or none at all for zeros.
        pub(in crate::layers) fn forward_rows(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            initial: &[[f32; HID]],
            cache: &mut RnnCellCache<IN, HID>,
        ) -> Result<(), Error> {
            const { Self::CHECK };
            input.check_steps()?;
            let (steps, samples) = input.shape();
            check_state(1, samples, initial)?;
            cache.initial.clear();
            cache.initial.extend_from_slice(initial);
            cache.initial.resize(samples, [0.0; HID]);
            cache.output.reshape(input.shape());
            let lanes = run.level.lanes();
            let together = samples - Self::samples_alone(lanes, samples);
            if together > 0 || !Self::STEPS_TOGETHER {
                let biases = [&self.bias_ih[..], &self.bias_hh];
                cache.packed.pack_input(lanes, self.weight_ih.as_flattened(), biases);
            }
            let (input, out) = (input.strided(), cache.output.rows_mut());
            let (out, out_alone) = out.split_at_mut(together * steps);
            if together > 0 {
                let weights = [self.weight_ih.as_flattened(), self.weight_hh.as_flattened()];
                cache.packed.pack_recurrent(lanes, weights, HID, together);
                let initial = rows_of_samples(&cache.initial);
                let out = out.as_flattened_mut();
                let scratch = batch::scratch_of_groups(&mut cache.scratch, together);
                let forward = Forward { input, initial, packed: &cache.packed, out, samples: together, steps, scratch };
                let work = ForwardSamples { level: run.level, forward };
                batch::run_shared(work, batch::operations(&[2, steps, together, HID, IN + HID]));
            }
            for (states, sample) in out_alone.chunks_exact_mut(steps).zip(together..) {
                let before = &cache.initial[sample];
                self.forward_alone(run.level, input.starting_at_sample(sample), before, states, &cache.packed);
            }
            cache.last.clear();
            cache.last.extend(cache.output.view().last_rows());
            Ok(())
        }

        /// Forward of one sample alone.
        fn forward_alone(
            &self,
            level: Level,
            input: Strided<'_>,
            initial: &[f32; HID],
            out: &mut [[f32; HID]],
            packed: &PackedCell,
        ) {
            if const { Self::STEPS_TOGETHER } {
                let steps = Steps { weights: self.weights(), input, before: initial, states: out };
                return level.narrow_alone(HID).run(steps);
            }
            let steps = out.len();
            for start in (0..steps).step_by(STEPS_ALONE) {
                let end = steps.min(start + STEPS_ALONE);
                let projection = Projection {
                    panels: &packed.input,
                    input,
                    bias: Some(packed.bias.as_slice(HID)),
                    out: out.as_flattened_mut(),
                    out_steps: steps,
                    samples: 1,
                    steps: start..end,
                    far: false,
                };
                projection.at(level);
                let (done, states) = out[..end].split_at_mut(start);
                let before = done.last().unwrap_or(initial);
                level.narrow_alone(HID).run(OneSample { weight_hh: &self.weight_hh, before, states });
            }
        }

        /// Backward; `d_final` has one row a sample, or none at all for zeros. `d_output` is what it is given, beside it
        /// where the gradient of the input goes.
        pub(in crate::layers) fn backward_rows(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            cache: &mut RnnCellCache<IN, HID>,
            (d_output, d_input): (Sequences<'_, [f32; HID]>, &mut SequencesBuf<[f32; IN]>),
            d_final: &[[f32; HID]],
            gradients: &mut Self,
        ) -> Result<(), Error> {
            check_rows(input, cache.output.view().shape(), d_output.shape(), 1, d_final)?;
            let (steps, samples) = input.shape();
            if run.from_zero {
                let Self { weight_ih, weight_hh, bias_ih, .. } = self;
                cache.share_gradients.reset(samples, [weight_ih.as_flattened(), weight_hh.as_flattened(), bias_ih]);
                gradients.fill_zero();
            }
            cache.d_initial.resize(samples, [0.0; HID]);
            d_input.reshape((steps, if run.d_input { samples } else { 0 }));
            let lanes = run.level.lanes();
            let weight_ih = run.d_input.then_some(self.weight_ih.as_flattened());
            let group = samples.min(batch::SAMPLES_PER_GROUP);
            cache.packed_transpose.pack(lanes, weight_ih, self.weight_hh.as_flattened(), HID, group);
            let work = BackwardShares {
                level: run.level,
                inputs: BackwardInputs {
                    hidden: HID,
                    samples,
                    steps,
                    input: input.strided(),
                    initial: rows_of_samples(&cache.initial),
                    output: cache.output.view().strided(),
                    d_output: d_output.strided(),
                    d_final: (!d_final.is_empty()).then(|| rows_of_samples(d_final)),
                    packed: &cache.packed_transpose,
                },
                outputs: ShareOutputs {
                    samples: batch::samples_per_share(samples),
                    scratch: batch::scratch_of_groups(&mut cache.scratch, samples),
                    d_input: run.d_input.then_some(d_input.rows_mut().as_flattened_mut()),
                    gradients: cache.share_gradients.shares(gradients.tensors_mut()),
                },
                d_initial: cache.d_initial.as_flattened_mut(),
            };
            batch::run_pieces(work, batch::operations(&[4, steps, samples, HID, IN + HID]));
            if run.complete {
                cache.share_gradients.add_to(gradients.tensors_mut());
                // Both biases enter every sum alike.
                gradients.bias_hh = gradients.bias_ih;
            }
            Ok(())
        }
    }

    impl<const IN: usize, const HID: usize> Layer for RnnCell<IN, HID> {
        type Input = [f32; IN];
        type Output = [f32; HID];
        type InputGradient = [f32; IN];
        type State = Vec<[f32; HID]>;
        type Cache = RnnCellCache<IN, HID>;

        fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error> {
            check_state(1, batch, initial)
        }

        fn forward_with(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            initial: &Self::State,
            cache: &mut Self::Cache,
        ) -> Result<(), Error> {
            self.forward_rows(run, input, initial, cache)
        }

        fn output(cache: &Self::Cache) -> Sequences<'_, [f32; HID]> {
            cache.output()
        }

        fn final_state(cache: &Self::Cache) -> &Self::State {
            cache.last()
        }

        fn check_backward(
            &self,
            input: Sequences<'_, [f32; IN]>,
            cache: &Self::Cache,
            d_output: (usize, usize),
            d_final: &Self::State,
        ) -> Result<(), Error> {
            check_rows(input, cache.output().shape(), d_output, 1, d_final)
        }

        fn backward_with(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            cache: &mut Self::Cache,
            d_output: Sequences<'_, [f32; HID]>,
            d_final: &Self::State,
            gradients: &mut Self,
        ) -> Result<(), Error> {
            cache.beside_d_input(|cache, d_input| {
                self.backward_rows(run, input, cache, (d_output, d_input), d_final, gradients)
            })
        }

        fn d_input(cache: &Self::Cache) -> Sequences<'_, [f32; IN]> {
            cache.d_input()
        }

        fn d_initial(cache: &Self::Cache) -> &Self::State {
            cache.d_initial()
        }

        fn copy_state(from: &Self::State, to: &mut Self::State) {
            to.clone_from(from);
        }
    }
}
