//! Reads the golden data, and layers from and into PyTorch's state dicts.

#![allow(dead_code, reason = "each test takes what it needs")]

use elman::{Embedding, Linear, Rnn, RnnCell, RnnWeights, Tanh};
use serde_json::Value;

/// Tensors by name, row-major, in the order of PyTorch's state dict.
pub type State = Vec<(String, Vec<f32>)>;

/// One of the files beside this one.
pub fn read(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub fn integer(value: &Value) -> usize {
    value.as_u64().expect("a whole number") as usize
}

pub fn double(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

pub fn integers(value: &Value) -> Vec<usize> {
    list(value).iter().map(integer).collect()
}

pub fn doubles(value: &Value) -> Vec<f64> {
    list(value).iter().map(double).collect()
}

/// The decimals are chosen such that the way by `f64` ends at the right `f32`.
pub fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|value| double(value) as f32).collect()
}

pub fn rows<const N: usize>(value: &Value) -> Vec<[f32; N]> {
    let values = floats(value);
    let (rows, rest) = values.as_chunks();
    assert!(rest.is_empty(), "{} values are no rows of {N}", values.len());
    rows.to_vec()
}

/// The cell with the weights `weight_ih{suffix}` and so on.
pub fn cell<const IN: usize, const HID: usize, A: elman::Cell>(state: &Value, suffix: &str) -> RnnCell<IN, HID, A> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = cell_names("", suffix).map(|name| floats(&state[name]));
    RnnCell::from_torch(&RnnWeights {
        weight_ih: (&weight_ih).into(),
        weight_hh: (&weight_hh).into(),
        bias_ih: (&bias_ih).into(),
        bias_hh: (&bias_hh).into(),
    })
    .unwrap()
}

pub fn rnn<const IN: usize, const HID: usize, const LAYERS: usize, A: elman::Cell>(
    state: &Value,
) -> Rnn<IN, HID, LAYERS, A> {
    let tensors: [_; LAYERS] =
        std::array::from_fn(|l| cell_names("", &format!("_l{l}")).map(|name| floats(&state[name])));
    let weights = tensors.each_ref().map(|[weight_ih, weight_hh, bias_ih, bias_hh]| RnnWeights {
        weight_ih: weight_ih.into(),
        weight_hh: weight_hh.into(),
        bias_ih: bias_ih.into(),
        bias_hh: bias_hh.into(),
    });
    Rnn::from_torch(&weights).unwrap()
}

fn cell_names(prefix: &str, suffix: &str) -> [String; 4] {
    ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("{prefix}{name}{suffix}"))
}

pub fn cell_state<const IN: usize, const HID: usize, A: elman::Cell>(
    prefix: &str,
    suffix: &str,
    cell: &RnnCell<IN, HID, A>,
) -> State {
    let tensors = [
        cell.weight_ih_torch().collect(),
        cell.weight_hh_torch().collect(),
        cell.bias_ih_torch().collect(),
        cell.bias_hh_torch().collect(),
    ];
    cell_names(prefix, suffix).into_iter().zip(tensors).collect()
}

pub fn rnn_state<const IN: usize, const HID: usize, const LAYERS: usize, A: elman::Cell>(
    prefix: &str,
    rnn: &Rnn<IN, HID, LAYERS, A>,
) -> State {
    let mut state = cell_state(prefix, "_l0", rnn.first());
    for (cell, layer) in rnn.rest().iter().zip(1..) {
        state.extend(cell_state(prefix, &format!("_l{layer}"), cell));
    }
    state
}

pub fn embedding_state<const V: usize, const E: usize>(prefix: &str, embedding: &Embedding<V, E>) -> State {
    vec![(format!("{prefix}weight"), embedding.weight_torch().collect())]
}

pub fn linear_state<const IN: usize, const OUT: usize>(prefix: &str, linear: &Linear<IN, OUT>) -> State {
    vec![(format!("{prefix}weight"), linear.weight_torch().collect()), (format!("{prefix}bias"), linear.bias.to_vec())]
}

/// The model of the tutorial's third program, of any cell.
pub type TutorialModel<A = Tanh> = (Embedding<4, 10>, Rnn<10, 8, 2, A>, Linear<8, 4>);

pub fn tutorial_state<A: elman::Cell>((embedding, rnn, linear): &TutorialModel<A>) -> State {
    [embedding_state("emb.", embedding), rnn_state("rnn.", rnn), linear_state("fc.", linear)].concat()
}
