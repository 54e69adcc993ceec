//! GRU and LSTM against PyTorch's answers in `cells.json` and `gated.json`.
//!
//! How close is counted as above. With PyTorch's initial weights no gate makes an error greater: what it multiplies is
//! less than one, or a product of the magnitude of the sums.

use super::gates::{Gates, rows_of_c, state, states};
use super::kept::{Kept, Passes};
use super::*;
use elman::cells::{Gru, Lstm, State, States};
use elman_reference::gated::Kind;

/// Roundings of one sigmoid: at most one unit in the last place, like tanh.
const SIGMOID: usize = 2;

/// From the states before a step to those after it: a sum with its two biases, and then `r n_h + n_x` of a sigmoid, the tanh of
/// that, `n + z (h - n)`; or a sigmoid beside a tanh, `f c + i g`, and `o tanh(c')`.
fn roundings_of_step(kind: Kind, inputs: usize, hidden: usize) -> usize {
    let behind_the_sums = match kind {
        Kind::Gru => SIGMOID + 2 + TANH + 3,
        Kind::Lstm => SIGMOID + TANH + 3 + TANH + 1,
    };
    inputs + hidden + 2 + behind_the_sums
}

/// On the way back, beside those of the gates: products and slopes from the state to the sums, at most 4 factors and a slope of 2
/// roundings twice, and a sum over all gates of all neurons for the state before, with what comes directly and from outside.
/// Another such sum is the gradient of the input.
fn roundings_of_step_back(kind: Kind, hidden: usize) -> usize {
    4 + 2 * 2 + 2 * (kind.gates() * hidden) + 4
}

#[test]
fn initial_values() {
    let (cells, whole) = (read("cells.json"), read("gated.json"));
    let mut cases = 0;
    for case in ["gru", "lstm"].iter().flat_map(|name| list(&cells[name]["initial"])).chain(list(&whole["initial"])) {
        let generator = &mut Generator::seed(case["seed"].as_u64().unwrap());
        let tensors = match text(&case["module"]) {
            "GRUCell(4,4)" => data::cell_state("", "", &RnnCell::<4, 4, Gru>::new(generator)),
            "LSTMCell(4,4)" => data::cell_state("", "", &RnnCell::<4, 4, Lstm>::new(generator)),
            "GRU(3,5,2)" => data::rnn_state("", &Rnn::<3, 5, 2, Gru>::new(generator)),
            "LSTM(3,5,2)" => data::rnn_state("", &Rnn::<3, 5, 2, Lstm>::new(generator)),
            "GRU(10,8,2)" => data::rnn_state("", &Rnn::<10, 8, 2, Gru>::new(generator)),
            "LSTM(10,8,2)" => data::rnn_state("", &Rnn::<10, 8, 2, Lstm>::new(generator)),
            module => panic!("an unknown module {module}"),
        };
        assert_eq!(tensors.len(), case["params"].as_object().unwrap().len());
        for (name, tensor) in tensors {
            assert_eq!(tensor, floats(&case["params"][&name]), "{}, seed {}: {name}", case["module"], case["seed"]);
        }
        cases += 1;
    }
    assert_eq!(cases, 8);
}

#[test]
fn sequences() {
    let golden = read("cells.json");
    let [a, b] = list(&golden["gru"]["sequence"]) else { panic!("two cases") };
    check_sequence::<3, 5, 2, Gru>(a);
    check_sequence::<10, 17, 1, Gru>(b);
    let [a, b] = list(&golden["lstm"]["sequence"]) else { panic!("two cases") };
    check_sequence::<3, 5, 2, Lstm>(a);
    check_sequence::<10, 17, 1, Lstm>(b);
}

/// Rows of `h` and `c`; `c` is absent in a GRU.
fn rows_of_both<const HID: usize>(case: &Value, [h, c]: [&str; 2]) -> [Vec<[f32; HID]>; 2] {
    [rows(&case[h]), if case[c].is_null() { Vec::new() } else { rows(&case[c]) }]
}

fn check_states<const HID: usize>(
    what: &str,
    [found_h, found_c]: [&[[f32; HID]]; 2],
    exact: &Value,
    [h, c]: [&str; 2],
    roundings: usize,
) {
    assert_close(&format!("{what} {h}"), flat(found_h), &exact[h], roundings);
    assert_eq!(found_c.is_empty(), exact[c].is_null());
    if !exact[c].is_null() {
        assert_close(&format!("{what} {c}"), flat(found_c), &exact[c], roundings);
    }
}

