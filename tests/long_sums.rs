//! Gradients that are sums of millions of terms: each is off by no more than `src/kernels/gradient/cascade.rs` says.

use elman::{Batch, Embedding, Level, Linear, Model, RnnCell, Sequences, Steps, Workspace};

/// `(rows of a block + 64 (1 + levels)) 2^-24`, of a block of so many rows and so many blocks.
fn bound(rows: usize, blocks: usize) -> f64 {
    let levels = f64::ln(blocks as f64) / f64::ln(64.0);
    (rows as f64 + 64.0 * (1.0 + levels.ceil())) / (1u64 << 24) as f64
}

fn close(what: &str, given: f32, exact: f64, bound: f64) {
    let error = (f64::from(given) - exact).abs() / exact;
    assert!(error <= bound, "{what}: {given} should be {exact}, {error:e} off where {bound:e} is the most");
}

#[test]
fn one_token_again_and_again() {
    let embedding = Embedding::<2, 1>::zeros();
    for (count, d) in [(1_000_000, 0.1f32), (20_000_000, 1.0)] {
        let (tokens, d_rows) = (vec![1; count], vec![[d]; count]);
        let gradients = embedding.forward(&tokens).unwrap().backward(&d_rows).unwrap();
        close("the token", gradients.weight[1][0], count as f64 * f64::from(d), bound(1, count));
        assert_eq!(gradients.weight[0], [0.0]);
    }
}

#[test]
fn the_bias_and_weights_of_a_linear_layer() {
    const ROWS: usize = 10_000_000;
    let linear = Linear::<1, 1>::zeros();
    let (x, d) = (vec![[0.7]; ROWS], vec![[0.1f32]; ROWS]);
    // One sequence, and ten million samples of one step.
    for input in [Sequences::one(&x), Sequences::batch_first(&x, Batch(ROWS), Steps(1)).unwrap()] {
        let d = if input.batch() == 1 {
            Sequences::one(&d)
        } else {
            Sequences::batch_first(&d, Batch(ROWS), Steps(1)).unwrap()
        };
        for level in Level::available() {
            let mut workspace = Workspace::new().at(level);
            let gradients = workspace.forward(&linear, input).unwrap().backward(d).unwrap();
            // 32 shares of the batch are added at the end.
            let bound = bound(16 + 32, ROWS / 16);
            close("the bias", gradients.bias[0], ROWS as f64 * f64::from(0.1f32), bound);
            close("the weight", gradients.weight[0][0], ROWS as f64 * f64::from(0.1f32) * f64::from(0.7f32), bound);
        }
    }
}

#[test]
fn the_bias_of_a_cell() {
    const STEPS: usize = 5_000_000;
    // No recurrence: every step has the gradient 0.1.
    let cell = RnnCell::<1, 1>::zeros();
    let (x, d) = (vec![[0.0]; STEPS], vec![[0.1f32]; STEPS]);
    let gradients = cell.forward(&x).unwrap().backward(&d).unwrap();
    close("the bias", gradients.bias_ih[0], STEPS as f64 * f64::from(0.1f32), bound(16, STEPS / 16));
}
