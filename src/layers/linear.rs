//! The affine layer: `Linear`.

use super::rnn_cell::uniform_bound;
use super::{draw_in_torch_order, torch_order};
use crate::kernels::flat_mut;
use crate::kernels::matvec::{self, evaluate, matvec_transposed, product};
use crate::kernels::transpose::copy_transposed;
use crate::kernels::weight_gradient::{add_outer_product, add_row};
use crate::parameters::{Parameters, impl_parameters};
use crate::simd::{Kernel, Simd};
use crate::{Error, Generator, Level};

/// `y = W x + b`, PyTorch's `nn.Linear(IN, OUT)`, with the same numbers for the same seed.
///
/// Stored input-major, the transpose of PyTorch's layout: `weight[i][o]` is what input `i` gives to output `o`.
///
/// ```
/// use elman::{Generator, Linear};
/// let linear = Linear::<8, 4>::new(&mut Generator::seed(0));
/// let y: [f32; 4] = linear.apply(&[0.5; 8]);
/// # assert!(y.iter().all(|y| y.is_finite()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Linear<const IN: usize, const OUT: usize> {
    /// What each input gives to each output.
    pub weight: [[f32; OUT]; IN],
    /// What each output starts from.
    pub bias: [f32; OUT],
}

impl<const IN: usize, const OUT: usize> Linear<IN, OUT> {
    /// The fields are public, so every way to compute with a layer asks for this, not only the ways to make one.
    const CHECK: () = assert!(IN > 0 && OUT > 0, "a Linear needs at least one input and one output");

    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { Self::CHECK };
        Self { weight: [[0.0; OUT]; IN], bias: [0.0; OUT] }
    }

    /// PyTorch's initial values: all parameters uniform in `-1/sqrt(IN) .. 1/sqrt(IN)`, `weight` and then `bias`.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut linear = Self::zeros();
        linear.reset_parameters(generator);
        linear
    }

    /// [`Linear::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed(generator: &mut Generator) -> alloc::boxed::Box<Self> {
        let mut linear = Self::zeros_boxed();
        linear.reset_parameters(generator);
        linear
    }

    /// [`Linear::zeros`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn zeros_boxed() -> alloc::boxed::Box<Self> {
        const { Self::CHECK };
        bytemuck::zeroed_box()
    }

    /// Draws all parameters anew, as [`Linear::new`] does.
    pub fn reset_parameters(&mut self, generator: &mut Generator) {
        let bound = uniform_bound(IN);
        draw_in_torch_order(generator, bound, self.weight.as_flattened_mut(), OUT);
        generator.fill_uniform(&mut self.bias, -bound, bound);
    }

    /// A layer with PyTorch's weights: `weight` is `[OUT][IN]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] naming the tensor whose length does not fit.
    pub fn from_torch(weight: &[f32], bias: &[f32]) -> Result<Self, Error> {
        let mut linear = Self::zeros();
        linear.load_torch(weight, bias)?;
        Ok(linear)
    }

    /// Takes over PyTorch's weights: `weight` is `[OUT][IN]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] naming the tensor whose length does not fit; nothing has changed then.
    pub fn load_torch(&mut self, weight: &[f32], bias: &[f32]) -> Result<(), Error> {
        const { Self::CHECK };
        Error::check_length("weight", OUT * IN, weight.len())?;
        Error::check_length("bias", OUT, bias.len())?;
        copy_transposed(weight, IN, self.weight.as_flattened_mut());
        self.bias.copy_from_slice(bias);
        Ok(())
    }

    /// `weight` in PyTorch's order: `[OUT][IN]`, row after row.
    pub fn weight_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(&self.weight)
    }

    /// `W x + b`
    #[must_use]
    pub fn apply(&self, x: &[f32; IN]) -> [f32; OUT] {
        self.apply_at(Level::detect(), x)
    }

    /// [`Linear::apply`] at a given level.
    #[must_use]
    pub fn apply_at(&self, level: Level, x: &[f32; IN]) -> [f32; OUT] {
        const { Self::CHECK };
        level.narrow_alone(OUT).run(Apply { linear: self, x })
    }

    /// The backward of one `apply`, given the gradient of its result: adds `dW = dy x^T` and `db = dy` to `gradients` and
    /// returns `dx = W^T dy`.
    #[must_use]
    pub fn apply_backward(&self, x: &[f32; IN], d_y: &[f32; OUT], gradients: &mut Self) -> [f32; IN] {
        self.apply_backward_at(Level::detect(), x, d_y, gradients)
    }

    /// [`Linear::apply_backward`] at a given level.
    #[must_use]
    pub fn apply_backward_at(&self, level: Level, x: &[f32; IN], d_y: &[f32; OUT], gradients: &mut Self) -> [f32; IN] {
        level.narrow(OUT).run(ApplyBackward { linear: self, x, d_y, gradients })
    }
}

struct Apply<'a, const IN: usize, const OUT: usize> {
    linear: &'a Linear<IN, OUT>,
    x: &'a [f32; IN],
}

