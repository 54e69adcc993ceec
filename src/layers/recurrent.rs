//! A recurrent layer over sequences: what is kept between forward and backward, and the passes.

use super::RnnCell;
use super::cell::{AllSteps, Cell};
use super::passes::{BackwardShares, ForwardSamples};
use crate::cells::{State, States};
use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::data::zero::Zero;
use crate::kernels::order::{SAMPLES_PER_GROUP, samples_per_share};
use crate::kernels::recurrence::packed::{PackedCell, PackedTranspose};
use crate::kernels::recurrence::work::{BackwardInputs, Forward};
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;
use crate::kernels::slice::{flat, flat_mut};
use crate::kernels::throughput::projection::Projection;
use crate::kernels::tuning::{BYTES_IN_L1, SAMPLES_FOR_TILES, STEPS_ALONE, samples_in_lanes};
use crate::model::layer::{Gradients, Layer, Run, Start, check_output_shape, sealed};
use crate::model::parameters::Parameters;
use crate::simd::{Kernel, Level, Simd};
use crate::threads::{self, ShareMemory, ShareOutputs};
use alloc::vec::Vec;
use core::slice::{from_mut, from_ref};

/// What an [`RnnCell`] keeps between forward and backward, and its memory for both.
#[derive(Debug)]
pub struct RnnCellCache<const IN: usize, const HID: usize, C: Cell> {
    output: SequencesBuf<[f32; HID]>,
    /// Of cells of gates: `c` after every step, if there is one, and what the forward keeps for the backward.
    c: Vec<[f32; HID]>,
    kept: Vec<[f32; HID]>,
    /// One row a sample.
    initial: C::States<HID>,
    last: C::States<HID>,
    packed: PackedCell,
    packed_transpose: PackedTranspose,
    /// One for every group of samples.
    scratch: Vec<Scratch>,
    share_gradients: ShareMemory,
    d_input: SequencesBuf<[f32; IN]>,
    d_initial: C::States<HID>,
}

impl<const IN: usize, const HID: usize, C: Cell> Default for RnnCellCache<IN, HID, C> {
    fn default() -> Self {
        Self {
            output: SequencesBuf::default(),
            c: Vec::new(),
            kept: Vec::new(),
            initial: C::States::default(),
            last: C::States::default(),
            packed: PackedCell::default(),
            packed_transpose: PackedTranspose::default(),
            scratch: Vec::new(),
            share_gradients: ShareMemory::default(),
            d_input: SequencesBuf::default(),
            d_initial: C::States::default(),
        }
    }
}

impl<const IN: usize, const HID: usize, C: Cell> RnnCellCache<IN, HID, C> {
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
    pub(in crate::layers) fn last(&self) -> &C::States<HID> {
        &self.last
    }
    /// The gradient of the initial state, one row a sample.
    pub(in crate::layers) fn d_initial(&self) -> &C::States<HID> {
        &self.d_initial
    }
}

/// Whether each part of a state has so many rows, or none at all.
fn check_parts<const HID: usize>(state: &impl States<HID>, names: [&'static str; 2], rows: usize) -> Result<(), Error> {
    for (what, part) in names.into_iter().zip([Some(state.h()), state.c()].into_iter().flatten()) {
        if !part.is_empty() {
            Error::check_length(what, rows, part.len())?;
        }
    }
    Ok(())
}

/// Whether a backward over `layers` layers fits the forward, whose outputs had a shape.
pub(in crate::layers) fn check_rows<const IN: usize, const HID: usize, S: States<HID>>(
    input: Sequences<'_, [f32; IN]>,
    shape: (usize, usize),
    d_output: (usize, usize),
    layers: usize,
    d_final: &S,
) -> Result<(), Error> {
    input.check_shape("the input of the backward", shape)?;
    check_output_shape(shape, d_output)?;
    let names = ["rows of the gradient of the final state", "rows of the gradient of the final state c"];
    check_parts(d_final, names, layers * shape.1)
}

/// Whether a state has one row for each layer and sample, or none at all.
pub(in crate::layers) fn check_state<const HID: usize, S: States<HID>>(
    layers: usize,
    batch: usize,
    state: &S,
) -> Result<(), Error> {
    check_parts(state, ["rows of the initial state", "rows of the initial state c"], layers * batch)
}

/// The rows of one layer in those of a stack, or none if there are none.
fn of_layer<const HID: usize>(rows: &[[f32; HID]], layer: usize, samples: usize) -> &[[f32; HID]] {
    if rows.is_empty() { rows } else { &rows[layer * samples..][..samples] }
}

/// One row a sample.
fn rows_of_samples<const N: usize>(rows: &[[f32; N]]) -> Rows<'_> {
    Rows::one_a_sample(rows.as_flattened(), N)
}