fn check_sequence<const IN: usize, const HID: usize, const LAYERS: usize, A: Gates>(case: &Value) {
    let [inputs, hidden, layers] = sizes(case, ["input_size", "hidden_size", "num_layers"]);
    assert_eq!([inputs, hidden, layers], [IN, HID, LAYERS]);
    let [steps, batch] = sizes(case, ["steps", "batch"]);
    let layer: Rnn<IN, HID, LAYERS, A> = data::rnn(&case["params"]);
    let (x, d_output) = (rows::<IN>(&case["x"]), rows::<HID>(&case["d_output"]));
    let [initial, d_final] = [["h0", "c0"], ["d_h_n", "d_c_n"]].map(|names| {
        let [h, c] = rows_of_both(case, names);
        states::<HID, A::States<HID>>(h, c)
    });
    let exact = &case["f64"];
    let roundings = steps * layers * roundings_of_step(A::KIND, IN.max(HID), HID);
    let back = roundings + steps * layers * roundings_of_step_back(A::KIND, HID) + steps * batch;
    for level in Level::available() {
        let what = format!("{:?}({IN},{HID},{layers}) at {level}:", A::KIND);
        let mut results = Vec::new();
        for batch_first in [false, true] {
            let (x, d_output) = match batch_first {
                true => (exchange_axes(&x, batch), exchange_axes(&d_output, batch)),
                false => (x.clone(), d_output.clone()),
            };
            let (batch_size, step_count) = (Batch(batch), Steps(steps));
            let (x, d_output) = match batch_first {
                true => (
                    Sequences::batch_first(&x, batch_size, step_count).unwrap(),
                    Sequences::batch_first(&d_output, batch_size, step_count).unwrap(),
                ),
                false => (
                    Sequences::time_major(&x, step_count, batch_size).unwrap(),
                    Sequences::time_major(&d_output, step_count, batch_size).unwrap(),
                ),
            };
            let mut trace = Kept::at(level).with_d_input();
            layer.forward_from(x, &initial, &mut trace).unwrap();
            let mut gradients = layer.zeros_like();
            layer.backward_from(x, &mut trace, d_output, &d_final, &mut gradients).unwrap();
            let output = exchange_axes(&trace.output().iter().copied().collect::<Vec<_>>(), steps);
            let d_x = exchange_axes(&trace.d_input().unwrap().iter().copied().collect::<Vec<_>>(), steps);
            let (last, d_initial) = (trace.final_state(), trace.d_initial().unwrap());
            assert_close(&format!("{what} output"), flat(&output), &exact["output"], roundings);
            check_states(&what, [last.h(), rows_of_c(last)], exact, ["h_n", "c_n"], roundings);
            assert_gradients(&what, data::rnn_state("", &gradients), exact, back);
            assert_close(&format!("{what} d_x"), flat(&d_x), &exact["d_x"], back);
            check_states(&what, [d_initial.h(), rows_of_c(d_initial)], exact, ["d_h0", "d_c0"], back);
            let states = [last.h(), rows_of_c(last), d_initial.h(), rows_of_c(d_initial)].map(<[_]>::to_vec);
            results.push((output, d_x, states, gradients));
        }
        assert_eq!(results[0], results[1], "{what} time-major and batch-first");
    }
}

#[test]
fn cells() {
    let golden = read("cells.json");
    let [a, b] = list(&golden["gru"]["cell"]) else { panic!("two cases") };
    check_cell::<3, 5, Gru>(a);
    check_cell::<10, 17, Gru>(b);
    let [a, b] = list(&golden["lstm"]["cell"]) else { panic!("two cases") };
    check_cell::<3, 5, Lstm>(a);
    check_cell::<10, 17, Lstm>(b);
}

