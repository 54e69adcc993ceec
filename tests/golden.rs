//! Everything computed against PyTorch's answers in `golden/layers.json`, `golden/tutorial.json` and the like, at every level.
//!
//! # How close
//!
//! The golden data holds each answer also in `f64`, computed from the same `f32` weights and inputs: beside single
//! precision that is exact. Where an answer has gone through `n` roundings of at most `u = 2^-24` each, the roundings
//! behave like a random walk, and its error is at most `4 sqrt(n) u` times the magnitude of the numbers on the way,
//! with a probability that leaves out no test for chance (Higham & Mary 2019, "A new approach to probabilistic
//! rounding error analysis"). Here `n` is counted from the sizes, and the magnitude is that of the tensor's greatest
//! number. An error that is carried through a step is multiplied by `W_hh` and by `1 - h^2`: with PyTorch's initial
//! weights that makes it no greater, so the roundings of the steps add up.

#![cfg(feature = "std")]

#[path = "golden/data.rs"]
mod data;

use data::{TutorialModel, double, doubles, floats, integer, integers, list, read, rows, text};
#[path = "golden/gated.rs"]
mod gated;
#[path = "properties/gates.rs"]
mod gates;
#[path = "properties/kept.rs"]
mod kept;

use elman::{
    Adam, Batch, CrossEntropy, Embedding, Generator, Layer, Level, Linear, Parameters, Reduction, Relu, Rnn, RnnCell,
    Sequences, Steps, Workspace,
};
use kept::{Kept, Passes};
use serde_json::Value;

/// Half a unit in the last place of 1: the relative error of one rounding.
const U: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings of one tanh: it is at most one unit in the last place off, which is two of [`U`].
const TANH: usize = 2;

/// How far a number may be off after so many roundings of numbers of a magnitude.
fn bound(roundings: usize, magnitude: f64) -> f64 {
    4.0 * (roundings as f64).sqrt() * U * magnitude
}

#[track_caller]
fn assert_close(what: &str, found: impl IntoIterator<Item = f32>, exact: &Value, roundings: usize) {
    let (found, exact) = (found.into_iter().collect::<Vec<_>>(), doubles(exact));
    let magnitude = exact.iter().fold(0.0f64, |greatest, x| greatest.max(x.abs()));
    assert_within(what, &found, &exact, |_| bound(roundings, magnitude));
}

#[track_caller]
fn assert_within(what: &str, found: &[f32], exact: &[f64], bound: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), exact.len(), "{what}");
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        let (error, bound) = ((f64::from(*found) - exact).abs(), bound(i));
        // Written such that NaN fails.
        assert!(error <= bound, "{what}[{i}]: {found} is {error:e} from {exact}, more than {bound:e}");
    }
}

/// The gradient of every parameter of a state dict.
#[track_caller]
fn assert_gradients(what: &str, gradients: data::State, exact: &Value, roundings: usize) {
    for (name, tensor) in gradients {
        let name = format!("d_{name}");
        assert_close(&format!("{what} {name}"), tensor, &exact[&name], roundings);
    }
}

fn flat<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [f32; N]>) -> Vec<f32> {
    rows.into_iter().flatten().copied().collect()
}

/// The rows of `(batch, steps)` in the order `(steps, batch)`, and the other way with the sizes exchanged.
fn exchange_axes<R: Copy>(rows: &[R], steps: usize) -> Vec<R> {
    (0..steps).flat_map(|step| rows.iter().skip(step).step_by(steps).copied()).collect()
}

/// The sizes of a case, to be compared with those that a test was written for.
fn sizes<const N: usize>(case: &Value, names: [&str; N]) -> [usize; N] {
    names.map(|name| integer(&case[name]))
}

#[test]
fn rnn_cell() {
    let golden = read("layers.json");
    let [a, b, c, d] = list(&golden["rnn_cell"]) else { panic!("four cases") };
    check_cell::<4, 4>(a);
    check_cell::<3, 5>(b);
    check_cell::<10, 8>(c);
    check_cell::<17, 33>(d);
}

