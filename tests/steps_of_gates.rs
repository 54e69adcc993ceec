//! GRU and LSTM one step at a time: tokens, streams side by side and traces give what sequences give.

use elman::cells::{Gru, Lstm, State, States};
use elman::{
    Cell, Embedding, Error, Generator, Level, Linear, Parameters, RnnCell, Sequences, StepTrace, Stream, Streams,
    TokenGruCell, TokenLstmCell, TokenRnnCell, Workspace,
};

fn rows<const N: usize>(seed: u64, count: usize) -> Vec<[f32; N]> {
    let mut rows = vec![[0.0; N]; count];
    Generator::seed(seed).fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
    rows
}

fn bits<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    numbers.into_iter().map(|x| x.to_bits()).collect()
}

/// Of `h` and, if there is one, of `c`.
fn bits_of<const HID: usize>(state: &impl State<HID>) -> Vec<u32> {
    bits(state.h().iter().chain(state.c()))
}

fn flat(parameters: &impl Parameters) -> Vec<u32> {
    let mut all = Vec::new();
    parameters.visit(&mut |tensor| all.extend(bits(tensor)));
    all
}

// ---- tokens --------------------------------------------------------------------------------------------------------

const TOKENS: [usize; 9] = [1, 0, 5, 5, 3, 2, 4, 1, 3];

/// The bits of the layers, one step at a time and as a sequence, and what is refused changes nothing.
fn folded<const HID: usize, C: Cell>() {
    let mut generator = Generator::seed(HID as u64);
    let (embedding, other) = (Embedding::<6, 7>::new(&mut generator), Embedding::<6, 7>::new(&mut generator));
    let cell = RnnCell::<7, HID, C>::new(&mut generator);
    for level in Level::available() {
        let model = (embedding, cell);
        let mut workspace = Workspace::new().at(level);
        let pass = workspace.forward(&model, &TOKENS).unwrap();
        let mut folded = TokenRnnCell::<6, HID, C>::boxed(&other, cell.at(level));
        folded.fold(&embedding, cell.at(level));
        assert!(*folded == TokenRnnCell::new(&embedding, cell.at(level)));
        let mut folded = Stream::new(folded).at(level);
        let mut layers = Stream::new(&model).at(level);
        for (t, token) in TOKENS.into_iter().enumerate() {
            let h = folded.advance_token(token).unwrap();
            assert_eq!(bits(&h), bits(&layers.advance_token(token).unwrap()), "{level}: {HID} neurons, step {t}");
            assert_eq!(bits(&h), bits(pass.output().row(0, t)), "{level}: {HID} neurons, step {t} of a sequence");
            assert_eq!(bits_of(folded.state()), bits_of(&layers.state().1), "{level}: {HID} neurons, state {t}");
        }
        let before = bits_of(folded.state());
        for token in [6, 7, usize::MAX] {
            let error = Error::TokenOutOfRange { token, vocabulary: 6, sample: 0, step: 0 };
            assert_eq!(folded.advance_token(token), Err(error));
            assert_eq!(bits_of(folded.state()), before);
        }
    }
}

#[test]
fn tokens_of_gru() {
    folded::<1, Gru>();
    folded::<5, Gru>();
    folded::<20, Gru>();
    folded::<70, Gru>();
}

#[test]
fn tokens_of_lstm() {
    folded::<1, Lstm>();
    folded::<5, Lstm>();
    folded::<20, Lstm>();
    folded::<70, Lstm>();
}

/// Of several tokens one is out of range: the error names its stream, and no state has changed.
#[test]
fn a_refused_token_changes_no_stream() {
    let mut generator = Generator::seed(1);
    let embedding = Embedding::<4, 2>::new(&mut generator);
    let gru = TokenGruCell::<4, 5>::new(&embedding, &RnnCell::new(&mut generator));
    let lstm = TokenLstmCell::<4, 5>::new(&embedding, &RnnCell::new(&mut generator));
    let (mut of_gru, mut of_lstm) = (Streams::<_, 3>::new(gru), Streams::<_, 3>::new(lstm));
    for (sample, tokens) in [(0, [4, 0, 9]), (1, [0, 9, 2]), (2, [3, 3, usize::MAX])] {
        of_gru.advance_tokens(&[0, 1, 2]).unwrap();
        of_lstm.advance_tokens(&[0, 1, 2]).unwrap();
        let before = (*of_gru.states(), *of_lstm.states());
        let error = Err(Error::TokenOutOfRange { token: tokens[sample], vocabulary: 4, sample, step: 0 });
        assert_eq!(of_gru.advance_tokens(&tokens), error);
        assert_eq!(of_lstm.advance_tokens(&tokens), error);
        assert_eq!((*of_gru.states(), *of_lstm.states()), before);
    }
}

// ---- streams side by side ------------------------------------------------------------------------------------------

