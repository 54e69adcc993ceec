//! A cell of four sums through the forward of a batch: against plain `f64`, against PyTorch, and the same bits at all levels.

use super::gated::GatedForward;
use crate::cells::gated::{GatedCell, Gru};
use crate::kernels::rows::Rows;
use crate::kernels::throughput::panels::Panels;
use crate::simd::Level;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;
use std::eprintln;

/// The parameters of `nn.GRU` of one layer, as PyTorch has them, `[3 H][I]` and so on.
struct Parameters {
    inputs: usize,
    hidden: usize,
    weight_ih: Vec<f32>,
    weight_hh: Vec<f32>,
    bias_ih: Vec<f32>,
    bias_hh: Vec<f32>,
}

/// `[inputs][gates * hidden]`, out of PyTorch's `[gates * hidden][inputs]`.
fn input_major(weight: &[f32], inputs: usize) -> Vec<f32> {
    (0..inputs).flat_map(|k| weight.iter().skip(k).step_by(inputs).copied()).collect()
}

/// All states, `[samples][steps][hidden]`.
fn forward(level: Level, p: &Parameters, x: &[f32], h0: &[f32], samples: usize, steps: usize) -> Vec<f32> {
    let hidden = p.hidden;
    let (mut input, mut recurrent) = (Panels::default(), Panels::default());
    input.pack(level.lanes(), &input_major(&p.weight_ih, p.inputs), 3, hidden);
    recurrent.pack(level.lanes(), &input_major(&p.weight_hh, hidden), 3, hidden);
    let mut bias = vec![0.0; 4 * hidden];
    for (sum, fed_by) in bias.chunks_exact_mut(hidden).zip(Gru::FED_BY) {
        for (gate, of_gate) in [(fed_by.0, &p.bias_ih), (fed_by.1, &p.bias_hh)] {
            if let Some(gate) = gate {
                sum.iter_mut().zip(&of_gate[gate * hidden..]).for_each(|(sum, b)| *sum += b);
            }
        }
    }
    let (mut out, mut sums) = (vec![0.0; samples * steps * hidden], vec![0.0; samples * 4 * hidden]);
    level.run(GatedForward {
        cell: PhantomData::<Gru>,
        input: Rows::batch_first(x, p.inputs, steps),
        initial: Rows::one_a_sample(h0, hidden),
        weights: [&input, &recurrent],
        bias: &bias,
        out: &mut out,
        samples,
        steps,
        sums: &mut sums,
    });
    out
}

/// The same by the equations, in `f64`.
fn expected(p: &Parameters, x: &[f32], h0: &[f32], samples: usize, steps: usize) -> Vec<f64> {
    let product = |weight: &[f32], bias: &[f32], row: usize, x: &[f64]| {
        let weights = &weight[row * x.len()..][..x.len()];
        f64::from(bias[row]) + weights.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut out = Vec::new();
    for sample in 0..samples {
        let mut h: Vec<f64> = h0[sample * p.hidden..][..p.hidden].iter().map(|h| f64::from(*h)).collect();
        for step in 0..steps {
            let x = &x[(sample * steps + step) * p.inputs..][..p.inputs];
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let next = (0..p.hidden).map(|j| {
                let of_x = |gate: usize| product(&p.weight_ih, &p.bias_ih, gate * p.hidden + j, &x);
                let of_h = |gate: usize| product(&p.weight_hh, &p.bias_hh, gate * p.hidden + j, &h);
                let (r, z) = (sigmoid(of_x(0) + of_h(0)), sigmoid(of_x(1) + of_h(1)));
                let n = (of_x(2) + r * of_h(2)).tanh();
                (1.0 - z) * n + z * h[j]
            });
            let next: Vec<f64> = next.collect();
            out.extend_from_slice(&next);
            h = next;
        }
    }
    out
}

/// Numbers in `-1 .. 1`.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut numbers = vec![0.0; count];
    crate::torch::generator::Generator::seed(seed).fill_uniform(&mut numbers, -1.0, 1.0);
    numbers
}