fn check_cell<const IN: usize, const HID: usize>(case: &Value) {
    let [inputs, hidden, batch] = sizes(case, ["input_size", "hidden_size", "batch"]);
    assert_eq!([inputs, hidden], [IN, HID]);
    let cell: RnnCell<IN, HID> = data::cell(&case["params"], "");
    let (x, h, r) = (rows(&case["x"]), rows(&case["h"]), rows(&case["r"]));
    let exact = &case["f64"];
    let roundings = IN + HID + 2 + TANH;
    // 1 - h^2 and its product; dx and dh sum over the neurons, dW and db over the samples.
    let roundings_backward = roundings + 3 + HID.max(batch);
    for level in Level::available() {
        let what = format!("RNNCell({IN},{HID}) at {level}");

        let mut out = h.clone();
        cell.at(level).step_batch_in_place(&x, &mut out).unwrap();
        assert_close(&format!("{what} out"), flat(&out), &exact["out"], roundings);
        for (n, out) in out.iter().enumerate() {
            let mut alone = h[n];
            cell.at(level).step_in_place(&x[n], &mut alone);
            assert_eq!(&alone, out, "{what}: alone and in a batch");
        }

        let mut gradients = cell.zeros_like();
        let (d_x, d_h): (Vec<_>, Vec<_>) =
            (0..batch).map(|n| cell.at(level).step_backward_add(&x[n], &h[n], &out[n], &r[n], &mut gradients)).unzip();
        let what_step = format!("{what}, step_backward:");
        assert_gradients(&what_step, data::cell_state("", "", &gradients), exact, roundings_backward);
        assert_close(&format!("{what_step} d_x"), flat(&d_x), &exact["d_x"], roundings_backward);
        assert_close(&format!("{what_step} d_h"), flat(&d_h), &exact["d_h"], roundings_backward);

        // The same as a sequence of one step.
        let one_step = |rows| Sequences::time_major(rows, Steps(1), Batch(batch)).unwrap();
        let mut trace = Kept::at(level).with_d_input();
        cell.forward_from(Sequences::time_major(&x, Steps(1), Batch(batch)).unwrap(), &h, &mut trace).unwrap();
        assert_eq!(trace.final_state(), &out, "{what}: a step and a sequence of one");
        cell.backward_into(
            Sequences::time_major(&x, Steps(1), Batch(batch)).unwrap(),
            &mut trace,
            one_step(&r),
            &mut gradients,
        )
        .unwrap();
        let what = format!("{what}, sequence:");
        assert_gradients(&what, data::cell_state("", "", &gradients), exact, roundings_backward);
        assert_close(&format!("{what} d_x"), flat(trace.d_input().unwrap().iter()), &exact["d_x"], roundings_backward);
        assert_close(&format!("{what} d_h"), flat(trace.d_initial().unwrap()), &exact["d_h"], roundings_backward);
    }
    let mut at_detected = h.clone();
    cell.step_batch_in_place(&x, &mut at_detected).unwrap();
    assert_eq!(at_detected[0], cell.step(&x[0], &h[0]));
    assert_close("step_batch", flat(&at_detected), &exact["out"], roundings);
}

#[test]
fn rnn() {
    let golden = read("layers.json");
    let [a, b, c, d] = list(&golden["rnn"]) else { panic!("four cases") };
    check_rnn::<4, 4, 1>(a);
    check_rnn::<10, 8, 2>(b);
    check_rnn::<3, 5, 2>(c);
    check_rnn::<17, 33, 1>(d);
}

