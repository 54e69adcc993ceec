//! What must not happen on bad input: no panic, no half-done work, no number that reaches where it does not belong.
//!
//! * A call with data that does not fit is refused by a typed error that says what was expected and what was given, and
//!   changes nothing.
//! * NaN and infinity reach exactly the results that depend on them, and are never hidden.
//! * Large layers never overflow a small stack. Slices may start anywhere and have any length.

#[path = "properties/support.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod support;

#[path = "properties/kept.rs"]
mod kept;

use elman::cells::{self, State, States};
use elman::{
    Adam, Batch, Cell, CrossEntropy, Embedding, Error, Generator, Gru, GruCell, Layer, Level, Linear, Lstm, LstmCell,
    Parameters, Rnn, RnnCell, RnnWeights, Sequences, SequencesBuf, Steps, Stream, Tanh,
};
use elman::{Model, Tensor, Workspace};
use kept::{Kept, Passes};
use std::any::TypeId;
use support::{Numbers, Values, Weights, flat};

fn ordinary<const N: usize>(seed: u64, rows: usize) -> Vec<[f32; N]> {
    Values::Ordinary.rows(&mut Numbers(seed), rows)
}

fn filled<P: Parameters>(mut parameters: P, seed: u64) -> P {
    Weights::Initial.fill(&mut Numbers(seed), 8, &mut parameters);
    parameters
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn bits_of(parameters: &impl Parameters) -> Vec<u32> {
    bits(&flat(parameters))
}

/// The error's text holds these numbers.
#[track_caller]
fn says(error: Error, numbers: &[usize]) {
    let text = error.to_string();
    for number in numbers {
        let found = text.split(|c: char| !c.is_ascii_digit()).any(|part| part == number.to_string());
        assert!(found, "`{text}` does not say {number}");
    }
}

// ---- Shapes that do not fit ----------------------------------------------------------------------------------------

#[test]
fn lengths_that_do_not_divide() {
    let rows = [[0.0f32; 3]; 7];
    for (steps, batch) in [(2, 3), (2, 4), (0, 3), (7, 0), (1, 8), (usize::MAX, 2), (1 << 40, 1 << 40)] {
        for made in [
            Sequences::time_major(&rows, Steps(steps), Batch(batch)),
            Sequences::batch_first(&rows, Batch(batch), Steps(steps)),
        ] {
            let expected = steps.saturating_mul(batch);
            let error = made.unwrap_err();
            assert_eq!(error, Error::Length { what: "rows of the sequences", expected, given: 7 });
            says(error, &[expected, 7]);
        }
    }
}

#[test]
fn a_sequence_of_no_steps() {
    let none: [[f32; 3]; 0] = [];
    let no_steps = Sequences::time_major(&none, Steps(0), Batch(5)).unwrap();
    let mut generator = Generator::seed(0);
    let cell = RnnCell::<3, 2>::new(&mut generator);
    assert_eq!(cell.forward(no_steps).map(|_| ()).unwrap_err(), Error::NoSteps);
    assert_eq!(cell.forward(&none).map(|_| ()).unwrap_err(), Error::NoSteps);
    assert_eq!(Rnn::<3, 2, 2>::new(&mut generator).forward(no_steps).map(|_| ()).unwrap_err(), Error::NoSteps);
    assert_eq!(Linear::<3, 2>::new(&mut generator).forward(no_steps).map(|_| ()).unwrap_err(), Error::NoSteps);
    assert_eq!(Embedding::<3, 2>::new(&mut generator).forward(&[]).map(|_| ()).unwrap_err(), Error::NoSteps);
    let model = (Embedding::<3, 2>::new(&mut generator), Rnn::<2, 2, 1>::new(&mut generator));
    assert_eq!(model.forward(&[]).map(|_| ()).unwrap_err(), Error::NoSteps);
    assert_eq!(Error::NoSteps.to_string(), "a sequence must have at least one step");
}

/// No samples at all is not an error: the results are empty and the gradients zero.
#[test]
fn a_batch_of_nothing() {
    fn check<M: Layer>(model: M, steps: usize, level: Level)
    where
        M::Input: Copy,
    {
        let input = Sequences::time_major(&[], Steps(steps), Batch(0)).unwrap();
        let mut workspace = Workspace::new().at(level).with_d_input();
        let pass = workspace.forward(&model, input).unwrap();
        assert_eq!((pass.output().steps(), pass.output().batch()), (steps, 0));
        let mut gradients = filled(model.zeros_like(), 1);
        let d_output = Sequences::batch_first(&[], Batch(0), Steps(steps)).unwrap();
        let passed = pass.backward_into(d_output, &mut gradients).unwrap();
        assert!(flat(&gradients).iter().all(|d| *d == 0.0), "gradients of nothing");
        assert_eq!(passed.d_input().unwrap().batch(), 0);
    }
    let mut generator = Generator::seed(0);
    for level in Level::available() {
        for steps in [1, 2, 16, 17, 40] {
            check(RnnCell::<3, 5>::new(&mut generator), steps, level);
            check(Rnn::<3, 5, 3>::new(&mut generator), steps, level);
            check(Linear::<3, 5>::new(&mut generator), steps, level);
            let model =
                (Linear::<4, 3>::new(&mut generator), Rnn::<3, 5, 2>::new(&mut generator), Linear::new(&mut generator));
            let model: (Linear<4, 3>, Rnn<3, 5, 2>, Linear<5, 2>) = model;
            check(model, steps, level);
        }
        let embedding = Embedding::<3, 5>::new(&mut generator);
        let mut trace = Kept::at(level);
        embedding.forward_into(Sequences::time_major(&[], Steps(4), Batch(0)).unwrap(), &mut trace).unwrap();
        assert_eq!(trace.output().iter().count(), 0);

        RnnCell::<3, 5>::new(&mut generator).at(level).step_batch_in_place(&[], &mut []).unwrap();
        let nothing: [[f32; 4]; 0] = [];
        let (loss, d_logits) = CrossEntropy::sum().at(level).loss(&nothing, &[]).unwrap();
        assert_eq!((loss, d_logits.rows().len()), (0.0, 0));
        assert_eq!(CrossEntropy::mean().at(level).loss(&nothing, &[]).unwrap_err(), Error::NoTargets);
    }
}

/// No samples of ever so many steps: there is nothing to do, and nothing overflows.
#[test]
fn a_batch_of_nothing_for_ever() {
    for steps in [usize::MAX, usize::MAX / 2, 1 << 62] {
        let mut generator = Generator::seed(0);
        let input = Sequences::time_major(&[], Steps(steps), Batch(0)).unwrap();
        assert_eq!(RnnCell::<3, 2>::new(&mut generator).forward(input).unwrap().output().batch(), 0);
        assert_eq!(Rnn::<3, 2, 2>::new(&mut generator).forward(input).unwrap().output().batch(), 0);
        assert_eq!(Linear::<3, 2>::new(&mut generator).forward(input).unwrap().output().batch(), 0);
        let tokens = Sequences::time_major(&[], Steps(steps), Batch(0)).unwrap();
        assert_eq!(Embedding::<3, 2>::new(&mut generator).forward(tokens).unwrap().output().batch(), 0);
        let model = (Embedding::<3, 2>::new(&mut generator), Rnn::<2, 2, 2>::new(&mut generator));
        let model = (model.0, model.1, Linear::<2, 3>::new(&mut generator));
        let d_output = Sequences::time_major(&[], Steps(steps), Batch(0)).unwrap();
        let gradients = model.forward(tokens).unwrap().backward(d_output).unwrap();
        assert_eq!(bits_of(&gradients), bits_of(&model.zeros_like()));
    }
}

#[test]
fn batches_of_steps_of_different_lengths() {
    let cell = RnnCell::<3, 2>::new(&mut Generator::seed(0));
    for (inputs, states) in [(0, 1), (4, 5), (5, 4)] {
        let mut h = ordinary::<2>(1, states);
        let before = h.clone();
        let error = cell.step_batch_in_place(&ordinary::<3>(2, inputs), &mut h).unwrap_err();
        assert_eq!(error, Error::Length { what: "rows of x", expected: states, given: inputs });
        says(error, &[states, inputs]);
        assert_eq!(h, before);
    }
}

#[test]
fn parameters_of_the_wrong_length() {
    let (ih, hh, b) = ([0.5; 6], [0.25; 4], [0.125; 2]);
    let bias = Tensor::from(&b);
    let right = RnnWeights { weight_ih: (&ih).into(), weight_hh: (&hh).into(), bias_ih: bias, bias_hh: bias };
    let long = [1.0; 7];
    let tensor = |numbers: &'static [f32]| Tensor::from(numbers);
    let wrong = [
        (RnnWeights { weight_ih: (&ih[1..]).into(), ..right }, "weight_ih", "[2, 3]", "[5]"),
        (RnnWeights { weight_ih: (&long).into(), ..right }, "weight_ih", "[2, 3]", "[7]"),
        (RnnWeights { weight_hh: tensor(&[]), ..right }, "weight_hh", "[2, 2]", "[0]"),
        (RnnWeights { weight_hh: (&long[..5]).into(), ..right }, "weight_hh", "[2, 2]", "[5]"),
        (RnnWeights { bias_ih: (&b[1..]).into(), ..right }, "bias_ih", "[2]", "[1]"),
        (RnnWeights { bias_hh: (&long[..3]).into(), ..right }, "bias_hh", "[2]", "[3]"),
        // The right number of elements, but transposed, or with another number of axes.
        (RnnWeights { weight_ih: Tensor::new(&ih, &[3, 2]), ..right }, "weight_ih", "[2, 3]", "[3, 2]"),
        (RnnWeights { weight_hh: Tensor::new(&hh, &[1, 2, 2]), ..right }, "weight_hh", "[2, 2]", "[1, 2, 2]"),
        (RnnWeights { bias_ih: Tensor::new(&b, &[2, 1]), ..right }, "bias_ih", "[2]", "[2, 1]"),
        // A shape that the numbers do not have.
        (RnnWeights { weight_ih: Tensor::new(&ih[1..], &[2, 3]), ..right }, "weight_ih", "[2, 3]", "[5]"),
    ];
    for (weights, what, expected, given) in wrong {
        let error = RnnCell::<3, 2>::from_torch(&weights).unwrap_err();
        assert_eq!(error.to_string(), format!("{what}: shape {expected} expected, {given} given"));
        let mut cell = RnnCell::<3, 2>::new(&mut Generator::seed(0));
        let before = bits_of(&cell);
        assert_eq!(cell.load_torch(&weights).unwrap_err(), error);
        assert_eq!(bits_of(&cell), before);
        let error = Rnn::<3, 2, 1>::from_torch(&[weights]).unwrap_err();
        assert_eq!(error.to_string(), format!("{what}_l0: shape {expected} expected, {given} given"));
    }
    let upper = RnnWeights { weight_ih: (&ih).into(), ..right };
    let error = Rnn::<3, 2, 2>::from_torch(&[right, upper]).unwrap_err();
    assert_eq!(error.to_string(), "weight_ih_l1: shape [2, 2] expected, [6] given");
    assert!(matches!(error, Error::Tensor { name: "weight_ih", layer: Some(1), expected, given }
        if expected.lengths() == [2, 2] && given.lengths() == [6]));
    // Exchanged matrices have one number of elements where inputs and neurons do, and one shape: no one can tell.
    let (ih, hh) = ([0.5; 8], [0.25; 16]);
    let bias = Tensor::from(&hh[..4]);
    let exchanged = RnnWeights {
        weight_ih: Tensor::new(&hh, &[4, 4]),
        weight_hh: Tensor::new(&ih, &[4, 2]),
        bias_ih: bias,
        bias_hh: bias,
    };
    let error = RnnCell::<2, 4>::from_torch(&exchanged).unwrap_err();
    assert_eq!(error.to_string(), "weight_ih: shape [4, 2] expected, [4, 4] given");

    let (ih, hh) = ([0.5; 6], [0.25; 4]);
    let mut linear = Linear::<3, 2>::new(&mut Generator::seed(0));
    let before = bits_of(&linear);
    let error = linear.load_torch(&long, &b).unwrap_err();
    assert_eq!(error.to_string(), "weight: shape [2, 3] expected, [7] given");
    let error = linear.load_torch(&ih, &hh).unwrap_err();
    assert_eq!(error.to_string(), "bias: shape [2] expected, [4] given");
    assert_eq!(Linear::<3, 2>::from_torch(&ih, &hh).unwrap_err(), error);
    let transposed = linear.load_torch(Tensor::new(&ih, &[3, 2]), &b).unwrap_err();
    assert_eq!(transposed.to_string(), "weight: shape [2, 3] expected, [3, 2] given");
    assert_eq!(bits_of(&linear), before);

    let mut embedding = Embedding::<3, 2>::new(&mut Generator::seed(0));
    let before = bits_of(&embedding);
    let error = embedding.load_torch(&hh).unwrap_err();
    assert_eq!(error.to_string(), "weight: shape [3, 2] expected, [4] given");
    assert_eq!(Embedding::<3, 2>::from_torch(&hh).unwrap_err(), error);
    assert_eq!(bits_of(&embedding), before);
}

/// The shapes of a layer's calls, right and wrong, in one workspace: after every refusal parameters and gradients are as they
/// were, and the right call gives the right gradients. (Another input in the backward than in the forward does not compile.)
fn refusals<const IN: usize, const OUT: usize, M>(model: &M, layers: usize, with_state: impl Fn(usize) -> M::State)
where
    M: Layer<Input = [f32; IN], Output = [f32; OUT]>,
{
    const STEPS: usize = 5;
    const BATCH: usize = 3;
    fn view<const N: usize>(rows: &[[f32; N]], (steps, batch): (usize, usize)) -> Sequences<'_, [f32; N]> {
        Sequences::time_major(&rows[..steps * batch], Steps(steps), Batch(batch)).unwrap()
    }
    let parameters = bits_of(model);
    let (input, d_output) = (ordinary::<IN>(1, 40), ordinary::<OUT>(2, 40));
    let (right, wrong) =
        ((STEPS, BATCH), [(BATCH, STEPS), (STEPS + 1, BATCH), (STEPS, BATCH + 1), (STEPS, 0), (1, 15)]);
    let mut workspace = Workspace::<M>::new().with_d_input();
    let expected = bits_of(&model.forward(view(&input, right)).unwrap().backward(view(&d_output, right)).unwrap());
    let mut gradients = filled(model.zeros_like(), 3);
    let before = bits_of(&gradients);
    let mut right_again = |workspace: &mut Workspace<M>| {
        let pass = workspace.forward(model, view(&input, right)).unwrap();
        let passed = pass.backward_into(view(&d_output, right), &mut gradients).unwrap();
        assert!(passed.d_input().is_some());
        assert!(bits_of(&gradients) == expected, "the gradients after a refusal");
        gradients = filled(model.zeros_like(), 3);
    };
    let mut others = filled(model.zeros_like(), 3);
    for shape in wrong {
        for adds in [false, true] {
            let pass = workspace.forward(model, view(&input, right)).unwrap();
            let d = view(&d_output, shape);
            let refused = if adds { pass.backward_add(d, &mut others) } else { pass.backward_into(d, &mut others) };
            let error = refused.map(|_| ()).unwrap_err();
            let Error::Shape { what, expected, given } = error else { panic!("{error:?}") };
            assert_eq!((expected, given), (right, shape), "{what}");
            says(error, &[right.0, right.1, shape.0, shape.1]);
            assert!(bits_of(&others) == before, "{what} of {shape:?} was refused, but gradients have changed");
            right_again(&mut workspace);
        }
    }
    if layers > 0 {
        for rows in [1, BATCH * layers - 1, BATCH * layers + 1, 2 * BATCH * layers] {
            let state = with_state(rows);
            let pass = workspace.forward(model, view(&input, right)).unwrap().with_d_final(&state);
            let error = pass.backward_into(view(&d_output, right), &mut others).map(|_| ()).unwrap_err();
            let Error::Length { expected, given, .. } = error else { panic!("{error:?}") };
            assert_eq!((expected, given), (BATCH * layers, rows));
            says(error, &[expected, given]);
            assert!(bits_of(&others) == before, "d_final of {rows} rows was refused, but gradients changed");
            right_again(&mut workspace);

            // A forward of other inputs, in every layer of a model.
            let other = ordinary::<IN>(3, 40);
            let error = workspace.forward_from(model, view(&other, right), &state).map(|_| ()).unwrap_err();
            assert!(
                matches!(error, Error::Length { expected, given, .. } if (expected, given) == (BATCH * layers, rows))
            );
            says(error, &[BATCH * layers, rows]);
            right_again(&mut workspace);
        }
    }
    assert_eq!(bits_of(model), parameters);
}

