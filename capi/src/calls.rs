//! The calls of C, for any model. [`export!`](crate::export) gives them names and types.
//!
//! The safety of all is the same: what C says is there is there (memory as large as the type of C, arrays as long as it says),
//! can be read, or written where it is an output, and nobody else uses it during the call; and memory whose first word is the
//! magic was written by `init`. The rest is checked.
#![allow(clippy::missing_safety_doc, reason = "above, for all of them")]

pub use crate::arrays::{Array, ArrayMut};
use crate::code::Code;
use crate::floats::{Floats, Input, Vector};
use crate::memory::{Export, Memory};
use crate::torch;
use bytemuck::Zeroable;
use core::mem::size_of;
use elman::{Level, Parameters, Step};

type InputOf<E> = <<E as Export>::Layers as Step>::Input;
type OutputOf<E> = <<E as Export>::Layers as Step>::Output;
type StateOf<E> = <<E as Export>::Layers as Step>::State;
/// What C gives as an input: `float` or `uint32_t`.
pub type ElementOf<E> = <InputOf<E> as Input>::Element;

/// Elements of one input.
pub const fn input_len<E: Export>() -> usize {
    InputOf::<E>::LEN
}

/// Numbers of one output.
pub const fn output_len<E: Export>() -> usize {
    OutputOf::<E>::LEN
}

/// Numbers of a state.
pub const fn state_len<E: Export>() -> usize {
    StateOf::<E>::LEN
}

/// Numbers of all weights.
pub const fn weights_len<L: Parameters>() -> usize {
    L::COUNT
}

/// Not [`Level::detect`], which panics where `ELMAN_LEVEL` is wrong.
fn level() -> Result<Level, Code> {
    #[cfg(feature = "std")]
    let level = Level::from_environment().map_err(|_| Code::UnknownLevel);
    #[cfg(not(feature = "std"))]
    let level = Ok(Level::detect());
    level
}

/// Makes the memory of a model that is a `static`.
pub unsafe fn init<E: Export<Weights = ()>>(memory: *mut E, size: usize) -> Result<(), Code> {
    let (memory, _) = Memory::locate(memory)?;
    if size < size_of::<E>() {
        return Err(Code::TooSmall);
    }
    let level = level()?;
    // SAFETY: located; the caller's promise.
    unsafe { Memory::initialize(memory, level) };
    Ok(())
}

/// Makes the memory of a model that it holds.
pub unsafe fn init_with_weights<E, L>(memory: *mut E, size: usize, weights: Array<f32>) -> Result<(), Code>
where
    E: Export<Weights = L, Layers = L>,
    L: Step<Input: Input, Output: Vector, State: Floats> + Parameters + Zeroable,
{
    let (memory, addresses) = Memory::locate(memory)?;
    if size < size_of::<E>() {
        return Err(Code::TooSmall);
    }
    weights.check(Some(L::COUNT), &addresses)?;
    let level = level()?;
    // SAFETY: located; the caller's promise.
    let memory = unsafe { Memory::initialize(memory, level) };
    // SAFETY: checked; the caller's promise.
    torch::load(&mut memory.weights, unsafe { weights.numbers() });
    Ok(())
}

/// Goes on by as many steps. Inputs and outputs may lie in the same place, as each input is read before its output is written.
#[inline]
pub unsafe fn process<E: Export>(
    memory: *mut E,
    steps: usize,
    inputs: Array<ElementOf<E>>,
    outputs: ArrayMut<f32>,
) -> Result<(), Code> {
    // SAFETY: the caller's promise.
    let (memory, addresses) = unsafe { Memory::open(memory) }?;
    inputs.check(steps.checked_mul(InputOf::<E>::LEN), &addresses)?;
    outputs.check(steps.checked_mul(OutputOf::<E>::LEN), &addresses)?;
    let (layers, level) = (E::layers(&memory.weights), memory.level);
    // SAFETY: `step < steps`, and there are elements for as many inputs; checked, beside the memory, and the caller's promise.
    let input = |step: usize| unsafe { InputOf::<E>::read(inputs.start.add(step * InputOf::<E>::LEN)) };
    // All of them first, so that a block with a token that is refused changes nothing. Of vectors nothing is left of this.
    for step in 0..steps {
        layers.check_input(&input(step)).map_err(|_| Code::TokenOutOfRange)?;
    }
    for step in 0..steps {
        let input = input(step);
        // Outputs may have been written over tokens behind them.
        layers.check_input(&input).map_err(|_| Code::TokenOutOfRange)?;
        let output = layers.forward_step(level, &input, &mut memory.state);
        // SAFETY: `step < steps`, and there is room for as many outputs; checked, beside the memory, and the caller's promise.
        unsafe { output.write(outputs.start.add(step * OutputOf::<E>::LEN)) };
    }
    Ok(())
}

/// Sets the state to zero.
pub unsafe fn reset<E: Export>(memory: *mut E) -> Result<(), Code> {
    // SAFETY: the caller's promise.
    let (memory, _) = unsafe { Memory::open(memory) }?;
    memory.state = Zeroable::zeroed();
    Ok(())
}

/// Copies the state to C.
pub unsafe fn state_get<E: Export>(memory: *mut E, to: ArrayMut<f32>) -> Result<(), Code> {
    // SAFETY: the caller's promise.
    let (memory, addresses) = unsafe { Memory::open(memory) }?;
    to.check(Some(StateOf::<E>::LEN), &addresses)?;
    // SAFETY: checked, beside the memory; the caller's promise.
    let mut to = unsafe { to.room() }.iter_mut();
    memory.state.visit(&mut |numbers| {
        // The numbers first: `zip` would take one more of the other before it ends.
        for (x, to) in numbers.iter().zip(to.by_ref()) {
            to.write(*x);
        }
    });
    Ok(())
}

/// Copies a state from C.
pub unsafe fn state_set<E: Export>(memory: *mut E, from: Array<f32>) -> Result<(), Code> {
    // SAFETY: the caller's promise.
    let (memory, addresses) = unsafe { Memory::open(memory) }?;
    from.check(Some(StateOf::<E>::LEN), &addresses)?;
    // SAFETY: checked, beside the memory; the caller's promise.
    let mut from = unsafe { from.numbers() };
    memory.state.visit_mut(&mut |numbers| {
        let (these, rest) = from.split_at(numbers.len());
        numbers.copy_from_slice(these);
        from = rest;
    });
    Ok(())
}