/// Each state is near the exact one: with weights below `1 / sqrt(hidden)`, sums of `n` terms are off by `n 2^-24` times at most
/// `sqrt(n)` or so, the functions behind them by a few units, and a state keeps less than all of its error.
fn check(given: &[f32], expected: &[f64], terms: usize, steps: usize) {
    let most = steps as f64 * (terms as f64 * (terms as f64).sqrt() + 8.0) / (1 << 24) as f64;
    for (i, (given, expected)) in given.iter().zip(expected).enumerate() {
        let error = (f64::from(*given) - expected).abs();
        assert!(error <= most, "state {i} is {given}, should be {expected}: {error:e} off, {most:e} at most");
    }
}

#[test]
fn a_gru_goes_through_the_forward_of_a_batch() {
    for (inputs, hidden) in [(1, 1), (3, 5), (4, 8), (10, 17), (16, 16), (24, 40), (64, 64), (33, 100)] {
        let bound = 1.0 / (hidden as f32).sqrt();
        let scaled = |count: usize, seed: u64| numbers(count, seed).into_iter().map(|x| x * bound).collect();
        let p = Parameters {
            inputs,
            hidden,
            weight_ih: scaled(3 * hidden * inputs, 1),
            weight_hh: scaled(3 * hidden * hidden, 2),
            bias_ih: scaled(3 * hidden, 3),
            bias_hh: scaled(3 * hidden, 4),
        };
        for samples in [1, 3, 8, 17] {
            let steps = 7;
            let (x, h0) = (numbers(samples * steps * inputs, 5), numbers(samples * hidden, 6));
            let expected = expected(&p, &x, &h0, samples, steps);
            let mut fused: Option<Vec<f32>> = None;
            for level in Level::available() {
                let given = forward(level, &p, &x, &h0, samples, steps);
                check(&given, &expected, inputs + hidden, steps);
                if level.is_fused() {
                    let first = fused.get_or_insert_with(|| given.clone());
                    assert!(
                        first.iter().zip(&given).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{inputs} inputs, {hidden} neurons, {samples} samples at {level}: other bits"
                    );
                }
                // The bits of each sample alone.
                let alone = forward(level, &p, &x[..steps * inputs], &h0[..hidden], 1, steps);
                assert_eq!(alone, given[..steps * hidden], "{hidden} neurons at {level}");
            }
        }
    }
}

#[test]
fn a_gru_is_that_of_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cells.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let floats = |value: &serde_json::Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let case = &golden["gru"]["sequence"][1];
    let size = |name: &str| case[name].as_u64().unwrap() as usize;
    let (inputs, hidden, steps, samples) = (size("input_size"), size("hidden_size"), size("steps"), size("batch"));
    assert_eq!(size("num_layers"), 1);
    let params = &case["params"];
    let p = Parameters {
        inputs,
        hidden,
        weight_ih: floats(&params["weight_ih_l0"]),
        weight_hh: floats(&params["weight_hh_l0"]),
        bias_ih: floats(&params["bias_ih_l0"]),
        bias_hh: floats(&params["bias_hh_l0"]),
    };
    // Time-major there, batch-first here.
    let turned = |rows: Vec<f32>, width: usize| -> Vec<f32> {
        (0..samples * steps)
            .flat_map(|row| rows[(row % steps * samples + row / steps) * width..][..width].to_vec())
            .collect()
    };
    let x = turned(floats(&case["x"]), inputs);
    let expected: Vec<f64> = turned(floats(&case["f32"]["output"]), hidden).into_iter().map(f64::from).collect();
    for level in Level::available() {
        let given = forward(level, &p, &x, &floats(&case["h0"]), samples, steps);
        // PyTorch's own result is off as much.
        check(&given, &expected, 2 * (inputs + hidden), steps);
        eprintln!("{level}: as PyTorch");
    }
}
