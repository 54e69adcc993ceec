//! Numbers below the smallest normal one are not computed with for long: many CPUs are tens of times slower with them.
//!
//! Time is not measured here (`cargo bench --bench denormal` does), but what makes it long is counted: an SSE or AVX operation
//! with a denormal operand or result leaves a flag in the register MXCSR, and the chunks of a work that leave one are few.
#![cfg(target_arch = "x86_64")]

#[path = "properties/kept.rs"]
mod kept;

use elman::cells::{Gru, Lstm, State, States};
use elman::{
    Adam, Batch, Cell, Chunked, CrossEntropy, Generator, Level, Linear, Parameters, RnnCell, Sequences, SequencesBuf,
    StepTrace, Steps, Stream, Tanh, Workspace,
};
use kept::{Kept, Passes};
use std::arch::asm;

/// An operand was denormal; a result was, or was lost below.
const DENORMAL_OR_UNDERFLOW: u32 = 1 << 1 | 1 << 4;

fn status() -> u32 {
    let mut status = 0u32;
    // SAFETY: the instruction writes the four bytes that it is given.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut status, options(nostack)) };
    status
}

fn clear() {
    let cleared = status() & !0x3f;
    // SAFETY: nothing but the flags of what has happened is changed; all exceptions stay masked.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const cleared, options(nostack)) };
}

/// Whether some work on this thread meets denormal numbers.
fn meets_denormals(work: impl FnOnce()) -> bool {
    clear();
    work();
    let met = status() & DENORMAL_OR_UNDERFLOW != 0;
    clear();
    met
}

/// On one thread, the one that is looked at.
fn alone<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

fn rows<const N: usize>(seed: u64, count: usize) -> Vec<[f32; N]> {
    let mut rows = vec![[0.0; N]; count];
    Generator::seed(seed).fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
    rows
}

/// PyTorch's initial weights, and a recurrence that forgets a fifth at every step.
fn cells_of_one_sum<const IN: usize, const HID: usize>() -> [RnnCell<IN, HID>; 2] {
    let cell = RnnCell::new(&mut Generator::seed(1));
    let identity = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 0.8 } else { 0.0 }));
    [cell, RnnCell { weight_hh: identity, ..cell }]
}

/// PyTorch's initial weights, and such a bias of one gate that it lets three quarters of a state through, or of a gradient.
fn cells_of_gates<const IN: usize, const HID: usize, C: Cell>(gate: usize) -> [RnnCell<IN, HID, C>; 2] {
    let cell = RnnCell::new(&mut Generator::seed(1));
    [cell, with_biases(&cell, gate, 1.1)]
}

/// A cell in which each neuron has such a bias in a gate.
fn with_biases<const IN: usize, const HID: usize, C: Cell>(
    cell: &RnnCell<IN, HID, C>,
    gate: usize,
    bias: f32,
) -> RnnCell<IN, HID, C> {
    let (mut cell, mut tensor) = (*cell, 0);
    cell.visit_mut(&mut |numbers| {
        match tensor {
            2 => numbers[gate * HID..][..HID].fill(bias),
            3 => numbers[gate * HID..][..HID].fill(0.0),
            _ => (),
        }
        tensor += 1;
    });
    cell
}

/// The gate that lets the state of a GRU through, and that of an LSTM.
const Z: usize = 1;
const F: usize = 1;

/// Sequences of 1,024 steps with a gradient at the last step: of 64 chunks of 16 steps, how many meet denormal numbers.
fn chunks_of_dying_gradients<const HID: usize, C: Cell>(
    level: Level,
    cell: &RnnCell<8, HID, C>,
    batch: usize,
) -> usize {
    const STEPS: usize = 1024;
    let x = rows::<8>(2, STEPS * batch);
    let input = Sequences::batch_first(&x, Batch(batch), Steps(STEPS)).unwrap();
    let (mut chunked, mut gradients) = (Chunked::new(16).unwrap().at(level), cell.zeros_like());
    let mut met = 0;
    let mut first = true;
    chunked
        .train_into(
            cell,
            input,
            &Default::default(),
            &mut gradients,
            |steps, _, d_output: &mut SequencesBuf<[f32; HID]>| {
                // What has been met since the chunk before, which lies behind this one: its backward, and a forward.
                met += usize::from(!first && status() & DENORMAL_OR_UNDERFLOW != 0);
                clear();
                d_output.reshape((16, batch));
                d_output.rows_mut().fill([0.0; HID]);
                if first {
                    assert_eq!(steps.end, STEPS);
                    d_output.rows_mut().iter_mut().skip(15).step_by(16).for_each(|row| *row = [0.1; HID]);
                }
                first = false;
                Ok(0.0)
            },
        )
        .unwrap();
    gradients.visit(&mut |tensor| assert!(tensor.iter().any(|d| *d != 0.0)));
    met
}

