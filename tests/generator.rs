//! The generator and the layers' initial values against every number of `golden/generator.json` and
//! `golden/initial.json`, to the last bit.

#![cfg(feature = "alloc")]

#[path = "golden/data.rs"]
mod data;

use data::{
    State, TutorialModel, cell_state, double, embedding_state, floats, linear_state, list, read, rnn_state, text,
};
use elman::{Embedding, Generator, Linear, Rnn, RnnCell};
use serde_json::Value;

#[track_caller]
fn assert_same_bits(found: &[f32], expected: &Value, what: &str) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(&floats(expected)), "{what}: {found:?}");
}

fn uniforms(generator: &mut Generator, count: usize, from: f32, to: f32) -> Vec<f32> {
    let mut values = vec![0.0; count];
    generator.fill_uniform(&mut values, from, to);
    values
}

fn normals(generator: &mut Generator, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    generator.fill_normal(&mut values);
    values
}

#[test]
fn random_numbers() {
    let golden = read("generator.json");
    assert_eq!(list(&golden["seeds"]).len(), 6);
    for entry in list(&golden["seeds"]) {
        let seed = entry["seed"].as_u64().unwrap();
        let fresh = || Generator::seed(seed);
        let what = |call: &str| format!("seed {seed}, {call}");
        assert_same_bits(&uniforms(&mut fresh(), 100, 0.0, 1.0), &entry["rand_100"], &what("rand"));
        for count in [16, 17, 20, 100] {
            let call = format!("randn_{count}");
            assert_same_bits(&normals(&mut fresh(), count), &entry[&call], &what(&call));
        }
        let mut stream = fresh();
        for (expected, count) in list(&entry["randn_1_to_15"]).iter().zip(1..) {
            assert_same_bits(&normals(&mut stream, count), expected, &what("randn_1_to_15"));
        }
        let mut stream = fresh();
        for call in list(&entry["stream"]) {
            let (op, count) = (text(&call["op"]), list(&call["values"]).len());
            let found = match op {
                "rand" => uniforms(&mut stream, count, 0.0, 1.0),
                "randn" => normals(&mut stream, count),
                "uniform" => uniforms(&mut stream, count, double(&call["from"]) as f32, double(&call["to"]) as f32),
                _ => panic!("an unknown call {op}"),
            };
            assert_same_bits(&found, &call["values"], &what(op));
        }
    }
}

/// What PyTorch's module of this name is called here, made from a fresh generator.
fn initial_state(module: &str, generator: &mut Generator) -> State {
    match module {
        "RNNCell(4,4)" => cell_state("", "", &RnnCell::<4, 4>::new(generator)),
        "RNNCell(3,5)" => cell_state("", "", &RnnCell::<3, 5>::boxed(generator)),
        "RNN(4,4,1)" => rnn_state("", &Rnn::<4, 4, 1>::new(generator)),
        "RNN(10,8,2)" => rnn_state("", &Rnn::<10, 8, 2>::new(generator)),
        "RNN(5,7,3)" => rnn_state("", &Rnn::<5, 7, 3>::new(generator)),
        "Embedding(4,10)" => embedding_state("", &Embedding::<4, 10>::new(generator)),
        "Embedding(3,4)" => embedding_state("", &Embedding::<3, 4>::new(generator)),
        "Embedding(5,7)" => embedding_state("", &Embedding::<5, 7>::boxed(generator)),
        "Linear(8,4)" => linear_state("", &Linear::<8, 4>::new(generator)),
        "tutorial" => {
            let model: TutorialModel = (Embedding::new(generator), Rnn::new(generator), Linear::new(generator));
            data::tutorial_state(&model)
        }
        _ => panic!("no such module here: {module}"),
    }
}

#[test]
fn initial_values() {
    let golden = read("initial.json");
    assert_eq!(list(&golden["seeds"]).len(), 5);
    for entry in list(&golden["seeds"]) {
        let seed = entry["seed"].as_u64().unwrap();
        for (module, expected) in entry["modules"].as_object().unwrap() {
            let state = initial_state(module, &mut Generator::seed(seed));
            assert_eq!(state.len(), expected.as_object().unwrap().len(), "{module}");
            for (name, tensor) in state {
                assert_same_bits(&tensor, &expected[&name], &format!("seed {seed}, {module}, {name}"));
            }
        }
    }
}
