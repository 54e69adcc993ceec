//! Tuples of layers: against the reference, and bit for bit against their layers run one by one.

use crate::bounds::{self, AffineSums, CellSums, Near, Passed};
use crate::kept::{Kept, Passes};
use crate::rnn::batch_first;
use crate::support::*;
use elman::{Embedding, Linear, Parameters, Rnn, RnnCell};
use elman_reference as reference;
use proptest::prelude::*;

/// The tutorial's model, all the way against the reference.
#[test]
fn embedding_rnn_linear() {
    type Model = (Embedding<5, 10>, Rnn<10, 8, 2>, Linear<8, 4>);
    property(64, case(400), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model: Model = (Embedding::zeros(), Rnn::zeros(), Linear::zeros());
        case.weights.fill(&mut numbers, 8, &mut model);
        let (steps, batch) = case.shape();
        let rows = steps * batch;
        let tokens = Rows::new(case.orders.0, case.shape(), (0..rows).map(|_| numbers.below(5)).collect());
        let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<4>(&mut numbers, rows));
        let initial = ((), case.state::<8>(case.initial, case.data, &mut numbers, 2 * batch), ());
        let d_final = ((), case.state::<8>(case.d_final, case.gradient, &mut numbers, 2 * batch), ());
        let state_of =
            |state: &[[f32; 8]], layer: usize, b: usize| Near::exact(state.get(layer * batch + b).unwrap_or(&[0.0; 8]));

        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let table = wide(model.0.weight_torch().collect());
        let cells = [reference_cell(model.1.first()), reference_cell(&model.1.rest()[0])];
        let (weight, bias) = (wide(model.2.weight_torch().collect()), wide(model.2.bias.to_vec()));

        at_every_level(|level| {
            let mut trace = Kept::<Model>::at(level);
            model.forward_from(tokens.view(), &initial, &mut trace)?;
            let mut gradients = model.clone();
            model.backward_from(tokens.view(), &mut trace, d_output.view(), &d_final, &mut gradients)?;

            let mut d_table: Vec<AffineSums> = (0..5).map(|_| AffineSums::zeros(0, 10)).collect();
            let mut d_cells = cells.each_ref().map(CellSums::zeros);
            let mut d_linear = AffineSums::zeros(weight.len(), 4);
            for b in 0..batch {
                let sample = tokens.sample(b);
                let vectors = reference::embedding(&table, 10, &sample);
                let vectors = Near { error: vec![0.0; vectors.len()], value: vectors };
                let h0 = [0, 1].map(|layer| state_of(&initial.1, layer, b));
                let lower = bounds::layer_forward(&cells[0], &vectors, &h0[0]);
                let upper = bounds::layer_forward(&cells[1], &lower, &h0[1]);
                let (mut output, mut d_upper) = (Near::default(), Near::default());
                for t in 0..steps {
                    let h = upper.row(8, t);
                    output.extend(&bounds::affine(&weight, &bias, &h));
                    let d_y = Near::exact(d_output.view().row(b, t));
                    d_upper.extend(&bounds::affine_backward(&weight, &h, &d_y, &mut d_linear));
                }
                let given: Vec<f32> = (0..steps).flat_map(|t| *trace.output().row(b, t)).collect();
                output.check("the output", &given)?;
                lower.row(8, steps - 1).check("h_n of layer 0", &trace.final_state().1[b])?;
                upper.row(8, steps - 1).check("h_n of layer 1", &trace.final_state().1[batch + b])?;

                let fused = level.is_fused();
                let passed = Passed { x: &lower, h0: &h0[1], output: &upper };
                let d_last = state_of(&d_final.1, 1, b);
                let (d_lower, d_h0) =
                    bounds::layer_backward(&cells[1], &passed, &d_upper, &d_last, fused, &mut d_cells[1]);
                d_h0.check("d h0 of layer 1", &trace.d_initial().unwrap().1[batch + b])?;
                let passed = Passed { x: &vectors, h0: &h0[0], output: &lower };
                let d_last = state_of(&d_final.1, 0, b);
                let (d_vectors, d_h0) =
                    bounds::layer_backward(&cells[0], &passed, &d_lower, &d_last, fused, &mut d_cells[0]);
                d_h0.check("d h0 of layer 0", &trace.d_initial().unwrap().1[b])?;
                for (t, token) in sample.into_iter().enumerate() {
                    d_table[token].add_to_bias(&d_vectors.row(10, t));
                }
            }
            for (sums, given) in d_table.iter().zip(&gradients.0.weight) {
                sums.bias().check("d table", given)?;
            }
            let given = [torch_parameters(gradients.1.first()), torch_parameters(&gradients.1.rest()[0])];
            for (layer, (sums, given)) in d_cells.iter().zip(&given).enumerate() {
                for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums.parameters()).zip(given) {
                    near.check(&format!("{name} of layer {layer}"), given)?;
                }
            }
            d_linear.weight().check("d weight", &gradients.2.weight_torch().collect::<Vec<f32>>())?;
            d_linear.bias().check("d bias", &gradients.2.bias)
        })
    });
}