fn check_rnn<const IN: usize, const HID: usize, const LAYERS: usize>(case: &Value) {
    let [inputs, hidden, layers] = sizes(case, ["input_size", "hidden_size", "num_layers"]);
    assert_eq!([inputs, hidden, layers], [IN, HID, LAYERS]);
    let [steps, batch] = sizes(case, ["steps", "batch"]);
    let rnn: Rnn<IN, HID, LAYERS> = data::rnn(&case["params"]);
    let (x, r, r2) = (rows::<IN>(&case["x"]), rows::<HID>(&case["r"]), rows::<HID>(&case["r2"]));
    let (x_batch_first, r_batch_first) = (exchange_axes(&x, batch), exchange_axes(&r, batch));
    let roundings = steps * LAYERS * (IN.max(HID) + HID + 2 + TANH);
    let roundings_backward = roundings + steps * LAYERS * (2 * HID + 4) + steps * batch;
    for (level, start) in Level::available().flat_map(|level| [(level, "given"), (level, "zero")]) {
        let what = format!("RNN({IN},{HID},{LAYERS}) at {level}, {start} h0:");
        let (h0, exact) = (rows(&case[start]["h0"]), &case[start]["f64"]);
        let mut results = Vec::new();
        for batch_first in [false, true] {
            let (x, r) = if batch_first {
                (
                    Sequences::batch_first(&x_batch_first, Batch(batch), Steps(steps)).unwrap(),
                    Sequences::batch_first(&r_batch_first, Batch(batch), Steps(steps)).unwrap(),
                )
            } else {
                (
                    Sequences::time_major(&x, Steps(steps), Batch(batch)).unwrap(),
                    Sequences::time_major(&r, Steps(steps), Batch(batch)).unwrap(),
                )
            };
            let mut trace = Kept::at(level).with_d_input();
            if start == "given" {
                rnn.forward_from(x, &h0, &mut trace).unwrap();
            } else {
                rnn.forward_into(x, &mut trace).unwrap();
            }
            let mut gradients = rnn.zeros_like();
            rnn.backward_from(x, &mut trace, r, &r2, &mut gradients).unwrap();

            let time_major = |rows: Sequences<'_, _>| exchange_axes(&rows.iter().copied().collect::<Vec<_>>(), steps);
            let out = flat(&time_major(trace.output()));
            let d_x = flat(&exchange_axes(&trace.d_input().unwrap().iter().copied().collect::<Vec<_>>(), steps));
            let (h_n, d_h0) = (flat(trace.final_state()), flat(trace.d_initial().unwrap()));
            assert_close(&format!("{what} out"), out.clone(), &exact["out"], roundings);
            assert_close(&format!("{what} h_n"), h_n.clone(), &exact["h_n"], roundings);
            assert_gradients(&what, data::rnn_state("", &gradients), exact, roundings_backward);
            assert_close(&format!("{what} d_x"), d_x.clone(), &exact["d_x"], roundings_backward);
            assert_close(&format!("{what} d_h0"), d_h0.clone(), &exact["d_h0"], roundings_backward);
            results.push((out, h_n, gradients, d_x, d_h0));
        }
        assert_eq!(results[0], results[1], "{what} time-major and batch-first");
    }
}

#[test]
fn embedding() {
    let golden = read("layers.json");
    let [case] = list(&golden["embedding"]) else { panic!("one case") };
    let embedding = Embedding::<7, 5>::from_torch(&floats(&case["params"]["weight"])).unwrap();
    let (tokens, r) = (integers(&case["tokens"]), rows::<5>(&case["r"]));
    let tokens = Sequences::batch_first(&tokens, Batch(2), Steps(4)).unwrap();
    for level in Level::available() {
        let mut trace = Kept::at(level);
        embedding.forward_into(tokens, &mut trace).unwrap();
        assert_eq!(flat(trace.output().iter()), floats(&case["f32"]["out"]), "{level}");
        let d_output = Sequences::batch_first(&r, Batch(2), Steps(4)).unwrap();
        let gradients = embedding.backward(tokens, &mut trace, d_output).unwrap();
        // Some token may come at every step.
        let what = format!("Embedding at {level}");
        assert_gradients(&what, data::embedding_state("", &gradients), &case["f64"], r.len());
    }
}