fn side_by_side<const HID: usize, C: Cell>() {
    const STREAMS: usize = 5;
    let mut generator = Generator::seed(HID as u64);
    let model = (RnnCell::<3, HID, C>::boxed(&mut generator), Linear::<HID, 2>::boxed(&mut generator));
    for level in Level::available() {
        let mut together = Streams::<_, STREAMS>::new(&model).at(level);
        let mut alone: [_; STREAMS] = core::array::from_fn(|_| Stream::new(&model).at(level));
        let mut states = together.states().map(|state| state.0);
        for t in 0..12 {
            if t == 7 {
                together.reset(2);
                alone[2].reset();
                states[2] = alone[2].state().0;
            }
            let x: [[f32; 3]; STREAMS] = rows(t, STREAMS).try_into().unwrap();
            let outputs = together.advance(&x);
            model.0.at(level).step_batch_in_place(&x, &mut states).unwrap();
            for (n, stream) in alone.iter_mut().enumerate() {
                let what = || format!("{level}: {HID} neurons, stream {n}, step {t}");
                assert_eq!(bits(&outputs[n]), bits(&stream.advance(&x[n])), "{}", what());
                assert_eq!(bits_of(&together.states()[n].0), bits_of(&stream.state().0), "{}", what());
                assert_eq!(bits_of(&states[n]), bits_of(&stream.state().0), "{} of a batch", what());
            }
        }
    }
}

#[test]
fn streams_of_gru() {
    side_by_side::<5, Gru>();
    side_by_side::<20, Gru>();
    side_by_side::<130, Gru>();
}

#[test]
fn streams_of_lstm() {
    side_by_side::<5, Lstm>();
    side_by_side::<20, Lstm>();
    side_by_side::<130, Lstm>();
}

// ---- traces --------------------------------------------------------------------------------------------------------

/// Backpropagation through the steps of a trace gives the bits of passes over one step each, chained from the last step to
/// the first: each step's sums have one term for each weight, so there is nothing that could be rounded in another order.
/// (Passes over more steps are as near to the reference as their roundings allow: `tests/properties`.)
fn traced<const HID: usize, C: Cell>() {
    const STEPS: usize = 6;
    let cell = RnnCell::<4, HID, C>::new(&mut Generator::seed(HID as u64));
    let (inputs, d_outputs) = (rows::<4>(1, STEPS), rows::<HID>(2, STEPS));
    for level in Level::available() {
        let mut trace = StepTrace::<RnnCell<4, HID, C>, STEPS>::boxed();
        trace.set_level(level);
        let mut states = vec![*trace.state()];
        let (h, c) = states[0].both_mut();
        *h = rows(3, 1)[0];
        c.iter_mut().zip(rows::<1>(4, HID)).for_each(|(c, [x])| *c = x);
        trace.reset_to(states[0]);
        for x in &inputs {
            let h = trace.advance(&cell, x).unwrap();
            assert_eq!(bits(&h), bits(trace.state().h()));
            states.push(*trace.state());
        }
        let mut d_final = states[2];
        d_final.both_mut().0[0] = 0.5;
        let mut gradients = cell.zeros_like();
        let d_initial = trace.backward_add_from(&cell, &d_outputs, d_final, &mut gradients).unwrap();

        let mut workspace = Workspace::new().at(level);
        let mut expected = cell.zeros_like();
        let as_rows = |state: &C::State<HID>| {
            let mut rows = C::States::<HID>::default();
            let (h, c) = rows.both_mut();
            *h = vec![*state.h()];
            if let Some(c) = c {
                *c = vec![state.c().try_into().unwrap()];
            }
            rows
        };
        let mut d_state = as_rows(&d_final);
        for (t, x) in inputs.iter().enumerate().rev() {
            let before = as_rows(&states[t]);
            let pass = workspace.forward_from(&cell, core::slice::from_ref(x), &before).unwrap();
            assert_eq!(bits(pass.output().row(0, 0)), bits(states[t + 1].h()), "{level}: {HID} neurons, step {t}");
            let d_output = Sequences::one(&d_outputs[t..t + 1]);
            let pass = pass.with_d_final(&d_state);
            let next = pass.backward_add(d_output, &mut expected).unwrap().d_initial().clone();
            d_state = next;
        }
        let what = format!("{level}: {HID} neurons of {:?}", C::CELL);
        assert_eq!(bits(d_initial.h()), bits(&d_state.h()[0]), "{what}: d h");
        assert_eq!(bits(d_initial.c()), bits(d_state.c().into_iter().flatten().flatten()), "{what}: d c");
        assert_eq!(flat(&gradients), flat(&expected), "{what}: gradients");
    }
}

#[test]
fn traces_of_gru() {
    traced::<1, Gru>();
    traced::<9, Gru>();
    traced::<20, Gru>();
    traced::<70, Gru>();
}

#[test]
fn traces_of_lstm() {
    traced::<1, Lstm>();
    traced::<9, Lstm>();
    traced::<20, Lstm>();
    traced::<70, Lstm>();
}