/// The same of the rows of one layer in those of a stack, if there are any.
fn rows_of_layer<const N: usize>(rows: Option<&Vec<[f32; N]>>, layer: usize, samples: usize) -> Option<Rows<'_>> {
    rows.filter(|rows| !rows.is_empty()).map(|rows| rows_of_samples(of_layer(rows, layer, samples)))
}

/// The same of a part of a state that there may not be.
fn rows_of_part<const N: usize>(rows: Option<&Vec<[f32; N]>>) -> Rows<'_> {
    rows.map_or(Rows::ZEROS, |rows| rows_of_samples(rows))
}

impl<const IN: usize, const HID: usize, C: Cell> RnnCell<IN, HID, C> {
    /// Whether one sample's steps take inputs and states together; otherwise, where both matrices do not stay in L1, the
    /// inputs are projected in bulk first.
    const STEPS_TOGETHER: bool = (IN + HID) * Self::ROW * size_of::<f32>() <= BYTES_IN_L1;

    /// How many samples, the last ones, each go through time alone in a forward: all of a few, and the few that those
    /// in lanes leave.
    const fn samples_alone(lanes: usize, samples: usize) -> usize {
        let in_lanes = if C::FEEDS.sums == 1 { samples_in_lanes(lanes, HID, samples) } else { 0 };
        let left = samples - in_lanes;
        if left < SAMPLES_FOR_TILES { left } else { 0 }
    }

    /// What a backward computes.
    fn tensors_mut(&mut self) -> [&mut [f32]; 4] {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self;
        [flat_mut(weight_ih), flat_mut(weight_hh), flat_mut(from_mut(bias_ih)), flat_mut(from_mut(bias_hh))]
    }

    /// Forward as one layer of a stack, of what has been checked; `initial` is the state of all of them, with one row for each
    /// layer and sample, or none at all for zeros.
    pub(in crate::layers) fn forward_rows(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        (initial, layer): (&C::States<HID>, usize),
        cache: &mut RnnCellCache<IN, HID, C>,
    ) {
        const { Self::CHECK };
        let (steps, samples) = input.shape();
        let copy = |from: &[[f32; HID]], to: &mut Vec<[f32; HID]>| {
            to.clear();
            to.extend_from_slice(of_layer(from, layer, samples));
            to.resize(samples, [0.0; HID]);
        };
        let (h, c) = cache.initial.both_mut();
        copy(initial.h(), h);
        if let (Some(from), Some(to)) = (initial.c(), c) {
            copy(from, to);
        }
        cache.output.reshape(input.shape());
        let carries = initial.c().is_some();
        cache.c.resize(if carries { samples * steps } else { 0 }, [0.0; HID]);
        cache.kept.resize(samples * steps * C::KEPT, [0.0; HID]);
        let lanes = run.level.lanes();
        let together = samples - Self::samples_alone(lanes, samples);
        if together > 0 || !Self::STEPS_TOGETHER {
            let biases = [flat(from_ref(&self.bias_ih)), flat(from_ref(&self.bias_hh))];
            cache.packed.pack_input(lanes, &C::FEEDS, flat(&self.weight_ih), biases);
        }
        let input = input.rows();
        let (out, out_alone) = cache.output.rows_mut().split_at_mut(together * steps);
        let (c, c_alone) = cache.c.split_at_mut(if carries { together * steps } else { 0 });
        let (kept, kept_alone) = cache.kept.split_at_mut(together * steps * C::KEPT);
        if together > 0 {
            let weights = [flat(&self.weight_ih), flat(&self.weight_hh)];
            cache.packed.pack_recurrent(lanes, &C::FEEDS, weights, HID, together);
            let forward = Forward {
                input,
                initial: rows_of_samples(cache.initial.h()),
                initial_c: rows_of_part(cache.initial.c()),
                packed: &cache.packed,
                out: out.as_flattened_mut(),
                c: c.as_flattened_mut(),
                kept: kept.as_flattened_mut(),
                samples: together,
                steps,
                scratch: threads::scratch_of_groups(&mut cache.scratch, together),
            };
            let work = ForwardSamples { level: run.level, forward, cell: C::CELL };
            threads::run_shared(run.threads, work, threads::operations(&[2, steps, together, Self::ROW, IN + HID]));
        }
        let of_kept = steps * C::KEPT;
        for (i, states) in out_alone.chunks_exact_mut(steps).enumerate() {
            let sample = together + i;
            let mut before = C::State::<HID>::ZERO;
            let (h, c) = before.both_mut();
            *h = cache.initial.h()[sample];
            if let Some(rows) = cache.initial.c() {
                c.copy_from_slice(&rows[sample]);
            }
            let c = if carries { &mut c_alone[i * steps..(i + 1) * steps] } else { &mut [] };
            let kept = &mut kept_alone[i * of_kept..(i + 1) * of_kept];
            let scratch = &mut threads::scratch_of_groups(&mut cache.scratch, 1)[0];
            let work = (before, states, c, kept);
            self.forward_alone(run.level, input.skip_outer(sample), work, &cache.packed, scratch);
        }
        let (h, c) = cache.last.both_mut();
        h.clear();
        h.extend(cache.output.view().last_rows());
        if let Some(c) = c {
            c.clear();
            c.extend(cache.c.chunks_exact(steps).filter_map(|rows| rows.last()));
        }
    }

