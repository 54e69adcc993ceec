//! Adam where rounding decides: moments that forget at once.

use elman::{Adam, Level, Linear, Parameters};

/// With `beta1 = 0` the first moment is the gradient, however large the one before was: PyTorch computes it from the nearer end.
#[test]
fn the_first_moment_forgets_at_once() {
    for level in Level::available() {
        let mut model = Linear::<1, 1>::zeros();
        let mut gradients = model.zeros_like();
        let mut adam = Adam::new(0.1).with_betas(0.0, 0.0).at(level);
        for (gradient, moved) in [(1e8, -0.1), (1.0, -0.2)] {
            gradients.bias[0] = gradient;
            adam.step(&mut model, &gradients).unwrap();
            assert_eq!(adam.moments().0[1], gradient, "{level}");
            assert!((model.bias[0] - moved).abs() < 1e-6, "{level}: {} instead of {moved}", model.bias[0]);
        }
    }
}

/// The number of steps ends at its largest, and does not overflow.
#[test]
fn steps_without_end() {
    let mut model = Linear::<1, 1>::zeros();
    let gradients = model.zeros_like();
    let mut adam = Adam::with_moments(0.1, [0.0; 2], [0.0; 2]).after_steps(u64::MAX);
    adam.step(&mut model, &gradients).unwrap();
    assert_eq!((adam.steps(), adam.betas(), adam.eps()), (u64::MAX, (0.9, 0.999), 1e-8));
}