impl<const IN: usize, const OUT: usize> Kernel for Apply<'_, IN, OUT> {
    type Output = [f32; OUT];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; OUT] {
        evaluate(s, &product(&self.linear.bias, &self.linear.weight, self.x), matvec::Linear)
    }
}

struct ApplyBackward<'a, const IN: usize, const OUT: usize> {
    linear: &'a Linear<IN, OUT>,
    x: &'a [f32; IN],
    d_y: &'a [f32; OUT],
    gradients: &'a mut Linear<IN, OUT>,
}

impl<const IN: usize, const OUT: usize> Kernel for ApplyBackward<'_, IN, OUT> {
    type Output = [f32; IN];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; IN] {
        let ApplyBackward { linear, x, d_y, gradients } = self;
        add_outer_product(s, x, d_y, flat_mut(&mut gradients.weight));
        add_row(s, d_y, &mut gradients.bias);
        matvec_transposed(s, &linear.weight, d_y)
    }
}

impl_parameters!(Linear<IN, OUT> { weight flattened, bias });

#[cfg(feature = "alloc")]
mod over_sequences {
    use super::*;
    use crate::batch::{self, BlockSums, Divide, SAMPLES_PER_GROUP, ShareGradients, ShareMemory, ShareOutputs};
    use crate::kernels::pack::{Panels, Scratch};
    use crate::kernels::recurrence::{Projection, STEPS_PER_BLOCK, Strided, blocks_from_the_end};
    use crate::kernels::weight_gradient::Block;
    use crate::model::{Layer, Run, check_output_shape};
    use crate::sequences::{Sequences, SequencesBuf};
    use alloc::vec::Vec;

    /// What a [`Linear`] keeps between forward and backward, and its memory for both.
    #[derive(Debug, Default)]
    pub struct LinearCache<const IN: usize, const OUT: usize> {
        output: SequencesBuf<[f32; OUT]>,
        d_input: SequencesBuf<[f32; IN]>,
        packed: Panels,
        packed_transpose: Panels,
        /// One for every group of samples.
        scratch: Vec<Scratch>,
        share_gradients: ShareMemory<2>,
    }

    impl<const IN: usize, const OUT: usize> Layer for Linear<IN, OUT> {
        type Input = [f32; IN];
        type Output = [f32; OUT];
        type InputGradient = [f32; IN];
        type State = ();
        type Cache = LinearCache<IN, OUT>;

        fn check_initial(_: usize, (): &()) -> Result<(), Error> {
            Ok(())
        }

        fn forward_with(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            (): &(),
            cache: &mut Self::Cache,
        ) -> Result<(), Error> {
            const { Self::CHECK };
            input.check_steps()?;
            cache.output.reshape(input.shape());
            cache.packed.pack(run.level.lanes(), self.weight.as_flattened(), OUT);
            let rows = input.strided();
            let projection = Projection {
                panels: &cache.packed,
                input: rows,
                bias: Some(&self.bias),
                out: cache.output.rows_mut().as_flattened_mut(),
                out_steps: input.steps(),
                samples: input.batch(),
                steps: 0..input.steps(),
                far: rows.is_far(),
            };
            let work = Forward { level: run.level, projection };
            batch::run_shared(work, batch::operations(&[2, input.steps(), input.batch(), IN, OUT]));
            Ok(())
        }

        fn output(cache: &Self::Cache) -> Sequences<'_, [f32; OUT]> {
            cache.output.view()
        }

        fn final_state(_: &Self::Cache) -> &() {
            &()
        }

        fn check_backward(
            &self,
            input: Sequences<'_, [f32; IN]>,
            cache: &Self::Cache,
            d_output: (usize, usize),
            (): &(),
        ) -> Result<(), Error> {
            let shape = cache.output.view().shape();
            input.check_shape("the input of the backward", shape)?;
            check_output_shape(shape, d_output)
        }

        fn backward_with(
            &self,
            run: Run,
            input: Sequences<'_, [f32; IN]>,
            cache: &mut Self::Cache,
            d_output: Sequences<'_, [f32; OUT]>,
            (): &(),
            gradients: &mut Self,
        ) -> Result<(), Error> {
            self.check_backward(input, cache, d_output.shape(), &())?;
            if run.from_zero {
                cache.share_gradients.reset(input.batch(), [self.weight.as_flattened(), &self.bias]);
                gradients.fill_zero();
            }
            if run.d_input {
                cache.d_input.reshape(input.shape());
                cache.packed_transpose.pack_transposed(run.level.lanes(), self.weight.as_flattened(), OUT);
            } else {
                cache.d_input.reshape((input.steps(), 0));
            }
            let work = Backward {
                level: run.level,
                samples: input.batch(),
                steps: input.steps(),
                input: input.strided(),
                d_output: d_output.strided(),
                packed: &cache.packed_transpose,
                outputs: ShareOutputs {
                    samples: batch::samples_per_share(input.batch()),
                    scratch: batch::scratch_of_groups(&mut cache.scratch, input.batch()),
                    d_input: run.d_input.then_some(cache.d_input.rows_mut().as_flattened_mut()),
                    gradients: cache.share_gradients.shares([gradients.weight.as_flattened_mut(), &mut gradients.bias]),
                },
            };
            batch::run_pieces(work, batch::operations(&[4, input.steps(), input.batch(), IN, OUT]));
            if run.complete {
                cache.share_gradients.add_to([gradients.weight.as_flattened_mut(), &mut gradients.bias]);
            }
            Ok(())
        }

