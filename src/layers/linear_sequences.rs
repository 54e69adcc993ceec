//! The affine layer over sequences.

use super::Linear;
use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::kernels::gradient::{Block, BlockSums, Columns, TENSORS};
use crate::kernels::order::{SAMPLES_PER_GROUP, STEPS_PER_BLOCK, blocks_from_the_end, samples_per_share};
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;
use crate::kernels::throughput::panels::Panels;
use crate::kernels::throughput::projection::Projection;
use crate::kernels::tuning::FAR;
use crate::model::layer::{Gradients, Layer, Run, Start, check_output_shape, sealed};
use crate::model::parameters::Parameters;
use crate::simd::{Kernel, Level, Simd};
use crate::threads::{self, Divide, ShareMemory, ShareOutputs};
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
    share_gradients: ShareMemory,
}

impl<const IN: usize, const OUT: usize> Linear<IN, OUT> {
    /// What a backward computes.
    fn tensors_mut(&mut self) -> [&mut [f32]; TENSORS] {
        [self.weight.as_flattened_mut(), &mut self.bias, &mut [], &mut []]
    }
}

impl<const IN: usize, const OUT: usize> sealed::Sealed for Linear<IN, OUT> {}

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
        cache.packed.pack(run.level.lanes(), self.weight.as_flattened(), 1, OUT);
        let rows = input.rows();
        let projection = Projection {
            panels: &cache.packed,
            input: rows,
            bias: Some(&self.bias),
            out: cache.output.rows_mut().as_flattened_mut(),
            out_steps: input.steps(),
            samples: input.batch(),
            steps: 0..input.steps(),
            far: rows.are_more_than(FAR),
        };
        let work = ProjectSamples { level: run.level, projection };
        threads::run_shared(run.threads, work, threads::operations(&[2, input.steps(), input.batch(), IN, OUT]));
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
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        self.check_backward(input, cache, d_output.shape(), &())?;
        if how.start != Start::Continue {
            cache.share_gradients.reset(input.batch(), [IN * OUT, OUT, 0, 0]);
            if how.start == Start::Zero {
                gradients.fill_zero();
            }
        }
        if run.d_input {
            cache.d_input.reshape(input.shape());
            cache.packed_transpose.pack_transposed(run.level.lanes(), self.weight.as_flattened(), OUT);
        } else {
            cache.d_input.reshape((input.steps(), 0));
        }
        let work = BackwardShares {
            level: run.level,
            samples: input.batch(),
            steps: input.steps(),
            input: input.rows(),
            d_output: d_output.rows(),
            packed: &cache.packed_transpose,
            outputs: ShareOutputs {
                samples: samples_per_share(input.batch()),
                scratch: threads::scratch_of_groups(&mut cache.scratch, input.batch()),
                d_input: run.d_input.then_some(cache.d_input.rows_mut().as_flattened_mut()),
                gradients: cache.share_gradients.shares(gradients.tensors_mut()),
            },
        };
        threads::run_pieces(run.threads, work, threads::operations(&[4, input.steps(), input.batch(), IN, OUT]));
        if how.complete {
            cache.share_gradients.add_to(gradients.tensors_mut());
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
struct ProjectSamples<'a> {
    level: Level,
    projection: Projection<'a>,
}

impl Divide for ProjectSamples<'_> {
    fn pieces(&self) -> usize {
        self.projection.samples.div_ceil(SAMPLES_PER_GROUP)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { level, projection } = self;
        let samples = pieces * SAMPLES_PER_GROUP;
        let numbers = samples * projection.out_steps * projection.panels.outputs();
        let (out, out_rest) = projection.out.split_at_mut(numbers);
        let rest = Projection {
            samples: projection.samples - samples,
            input: projection.input.skip_outer(samples),
            out: out_rest,
            steps: projection.steps.clone(),
            ..projection
        };
        let first = Projection { samples, out, ..projection };
        (Self { level, projection: first }, Self { level, projection: rest })
    }

    fn run(self) {
        self.projection.at(self.level);
    }
}

/// A backward over shares of the batch.
struct BackwardShares<'a> {
    level: Level,
    samples: usize,
    steps: usize,
    input: Rows<'a>,
    d_output: Rows<'a>,
    packed: &'a Panels,
    /// The gradients are those of the weights and of the bias.
    outputs: ShareOutputs<'a>,
}

impl Divide for BackwardShares<'_> {
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
                input: self.input.skip_outer(samples),
                d_output: self.d_output.skip_outer(samples),
                outputs: outputs_rest,
                ..self
            },
        )
    }

    fn run(self) {
        let Self { level, samples, steps, mut input, mut d_output, packed, outputs } = self;
        let ShareOutputs { scratch, mut d_input, gradients, .. } = outputs;
        let mut gradients = gradients.only();
        let mut left = samples;
        while left > 0 {
            let samples = left.min(SAMPLES_PER_GROUP);
            let scratch = &mut scratch[0];
            let gradients = &mut gradients;
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
                    far: input.are_more_than(FAR),
                };
                projection.at(level);
            }
            (input, d_output) = (input.skip_outer(samples), d_output.skip_outer(samples));
            (d_input, left) = (d_input_rest, left - samples);
        }
    }
}

/// `dW += x dy^T`, `db += dy`
struct ParameterGradients<'a, 'g> {
    input: Rows<'a>,
    d_output: Rows<'a>,
    samples: usize,
    steps: usize,
    scratch: &'a mut Scratch,
    /// Of the weights and of the bias.
    gradients: &'a mut BlockSums<'g>,
}

impl ParameterGradients<'_, '_> {
    #[inline(never)]
    fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for ParameterGradients<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let gradients = self.gradients;
        let columns = gradients.tensors[1].len();
        let rows = self.samples * STEPS_PER_BLOCK.min(self.steps);
        let memory = self.scratch.get(Block::memory(s, rows, columns, self.input.width));
        for (start, end) in blocks_from_the_end(self.steps) {
            let grid = (self.samples, end - start);
            let (x, d_y) = (self.input.skip_inner(start), self.d_output.skip_inner(start));
            let mut block = Block::pack(s, &d_y, grid, columns, memory);
            block.add_outer_products(s, &x, gradients.tensors[0], Columns::all(columns));
            block.add_rows(s, [&mut *gradients.tensors[1]]);
            gradients.count_block();
        }
    }
}
