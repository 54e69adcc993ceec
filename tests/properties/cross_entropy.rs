//! Cross-entropy on logits and its gradient.

use crate::bounds::{Near, U, cross_entropy_row};
use crate::support::*;
use elman::{CrossEntropy, Reduction};
use elman_reference::{self as reference, Loss};
use proptest::prelude::*;

fn classes<const C: usize>() {
    // Up to 1e4 in size; 1e3 of the kinds' own values beside.
    let size = prop_oneof![Just(1.0f32), Just(10.0), Just(100.0), Just(1e4)];
    let strategy = (case(C), size, any::<bool>(), values());
    property(48, strategy, |(case, size, mean, data)| {
        let mut numbers = Numbers(case.seed);
        let rows = case.steps * case.batch;
        let clamp = |row: [f32; C]| row.map(|z| (z * size).clamp(-1e4, 1e4));
        let logits = data.rows::<C>(&mut numbers, rows).into_iter().map(clamp).collect();
        let logits = Rows::new(case.orders.0, case.shape(), logits);
        let targets = Rows::new(case.orders.1, case.shape(), (0..rows).map(|_| numbers.below(C)).collect());

        let (reduction, scale) = if mean { (Reduction::Mean, 1.0 / rows as f64) } else { (Reduction::Sum, 1.0) };
        let all_logits: Vec<f64> = logits.view().iter().flatten().map(|z| f64::from(*z)).collect();
        let all_targets: Vec<usize> = targets.view().iter().copied().collect();
        let of_reference = if mean { reference::Reduction::Mean } else { reference::Reduction::Sum };
        let options = Loss { reduction: of_reference, ..Loss::default() };
        let (mut near_d, mut loss_error) = (Near::default(), 0.0);
        for (logits, target) in all_logits.chunks_exact(C).zip(&all_targets) {
            let (d, error) = cross_entropy_row(logits, *target, scale);
            near_d.extend(&d);
            loss_error += scale * error;
        }
        let loss = reference::cross_entropy_rows(&options, C, &all_logits, &all_targets);
        let near_loss = Near { value: vec![loss], error: vec![loss_error + 2.0 * U * (loss.abs() + loss_error)] };

        at_every_level(|level| {
            let result = CrossEntropy::new(reduction).at(level).loss(logits.view(), targets.view());
            if rows == 0 && mean {
                prop_assert_eq!(result.unwrap_err(), elman::Error::NoTargets);
                return Ok(());
            }
            let (loss, d_logits) = result?;
            near_loss.check("the loss", [&loss])?;
            prop_assert!(loss >= 0.0, "the loss is {}", loss);
            near_d.check("d logits", d_logits.rows().as_flattened())?;
            // Into memory that held something else.
            let mut again = CrossEntropy::sum().loss(&[[1.0; C]; 2], &[0, C - 1])?.1;
            let same = CrossEntropy::new(reduction).at(level).loss_into(logits.view(), targets.view(), &mut again)?;
            same_bits("the loss again", &[loss], &[same])?;
            same_bits("d logits again", d_logits.rows().as_flattened(), again.rows().as_flattened())?;
            // Row by row, as parts of the same whole.
            let part = if mean { CrossEntropy::mean_of(rows) } else { CrossEntropy::sum() }.at(level);
            for ((row, target), d) in logits.view().iter().zip(targets.view().iter()).zip(d_logits.view().iter()) {
                same_bits("d logits of a row", &part.row(row, *target)?.1, d)?;
            }
            prop_assert_eq!(CrossEntropy::mean_of(0).row(&[0.0; C], 0), Err(elman::Error::NoTargets));
            let one = part.row(&[0.0; C], 0)?.0;
            let expected = scale * (C as f64).ln();
            prop_assert!((f64::from(one) - expected).abs() <= 2.0 * U * expected, "{} is not {}", one, expected);
            Ok(())
        })
    });
}

for_sizes!(classes:
    classes_1(1), classes_2(2), classes_3(3), classes_4(4), classes_5(5), classes_8(8), classes_10(10), classes_15(15),
    classes_16(16), classes_17(17), classes_31(31), classes_33(33), classes_64(64), classes_70(70), classes_300(300),
);