#[test]
fn dying_gradients() {
    for level in Level::available() {
        for batch in [1, 3, 32] {
            let met = |met: usize, size: usize| {
                // Before they die, a few products with the smallest weights and states are denormal; then there are none.
                assert!(met <= 8, "{met} of 64 chunks with {size} neurons, {batch} samples at {level}");
            };
            for cell in &cells_of_one_sum::<8, 64>() {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 64);
            }
            for cell in &cells_of_one_sum::<8, 10>() {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 10);
            }
            for cell in &cells_of_gates::<8, 20, Gru>(Z) {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 20);
            }
            for cell in &cells_of_gates::<8, 20, Lstm>(F) {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 20);
            }
        }
    }
}

fn steps_of_dying_gradients<const HID: usize, C: Cell>(level: Level, cell: &RnnCell<8, HID, C>) {
    const STEPS: usize = 1024;
    let mut trace = StepTrace::<RnnCell<8, HID, C>, 1>::boxed();
    trace.set_level(level);
    let inputs = rows::<8>(2, STEPS);
    let mut traces = Vec::new();
    for x in &inputs {
        trace.advance(cell, x).unwrap();
        traces.push(trace.clone());
        trace.clear();
    }
    let zero = *StepTrace::<RnnCell<8, HID, C>, 1>::boxed().state();
    let mut d_state = zero;
    let mut gradients = RnnCell::zeros();
    let mut met = 0;
    for (i, trace) in traces.iter().rev().enumerate() {
        let d_output = [if i == 0 { 0.1 } else { 0.0 }; HID];
        met += usize::from(meets_denormals(|| {
            d_state = trace.backward_add_from(cell, &[d_output], d_state, &mut gradients).unwrap();
        }));
    }
    assert!(d_state == zero);
    gradients.visit(&mut |tensor| assert!(tensor.iter().any(|d| *d != 0.0)));
    assert!(met <= 8, "{met} of {STEPS} steps of {cell:?} at {level}", cell = C::CELL);
}

#[test]
fn dying_gradients_step_by_step() {
    for level in Level::available() {
        cells_of_one_sum::<8, 64>().iter().for_each(|cell| steps_of_dying_gradients(level, cell));
        cells_of_gates::<8, 20, Gru>(Z).iter().for_each(|cell| steps_of_dying_gradients(level, cell));
        cells_of_gates::<8, 20, Lstm>(F).iter().for_each(|cell| steps_of_dying_gradients(level, cell));
    }
}

// ---- states that fade ----------------------------------------------------------------------------------------------

/// Of 2,048 steps without inputs and biases, but for one of a gate that lets three fifths of a state through, the chunks of
/// 16 that meet denormal numbers, as a batch and as one sample step by step; in the end every state is zero.
fn chunks_of_fading_states<const HID: usize, C: Cell>(level: Level, batch: usize, gate: Option<usize>) -> [usize; 2] {
    let mut cell = RnnCell::<8, HID, C>::new(&mut Generator::seed(1));
    let mut tensor = 0;
    cell.visit_mut(&mut |numbers| {
        if tensor > 1 {
            numbers.fill(0.0);
        }
        tensor += 1;
    });
    if let Some(gate) = gate {
        cell = with_biases(&cell, gate, 0.5);
    }
    let x = vec![[0.0; 8]; 16 * batch];
    let input = Sequences::batch_first(&x, Batch(batch), Steps(16)).unwrap();
    let mut initial = C::States::<HID>::default();
    let (h, c) = initial.both_mut();
    *h = rows(3, batch);
    if let Some(c) = c {
        *c = rows(4, batch);
    }
    let mut workspace = Workspace::new().at(level);
    workspace.forward_from(&cell, input, &initial).unwrap();
    let mut met = [0; 2];
    for _ in 1..128 {
        met[0] += usize::from(meets_denormals(|| _ = workspace.forward_continued(&cell, input).unwrap()));
    }
    let pass = workspace.forward_continued(&cell, input).unwrap();
    let last = pass.final_state();
    assert!(last.h().iter().chain(last.c().into_iter().flatten()).flatten().all(|x| *x == 0.0));
    let mut stream = Stream::new(&cell).at(level);
    stream.advance(&[1.0; 8]);
    for _ in 0..128 {
        met[1] += usize::from(meets_denormals(|| (0..16).for_each(|_| _ = stream.advance(&[0.0; 8]))));
    }
    assert!(stream.state().h().iter().chain(stream.state().c()).all(|x| *x == 0.0));
    met
}

