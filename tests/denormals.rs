//! Numbers below the smallest normal one are not computed with for long: many CPUs are tens of times slower with them.
//!
//! Time is not measured here (`cargo bench --bench denormal` does), but what makes it long is counted: an SSE or AVX operation
//! with a denormal operand or result leaves a flag in the register MXCSR, and the chunks of a work that leave one are few.
#![cfg(target_arch = "x86_64")]

#[path = "properties/kept.rs"]
mod kept;

use elman::{
    Adam, Batch, Chunked, CrossEntropy, Generator, Level, Linear, Parameters, RnnCell, Sequences, SequencesBuf,
    StepBackward, StepTrace, Steps,
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
fn cells<const IN: usize, const HID: usize>() -> [RnnCell<IN, HID>; 2] {
    let cell = RnnCell::new(&mut Generator::seed(1));
    let identity = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 0.8 } else { 0.0 }));
    [cell, RnnCell { weight_hh: identity, ..cell }]
}

/// Sequences of 1,024 steps with a gradient at the last step: of 64 chunks of 16 steps, how many meet denormal numbers.
fn chunks_of_dying_gradients<const HID: usize>(level: Level, cell: &RnnCell<8, HID>, batch: usize) -> usize {
    const STEPS: usize = 1024;
    let x = rows::<8>(2, STEPS * batch);
    let input = Sequences::batch_first(&x, Batch(batch), Steps(STEPS)).unwrap();
    let (mut chunked, mut gradients) = (Chunked::new(16).unwrap().at(level), cell.zeros_like());
    let mut met = 0;
    let mut first = true;
    chunked
        .train_into(cell, input, &Vec::new(), &mut gradients, |steps, _, d_output: &mut SequencesBuf<[f32; HID]>| {
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
        })
        .unwrap();
    assert!(gradients.bias_ih.iter().any(|d| *d != 0.0));
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
            for cell in &cells::<8, 64>() {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 64);
            }
            for cell in &cells::<8, 10>() {
                met(alone(|| chunks_of_dying_gradients(level, cell, batch)), 10);
            }
        }
    }
}

#[test]
fn dying_gradients_step_by_step() {
    const STEPS: usize = 512;
    for level in Level::available() {
        for cell in &cells::<8, 64>() {
            let (mut states, mut state) = (vec![], [0.0; 64]);
            let inputs = rows::<8>(2, STEPS);
            for x in &inputs {
                let before = state;
                cell.at(level).step_in_place(x, &mut state);
                states.push((before, state));
            }
            let (mut d_state, mut gradients) = ([0.1; 64], RnnCell::zeros());
            let mut met = 0;
            for (x, (before, after)) in inputs.iter().zip(&states).rev() {
                met += usize::from(meets_denormals(|| {
                    StepBackward::backward_step(
                        cell,
                        level,
                        &(*x, ()),
                        (before, after),
                        &[0.0; 64],
                        &mut d_state,
                        &mut gradients,
                    );
                }));
            }
            assert_eq!(d_state, [0.0; 64]);
            assert!(met <= 8, "{met} of {STEPS} steps at {level}");
        }
    }
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
