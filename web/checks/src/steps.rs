//! One sample, one step at a time.

use crate::draw;
use elman::cells::State;
use elman::{Adam, Cell, Error, Generator, Linear, Parameters, RnnCell, StepTrace, Stream};
use programs::hash::{Hash, of_parameters};

/// tanh of every finite magnitude, 1001 units in the last place apart, and of its negative.
pub fn tanh() -> u64 {
    let mut cell = RnnCell::<1, 1>::zeros();
    cell.weight_ih[0][0] = 1.0;
    let mut hash = Hash::new();
    for bits in (0..0x7f80_0000).step_by(1001) {
        let x = f32::from_bits(bits);
        hash.add(&cell.step(&[x], &[0.0]));
        hash.add(&cell.step(&[-x], &[0.0]));
    }
    hash.finish()
}

/// The states of 1000 steps.
pub fn stream<C: Cell>(generator: &mut Generator) -> u64 {
    let mut stream = Stream::new(RnnCell::<10, 17, C>::new(generator));
    let mut hash = Hash::new();
    for x in draw::<10>(generator, 1000) {
        stream.advance(&x);
        hash.add(stream.state().h());
        hash.add(stream.state().c());
    }
    hash.finish()
}

/// Gradients of 20 steps, back step by step, and ten corrections by them.
pub fn trace<C: Cell>(generator: &mut Generator) -> Result<u64, Error> {
    type Model<C> = (RnnCell<10, 17, C>, Linear<17, 3>);
    let mut model: Model<C> = (RnnCell::new(generator), Linear::new(generator));
    let (mut adam, mut gradients) = (Adam::new(0.01), model.zeros_like());
    let (mut trace, mut hash) = (StepTrace::<Model<C>, 20>::new(), Hash::new());
    for _ in 0..10 {
        trace.clear();
        let mut d_outputs = Vec::new();
        for x in draw::<10>(generator, 20) {
            d_outputs.push(trace.advance(&model, &x)?.map(|y| y - 0.5));
        }
        let (d_state, ()) = trace.backward_into(&model, &d_outputs, &mut gradients)?;
        hash.add(d_state.h());
        hash.add(d_state.c());
        gradients.visit(&mut |tensor| hash.add(tensor));
        adam.step(&mut model, &gradients)?;
    }
    Ok(hash.finish() ^ of_parameters(&model))
}
