//! `Embedding`: rows of a table, and their scattered gradients.

use crate::bounds::{AffineSums, Near};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::Embedding;
use elman_reference as reference;
use proptest::prelude::*;

fn tables<const V: usize, const E: usize>() {
    property(40, case(E), |case| {
        let mut numbers = Numbers(case.seed);
        let mut embedding = Embedding::<V, E>::zeros_boxed();
        case.weights.fill(&mut numbers, E, &mut embedding);
        let rows = case.steps * case.batch;
        let tokens = Rows::new(case.orders.0, case.shape(), (0..rows).map(|_| numbers.below(V)).collect());
        let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<E>(&mut numbers, rows));
        let mut count = vec![0usize; V];
        tokens.view().iter().for_each(|token| count[*token] += 1);

        at_every_level(|level| {
            let mut trace = Kept::<Box<Embedding<V, E>>>::at(level);
            embedding.forward_into(tokens.view(), &mut trace)?;
            let mut gradients = embedding.clone();
            embedding.backward_into(tokens.view(), &mut trace, d_output.view(), &mut gradients)?;
            prop_assert!(trace.d_input().is_none());
            let mut added = embedding.clone();
            embedding.backward_add(tokens.view(), &mut trace, d_output.view(), &(), &mut added)?;
            let weight: Vec<f64> = embedding.weight_torch().map(f64::from).collect();
            // A row's gradient is the sum of as many terms as its token has rows.
            let mut sums: Vec<AffineSums> = (0..V).map(|_| AffineSums::zeros(0, E)).collect();
            // Added to what is there, here the table: one term more.
            let mut added_sums = sums.clone();
            for (sums, row) in added_sums.iter_mut().zip(weight.chunks_exact(E)) {
                sums.start(&[], row);
            }
            for b in 0..case.batch {
                let sample = tokens.sample(b);
                let given: Vec<f32> = (0..case.steps).flat_map(|t| *trace.output().row(b, t)).collect();
                let expected = reference::embedding(&weight, E, &sample);
                Near { error: vec![0.0; expected.len()], value: expected }.check("the output", &given)?;
                for (t, token) in sample.into_iter().enumerate() {
                    let d_row = d_output.view().row(b, t);
                    same_bits("get", embedding.get(token).unwrap(), trace.output().row(b, t))?;
                    sums[token].add_to_bias(&Near::exact(d_row));
                    added_sums[token].add_to_bias(&Near::exact(d_row));
                }
            }
            for (token, sums) in sums.iter().enumerate() {
                sums.bias().check(&format!("d weight[{token}] of {} rows", count[token]), &gradients.weight[token])?;
            }
            for (sums, row) in added_sums.iter().zip(&added.weight) {
                sums.bias().check("added d weight", row)?;
            }
            prop_assert_eq!(embedding.get(V), None);

            let mut d_weight = vec![0.0; V * E];
            for b in 0..case.batch {
                let d_y: Vec<f64> = d_output.sample(b).as_flattened().iter().map(|d| f64::from(*d)).collect();
                reference::embedding_backward(E, &tokens.sample(b), None, &d_y, &mut d_weight);
            }
            for (token, sums) in sums.iter().enumerate() {
                Near { error: sums.bias().error, value: d_weight[token * E..][..E].to_vec() }
                    .check("d weight", &gradients.weight[token])?;
            }
            Ok(())
        })
    });
}

for_sizes!(tables: tokens_1(1, 1), tokens_4(4, 10), tokens_30(30, 17), tokens_300(300, 3), tokens_2(2, 64));
