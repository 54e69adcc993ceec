//! Every cell: a stream of steps, and some steps of training. Sizes that do not fill vectors are among them.

use crate::hash::Hash;
use crate::print::Print;
use elman::{Adam, CrossEntropy, Error, Generator, GruCell, Linear, LstmCell, Relu, RnnCell};
use elman::{StepBackward, StepTrace, Stream};

/// Steps of a sequence.
const STEPS: usize = 6;
/// At least the numbers of the largest model.
const NUMBERS: usize = 2048;

/// Runs and trains a network of each cell, and prints hashes of what it gives and of its weights.
pub fn all(out: &mut impl Print) {
    let generator = &mut Generator::seed(7);
    one(out, "tanh", (RnnCell::<3, 8>::new(generator), Linear::<8, 2>::new(generator)));
    one(out, "tanh, 17 neurons", (RnnCell::<3, 17>::new(generator), Linear::<17, 2>::new(generator)));
    one(out, "tanh, 40 neurons", (RnnCell::<3, 40>::new(generator), Linear::<40, 2>::new(generator)));
    one(out, "relu, 7 neurons", (RnnCell::<3, 7, Relu>::new(generator), Linear::<7, 2>::new(generator)));
    one(out, "relu, 6 neurons", (RnnCell::<3, 6, Relu>::new(generator), Linear::<6, 2>::new(generator)));
    one(out, "GRU", (GruCell::<3, 8>::new(generator), Linear::<8, 2>::new(generator)));
    one(out, "GRU, 7 neurons", (GruCell::<3, 7>::new(generator), Linear::<7, 2>::new(generator)));
    one(out, "LSTM", (LstmCell::<3, 8>::new(generator), Linear::<8, 2>::new(generator)));
    one(out, "LSTM, 9 neurons", (LstmCell::<3, 9>::new(generator), Linear::<9, 2>::new(generator)));
}

#[inline(never)]
fn one<M>(out: &mut impl Print, name: &str, model: M)
where
    M: StepBackward<Input = [f32; 3], Output = [f32; 2]> + Clone,
{
    out.text(name);
    let Ok((outputs, weights)) = hashes(model) else { return out.text(": refused\n") };
    out.hash(", outputs", outputs);
    out.text(name);
    out.hash(", weights", weights);
}

fn hashes<M>(mut model: M) -> Result<(u64, u64), Error>
where
    M: StepBackward<Input = [f32; 3], Output = [f32; 2]> + Clone,
{
    let mut random = Generator::seed(3);
    let mut outputs = Hash::EMPTY;
    let mut stream = Stream::new(&model);
    let mut x = [0.0; 3];
    for step in 0..50 {
        random.fill_uniform(&mut x, -2.0, 2.0);
        // Large and tiny numbers too.
        let scale = [1.0, 1.0, 30.0, 1e-12][step % 4];
        outputs.add(&stream.advance(&x.map(|x| x * scale)));
    }

    let (mut first, mut second, count) = ([0.0; NUMBERS], [0.0; NUMBERS], model.parameter_count());
    let mut adam = Adam::with_moments(0.05, &mut first[..count], &mut second[..count]);
    let mut gradients = model.clone();
    let mut trace = StepTrace::<M, STEPS>::new();
    for _ in 0..5 {
        trace.clear();
        let mut d_logits = [[0.0; 2]; STEPS];
        for (step, d_logits) in d_logits.iter_mut().enumerate() {
            random.fill_uniform(&mut x, -2.0, 2.0);
            let logits = trace.advance(&model, &x)?;
            outputs.add(&logits);
            *d_logits = CrossEntropy::sum().row(&logits, step % 2)?.1;
        }
        trace.backward_into(&model, &d_logits, &mut gradients)?;
        gradients.clip_norm(1.0);
        adam.step(&mut model, &gradients)?;
    }
    Ok((outputs.value(), Hash::of_weights(&model)))
}