#[test]
fn refusals_of_a_cell() {
    refusals(&RnnCell::<4, 6>::new(&mut Generator::seed(1)), 1, |rows| vec![[0.5; 6]; rows]);
}

#[test]
fn refusals_of_a_stack() {
    refusals(&Rnn::<4, 6, 3>::new(&mut Generator::seed(1)), 3, |rows| vec![[0.5; 6]; rows]);
}

#[test]
fn refusals_of_gates() {
    let mut generator = Generator::seed(1);
    let rows_of_both = |rows| (vec![[0.5; 6]; rows], vec![[0.25; 6]; rows]);
    refusals(&GruCell::<4, 6>::new(&mut generator), 1, |rows| vec![[0.5; 6]; rows]);
    refusals(&Gru::<4, 6, 3>::new(&mut generator), 3, |rows| vec![[0.5; 6]; rows]);
    refusals(&LstmCell::<4, 6>::new(&mut generator), 1, rows_of_both);
    refusals(&Lstm::<4, 6, 3>::new(&mut generator), 3, rows_of_both);
}

/// Of `h` and `c` one has the wrong number of rows: the error names it. None at all stand for zeros, of each by itself.
fn states_of_two_parts<M>(model: &M, layers: usize)
where
    M: Layer<Input = [f32; 4], Output = [f32; 6], State = (Vec<[f32; 6]>, Vec<[f32; 6]>)>,
{
    const BATCH: usize = 3;
    let (input, d_output) = (ordinary::<4>(1, 5 * BATCH), ordinary::<6>(2, 5 * BATCH));
    let input = Sequences::time_major(&input, Steps(5), Batch(BATCH)).unwrap();
    let d_output = Sequences::time_major(&d_output, Steps(5), Batch(BATCH)).unwrap();
    let right = BATCH * layers;
    let rows = |count: usize| ordinary::<6>(3, count);
    let mut workspace = Workspace::<M>::new();
    let mut gradients = filled(model.zeros_like(), 3);
    let before = bits_of(&gradients);
    for wrong in [1, BATCH, right - 1, right + 1, 2 * right].into_iter().filter(|rows| *rows != right) {
        let states =
            [(rows(wrong), rows(right)), (rows(right), rows(wrong)), (rows(wrong), vec![]), (vec![], rows(wrong))];
        for (state, part) in states.iter().zip(["", " c", "", " c"]) {
            let check = |error: Error, what: &str| {
                let Error::Length { what: given_what, expected, given } = error else { panic!("{error:?}") };
                assert_eq!(given_what, format!("rows of {what} state{part}"));
                assert_eq!((expected, given), (right, wrong));
                says(error, &[right, wrong]);
            };
            let error = workspace.forward_from(model, input, state).map(|_| ()).unwrap_err();
            check(error, "the initial");
            let pass = workspace.forward(model, input).unwrap().with_d_final(state);
            let error = pass.backward_add(d_output, &mut gradients).map(|_| ()).unwrap_err();
            check(error, "the gradient of the final");
            assert_eq!(bits_of(&gradients), before);
        }
    }
    let mut answers = |state: &M::State| {
        let pass = workspace.forward_from(model, input, state).unwrap().with_d_final(state);
        let output: Vec<f32> = pass.output().iter().flatten().copied().collect();
        let passed = pass.backward_into(d_output, &mut gradients).unwrap();
        let (h, c) = passed.d_initial();
        let parts = [&output, h.as_flattened(), c.as_flattened(), &flat(&gradients)];
        parts.map(bits)
    };
    let zeros = || vec![[0.0; 6]; right];
    let of_zeros = answers(&(zeros(), zeros()));
    assert_eq!(answers(&(vec![], vec![])), of_zeros);
    let of_h = answers(&(rows(right), zeros()));
    let of_c = answers(&(zeros(), rows(right)));
    assert_eq!(answers(&(rows(right), vec![])), of_h);
    assert_eq!(answers(&(vec![], rows(right))), of_c);
    assert!(of_zeros != of_h && of_zeros != of_c && of_h != of_c);
}