#[test]
fn fading_states() {
    for level in Level::available() {
        for batch in [1, 3, 32] {
            let of_cells = [
                alone(|| chunks_of_fading_states::<20, Tanh>(level, batch, None)),
                alone(|| chunks_of_fading_states::<20, Gru>(level, batch, Some(Z))),
                alone(|| chunks_of_fading_states::<20, Lstm>(level, batch, Some(F))),
            ];
            // On their way to zero, tanh squares what is below 2^-63, and products with weights become denormal. That is
            // half of the way from 1 to 2^-126, 32 chunks where a step takes a twelfth. Then there are none.
            assert!(of_cells.as_flattened().iter().all(|met| *met <= 32), "{of_cells:?} of 128 chunks at {level}");
        }
    }
}

/// States that begin among the denormal numbers are out of there after one step.
#[test]
fn denormal_states() {
    fn check<const HID: usize, C: Cell>(level: Level, tiny: f32) {
        // Nothing is added: gates of one half, and what was there.
        let cell = RnnCell::<8, HID, C>::zeros();
        let mut initial = C::States::<HID>::default();
        let (h, c) = initial.both_mut();
        *h = vec![[tiny; HID]; 5];
        if let Some(c) = c {
            *c = vec![[tiny; HID]; 5];
        }
        let x = [[0.0; 8]; 5];
        let input = Sequences::batch_first(&x, Batch(5), Steps(1)).unwrap();
        let mut workspace = Workspace::new().at(level);
        let last = workspace.forward_from(&cell, input, &initial).unwrap().final_state().clone();
        let mut stream = Stream::new(&cell).at(level);
        let (h, c) = stream.state_mut().both_mut();
        h.fill(tiny);
        c.fill(tiny);
        stream.advance(&x[0]);
        let states = last.h().iter().chain(last.c().into_iter().flatten()).flatten();
        let after: Vec<f32> = states.chain(stream.state().h()).chain(stream.state().c()).copied().collect();
        assert!(after.iter().all(|x| *x == 0.0 || x.is_normal()), "{after:?} after {tiny:e} at {level}");
        let met = meets_denormals(|| {
            workspace.forward_continued(&cell, input).unwrap();
            stream.advance(&x[0]);
        });
        assert!(!met, "{:?} meets denormal numbers a step after {tiny:e} at {level}", C::CELL);
    }
    for level in Level::available() {
        for tiny in [f32::from_bits(1), 1e-40, f32::MIN_POSITIVE.next_down(), f32::MIN_POSITIVE] {
            alone(|| {
                check::<20, Gru>(level, tiny);
                check::<20, Lstm>(level, tiny);
                check::<20, Gru>(level, -tiny);
                check::<20, Lstm>(level, -tiny);
            });
        }
    }
}

// ---- gates that are open or shut -----------------------------------------------------------------------------------

/// Which of the forward and the backward of a short sequence meet denormal numbers where all neurons have such a bias in a
/// gate, as a batch or as a sample alone.
fn of_saturated_gates<C: Cell>(level: Level, gate: usize, bias: f32, batch: usize) -> [bool; 2] {
    let cell = with_biases(&RnnCell::<8, 20, C>::new(&mut Generator::seed(1)), gate, bias);
    let (x, d) = (rows::<8>(2, 16 * batch), rows::<20>(3, 16 * batch));
    let input = Sequences::batch_first(&x, Batch(batch), Steps(16)).unwrap();
    let d_output = Sequences::batch_first(&d, Batch(batch), Steps(16)).unwrap();
    let mut workspace = Workspace::new().at(level).with_d_input();
    let mut gradients = cell.zeros_like();
    let mut pass = None;
    let forward = meets_denormals(|| pass = Some(workspace.forward(&cell, input).unwrap()));
    let backward = meets_denormals(|| _ = pass.take().unwrap().backward_into(d_output, &mut gradients).unwrap());
    [forward, backward]
}