#[test]
fn linear() {
    let golden = read("layers.json");
    let [case] = list(&golden["linear"]) else { panic!("one case") };
    let (params, exact) = (&case["params"], &case["f64"]);
    let linear = Linear::<5, 3>::from_torch(&floats(&params["weight"]), &floats(&params["bias"])).unwrap();
    let (x, r) = (rows(&case["x"]), rows(&case["r"]));
    // Each sum has at most 5 products and a bias.
    let roundings = 6;
    for level in Level::available() {
        let what = format!("Linear at {level}");
        let input = Sequences::time_major(&x, Steps(1), Batch(4)).unwrap();
        let mut trace = Kept::at(level).with_d_input();
        linear.forward_into(input, &mut trace).unwrap();
        assert_close(&format!("{what} out"), flat(trace.output().iter()), &exact["out"], roundings);
        for (x, out) in x.iter().zip(trace.output().iter()) {
            assert_eq!(&linear.at(level).apply(x), out, "{what}: alone and in a batch");
        }
        let d_output = Sequences::time_major(&r, Steps(1), Batch(4)).unwrap();
        let gradients = linear.backward(input, &mut trace, d_output).unwrap();
        assert_gradients(&what, data::linear_state("", &gradients), exact, roundings);
        assert_close(&format!("{what} d_x"), flat(trace.d_input().unwrap().iter()), &exact["d_x"], roundings);
    }
}

#[test]
fn cross_entropy() {
    let golden = read("layers.json");
    assert_eq!(list(&golden["cross_entropy"]).len(), 2);
    for case in list(&golden["cross_entropy"]) {
        let (logits, targets) = (rows::<5>(&case["logits"]), integers(&case["targets"]));
        let reductions = [("sum", Reduction::Sum, 1.0), ("mean", Reduction::Mean, 1.0 / logits.len() as f64)];
        for (level, (name, reduction, scale)) in Level::available().flat_map(|level| reductions.map(|r| (level, r))) {
            let what = format!("cross-entropy, {} logits, {name}, at {level}", text(&case["name"]));
            let exact = &case[name]["f64"];
            let (loss, d_logits) = CrossEntropy::new(reduction).at(level).loss(&logits, &targets).unwrap();
            // The difference from the maximum, an exponential (one unit in the last place), 5 summands, a quotient,
            // a product, the difference from the target: of numbers up to `scale`.
            let d_bound = bound(1 + 2 + 5 + 3, scale);
            assert_within(
                &format!("{what} d_logits"),
                flat(d_logits.rows()).as_slice(),
                &doubles(&exact["d_logits"]),
                |_| d_bound,
            );
            // The loss of a row is off by as much as the logarithm's argument relatively; the total is rounded once.
            let exact = double(&exact["loss"]);
            let loss_bound = bound(1 + 2 + 5, scale * logits.len() as f64) + U * exact;
            assert_within(&format!("{what} loss"), &[loss], &[exact], |_| loss_bound);
        }
    }
}

#[test]
fn adam() {
    /// The same seven numbers in every row: together they fill whole vectors and leave a rest at every level.
    type Model = Embedding<5, 7>;
    let golden = read("layers.json");
    assert_eq!(list(&golden["adam"]).len(), 2);
    for case in list(&golden["adam"]) {
        let filled = |row: &Value| Model { weight: [rows(row)[0]; 5] };
        let setting = |name: &str| double(&case[name]);
        let mut path = vec![doubles(&case["start"])];
        path.extend(list(&case["f64"]["params"]).iter().map(doubles));
        for level in Level::available() {
            let mut model = filled(&case["start"]);
            let mut adam = Adam::new(setting("lr"))
                .with_betas(setting("beta1"), setting("beta2"))
                .with_eps(setting("eps"))
                .at(level);
            for (step, gradients) in list(&case["grads"]).iter().enumerate() {
                adam.step(&mut model, &filled(gradients)).unwrap();
                // Each step so far rounded the parameter once, and moved it by a quotient: of moments that have three
                // roundings a step, the factors among them, and of six more for the corrections.
                let bound = |i: usize| {
                    let moves = path.windows(2).map(|pair| (pair[1][i] - pair[0][i]).abs());
                    let greatest = moves.fold(0.0, f64::max);
                    (0..=step).map(|s| U * (path[s + 1][i].abs() + (6 * (s + 1) + 6) as f64 * greatest)).sum()
                };
                for row in &model.weight {
                    let what = format!("Adam ({}) at {level}, step {step}", text(&case["name"]));
                    assert_within(&what, row, &path[step + 1], bound);
                }
            }
        }
    }
}