#[test]
fn states_of_an_lstm() {
    states_of_two_parts(&LstmCell::<4, 6>::new(&mut Generator::seed(1)), 1);
    states_of_two_parts(&Lstm::<4, 6, 2>::new(&mut Generator::seed(1)), 2);
}

/// Tensors of another cell, transposed and exchanged ones: the error names the first that does not fit.
#[test]
fn parameters_of_gates_of_the_wrong_shape() {
    fn refused<C: Cell>(weights: &RnnWeights<'_>, expected: &str) {
        let error = RnnCell::<3, 2, C>::from_torch(weights).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let mut cell = RnnCell::<3, 2, C>::new(&mut Generator::seed(0));
        let before = bits_of(&cell);
        assert_eq!(cell.load_torch(weights).unwrap_err(), error);
        assert_eq!(bits_of(&cell), before);
        let of_stack = Rnn::<3, 2, 1, C>::from_torch(&[*weights]).unwrap_err().to_string();
        let (name, rest) = expected.split_once(':').unwrap();
        assert_eq!(of_stack, format!("{name}_l0:{rest}"));
    }
    let numbers: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let tensor = |shape: &[usize]| Tensor::new(&numbers[..shape.iter().product()], shape);
    let weights = |[ih, hh, b_ih, b_hh]: [&[usize]; 4]| RnnWeights {
        weight_ih: tensor(ih),
        weight_hh: tensor(hh),
        bias_ih: tensor(b_ih),
        bias_hh: tensor(b_hh),
    };
    let of_gates = |gates: usize| {
        let (rows, bias) = (gates * 2, [gates * 2]);
        [vec![rows, 3], vec![rows, 2], bias.to_vec(), bias.to_vec()]
    };
    let replaced = |gates: usize, place: usize, shape: &[usize]| {
        let mut shapes = of_gates(gates);
        shapes[place] = shape.to_vec();
        weights(shapes.each_ref().map(Vec::as_slice))
    };
    let whole = |gates: usize| replaced(gates, 0, &[gates * 2, 3]);
    assert!(GruCell::<3, 2>::from_torch(&whole(3)).is_ok() && LstmCell::<3, 2>::from_torch(&whole(4)).is_ok());
    // Of other cells.
    refused::<cells::Lstm>(&whole(3), "weight_ih: shape [8, 3] expected, [6, 3] given");
    refused::<cells::Lstm>(&whole(1), "weight_ih: shape [8, 3] expected, [2, 3] given");
    refused::<cells::Gru>(&whole(4), "weight_ih: shape [6, 3] expected, [8, 3] given");
    refused::<Tanh>(&whole(4), "weight_ih: shape [2, 3] expected, [8, 3] given");
    // One tensor of three gates among those of four.
    refused::<cells::Lstm>(&replaced(4, 1, &[6, 2]), "weight_hh: shape [8, 2] expected, [6, 2] given");
    refused::<cells::Lstm>(&replaced(4, 2, &[6]), "bias_ih: shape [8] expected, [6] given");
    refused::<cells::Lstm>(&replaced(4, 3, &[6]), "bias_hh: shape [8] expected, [6] given");
    refused::<cells::Gru>(&replaced(3, 3, &[8]), "bias_hh: shape [6] expected, [8] given");
    // Transposed, or with an axis of its own for the gates.
    refused::<cells::Lstm>(&replaced(4, 0, &[3, 8]), "weight_ih: shape [8, 3] expected, [3, 8] given");
    refused::<cells::Lstm>(&replaced(4, 1, &[2, 8]), "weight_hh: shape [8, 2] expected, [2, 8] given");
    refused::<cells::Gru>(&replaced(3, 0, &[3, 2, 3]), "weight_ih: shape [6, 3] expected, [3, 2, 3] given");
    refused::<cells::Gru>(&replaced(3, 2, &[3, 2]), "bias_ih: shape [6] expected, [3, 2] given");
    // Exchanged.
    let exchanged = weights([&[8, 2], &[8, 3], &[8], &[8]]);
    refused::<cells::Lstm>(&exchanged, "weight_ih: shape [8, 3] expected, [8, 2] given");
}