/// Tuples of every length do what their layers do one after another: here as pairs of pairs, which nest.
#[test]
fn tuples_are_their_layers_in_a_row() {
    property(48, case(200), |case| {
        let mut numbers = Numbers(case.seed);
        let mut layers = (
            Linear::<3, 5>::zeros(),
            RnnCell::<5, 4>::zeros(),
            Rnn::<4, 7, 2>::zeros(),
            Linear::<7, 3>::zeros(),
            RnnCell::<3, 9>::zeros(),
            Linear::<9, 2>::zeros(),
        );
        case.weights.fill(&mut numbers, 5, &mut layers);
        let (a, b, c, d, e, f) = layers.clone();
        let (steps, batch) = case.shape();
        let rows = steps * batch;
        let input = Rows::new(case.orders.0, case.shape(), case.data.rows::<3>(&mut numbers, rows));
        let d_2 = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<2>(&mut numbers, rows));
        let d_9 = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<9>(&mut numbers, rows));
        let d_3 = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<3>(&mut numbers, rows));
        let d_7 = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<7>(&mut numbers, rows));
        let d_4 = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<4>(&mut numbers, rows));
        let h_4 = case.state::<4>(case.initial, case.data, &mut numbers, batch);
        let h_7 = case.state::<7>(case.initial, case.data, &mut numbers, 2 * batch);
        let h_9 = case.state::<9>(case.initial, case.data, &mut numbers, batch);
        at_every_level(|level| {
            // Each tuple is held to the nesting of its first layers with its last one.
            macro_rules! compare {
                ($flat:expr, $flat_state:expr, $nested:expr, $nested_state:expr, $d_output:expr) => {{
                    let (flat_model, nested_model) = ($flat, $nested);
                    let (mut flat_trace, mut nested_trace) =
                        (Kept::at(level).with_d_input(), Kept::at(level).with_d_input());
                    flat_model.forward_from(input.view(), &$flat_state, &mut flat_trace)?;
                    nested_model.forward_from(input.view(), &$nested_state, &mut nested_trace)?;
                    same_bits("the output", batch_first(flat_trace.output()), batch_first(nested_trace.output()))?;
                    prop_assert_eq!(
                        numbers_of(&format!("{:?}", flat_trace.final_state())),
                        numbers_of(&format!("{:?}", nested_trace.final_state()))
                    );
                    let d_flat = flat_model.backward(input.view(), &mut flat_trace, $d_output.view())?;
                    let d_nested = nested_model.backward(input.view(), &mut nested_trace, $d_output.view())?;
                    same_bits("gradients", &flat(&d_flat), &flat(&d_nested))?;
                    prop_assert_eq!(flat_model.parameter_count(), flat(&d_nested).len());
                    prop_assert_eq!(
                        numbers_of(&format!("{:?}", flat_trace.d_initial().unwrap())),
                        numbers_of(&format!("{:?}", nested_trace.d_initial().unwrap()))
                    );
                    let d_input = batch_first(flat_trace.d_input().unwrap());
                    same_bits("d input", d_input, batch_first(nested_trace.d_input().unwrap()))?;
                }};
            }
            let ab = || (a, b);
            let (s2, s3) = (|| ((), h_4.clone()), || ((), h_4.clone(), h_7.clone()));
            compare!((a, b, c.clone()), s3(), (ab(), c.clone()), (s2(), h_7.clone()), d_7);
            let abc = || (a, b, c.clone());
            compare!((a, b, c.clone(), d), ((), h_4.clone(), h_7.clone(), ()), (abc(), d), (s3(), ()), d_3);
            let abcd = || (a, b, c.clone(), d);
            let s4 = || ((), h_4.clone(), h_7.clone(), ());
            let s5 = || ((), h_4.clone(), h_7.clone(), (), h_9.clone());
            compare!((a, b, c.clone(), d, e), s5(), (abcd(), e), (s4(), h_9.clone()), d_9);
            let abcde = || (a, b, c.clone(), d, e);
            let s6 = || ((), h_4.clone(), h_7.clone(), (), h_9.clone(), ());
            compare!((a, b, c.clone(), d, e, f), s6(), (abcde(), f), (s5(), ()), d_2);

            // And the pair to its two layers by hand.
            let mut pair = Kept::at(level).with_d_input();
            ab().forward_from(input.view(), &s2(), &mut pair)?;
            let d_pair = ab().backward(input.view(), &mut pair, d_4.view())?;
            let mut lower = Kept::<Linear<3, 5>>::at(level).with_d_input();
            a.forward_into(input.view(), &mut lower)?;
            let mut upper = Kept::<RnnCell<5, 4>>::at(level).with_d_input();
            b.forward_from(lower.output(), &h_4, &mut upper)?;
            let d_upper = b.backward(lower.output(), &mut upper, d_4.view())?;
            let d_lower = a.backward(input.view(), &mut lower, upper.d_input().unwrap())?;
            same_bits("the output of a pair", batch_first(upper.output()), batch_first(pair.output()))?;
            same_bits("gradients of a pair", &flat(&(d_lower, d_upper)), &flat(&d_pair))?;
            same_bits("d h0", upper.d_initial().unwrap().as_flattened(), pair.d_initial().unwrap().1.as_flattened())?;
            let d_input = batch_first(pair.d_input().unwrap());
            same_bits("d input of a pair", batch_first(lower.d_input().unwrap()), d_input)
        })
    });
}

/// The numbers in a nest of states, however it is bracketed.
fn numbers_of(debug: &str) -> String {
    debug
        .replace(['(', ')', '[', ']', ',', ' '], "|")
        .split('|')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