/// What a training leaves: the loss and the logits of every epoch, before its update, and the model.
struct Training<M> {
    losses: Vec<f32>,
    logits: Vec<Vec<[f32; 4]>>,
    model: M,
}

/// The loop of the examples `hello_...`, at a given level.
fn train<M: Layer<Output = [f32; 4]>>(
    level: Level,
    mut model: M,
    input: &[M::Input],
    reduction: Reduction,
    golden: &Value,
    program: &str,
) -> Training<M> {
    let mut adam = Adam::new(double(&golden["programs"][program]["lr"])).at(level);
    let criterion = CrossEntropy::new(reduction).at(level);
    let target = integers(&golden["target"]);
    let (mut losses, mut logits) = (Vec::new(), Vec::new());
    let mut workspace = Workspace::new().at(level);
    for _ in 0..integer(&golden["epochs"]) {
        let pass = workspace.forward(&model, input).unwrap();
        let (loss, d_output) = criterion.loss(pass.output(), &target).unwrap();
        losses.push(loss);
        logits.push(pass.output().iter().copied().collect());
        let gradients = pass.backward(&d_output).unwrap();
        adam.step(&mut model, &gradients).unwrap();
    }
    Training { losses, logits, model }
}

#[test]
fn tutorial() {
    let golden = read("tutorial.json");
    assert_eq!(list(&golden["runs"]).len(), 72);
    for run in list(&golden["runs"]) {
        let word = integers(&golden["words"][text(&run["word"])]);
        let one_hot: Vec<[f32; 4]> =
            word.iter().map(|letter| std::array::from_fn(|i| f32::from(i == *letter))).collect();
        let program = text(&run["program"]);
        for level in Level::available() {
            let generator = &mut Generator::seed(run["seed"].as_u64().unwrap());
            let (losses, logits, state) = match program {
                "cell" => {
                    let training =
                        train(level, RnnCell::<4, 4>::new(generator), &one_hot, Reduction::Sum, &golden, program);
                    (training.losses, training.logits, data::cell_state("", "", &training.model))
                }
                "rnn" => {
                    let training =
                        train(level, Rnn::<4, 4, 1>::new(generator), &one_hot, Reduction::Mean, &golden, program);
                    (training.losses, training.logits, data::rnn_state("", &training.model))
                }
                "embedding" => {
                    let model: TutorialModel = (Embedding::new(generator), Rnn::new(generator), Linear::new(generator));
                    let training = train(level, model, &word, Reduction::Mean, &golden, program);
                    (training.losses, training.logits, data::tutorial_state(&training.model))
                }
                _ => panic!("an unknown program {program}"),
            };
            let what = format!("{program} at {level}, {}, seed {}", text(&run["word"]), run["seed"]);
            check_losses(&what, &losses, run);
            check_predictions(&what, &logits, run, text(&golden["letters"]).as_bytes());
            // Of the greatest program: 5 steps of 2 layers that each sum over up to 10 inputs and 8 neurons, twice.
            let roundings = 2 * 5 * 2 * (10 + 8 + 2 + TANH) + 12;
            check_final(&what, state, run, double(&golden["programs"][program]["lr"]), roundings);
        }
    }
}

/// The same four significant digits as PyTorch prints.
fn check_losses(what: &str, losses: &[f32], run: &Value) {
    let expected = doubles(&run["loss"]);
    assert_within(&format!("{what}: loss"), losses, &expected, |epoch| 5e-5 * expected[epoch]);
}