#[test]
fn refusals_of_a_linear_layer() {
    refusals(&Linear::<4, 6>::new(&mut Generator::seed(1)), 0, |_| ());
}

#[test]
fn refusals_of_a_model() {
    let mut generator = Generator::seed(1);
    let model: (Linear<3, 4>, Rnn<4, 6, 2>, Linear<6, 2>) =
        (Linear::new(&mut generator), Rnn::new(&mut generator), Linear::new(&mut generator));
    refusals(&model, 2, |rows| ((), vec![[0.5; 6]; rows], ()));
}

#[test]
fn refusals_of_a_boxed_model() {
    let mut generator = Generator::seed(1);
    let model: (Box<Linear<3, 4>>, Box<RnnCell<4, 6>>) =
        (Linear::boxed(&mut generator), RnnCell::boxed(&mut generator));
    refusals(&model, 1, |rows| ((), vec![[0.5; 6]; rows]));
}

/// A refused forward leaves the state as it was, so that the next chunk goes on from there.
#[test]
fn a_refused_forward_changes_no_state() {
    let rnn = Rnn::<4, 6, 2>::new(&mut Generator::seed(1));
    let input = ordinary::<4>(1, 12);
    let mut workspace = Workspace::new();
    let state = workspace.forward(&rnn, &input).unwrap().final_state().clone();
    let four_samples = Sequences::time_major(&input, Steps(3), Batch(4)).unwrap();
    workspace.forward_from(&rnn, four_samples, &vec![[0.0; 6]; 7]).map(|_| ()).unwrap_err();
    workspace.forward(&rnn, &[]).map(|_| ()).unwrap_err();
    let continued = workspace.forward_continued(&rnn, &input).unwrap().final_state().clone();
    assert_eq!(continued, *workspace.forward_from(&rnn, &input, &state).unwrap().final_state());
}

// ---- Tokens, targets, settings -------------------------------------------------------------------------------------

#[test]
fn tokens_out_of_range() {
    let embedding = Embedding::<5, 3>::new(&mut Generator::seed(0));
    let good = [0usize, 1, 2, 3, 4, 0];
    for bad in [5usize, 6, 1 << 40, usize::MAX] {
        for place in 0..6 {
            let mut tokens = good;
            tokens[place] = bad;
            let time_major = Sequences::time_major(&tokens, Steps(2), Batch(3)).unwrap();
            let batch_first = Sequences::batch_first(&tokens, Batch(3), Steps(2)).unwrap();
            for (view, sample, step) in [(time_major, place % 3, place / 3), (batch_first, place / 2, place % 2)] {
                let error = Error::TokenOutOfRange { token: bad, vocabulary: 5, sample, step };
                says(error, &[bad, 5, sample, step]);
                let mut workspace = Workspace::new();
                assert_eq!(workspace.forward(&embedding, view).map(|_| ()).unwrap_err(), error);
                let right = Sequences::time_major(&good, Steps(2), Batch(3)).unwrap();
                let pass = workspace.forward(&embedding, right).unwrap();
                assert_eq!(*pass.output().row(2, 0), embedding.weight[2]);
            }
        }
        assert_eq!(embedding.get(bad), None);
    }
}

#[test]
fn tokens_out_of_range_in_a_model() {
    let mut generator = Generator::seed(0);
    let model: (Embedding<5, 3>, Rnn<3, 4, 2>, Linear<4, 5>) =
        (Embedding::new(&mut generator), Rnn::new(&mut generator), Linear::new(&mut generator));
    let error = model.forward(&[1, 2, 5, 4]).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::TokenOutOfRange { token: 5, vocabulary: 5, sample: 0, step: 2 });
}

#[test]
fn targets_out_of_range() {
    let logits = ordinary::<4>(1, 6);
    let mut d_logits = CrossEntropy::sum().loss(&[[1.0f32, 2.0, 3.0, 4.0]], &[2]).unwrap().1;
    let before = d_logits.rows().to_vec();
    for bad in [4usize, 5, 1 << 40, usize::MAX] {
        for index in 0..6 {
            let mut targets = [0, 1, 2, 3, 0, 1];
            targets[index] = bad;
            let error = Error::TargetOutOfRange { target: bad, classes: 4, index };
            assert_eq!(CrossEntropy::sum().loss_into(&logits, &targets, &mut d_logits).unwrap_err(), error);
            assert_eq!(CrossEntropy::mean().loss(&logits, &targets).unwrap_err(), error);
            says(error, &[bad, 4, index]);
        }
    }
    // "Which target it is, counted as they were given."
    let targets = [0usize, 1, 9, 3, 0, 1];
    let time_major = Sequences::time_major(&targets, Steps(3), Batch(2)).unwrap();
    let logits = Sequences::batch_first(&logits, Batch(2), Steps(3)).unwrap();
    let error = CrossEntropy::sum().loss_into(logits, time_major, &mut d_logits).unwrap_err();
    assert_eq!(error, Error::TargetOutOfRange { target: 9, classes: 4, index: 2 });

    // One sequence and one step are both at once, time-major and batch-first.
    for (steps, batch) in [(6, 1), (1, 6)] {
        for index in 0..6 {
            let mut targets = [0usize; 6];
            targets[index..].fill(7);
            let error = Error::TargetOutOfRange { target: 7, classes: 4, index };
            let logits = ordinary::<4>(1, 6);
            let logits = Sequences::batch_first(&logits, Batch(batch), Steps(steps)).unwrap();
            for made in [Sequences::time_major, |rows, steps, batch| Sequences::batch_first(rows, batch, steps)] {
                let targets = made(&targets, Steps(steps), Batch(batch)).unwrap();
                assert_eq!(CrossEntropy::sum().loss_into(logits, targets, &mut d_logits).unwrap_err(), error);
            }
        }
    }

    for targets in [&[0usize, 1][..], &[0; 7]] {
        let error = CrossEntropy::sum().loss_into(Sequences::one(&ordinary::<4>(1, 6)), targets, &mut d_logits);
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Shape { expected: (6, 1), .. }));
        says(error, &[6, targets.len()]);
    }
    assert_eq!(d_logits.rows(), before);
    assert_eq!((d_logits.view().steps(), d_logits.view().batch()), (1, 1));
}

