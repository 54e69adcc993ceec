//! Cross-entropy of arbitrary logits and targets.

use crate::bounds::{Near, U, cross_entropy_row};
use crate::source::{Kind, Source};
use crate::support::{Checked, Order, Rows};
use crate::{OneAnswer, pool, same};
use elman::{CrossEntropy, Error, Level, Reduction, SequencesBuf};
use elman_reference as reference;
use proptest::prelude::*;

/// Losses and gradients within the bounds of the reference; NaN and infinities where they belong and in no other row; one
/// answer in either order of memory, on 1 and 2 threads, and row by row; refusals that change nothing.
pub fn cross_entropy(data: &[u8]) -> Checked {
    let source = &mut Source::new(data);
    let checks: [fn(&mut Source<'_>) -> Checked; 12] = [
        classes::<1>,
        classes::<2>,
        classes::<3>,
        classes::<4>,
        classes::<5>,
        classes::<10>,
        classes::<15>,
        classes::<16>,
        classes::<17>,
        classes::<33>,
        classes::<64>,
        classes::<70>,
    ];
    source.choose(&checks)(source)
}

fn logit(source: &mut Source<'_>, kind: Kind, size: f32) -> f32 {
    // One in a few is a value where something happens: exponentials underflow, become denormal, or end.
    match source.byte() {
        0..8 => source.choose(&[1e4f32, -1e4, -87.4, -88.0, -103.9, -104.1, 88.8, 0.0, -0.0, f32::MAX, f32::MIN]),
        8 => f32::NEG_INFINITY,
        _ => source.number(kind) * size,
    }
}

fn classes<const C: usize>(source: &mut Source<'_>) -> Checked {
    // Mostly few; sometimes more than the groups of 16 samples that the losses are summed in, on two threads if need be.
    const LARGE: usize = 100_000;
    let (steps, batch) = if source.once_in(64) && 40 * 40 * C >= LARGE {
        (40, LARGE.div_ceil(40 * C))
    } else {
        let steps = source.below(12);
        (steps, source.below(41).min(4_000 / (steps.max(1) * C)))
    };
    let orders = [Order::TimeMajor, Order::BatchFirst];
    let orders = (source.choose(&orders), source.choose(&orders));
    let (kind, size) = (source.kind(), source.choose(&[1.0f32, 10.0, 100.0, 1e4]));
    let part = source.choose(&[0, 1, 7, 1 << 20, 1 << 40, usize::MAX]);
    let reduction =
        source.choose(&[Reduction::Mean, Reduction::Sum, Reduction::MeanOf(part), Reduction::MeanOf(steps * batch)]);
    let rows = steps * batch;
    // Batch-first.
    let logits: Vec<[f32; C]> = (0..rows).map(|_| core::array::from_fn(|_| logit(source, kind, size))).collect();
    let mut targets: Vec<usize> = (0..rows).map(|_| source.below(C)).collect();
    let refused = if source.once_in(6) { Some(source.byte()) } else { None };
    let bad_target = source.choose(&[C, C + 1, 1 << 40, usize::MAX]);
    let bad_place = refused.filter(|_| rows > 0).map(|byte| usize::from(byte) % rows.max(1));
    if let Some(place) = bad_place {
        targets[place] = bad_target;
    }
    let logits_view = Rows::new(orders.0, (steps, batch), logits.clone());
    let targets_view = Rows::new(orders.1, (steps, batch), targets.clone());

    let scale = match reduction {
        Reduction::Mean => 1.0 / rows as f64,
        Reduction::MeanOf(whole) => 1.0 / whole as f64,
        _ => 1.0,
    };
    let mut one_answer = OneAnswer::default();
    for level in Level::available() {
        let options = CrossEntropy::new(reduction).at(level);
        // Memory that held something else.
        let mut d_logits = SequencesBuf::default();
        d_logits.reshape((1, 2));
        d_logits.rows_mut().fill([0.25; C]);
        let views = (logits_view.view(), targets_view.view());
        let result = pool(1).install(|| options.loss_into(views.0, views.1, &mut d_logits));

        let refusal = match bad_place {
            Some(place) => {
                let (sample, step) = (place / steps, place % steps);
                let index = if let Order::TimeMajor = orders.1 { step * batch + sample } else { place };
                Some(Error::TargetOutOfRange { target: bad_target, classes: C, index })
            }
            None if !scale.is_finite() => Some(Error::NoTargets),
            None => None,
        };
        if let Some(error) = refusal {
            prop_assert_eq!(result, Err(error));
            same("d logits after a refusal", d_logits.rows().as_flattened(), &[0.25; C].repeat(2))?;
            continue;
        }
        let loss = result?;
        prop_assert_eq!((d_logits.view().steps(), d_logits.view().batch()), (steps, batch));
        one_answer.hold(level, vec![vec![loss], d_logits.rows().as_flattened().to_vec()])?;

        // One row too few, and one too many.
        for wrong in [rows.saturating_sub(1), rows + 1] {
            let targets = vec![0; wrong];
            let before = d_logits.rows().to_vec();
            let given = options.loss_into(&logits, &targets, &mut d_logits);
            let is_typed = matches!(given, Err(Error::Shape { expected, given, .. })
                if (expected, given) == ((rows, 1), (wrong, 1)));
            prop_assert!(is_typed || wrong == rows, "{:?}", given);
            if is_typed {
                same("d logits after a refusal", d_logits.rows().as_flattened(), before.as_flattened())?;
            }
        }
        check::<C>(level, &logits, &targets, scale, loss, d_logits.rows())?;

        let mut again = SequencesBuf::default();
        let other_order = |order| if let Order::TimeMajor = order { Order::BatchFirst } else { Order::TimeMajor };
        let logits_again = Rows::new(other_order(orders.0), (steps, batch), logits.clone());
        let loss_again = options.loss_into(logits_again.view(), targets_view.view(), &mut again)?;
        same("the loss of the other order", &[loss_again], &[loss])?;
        same("d logits of the other order", again.rows().as_flattened(), d_logits.rows().as_flattened())?;

        let on_two_threads = pool(2).install(|| options.loss_into(views.0, views.1, &mut again))?;
        same("the loss on two threads", &[on_two_threads], &[loss])?;
        same("d logits on two threads", again.rows().as_flattened(), d_logits.rows().as_flattened())?;

        for (i, (logits, target)) in logits.iter().zip(&targets).enumerate() {
            let (_, d_row) = options.row(logits, *target)?;
            if reduction == Reduction::Sum {
                same("a row alone", &d_row, &d_logits.rows()[i])?;
            }
            prop_assert!(options.row(logits, C + i).is_err());
        }
    }
    Ok(())
}

/// The loss and the gradients against the reference, row by row.
fn check<const C: usize>(
    level: Level,
    logits: &[[f32; C]],
    targets: &[usize],
    scale: f64,
    loss: f32,
    d_logits: &[[f32; C]],
) -> Checked {
    let options = CrossEntropy::sum().at(level);
    let (mut total, mut total_error) = (0.0f64, 0.0f64);
    for ((logits, target), d_row) in logits.iter().zip(targets).zip(d_logits) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let undefined = logits.iter().any(|z| z.is_nan()) || largest.is_infinite();
        let (row_loss, _) = options.row(logits, *target)?;
        if undefined {
            // NaN, +inf, or every class impossible.
            prop_assert!(row_loss.is_nan(), "the loss of {:?} is {:e}", logits, row_loss);
            prop_assert!(d_row.iter().all(|d| d.is_nan()), "{:?} gives {:?}", logits, d_row);
            total = f64::NAN;
            continue;
        }
        let wide = logits.map(f64::from);
        let (d, error) = cross_entropy_row(&wide, *target, scale);
        d.check("d logits", d_row)?;
        prop_assert!(d_row.iter().all(|d| d.is_finite()), "{:?} gives {:?}", logits, d_row);
        let expected = reference::cross_entropy(&wide, *target);
        near_loss(expected, error).check("the loss of a row", [&row_loss])?;
        prop_assert!(row_loss >= 0.0, "the loss of {:?} is {:e}", logits, row_loss);
        if expected.is_infinite() {
            prop_assert!(row_loss == f32::INFINITY, "the loss of an impossible class is {:e}", row_loss);
        }
        total += expected;
        total_error += error;
    }
    let (total, total_error) = (total * scale, total_error * scale);
    if total.is_nan() {
        prop_assert!(loss.is_nan(), "NaN is hidden: {:e}", loss);
    } else if total > f64::from(f32::MAX) * 1.001 {
        prop_assert!(loss == f32::INFINITY, "{:e} instead of {:e}", loss, total);
    } else {
        near_loss(total, total_error).check("the loss", [&loss])?;
        prop_assert!(loss >= 0.0, "the loss is {:e}", loss);
    }
    Ok(())
}

/// A loss is a sum in `f64`, rounded to `f32` once; where it may overflow, there is no bound.
fn near_loss(loss: f64, error: f64) -> Near {
    let error = error + 2.0 * U * (loss.abs() + error) + f64::from(f32::from_bits(1));
    let may_overflow = loss + error > f64::from(f32::MAX);
    Near { value: vec![loss], error: vec![if may_overflow { f64::INFINITY } else { error }] }
}