/// A cell driven by hand, forward and back, each sample for itself.
fn check_cell<const IN: usize, const HID: usize, A: Gates>(case: &Value) {
    let [inputs, hidden, steps, batch] = sizes(case, ["input_size", "hidden_size", "steps", "batch"]);
    assert_eq!([inputs, hidden], [IN, HID]);
    let cell: RnnCell<IN, HID, A> = data::cell(&case["params"], "");
    let (x, d_output) = (rows::<IN>(&case["x"]), rows::<HID>(&case["d_output"]));
    let (h0, lstm) = (rows::<HID>(&case["h0"]), A::KIND == Kind::Lstm);
    let [c0, d_c_n] = ["c0", "d_c_n"].map(|name| if lstm { rows(&case[name]) } else { vec![[0.0; HID]; batch] });
    let exact = &case["f64"];
    let roundings = steps * roundings_of_step(A::KIND, IN, HID);
    let back = roundings + steps * roundings_of_step_back(A::KIND, HID) + steps * batch;
    for level in Level::available() {
        let what = format!("{:?} cell ({IN},{HID}) at {level}:", A::KIND);
        // Time-major, as the golden data are; `c` of a GRU has no numbers.
        let of_states = || vec![[0.0; HID]; steps * batch];
        let (mut output, mut d_h_before) = (of_states(), of_states());
        let [mut c, mut d_c_before] = [of_states(), of_states()].map(|rows| if lstm { rows } else { Vec::new() });
        let (mut d_x, mut gradients) = (vec![[0.0; IN]; steps * batch], RnnCell::zeros());
        for n in 0..batch {
            let mut passed: Vec<A::State<HID>> = vec![state(&h0[n], &c0[n])];
            for t in 0..steps {
                let after = cell.at(level).step(&x[t * batch + n], &passed[t]);
                output[t * batch + n] = *after.h();
                if lstm {
                    c[t * batch + n].copy_from_slice(after.c());
                }
                passed.push(after);
            }
            let mut d_state: A::State<HID> = state(&[0.0; HID], &d_c_n[n]);
            for t in (0..steps).rev() {
                let row = t * batch + n;
                d_state.both_mut().0.iter_mut().zip(&d_output[row]).for_each(|(d, d_output)| *d += d_output);
                let (before, after) = (&passed[t], &passed[t + 1]);
                (d_x[row], d_state) =
                    cell.at(level).step_backward_add(&x[row], before, after, &d_state, &mut gradients);
                d_h_before[row] = *d_state.h();
                if lstm {
                    d_c_before[row].copy_from_slice(d_state.c());
                }
            }
        }
        check_states(&what, [&output, &c], exact, ["output", "c"], roundings);
        assert_gradients(&what, data::cell_state("", "", &gradients), exact, back);
        assert_close(&format!("{what} d_x"), flat(&d_x), &exact["d_x"], back);
        check_states(&what, [&d_h_before, &d_c_before], exact, ["d_h_before", "d_c_before"], back);
        let first = [&d_h_before[..batch], &d_c_before[..if lstm { batch } else { 0 }]];
        check_states(&what, first, exact, ["d_h0", "d_c0"], back);
    }
}

#[test]
fn trainings() {
    let golden = read("cells.json");
    let whole = read("gated.json");
    let of_seeds = ["gru", "lstm"].map(|program| list(&golden[program]["training"]));
    assert_eq!(of_seeds.map(<[_]>::len), [10, 10]);
    assert_eq!(list(&whole["training"]).len(), 2);
    for run in of_seeds.into_iter().flatten().chain(list(&whole["training"])) {
        match text(&run["program"]) {
            "gru" => check_training::<Gru>(&golden, run),
            "lstm" => check_training::<Lstm>(&golden, run),
            program => panic!("an unknown program {program}"),
        }
    }
}

fn check_training<A: Gates>(golden: &Value, run: &Value) {
    let program = text(&run["program"]);
    let word = integers(&golden["words"][text(&run["word"])]);
    // 5 steps of 2 layers, forward and back, and 12 of a step of Adam.
    let of_step = roundings_of_step(A::KIND, 10, 8) + roundings_of_step_back(A::KIND, 8);
    let roundings = 5 * 2 * of_step + 12;
    for level in Level::available() {
        let generator = &mut Generator::seed(run["seed"].as_u64().unwrap());
        let model: TutorialModel<A> = (Embedding::new(generator), Rnn::new(generator), Linear::new(generator));
        let training = train(level, model, &word, Reduction::Mean, golden, program);
        let what = format!("{program} at {level}, seed {}", run["seed"]);
        check_losses(&what, &training.losses, run);
        check_predictions(&what, &training.logits, run, text(&golden["letters"]).as_bytes());
        check_final(
            &what,
            data::tutorial_state(&training.model),
            run,
            double(&golden["programs"][program]["lr"]),
            roundings,
        );
    }
}