#[test]
fn adam_refuses_and_changes_nothing() {
    let mut generator = Generator::seed(0);
    let mut model = Linear::<5, 7>::new(&mut generator);
    let gradients = filled(Linear::zeros(), 1);
    let mut adam = Adam::new(0.01);
    adam.step(&mut model, &gradients).unwrap();
    let (mut expected_model, mut expected_adam) = (model, adam.clone());
    expected_adam.step(&mut expected_model, &gradients).unwrap();

    let parameters = bits_of(&model);
    for bad in [-1.0, -1e-300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        adam.set_learning_rate(bad);
        let error = adam.step(&mut model, &gradients).unwrap_err();
        assert_eq!(error, Error::Setting { what: "learning rate", expected: "finite and not negative" });
        assert_eq!(error.to_string(), "learning rate must be finite and not negative");
        let mut refuses = adam.clone().with_eps(bad);
        refuses.set_learning_rate(0.01);
        assert!(matches!(refuses.step(&mut model, &gradients).unwrap_err(), Error::Setting { what: "eps", .. }));
    }
    adam.set_learning_rate(0.01);
    for bad in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
        for (first, second) in [(bad, 0.9), (0.9, bad)] {
            let error = adam.clone().with_betas(first, second).step(&mut model, &gradients).unwrap_err();
            assert!(matches!(error, Error::Setting { what: "each beta", .. }));
        }
    }
    // A model of another size than the moments.
    let mut other = RnnCell::<3, 2>::new(&mut generator);
    let before = bits_of(&other);
    let error = adam.step(&mut other, &RnnCell::zeros()).unwrap_err();
    assert_eq!(error, Error::Length { what: "the moments of Adam", expected: 14, given: 42 });
    says(error, &[14, 42]);
    assert_eq!(bits_of(&other), before);

    assert_eq!(bits_of(&model), parameters);
    // Neither the moments nor the count of steps have moved.
    adam.step(&mut model, &gradients).unwrap();
    assert_eq!(bits_of(&model), bits_of(&expected_model));

    // Nor where the very first step is refused.
    let mut adam = Adam::new(f64::NAN);
    adam.step(&mut model, &gradients).unwrap_err();
    adam.set_learning_rate(0.01);
    let mut fresh_cell = RnnCell::<3, 2>::new(&mut generator);
    adam.step(&mut fresh_cell, &RnnCell::zeros()).unwrap();
}

// ---- NaN and infinity ----------------------------------------------------------------------------------------------

/// Where two runs differ in a bit, as `(sample, step)`.
fn differences<const N: usize>(a: Sequences<'_, [f32; N]>, b: Sequences<'_, [f32; N]>) -> Vec<(usize, usize)> {
    let all = (0..a.batch()).flat_map(|sample| (0..a.steps()).map(move |step| (sample, step)));
    all.filter(|(sample, step)| bits(a.row(*sample, *step)) != bits(b.row(*sample, *step))).collect()
}

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// A bad number in the input: forward, then backward.
fn bad_input_stays<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell>(batch: usize, steps: usize) {
    let mut rnn = Rnn::<IN, HID, LAYERS, C>::zeros();
    Weights::Initial.fill(&mut Numbers(5), HID, &mut rnn);
    let (input, d_output) = (ordinary::<IN>(1, steps * batch), ordinary::<HID>(2, steps * batch));
    let mut numbers = Numbers(3);
    let one_sum = TypeId::of::<C>() == TypeId::of::<Tanh>();
    for level in Level::available() {
        for bad in BAD {
            let (sample, step, index) = (numbers.below(batch), numbers.below(steps), numbers.below(IN));
            let run = |input: &[[f32; IN]], d_output: &[[f32; HID]]| {
                let mut trace = Kept::at(level).with_d_input();
                let input = Sequences::batch_first(input, Batch(batch), Steps(steps)).unwrap();
                let d_output = Sequences::batch_first(d_output, Batch(batch), Steps(steps)).unwrap();
                rnn.forward_into(input, &mut trace).unwrap();
                let gradients = rnn.backward(input, &mut trace, d_output).unwrap();
                (trace, gradients)
            };
            let (good, _) = run(&input, &d_output);
            let mut spoiled = input.clone();
            spoiled[sample * steps + step][index] = bad;
            let (trace, gradients) = run(&spoiled, &d_output);
            for (b, t) in differences(good.output(), trace.output()) {
                assert!(b == sample && t >= step, "{bad} at {sample}, {step} reached {b}, {t} ({level})");
            }
            for (b, _) in differences(good.d_input().unwrap(), trace.d_input().unwrap()) {
                assert_eq!(b, sample, "{bad} at sample {sample}, {step} reached the gradient of another ({level})");
            }
            if bad.is_nan() {
                let rows = (step..steps).map(|t| trace.output().row(sample, t));
                assert!(rows.flatten().all(|y| y.is_nan()), "NaN was hidden ({level})");
                let last = (0..LAYERS).map(|layer| layer * batch + sample);
                let (h, c) = (trace.final_state().h(), trace.final_state().c());
                let last = last.flat_map(|row| h[row].iter().chain(c.iter().flat_map(move |c| &c[row])));
                assert!(last.into_iter().all(|x| x.is_nan()));
                assert!(flat(&gradients).iter().all(|d| d.is_nan()), "NaN was hidden from the gradients ({level})");
            } else {
                // An infinite input saturates every neuron, or every gate, of its step in the first layer: no NaN in a
                // single layer.
                let row = trace.output().row(sample, step);
                let saturated = |y: &f32| if one_sum { y.abs() == 1.0 } else { y.abs() <= 1.0 };
                assert!(LAYERS > 1 || row.iter().all(saturated), "{row:?} ({level})");
            }

            // A bad number in the gradient of one output reaches that sample's steps up to it.
            let column = numbers.below(HID);
            let mut spoiled = d_output.clone();
            spoiled[sample * steps + step][column] = f32::NAN;
            let (trace, gradients) = run(&input, &spoiled);
            assert!(differences(good.output(), trace.output()).is_empty());
            for (b, t) in differences(good.d_input().unwrap(), trace.d_input().unwrap()) {
                assert!(b == sample && t <= step, "NaN in d_output at {sample}, {step} reached {b}, {t} ({level})");
            }
            let d_rows = (0..=step).map(|t| trace.d_input().unwrap().row(sample, t));
            assert!(d_rows.flatten().all(|d| d.is_nan()), "NaN was hidden ({level})");
            for (row, (d, good_d)) in
                trace.d_initial().unwrap().h().iter().zip(good.d_initial().unwrap().h()).enumerate()
            {
                if row % batch == sample {
                    assert!(d.iter().all(|d| d.is_nan()), "NaN was hidden from d h0 ({level})");
                } else {
                    assert_eq!(bits(d), bits(good_d), "NaN reached another sample's d h0 ({level})");
                }
            }
            if let (Some(d_c), Some(good_d_c)) = (trace.d_initial().unwrap().c(), good.d_initial().unwrap().c()) {
                for (row, (d, good_d)) in d_c.iter().zip(good_d_c).enumerate() {
                    if row % batch == sample {
                        // At its own step the NaN is in one neuron of the last layer, and in no other.
                        assert!(d.iter().any(|d| d.is_nan()), "NaN was hidden from d c0 ({level})");
                    } else {
                        assert_eq!(bits(d), bits(good_d), "NaN reached another sample's d c0 ({level})");
                    }
                }
            }
            assert!(flat(gradients.first()).iter().any(|d| d.is_nan()));
        }
    }
}

#[test]
fn bad_numbers_stay_in_their_sample() {
    bad_input_stays::<3, 5, 1, Tanh>(1, 20);
    bad_input_stays::<3, 5, 1, Tanh>(7, 20);
    bad_input_stays::<10, 8, 2, Tanh>(3, 17);
    bad_input_stays::<10, 8, 2, Tanh>(19, 33);
    bad_input_stays::<7, 33, 1, Tanh>(35, 18);
    bad_input_stays::<17, 16, 3, Tanh>(34, 5);
    bad_input_stays::<33, 65, 1, Tanh>(40, 20);
}

