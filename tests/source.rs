//! Models as Rust source: what is written compiles, and its numbers have the bits of the model.
//!
//! `UPDATE_SOURCE=1 cargo test --release --test source` writes `source/models.rs` anew.

use elman::cells::Relu;
use elman::{
    Embedding, Generator, Gru, Level, Linear, LstmCell, Parameters, Rnn, RnnCell, Source, TokenGruCell, TokenRnnCell,
};
use std::fs;

#[path = "source/models.rs"]
mod models;

/// Of all kinds of numbers.
fn sensor() -> (RnnCell<3, 4>, Linear<4, 2>) {
    let mut generator = Generator::seed(0);
    let mut model = (RnnCell::new(&mut generator), Linear::new(&mut generator));
    model.0.weight_ih[0] = [-0.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX];
    model.1.bias = [f32::from_bits(0x7fc1_2345), f32::NEG_INFINITY];
    model
}

/// With a stack, which is written as a tuple of tuples.
fn words() -> (Embedding<3, 2>, Gru<2, 3, 3>) {
    let mut generator = Generator::seed(1);
    (Embedding::new(&mut generator), Gru::new(&mut generator))
}

fn relu() -> RnnCell<1, 2, Relu> {
    RnnCell::new(&mut Generator::seed(2))
}

fn lstm() -> LstmCell<2, 2> {
    LstmCell::new(&mut Generator::seed(3))
}

/// Tables of drawn numbers, as folded ones depend on the level.
fn folded() -> (TokenRnnCell<2, 3>, TokenGruCell<2, 3>) {
    let mut generator = Generator::seed(4);
    let mut models = (TokenRnnCell::zeros(), TokenGruCell::zeros());
    let mut draw = |rows: &mut [[f32; 3]]| generator.fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
    draw(&mut models.0.table);
    draw(&mut models.0.weight_hh);
    draw(models.1.table.as_flattened_mut());
    draw(models.1.weight_hh.as_flattened_mut());
    models
}

fn alone() -> Rnn<1, 2, 1> {
    Rnn::new(&mut Generator::seed(5))
}

fn bits(model: &impl Parameters) -> Vec<u32> {
    let mut bits = Vec::new();
    model.visit(&mut |tensor| bits.extend(tensor.iter().map(|x| x.to_bits())));
    bits
}

#[test]
fn what_is_written_is_what_is_compiled_here() {
    let sources = [
        sensor().rust_static("SENSOR").to_string(),
        words().rust_static("WORDS").to_string(),
        relu().rust_static("RELU").to_string(),
        Box::new(lstm()).rust_static("LSTM").to_string(),
        folded().rust_static("FOLDED").to_string(),
        alone().rust_static("ALONE").to_string(),
    ];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/source/models.rs");
    let written = format!("// By `UPDATE_SOURCE=1 cargo test --release --test source`.\n\n{}", sources.join("\n"));
    if std::env::var_os("UPDATE_SOURCE").is_some() {
        fs::write(path, &written).unwrap();
    }
    assert!(written == fs::read_to_string(path).unwrap(), "tests/source/models.rs differs from:\n{written}");
}

#[test]
fn what_is_compiled_has_the_bits_of_the_model() {
    assert_eq!(bits(&models::SENSOR), bits(&sensor()));
    assert_eq!(bits(&models::WORDS), bits(&words()));
    assert_eq!(bits(&models::RELU), bits(&relu()));
    assert_eq!(bits(&models::LSTM), bits(&lstm()));
    assert_eq!(bits(&models::ALONE), bits(&alone()));
    assert_eq!(models::FOLDED, folded());
}

/// A stack and the tuple that it is written as.
#[test]
fn what_is_compiled_computes_the_same() {
    for level in Level::available() {
        let (mut stack, mut cells) =
            (elman::Stream::new(words()).at(level), elman::Stream::new(&models::WORDS).at(level));
        for token in [0, 2, 1, 1, 0] {
            assert_eq!(stack.advance_token(token).unwrap(), cells.advance_token(token).unwrap());
        }
    }
}

/// The count that is a constant is that of the numbers that there are.
#[test]
fn counts_are_those_of_the_tensors() {
    fn check<M: Parameters>(model: &M) {
        assert_eq!((M::COUNT, model.parameter_count()), (bits(model).len(), bits(model).len()));
    }
    check(&sensor());
    check(&words());
    check(&relu());
    check(&Box::new(lstm()));
    check(&alone());
}