    /// Forward of one sample alone, from a state: the states after every step, `c` where there is one, and what is kept.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    fn forward_alone(
        &self,
        level: Level,
        input: Rows<'_>,
        (mut before, out, c, kept): (C::State<HID>, &mut [[f32; HID]], &mut [[f32; HID]], &mut [[f32; HID]]),
        packed: &PackedCell,
        scratch: &mut Scratch,
    ) {
        let level_alone = C::alone(level, HID);
        let weights = self.weights();
        if const { Self::STEPS_TOGETHER } {
            let (c, kept) = (c.as_flattened_mut(), kept.as_flattened_mut());
            let before = &before;
            return level_alone.run(Steps::<C, IN, HID>(AllSteps { weights, input, before, h: out, c, kept }));
        }
        let steps = out.len();
        let carries = !c.is_empty();
        for start in (0..steps).step_by(STEPS_ALONE) {
            let end = steps.min(start + STEPS_ALONE);
            // Those of one sum stand where the states will.
            let in_place = C::FEEDS.sums == 1;
            let projected = if in_place { &mut [][..] } else { scratch.get((end - start) * Self::ROW) };
            let (to, to_steps) = match in_place {
                true => (out.as_flattened_mut(), steps),
                false => (&mut *projected, end - start),
            };
            let first = if in_place { start } else { 0 };
            let projection = Projection {
                panels: &packed.input,
                input: input.skip_inner(start - first),
                bias: Some(packed.bias.as_slice(Self::ROW)),
                out: to,
                out_steps: to_steps,
                samples: 1,
                steps: first..first + end - start,
                far: false,
            };
            projection.at(level);
            let h = &mut out[start..end];
            let c = if carries { c[start..end].as_flattened_mut() } else { &mut [] };
            let kept = kept[start * C::KEPT..end * C::KEPT].as_flattened_mut();
            let input = Rows::line(projected, Self::ROW, Self::ROW);
            let steps = AllSteps { weights, input, before: &before, h, c: &mut *c, kept };
            level_alone.run(ProjectedSteps::<C, IN, HID>(steps));
            let (h_before, c_before) = before.both_mut();
            *h_before = out[end - 1];
            if carries {
                c_before.copy_from_slice(&c[c.len() - HID..]);
            }
        }
    }

    /// Backward as one layer of a stack, of what has been checked; `d_final` has one row for each layer and sample, or none at
    /// all for zeros. `d_output` is what it is given, beside it where the gradient of the input goes.
    pub(in crate::layers) fn backward_rows(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        cache: &mut RnnCellCache<IN, HID, C>,
        (d_output, d_input): (Sequences<'_, [f32; HID]>, &mut SequencesBuf<[f32; IN]>),
        (d_final, layer): (&C::States<HID>, usize),
        (gradients, how): (&mut Self, Gradients),
    ) {
        let (steps, samples) = input.shape();
        if how.start != Start::Continue {
            cache.share_gradients.reset(samples, [IN * Self::ROW, HID * Self::ROW, Self::ROW, Self::ROW]);
            if how.start == Start::Zero {
                gradients.fill_zero();
            }
        }
        d_input.reshape((steps, if run.d_input { samples } else { 0 }));
        let lanes = run.level.lanes();
        let weight_ih = run.d_input.then_some(flat(&self.weight_ih));
        let group = samples.min(SAMPLES_PER_GROUP);
        cache.packed_transpose.pack(lanes, &C::FEEDS, weight_ih, flat(&self.weight_hh), HID, group);
        let (d_initial, d_initial_c) = cache.d_initial.both_mut();
        d_initial.resize(samples, [0.0; HID]);
        let work = BackwardShares {
            level: run.level,
            cell: C::CELL,
            inputs: BackwardInputs {
                hidden: HID,
                samples,
                steps,
                input: input.rows(),
                initial: rows_of_samples(cache.initial.h()),
                output: cache.output.view().rows(),
                d_output: d_output.rows(),
                d_final: rows_of_layer(Some(d_final.h()), layer, samples),
                initial_c: rows_of_part(cache.initial.c()),
                c: Rows::batch_first(cache.c.as_flattened(), HID, steps),
                kept: Rows::batch_first(cache.kept.as_flattened(), C::KEPT * HID, steps),
                d_final_c: rows_of_layer(d_final.c(), layer, samples),
                packed: &cache.packed_transpose,
            },
            outputs: ShareOutputs {
                samples: samples_per_share(samples),
                scratch: threads::scratch_of_groups(&mut cache.scratch, samples),
                d_input: run.d_input.then_some(d_input.rows_mut().as_flattened_mut()),
                gradients: cache.share_gradients.shares(gradients.tensors_mut()),
            },
            d_initial: d_initial.as_flattened_mut(),
            d_initial_c: match d_initial_c {
                Some(rows) => {
                    rows.resize(samples, [0.0; HID]);
                    rows.as_flattened_mut()
                }
                None => &mut [],
            },
        };
        threads::run_pieces(run.threads, work, threads::operations(&[4, steps, samples, Self::ROW, IN + HID]));
        if how.complete {
            cache.share_gradients.add_to(gradients.tensors_mut());
        }
    }
}