#[test]
fn bad_numbers_of_gates_stay_in_their_sample() {
    bad_input_stays::<3, 5, 1, cells::Gru>(1, 20);
    bad_input_stays::<3, 5, 1, cells::Lstm>(1, 20);
    bad_input_stays::<10, 9, 2, cells::Gru>(19, 33);
    bad_input_stays::<10, 9, 2, cells::Lstm>(19, 33);
    bad_input_stays::<7, 70, 1, cells::Gru>(1, 18);
    bad_input_stays::<7, 70, 1, cells::Lstm>(1, 18);
    bad_input_stays::<7, 33, 1, cells::Gru>(70, 3);
    bad_input_stays::<7, 33, 1, cells::Lstm>(70, 3);
}

/// A bad initial state reaches its sample from the first step on, and no other.
#[test]
fn a_bad_initial_state_stays_in_its_sample() {
    let rnn = filled(Rnn::<4, 9, 2>::zeros(), 1);
    let (batch, steps) = (11, 6);
    let input = ordinary::<4>(2, batch * steps);
    let input = Sequences::time_major(&input, Steps(steps), Batch(batch)).unwrap();
    for level in Level::available() {
        for row in 0..2 * batch {
            let mut initial = ordinary::<9>(3, 2 * batch);
            let (mut good, mut trace) = (Kept::at(level), Kept::at(level));
            rnn.forward_from(input, &initial, &mut good).unwrap();
            initial[row][row % 9] = f32::NAN;
            rnn.forward_from(input, &initial, &mut trace).unwrap();
            for (b, _) in differences(good.output(), trace.output()) {
                assert_eq!(b, row % batch);
            }
            assert!((0..steps).all(|t| trace.output().row(row % batch, t).iter().all(|y| y.is_nan())));
        }
    }
}

/// A NaN in one weight or bias reaches its neuron at once, and all neurons with the next step.
#[test]
fn a_bad_weight_reaches_its_neuron() {
    let (batch, steps) = (6, 3);
    let input = ordinary::<5>(2, batch * steps);
    let input = Sequences::time_major(&input, Steps(steps), Batch(batch)).unwrap();
    let good = filled(RnnCell::<5, 19>::zeros(), 1);
    for level in Level::available() {
        for neuron in 0..19 {
            for place in 0..4 {
                let mut cell = good;
                match place {
                    0 => cell.weight_ih[neuron % 5][neuron] = f32::NAN,
                    1 => cell.weight_hh[(neuron * 7) % 19][neuron] = f32::NAN,
                    2 => cell.bias_ih[neuron] = f32::NAN,
                    _ => cell.bias_hh[neuron] = f32::NAN,
                }
                let mut trace = Kept::at(level);
                cell.forward_into(input, &mut trace).unwrap();
                for b in 0..batch {
                    for (n, y) in trace.output().row(b, 0).iter().enumerate() {
                        assert_eq!(y.is_nan(), n == neuron, "neuron {n} of {neuron} ({level})");
                    }
                    assert!((1..steps).all(|t| trace.output().row(b, t).iter().all(|y| y.is_nan())));
                }
            }
        }
    }
}

/// The same of every gate, in every tensor: a NaN reaches its neuron at once and all neurons with the next step, in batches,
/// of one sample and step by step; then every gradient.
fn a_bad_weight_of_a_gate<C: Cell>() {
    const IN: usize = 4;
    const HID: usize = 11;
    const STEPS: usize = 3;
    let good = RnnCell::<IN, HID, C>::new(&mut Generator::seed(3));
    let gates = good.bias_ih_torch().count() / HID;
    let (input, d_output) = (ordinary::<IN>(2, 6 * STEPS), ordinary::<HID>(3, 6 * STEPS));
    for level in Level::available() {
        for (tensor, gate, neuron) in
            (0..4).flat_map(|tensor| (0..gates).flat_map(move |gate| [0, 3, 7, 8, 10].map(|n| (tensor, gate, n))))
        {
            let (mut cell, mut visited) = (good, 0);
            cell.visit_mut(&mut |numbers| {
                if visited == tensor {
                    let row = neuron % 4 * gates * HID;
                    numbers[if tensor < 2 { row } else { 0 } + gate * HID + neuron] = f32::NAN;
                }
                visited += 1;
            });
            let what = format!("tensor {tensor}, gate {gate}, neuron {neuron} ({level})");
            for batch in [1, 6] {
                let view = Sequences::batch_first(&input[..batch * STEPS], Batch(batch), Steps(STEPS)).unwrap();
                let d_view = Sequences::batch_first(&d_output[..batch * STEPS], Batch(batch), Steps(STEPS)).unwrap();
                let mut workspace = Workspace::new().at(level).with_d_input();
                let pass = workspace.forward(&cell, view).unwrap();
                for b in 0..batch {
                    for (n, y) in pass.output().row(b, 0).iter().enumerate() {
                        assert_eq!(y.is_nan(), n == neuron, "neuron {n}: {what}");
                    }
                    assert!((1..STEPS).all(|t| pass.output().row(b, t).iter().all(|y| y.is_nan())), "{what}");
                }
                let mut gradients = cell.zeros_like();
                let passed = pass.backward_into(d_view, &mut gradients).unwrap();
                let d_input = passed.d_input().unwrap();
                assert!(d_input.iter().flatten().all(|d| d.is_nan()), "d input: {what}");
                assert!(passed.d_initial().h().iter().flatten().all(|d| d.is_nan()), "d initial: {what}");
                assert!(flat(&gradients).iter().all(|d| d.is_nan()), "gradients: {what}");
            }
            let mut stream = Stream::new(&cell).at(level);
            for (t, x) in input.iter().enumerate().take(2) {
                let before = *stream.state();
                let h = stream.advance(x);
                assert!((0..HID).all(|n| h[n].is_nan() == (t > 0 || n == neuron)), "step {t}: {what}");
                let (after, mut gradients) = (*stream.state(), cell.zeros_like());
                let mut d_after = before;
                d_after.both_mut().0.fill(0.5);
                let (d_x, d_before) = cell.at(level).step_backward_add(x, &before, &after, &d_after, &mut gradients);
                // Of the first step, what the neuron gives to its sums, and they to all.
                assert!(d_x.iter().chain(d_before.h()).all(|d| d.is_nan()), "step {t}, d x: {what}");
                assert!(flat(&gradients).iter().any(|d| d.is_nan()), "step {t}, gradients: {what}");
            }
        }
    }
}

#[test]
fn a_bad_weight_reaches_its_gate() {
    a_bad_weight_of_a_gate::<cells::Gru>();
    a_bad_weight_of_a_gate::<cells::Lstm>();
}

#[test]
fn bad_numbers_in_a_linear_layer() {
    const IN: usize = 21;
    const OUT: usize = 37;
    let linear = filled(Linear::<IN, OUT>::zeros(), 1);
    let (batch, steps) = (18, 19);
    let (input, d_output) = (ordinary::<IN>(2, batch * steps), ordinary::<OUT>(3, batch * steps));
    let run = |level: Level, input: &[[f32; IN]], d_output: &[[f32; OUT]]| {
        let mut trace = Kept::at(level).with_d_input();
        let input = Sequences::batch_first(input, Batch(batch), Steps(steps)).unwrap();
        let d_output = Sequences::batch_first(d_output, Batch(batch), Steps(steps)).unwrap();
        linear.forward_into(input, &mut trace).unwrap();
        let gradients = linear.backward(input, &mut trace, d_output).unwrap();
        (trace, gradients)
    };
    let mut numbers = Numbers(4);
    for level in Level::available() {
        let (good, good_gradients) = run(level, &input, &d_output);
        for bad in BAD.into_iter().cycle().take(30) {
            let (row, i, o) = (numbers.below(batch * steps), numbers.below(IN), numbers.below(OUT));
            let place = (row / steps, row % steps);
            let mut spoiled = input.clone();
            spoiled[row][i] = bad;
            let (trace, gradients) = run(level, &spoiled, &d_output);
            assert_eq!(differences(good.output(), trace.output()), [place]);
            assert!(trace.output().row(place.0, place.1).iter().all(|y| !y.is_finite()));
            assert!(differences(good.d_input().unwrap(), trace.d_input().unwrap()).is_empty());
            for (k, (given, good)) in gradients.weight.iter().zip(&good_gradients.weight).enumerate() {
                assert!(
                    if k == i { given.iter().all(|d| !d.is_finite()) } else { bits(given) == bits(good) },
                    "{k} {i}"
                );
            }
            assert_eq!(bits(&gradients.bias), bits(&good_gradients.bias));

            let mut spoiled = d_output.clone();
            spoiled[row][o] = bad;
            let (trace, gradients) = run(level, &input, &spoiled);
            assert_eq!(differences(good.d_input().unwrap(), trace.d_input().unwrap()), [place]);
            let rows = gradients.weight.iter().chain([&gradients.bias]);
            for (given, good) in rows.zip(good_gradients.weight.iter().chain([&good_gradients.bias])) {
                for (n, (given, good)) in given.iter().zip(good).enumerate() {
                    assert!(if n == o { !given.is_finite() } else { given.to_bits() == good.to_bits() });
                }
            }
        }
    }
}