/// The letters are the same wherever PyTorch's two greatest logits are not as good as equal.
fn check_predictions(what: &str, logits: &[Vec<[f32; 4]>], run: &Value, letters: &[u8]) {
    for (epoch, logits) in logits.iter().enumerate() {
        let (predicted, gaps) = (text(&run["predicted"][epoch]).as_bytes(), doubles(&run["gap"][epoch]));
        assert_eq!([logits.len(), predicted.len(), gaps.len()], [5; 3]);
        for step in 0..5 {
            let best = (0..4).max_by(|a, b| logits[step][*a].total_cmp(&logits[step][*b])).unwrap();
            let same = letters[best] == predicted[step];
            assert!(same || gaps[step] <= 1e-4, "{what}: epoch {epoch}, letter {step}: {:?}", logits[step]);
        }
    }
}

/// The parameters after the last update, where the golden data has them (in `f32`: both sides are off).
///
/// Adam moves a parameter by about the learning rate in every epoch, and that move is off by the roundings of one
/// forward, backward and update, which are given. The parameter itself is rounded once an epoch.
fn check_final(what: &str, state: data::State, run: &Value, learning_rate: f64, roundings: usize) {
    let Some(expected) = run["final"].as_object() else { return };
    assert_eq!(state.len(), expected.len());
    for (name, tensor) in state {
        let exact = doubles(&expected[&name]);
        let magnitude = exact.iter().fold(0.0f64, |greatest, x| greatest.max(x.abs()));
        let tolerance = bound(2 * 15 * roundings, learning_rate) + bound(2 * 15, magnitude);
        assert_within(&format!("{what}: final {name}"), &tensor, &exact, |_| tolerance);
    }
}

/// `nonlinearity='relu'`: initial values, sequences of two layers, single steps, and ten trainings.
#[test]
fn relu() {
    let golden = &read("cells.json")["relu"];
    assert_eq!(list(&golden["initial"]).len(), 2);
    for case in list(&golden["initial"]) {
        assert_eq!(text(&case["module"]), "RNNCell(4,4)");
        let cell = RnnCell::<4, 4, Relu>::new(&mut Generator::seed(case["seed"].as_u64().unwrap()));
        for (name, tensor) in data::cell_state("", "", &cell) {
            assert_eq!(tensor, floats(&case["params"][&name]), "{name}");
        }
    }
    let [sequence] = list(&golden["sequence"]) else { panic!("one case") };
    check_relu_sequence::<3, 5, 2>(sequence);
    let [cell] = list(&golden["cell"]) else { panic!("one case") };
    check_relu_cell::<10, 17>(cell);
}

fn check_relu_sequence<const IN: usize, const HID: usize, const LAYERS: usize>(case: &Value) {
    let [inputs, hidden, layers] = sizes(case, ["input_size", "hidden_size", "num_layers"]);
    assert_eq!([inputs, hidden, layers], [IN, HID, LAYERS]);
    let [steps, batch] = sizes(case, ["steps", "batch"]);
    let rnn: Rnn<IN, HID, LAYERS, Relu> = data::rnn(&case["params"]);
    let (x, h0) = (rows::<IN>(&case["x"]), rows::<HID>(&case["h0"]));
    let (d_output, d_h_n) = (rows::<HID>(&case["d_output"]), rows::<HID>(&case["d_h_n"]));
    let exact = &case["f64"];
    let roundings = steps * LAYERS * (IN.max(HID) + HID + 2);
    let roundings_backward = roundings + steps * LAYERS * (2 * HID + 4) + steps * batch;
    for level in Level::available() {
        let what = format!("relu at {level}:");
        let view = |rows| Sequences::time_major(rows, Steps(steps), Batch(batch)).unwrap();
        let mut workspace = Workspace::new().at(level).with_d_input();
        let mut gradients = rnn.zeros_like();
        let pass = workspace.forward_from(&rnn, view(&x), &h0).unwrap().with_d_final(&d_h_n);
        let d_output = Sequences::time_major(&d_output, Steps(steps), Batch(batch)).unwrap();
        let passed = pass.backward_into(d_output, &mut gradients).unwrap();
        let output = exchange_axes(&passed.output().iter().copied().collect::<Vec<_>>(), steps);
        let d_x = exchange_axes(&passed.d_input().unwrap().iter().copied().collect::<Vec<_>>(), steps);
        assert_close(&format!("{what} output"), flat(&output), &exact["output"], roundings);
        assert_close(&format!("{what} h_n"), flat(passed.final_state()), &exact["h_n"], roundings);
        assert_gradients(&what, data::rnn_state("", &gradients), exact, roundings_backward);
        assert_close(&format!("{what} d_x"), flat(&d_x), &exact["d_x"], roundings_backward);
        assert_close(&format!("{what} d_h0"), flat(passed.d_initial()), &exact["d_h0"], roundings_backward);
    }
}

