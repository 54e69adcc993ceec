//! The norm of gradients, and gradients scaled to one.

use crate::bounds::U;
use crate::support::*;
use elman::{Linear, Parameters, RnnCell};
use elman_reference as reference;
use proptest::prelude::*;

/// Against the reference. The norm is taken in `f64` and rounded once, the factor is, and so is each product.
#[test]
fn clipped_gradients() {
    property(128, (any::<u64>(), values(), prop_oneof![Just(1e-3f32), Just(1.0), Just(1e9)]), |(seed, data, most)| {
        let mut numbers = Numbers(seed);
        let mut gradients = (RnnCell::<3, 7>::zeros(), Linear::<7, 2>::zeros());
        gradients.visit_mut(&mut |tensor| {
            let drawn = data.rows::<1>(&mut numbers, tensor.len());
            tensor.copy_from_slice(drawn.as_flattened());
        });
        let before: Vec<f64> = flat(&gradients).into_iter().map(f64::from).collect();
        let mut expected = before.clone();
        // Denormal numbers count as zero in the norm.
        let denormal: f64 = before.iter().filter(|x| x.abs() < f64::from(f32::MIN_POSITIVE)).map(|x| x * x).sum();
        let norm = reference::clip_grad_norm(&mut [&mut expected], f64::from(most));
        let given = gradients.clip_norm(most);
        let few_roundings = 4.0 * U;
        let error = few_roundings * norm + denormal.sqrt();
        prop_assert!((f64::from(given) - norm).abs() <= error, "{} is not {}", given, norm);
        for (given, expected) in flat(&gradients).into_iter().zip(expected) {
            // What underflows is off by half of the smallest denormal.
            let error = (f64::from(given) - expected).abs();
            prop_assert!(error <= few_roundings * expected.abs() + 1e-45, "{} is not {}", given, expected);
        }
        Ok(())
    });
}

/// What is not a number is not hidden.
#[test]
fn numbers_that_are_none() {
    let of = |x: f32| Linear::<1, 2> { weight: [[3.0, x]], bias: [0.0, 4.0] };
    let mut gradients = of(f32::NAN);
    assert!(gradients.clip_norm(1.0).is_nan());
    assert!(flat(&gradients).iter().all(|x| x.is_nan()));
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut gradients = of(x);
        let refused = gradients.try_clip_norm(1.0).unwrap_err();
        assert_eq!(refused.to_string(), "the norm of the gradients is not finite");
        assert!(flat(&gradients).iter().zip(flat(&of(x))).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    assert_eq!(of(0.0).try_clip_norm(1.0), Ok(5.0));
    let mut gradients = of(f32::INFINITY);
    assert_eq!(gradients.clip_norm(1.0), f32::INFINITY);
    assert!(gradients.weight[0][1].is_nan());
    assert_eq!((gradients.weight[0][0], gradients.bias), (0.0, [0.0, 0.0]));
}