#[test]
fn bad_numbers_in_an_embedding() {
    let mut embedding = filled(Embedding::<6, 5>::zeros(), 1);
    embedding.weight[3][2] = f32::NAN;
    let tokens = [0usize, 3, 5, 1, 3, 2];
    let pass = embedding.forward(&tokens).unwrap();
    for (row, token) in pass.output().iter().zip(tokens) {
        assert_eq!(bits(row), bits(&embedding.weight[token]));
    }
    let mut d_output = ordinary::<5>(2, 6);
    d_output[2][4] = f32::NAN;
    let gradients = pass.backward(&d_output).unwrap();
    for (token, row) in gradients.weight.iter().enumerate() {
        for (i, d) in row.iter().enumerate() {
            assert_eq!(d.is_nan(), (token, i) == (5, 4));
        }
    }
}

fn bad_logits<const C: usize>() {
    let logits = ordinary::<C>(1, 5);
    let targets = [0, C - 1, C / 2, 0, C - 1];
    for level in Level::available() {
        let loss = CrossEntropy::sum().at(level);
        let (good_loss, good) = loss.loss(&logits, &targets).unwrap();
        assert!(good_loss.is_finite());
        for class in 0..C {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut spoiled = logits.clone();
                spoiled[2][class] = bad;
                let (given_loss, given) = loss.loss(&spoiled, &targets).unwrap();
                // PyTorch's answer to +inf too: inf - inf.
                assert!(given_loss.is_nan(), "{bad} at class {class} of {C} was hidden ({level})");
                for (row, (given, good)) in given.rows().iter().zip(good.rows()).enumerate() {
                    if row != 2 {
                        assert_eq!(bits(given), bits(good), "{bad} reached another row ({level})");
                    } else if bad.is_nan() {
                        assert!(given.iter().all(|d| d.is_nan()), "NaN was hidden ({level})");
                    } else {
                        assert!(given[class].is_nan(), "inf was hidden ({level})");
                    }
                }
            }
            // -inf is a class that is impossible: nothing is wrong unless it is the target, or every class is.
            if C > 1 {
                let mut impossible = logits.clone();
                impossible[2][class] = f32::NEG_INFINITY;
                let (given_loss, given) = loss.loss(&impossible, &targets).unwrap();
                let row = given.rows()[2];
                assert!(row.iter().all(|d| d.is_finite()));
                if class == targets[2] {
                    assert_eq!((given_loss, row[class]), (f32::INFINITY, -1.0));
                } else {
                    assert!(given_loss.is_finite());
                    assert_eq!(row[class], 0.0);
                }
            }
        }
        let (given_loss, given) = loss.loss(&[[f32::NEG_INFINITY; C]], &[0]).unwrap();
        assert!(given_loss.is_nan() && given.rows()[0].iter().all(|d| d.is_nan()));
    }
}

#[test]
fn bad_logits_are_not_hidden() {
    bad_logits::<1>();
    bad_logits::<2>();
    bad_logits::<4>();
    bad_logits::<7>();
    bad_logits::<16>();
    bad_logits::<33>();
}

#[test]
fn bad_gradients_stay_in_their_parameter() {
    for level in Level::available() {
        for place in 0..7 * 5 + 5usize {
            for bad in BAD {
                let mut model = filled(Linear::<7, 5>::zeros(), 1);
                let mut expected = model;
                let gradients = filled(Linear::<7, 5>::zeros(), 2);
                let mut spoiled = gradients;
                let mut index = 0;
                spoiled.visit_mut(&mut |tensor| {
                    if let Some(d) = place.checked_sub(index).and_then(|i: usize| tensor.get_mut(i)) {
                        *d = bad;
                    }
                    index += tensor.len();
                });
                let mut adam = Adam::new(0.01).at(level);
                let mut good = adam.clone();
                adam.step(&mut model, &spoiled).unwrap();
                good.step(&mut expected, &gradients).unwrap();
                // It stays: the moments remember it.
                adam.step(&mut model, &gradients).unwrap();
                good.step(&mut expected, &gradients).unwrap();
                for (i, (given, expected)) in flat(&model).iter().zip(flat(&expected)).enumerate() {
                    if i == place {
                        assert!(given.is_nan(), "{bad} in a gradient was hidden ({level})");
                    } else {
                        assert_eq!(given.to_bits(), expected.to_bits(), "{bad} reached another parameter ({level})");
                    }
                }
            }
        }
    }
}

#[test]
fn tanh_of_bad_numbers() {
    let mut cell = RnnCell::<1, 19>::zeros();
    cell.weight_ih[0] = [1.0; 19];
    for level in Level::available() {
        let tanh = |x: f32| {
            let mut h = [0.0; 19];
            cell.at(level).step_in_place(&[x], &mut h);
            h
        };
        assert!(tanh(f32::NAN).iter().chain(&tanh(-f32::NAN)).all(|y| y.is_nan()));
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), ([1.0; 19], [-1.0; 19]));
        assert_eq!((tanh(f32::MAX), tanh(f32::MIN)), ([1.0; 19], [-1.0; 19]));
        assert_eq!(tanh(f32::MIN_POSITIVE), [f32::MIN_POSITIVE; 19]);
        for denormal in [f32::from_bits(1), f32::MIN_POSITIVE.next_down()] {
            assert_eq!(tanh(denormal).map(f32::to_bits), [0; 19]);
            assert_eq!(tanh(-denormal).map(f32::to_bits), [(-0f32).to_bits(); 19]);
        }
    }
}

// ---- Memory --------------------------------------------------------------------------------------------------------

/// Runs on a thread with the stack that a spawned thread has by default: 2 MiB.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_large_cell_on_a_small_stack() {
    on_a_small_stack(|| {
        let cell = RnnCell::<1024, 1024>::boxed(&mut Generator::seed(0));
        let (input, d_output) = (ordinary::<1024>(1, 6), ordinary::<1024>(2, 6));
        for level in Level::available() {
            let mut trace = Kept::at(level).with_d_input();
            let view = Sequences::time_major(&input, Steps(2), Batch(3)).unwrap();
            cell.forward_into(view, &mut trace).unwrap();
            let d_view = Sequences::time_major(&d_output, Steps(2), Batch(3)).unwrap();
            let mut gradients = cell.backward(view, &mut trace, d_view).unwrap();
            let mut h = vec![[0.0; 1024]; 3];
            cell.at(level).step_batch_in_place(&input[..3], &mut h).unwrap();
            assert_eq!(bits(&h[1]), bits(trace.output().row(1, 0)));
            let _ = cell.at(level).step_backward_add(&input[0], &h[0], &h[1], &d_output[0], &mut gradients);
            let mut copy = cell.clone();
            Adam::new(0.01).at(level).step(&mut copy, &gradients).unwrap();
            assert_eq!(copy.parameter_count(), 2 * 1024 * 1024 + 2 * 1024);
        }
        let torch: Vec<f32> = cell.weight_hh_torch().collect();
        let mut loaded = RnnCell::<1024, 1024>::zeros_boxed();
        let bias = &torch[..1024];
        let weights = RnnWeights {
            weight_ih: (&torch).into(),
            weight_hh: (&torch).into(),
            bias_ih: bias.into(),
            bias_hh: bias.into(),
        };
        loaded.load_torch(&weights).unwrap();
        assert_eq!(loaded.weight_hh[3], cell.weight_hh[3]);
    });
}