/// A cell driven by hand, forward and back.
fn check_relu_cell<const IN: usize, const HID: usize>(case: &Value) {
    let [inputs, hidden, steps, batch] = sizes(case, ["input_size", "hidden_size", "steps", "batch"]);
    assert_eq!([inputs, hidden], [IN, HID]);
    let cell: RnnCell<IN, HID, Relu> = data::cell(&case["params"], "");
    let (x, h0, d_output) = (rows::<IN>(&case["x"]), rows::<HID>(&case["h0"]), rows::<HID>(&case["d_output"]));
    let exact = &case["f64"];
    let roundings = steps * (IN + HID + 2);
    let roundings_backward = roundings + steps * (2 * HID + 4) + steps * batch;
    for level in Level::available() {
        let what = format!("relu cell at {level}:");
        let mut states = vec![h0.clone()];
        for t in 0..steps {
            let mut h = states[t].clone();
            cell.at(level).step_batch_in_place(&x[t * batch..][..batch], &mut h).unwrap();
            states.push(h);
        }
        assert_close(&format!("{what} output"), flat(states[1..].iter().flatten()), &exact["output"], roundings);
        let mut gradients = cell.zeros_like();
        let (mut d_h, mut d_x) = (vec![[0.0; HID]; batch], vec![[0.0; IN]; steps * batch]);
        let mut d_h_before = vec![[0.0; HID]; steps * batch];
        for t in (0..steps).rev() {
            for n in 0..batch {
                let d: [f32; HID] = std::array::from_fn(|i| d_h[n][i] + d_output[t * batch + n][i]);
                let (before, after) = (&states[t][n], &states[t + 1][n]);
                (d_x[t * batch + n], d_h[n]) =
                    cell.at(level).step_backward_add(&x[t * batch + n], before, after, &d, &mut gradients);
                d_h_before[t * batch + n] = d_h[n];
            }
        }
        assert_gradients(&what, data::cell_state("", "", &gradients), exact, roundings_backward);
        assert_close(&format!("{what} d_x"), flat(&d_x), &exact["d_x"], roundings_backward);
        assert_close(&format!("{what} d_h0"), flat(&d_h), &exact["d_h0"], roundings_backward);
        assert_close(&format!("{what} d_h_before"), flat(&d_h_before), &exact["d_h_before"], roundings_backward);
    }
}

#[test]
fn relu_trainings() {
    let golden = read("cells.json");
    assert_eq!(list(&golden["relu"]["training"]).len(), 10);
    for run in list(&golden["relu"]["training"]) {
        let word = integers(&golden["words"][text(&run["word"])]);
        let one_hot: Vec<[f32; 4]> =
            word.iter().map(|letter| std::array::from_fn(|i| f32::from(i == *letter))).collect();
        for level in Level::available() {
            let generator = &mut Generator::seed(run["seed"].as_u64().unwrap());
            let rnn = Rnn::<4, 4, 1, Relu>::new(generator);
            let training = train(level, rnn, &one_hot, Reduction::Mean, &golden, "relu");
            let what = format!("relu at {level}, seed {}", run["seed"]);
            check_losses(&what, &training.losses, run);
            check_predictions(&what, &training.logits, run, text(&golden["letters"]).as_bytes());
        }
    }
}