/// [`AllSteps`] as kernels.
struct Steps<'a, C: Cell, const IN: usize, const HID: usize>(AllSteps<'a, C, IN, HID>);
struct ProjectedSteps<'a, C: Cell, const IN: usize, const HID: usize>(AllSteps<'a, C, IN, HID>);

impl<C: Cell, const IN: usize, const HID: usize> Kernel for Steps<'_, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::steps(s, self.0);
    }
}

impl<C: Cell, const IN: usize, const HID: usize> Kernel for ProjectedSteps<'_, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::projected_steps(s, self.0);
    }
}

impl<const IN: usize, const HID: usize, C: Cell> sealed::Sealed for RnnCell<IN, HID, C> {}

impl<const IN: usize, const HID: usize, C: Cell> Layer for RnnCell<IN, HID, C> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type InputGradient = [f32; IN];
    type State = C::States<HID>;
    type Cache = RnnCellCache<IN, HID, C>;

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
        input.check_steps()?;
        Self::check_initial(input.batch(), initial)?;
        self.forward_rows(run, input, (initial, 0), cache);
        Ok(())
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
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        self.check_backward(input, cache, d_output.shape(), d_final)?;
        cache.beside_d_input(|cache, d_input| {
            self.backward_rows(run, input, cache, (d_output, d_input), (d_final, 0), (gradients, how));
        });
        Ok(())
    }

    fn d_input(cache: &Self::Cache) -> Sequences<'_, [f32; IN]> {
        cache.d_input()
    }

    fn d_initial(cache: &Self::Cache) -> &Self::State {
        cache.d_initial()
    }

    fn copy_state(from: &Self::State, to: &mut Self::State) {
        to.copy_from(from);
    }
}