/// Matrices of three and four gates; a step's backward too, which has those on the stack.
#[test]
fn large_gates_on_a_small_stack() {
    fn check<C: Cell>() {
        let cell = RnnCell::<512, 512, C>::boxed(&mut Generator::seed(0));
        let (input, d_output) = (ordinary::<512>(1, 6), ordinary::<512>(2, 6));
        let view = Sequences::time_major(&input, Steps(2), Batch(3)).unwrap();
        let d_view = Sequences::time_major(&d_output, Steps(2), Batch(3)).unwrap();
        for level in Level::available() {
            let mut workspace = Workspace::new().at(level).with_d_input();
            let mut gradients = RnnCell::<512, 512, C>::zeros_boxed();
            let mut copy = cell.clone();
            let pass = workspace.forward(&*cell, view).unwrap();
            let first = *pass.output().row(1, 0);
            pass.backward_into(d_view, &mut *gradients).unwrap();
            Adam::new(0.01).at(level).step(&mut *copy, &*gradients).unwrap();
            let mut stream = Stream::new(&*cell).at(level);
            assert_eq!(bits(&stream.advance(&input[1])), bits(&first));
            let mut before = *stream.state();
            before.both_mut().0.fill(0.0);
            before.both_mut().1.fill(0.0);
            let _ = cell.at(level).step_backward_add(&input[1], &before, stream.state(), &before, &mut gradients);
        }
        let torch: Vec<f32> = cell.weight_hh_torch().collect();
        let mut loaded = RnnCell::<512, 512, C>::zeros_boxed();
        let bias: Vec<f32> = cell.bias_ih_torch().collect();
        let (matrix, bias): (Tensor<'_>, Tensor<'_>) = ((&torch).into(), (&bias).into());
        loaded.load_torch(&RnnWeights { weight_ih: matrix, weight_hh: matrix, bias_ih: bias, bias_hh: bias }).unwrap();
        assert!(loaded.weight_hh_torch().eq(torch.iter().copied()));
    }
    on_a_small_stack(|| {
        check::<cells::Gru>();
        check::<cells::Lstm>();
    });
}

#[test]
fn a_large_model_on_a_small_stack() {
    on_a_small_stack(|| {
        type Model = (Box<Embedding<5000, 1024>>, Rnn<1024, 1024, 2>, Box<Linear<1024, 1024>>);
        let mut generator = Generator::seed(0);
        let mut model: Model =
            (Embedding::boxed(&mut generator), Rnn::new(&mut generator), Linear::boxed(&mut generator));
        let tokens = [4999usize, 0, 17, 2500, 1, 2];
        for level in Level::available() {
            let mut trace = Kept::<Model>::at(level);
            let view = Sequences::batch_first(&tokens, Batch(3), Steps(2)).unwrap();
            model.forward_into(view, &mut trace).unwrap();
            let targets = Sequences::batch_first(&[1usize, 2, 3, 4, 5, 1023], Batch(3), Steps(2)).unwrap();
            let (loss, d_logits) = CrossEntropy::mean().at(level).loss(trace.output(), targets).unwrap();
            assert!(loss.is_finite());
            let mut gradients = model.clone();
            model.backward_into(view, &mut trace, &d_logits, &mut gradients).unwrap();
            Adam::new(1e-3).at(level).step(&mut model, &gradients).unwrap();
        }
        let linear = Linear::<1024, 1024>::zeros_boxed();
        assert_eq!(linear.apply(&[1.0; 1024]), [0.0; 1024]);
        let layers = Rnn::<1024, 1024, 2>::zeros();
        let torch = vec![0.5; 1024 * 1024];
        let bias = &torch[..1024];
        let weights = RnnWeights {
            weight_ih: (&torch).into(),
            weight_hh: (&torch).into(),
            bias_ih: bias.into(),
            bias_hh: bias.into(),
        };
        assert_eq!(
            Rnn::<1024, 1024, 2>::from_torch(&[weights; 2]).unwrap().parameter_count(),
            layers.parameter_count()
        );
    });
}

/// Rows that start at any address, and lengths of any remainder, give the same bits.
#[test]
fn misaligned_slices() {
    let rnn = filled(Rnn::<7, 13, 2>::zeros(), 1);
    let (input, d_output) = (ordinary::<7>(2, 45), ordinary::<13>(3, 45));
    let run = |level: Level, input: &[[f32; 7]], d_output: &[[f32; 13]]| {
        let mut trace = Kept::at(level).with_d_input();
        let input = Sequences::time_major(input, Steps(5), Batch(9)).unwrap();
        rnn.forward_into(input, &mut trace).unwrap();
        let d_output = Sequences::time_major(d_output, Steps(5), Batch(9)).unwrap();
        let gradients = rnn.backward(input, &mut trace, d_output).unwrap();
        let d_input = trace.d_input().unwrap().as_batch_first().unwrap().as_flattened().to_vec();
        [trace.output().as_batch_first().unwrap().as_flattened(), &d_input, &flat(&gradients)].map(bits)
    };
    for level in Level::available() {
        let expected = run(level, &input, &d_output);
        for offset in 0..17 {
            let shifted = |numbers: &[f32]| [&vec![f32::NAN; offset], numbers, &[f32::NAN; 3]].concat();
            let (input, d_output) = (shifted(input.as_flattened()), shifted(d_output.as_flattened()));
            let input = input[offset..offset + 7 * 45].as_chunks::<7>().0;
            let d_output = d_output[offset..offset + 13 * 45].as_chunks::<13>().0;
            assert_eq!(run(level, input, d_output), expected, "offset {offset} ({level})");
        }
    }
    // The same for weights in PyTorch's order.
    let weights = ordinary::<1>(4, 7 * 5 + 30).into_iter().flatten().collect::<Vec<f32>>();
    let expected = Linear::<7, 5>::from_torch(&weights[13..48], &weights[..5]).unwrap();
    for offset in 0..17 {
        let shifted = [&vec![f32::NAN; offset], &weights[13..48]].concat();
        assert_eq!(Linear::<7, 5>::from_torch(&shifted[offset..], &weights[..5]).unwrap(), expected);
    }
}

/// Memory of the caller for gradients of the loss takes any shape that comes.
#[test]
fn memory_is_reused_for_any_shape() {
    let mut d_logits = SequencesBuf::default();
    for (steps, batch) in [(1, 1), (7, 5), (2, 3), (0, 4), (9, 0), (3, 11)] {
        let logits = ordinary::<6>(steps as u64, steps * batch);
        let targets: Vec<usize> = (0..steps * batch).map(|i| i % 6).collect();
        let view = Sequences::time_major(&logits, Steps(steps), Batch(batch)).unwrap();
        let targets = Sequences::time_major(&targets, Steps(steps), Batch(batch)).unwrap();
        let loss = CrossEntropy::sum().loss_into(view, targets, &mut d_logits).unwrap();
        let (fresh_loss, fresh) = CrossEntropy::sum().loss(view, targets).unwrap();
        assert_eq!((loss.to_bits(), d_logits.rows()), (fresh_loss.to_bits(), fresh.rows()));
        assert_eq!((d_logits.view().steps(), d_logits.view().batch()), (steps, batch));
    }
}