fn check_saturated_gates(biases: &[f32]) {
    for level in Level::available() {
        for (bias, batch) in biases.iter().flat_map(|bias| [(*bias, 1), (*bias, 32)]) {
            let met = alone(|| {
                let of_gru = (0..3).map(|gate| of_saturated_gates::<Gru>(level, gate, bias, batch));
                let of_lstm = (0..4).map(|gate| of_saturated_gates::<Lstm>(level, gate, bias, batch));
                of_gru.chain(of_lstm).collect::<Vec<_>>()
            });
            assert!(!met.as_flattened().contains(&true), "{met:?}: biases of {bias}, {batch} samples, at {level}");
        }
    }
}

/// Gates that are exactly 0 or 1, or nearly so.
#[test]
fn saturated_gates() {
    check_saturated_gates(&[-10.0, 10.0, 20.0, 30.0, -95.0, 95.0, -1e3, 1e3, -1e30, 1e30]);
}

/// Sums at which a sigmoid is not zero, but its square or what is lost in rounding it is denormal.
#[test]
fn gates_that_are_nearly_shut() {
    check_saturated_gates(&[-20.0, -25.0, -30.0, -36.0, -40.0, -50.0, -60.0, -70.0, -80.0, 40.0, 70.0, 80.0]);
}

/// Logits that are far apart: neither the loss nor the backward of the layer in front of it meets a denormal number.
#[test]
fn saturated_logits() {
    for level in Level::available() {
        for apart in 60..110 {
            let logits: Vec<[f32; 37]> =
                (0..32).map(|row| std::array::from_fn(|class| if class == row { apart as f32 } else { 0.0 })).collect();
            let targets: Vec<usize> = (0..32).collect();
            let loss = CrossEntropy::mean().at(level);
            let mut d_logits = SequencesBuf::default();
            let met = meets_denormals(|| _ = loss.loss_into(&logits, &targets, &mut d_logits).unwrap());
            assert!(!met, "the loss of logits {apart} apart at {level}");

            let linear = Linear::<20, 37>::new(&mut Generator::seed(1));
            // No number near zero: products with one may be denormal, but few are.
            let x: Vec<[f32; 20]> = rows::<20>(2, 32).into_iter().map(|row| row.map(|x| 0.5 + 0.5 * x.abs())).collect();
            let (mut trace, mut gradients) = (Kept::at(level), linear.zeros_like());
            linear.forward_into(&x, &mut trace).unwrap();
            let met = meets_denormals(|| linear.backward_into(&x, &mut trace, &d_logits, &mut gradients).unwrap());
            assert!(!met, "the backward with logits {apart} apart at {level}");
        }
    }
}

#[test]
fn small_gradients() {
    for level in Level::available() {
        for exponent in (-40..-15).map(f64::from) {
            let size = 10f64.powf(exponent) as f32;
            let mut model = Linear::<5, 7>::new(&mut Generator::seed(0));
            let mut gradients = model.zeros_like();
            gradients.visit_mut(&mut |tensor| tensor.fill(size));
            let mut adam = Adam::new(1e-3).at(level);
            let mut steps = || (0..100).for_each(|_| adam.step(&mut model, &gradients).unwrap());
            assert!(!meets_denormals(&mut steps) || size < f32::MIN_POSITIVE, "Adam, gradients of {size:e} at {level}");
            assert!(!meets_denormals(|| _ = gradients.clip_norm(1.0)), "the norm of gradients of {size:e}");
        }
    }
}

/// `StepTrace` on the heap takes no stack, and gives what one on the stack gives.
#[test]
fn a_trace_on_the_heap() {
    let cell = RnnCell::<3, 5>::new(&mut Generator::seed(1));
    let (mut on_stack, mut on_heap) = (StepTrace::<_, 4>::new(), StepTrace::<RnnCell<3, 5>, 4>::boxed());
    for x in rows::<3>(3, 4) {
        assert_eq!(on_stack.advance(&cell, &x), on_heap.advance(&cell, &x));
    }
    let mut gradients = [cell.zeros_like(); 2];
    let d = rows::<5>(4, 4);
    on_stack.backward_add(&cell, &d, &mut gradients[0]).unwrap();
    on_heap.backward_add(&cell, &d, &mut gradients[1]).unwrap();
    assert_eq!(gradients[0], gradients[1]);
}