        fn d_input(cache: &Self::Cache) -> Sequences<'_, [f32; IN]> {
            cache.d_input.view()
        }

        fn d_initial(_: &Self::Cache) -> &() {
            &()
        }

        fn copy_state((): &(), (): &mut ()) {}
    }

    /// `y(b, t) = W x(b, t) + b` over samples.
    struct Forward<'a> {
        level: Level,
        projection: Projection<'a>,
    }

    impl Divide for Forward<'_> {
        fn pieces(&self) -> usize {
            self.projection.samples.div_ceil(SAMPLES_PER_GROUP)
        }

        fn split(self, pieces: usize) -> (Self, Self) {
            let Forward { level, projection } = self;
            let samples = pieces * SAMPLES_PER_GROUP;
            let numbers = samples * projection.out_steps * projection.panels.columns();
            let (out, out_rest) = projection.out.split_at_mut(numbers);
            let rest = Projection {
                samples: projection.samples - samples,
                input: projection.input.starting_at_sample(samples),
                out: out_rest,
                steps: projection.steps.clone(),
                ..projection
            };
            let first = Projection { samples, out, ..projection };
            (Forward { level, projection: first }, Forward { level, projection: rest })
        }

        fn run(self) {
            self.projection.at(self.level);
        }
    }

    /// A backward over shares of the batch.
    struct Backward<'a> {
        level: Level,
        samples: usize,
        steps: usize,
        input: Strided<'a>,
        d_output: Strided<'a>,
        packed: &'a Panels,
        /// The gradients are those of the weights and of the bias.
        outputs: ShareOutputs<'a, 2>,
    }

    impl Divide for Backward<'_> {
        fn pieces(&self) -> usize {
            self.samples.div_ceil(self.outputs.samples)
        }

        fn split(self, pieces: usize) -> (Self, Self) {
            let samples = pieces * self.outputs.samples;
            let (outputs, outputs_rest) = self.outputs.split(pieces, samples * self.steps * self.input.width);
            (
                Self { samples, outputs, ..self },
                Self {
                    samples: self.samples - samples,
                    input: self.input.starting_at_sample(samples),
                    d_output: self.d_output.starting_at_sample(samples),
                    outputs: outputs_rest,
                    ..self
                },
            )
        }

        fn run(self) {
            let Self { level, samples, steps, mut input, mut d_output, packed, outputs } = self;
            let ShareOutputs { scratch, mut d_input, gradients, .. } = outputs;
            let mut gradients = gradients.map(ShareGradients::only);
            let mut left = samples;
            while left > 0 {
                let samples = left.min(SAMPLES_PER_GROUP);
                let scratch = &mut scratch[0];
                let gradients = gradients.each_mut().map(BlockSums::reborrow);
                ParameterGradients { input, d_output, samples, steps, scratch, gradients }.at(level);
                let (d_input_of_group, d_input_rest) =
                    d_input.map(|rows| rows.split_at_mut(samples * steps * input.width)).unzip();
                if let Some(out) = d_input_of_group {
                    let projection = Projection {
                        panels: packed,
                        input: d_output,
                        bias: None,
                        out,
                        out_steps: steps,
                        samples,
                        steps: 0..steps,
                        far: input.is_far(),
                    };
                    projection.at(level);
                }
                (input, d_output) = (input.starting_at_sample(samples), d_output.starting_at_sample(samples));
                (d_input, left) = (d_input_rest, left - samples);
            }
        }
    }

    /// `dW += x dy^T`, `db += dy`
    struct ParameterGradients<'a> {
        input: Strided<'a>,
        d_output: Strided<'a>,
        samples: usize,
        steps: usize,
        scratch: &'a mut Scratch,
        /// Of the weights and of the bias.
        gradients: [BlockSums<'a>; 2],
    }

    impl ParameterGradients<'_> {
        #[inline(never)]
        fn at(self, level: Level) {
            level.run(self);
        }
    }

    impl Kernel for ParameterGradients<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let mut gradients = self.gradients;
            let columns = gradients[1].sums.len();
            let rows = self.samples * STEPS_PER_BLOCK.min(self.steps);
            let memory = self.scratch.get(Block::memory(s, rows, columns, self.input.width));
            for (start, end) in blocks_from_the_end(self.steps) {
                let grid = (self.samples, end - start);
                let (x, d_y) = (self.input.starting_at_step(start), self.d_output.starting_at_step(start));
                let mut block = Block::pack(s, &d_y, grid, columns, memory);
                block.add_outer_products(s, &x, gradients[0].sums);
                block.add_rows(s, gradients[1].sums);
                gradients.iter_mut().for_each(BlockSums::count_block);
            }
        }
    }
}
