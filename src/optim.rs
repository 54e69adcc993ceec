//! The optimizer.

use crate::kernels::adam::{self, Factors};
use crate::model::Parameters;
use crate::{Error, Level};
use alloc::vec::Vec;

/// Adam (Kingma & Ba 2015, "Adam: a method for stochastic optimization"), as `torch.optim.Adam` computes it.
///
/// `m += (g - m) (1 - b1)`, `v = b2 v + (1 - b2) g^2`,
/// `p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`; the corrections are computed in f64.
///
/// The moments live in `S`: by default a vector that grows at the first step.
///
/// ```
/// use elman::{Adam, Generator, Linear, Parameters};
/// let mut linear = Linear::<2, 1>::new(&mut Generator::seed(0));
/// let mut adam = Adam::new(1e-3);
/// let mut gradients = linear.zeros_like();
/// gradients.bias[0] = 1.0;
/// let before = linear.bias[0];
/// adam.step(&mut linear, &gradients)?;
/// assert!((linear.bias[0] - (before - 1e-3)).abs() < 1e-6);
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adam {
    learning_rate: f64,
    betas: (f64, f64),
    eps: f64,
    level: Level,
    steps: u64,
    /// First moments of all parameters, in the order of [`Parameters::visit`].
    first: Vec<f32>,
    /// Second moments.
    second: Vec<f32>,
}

impl Adam {
    /// Adam with PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.999),
            eps: 1e-8,
            level: Level::detect(),
            steps: 0,
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// How fast the first and the second moment forget.
    #[must_use]
    pub fn with_betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// What keeps the denominator from zero.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The learning rate.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Changes the learning rate: a schedule is this call between steps.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// Moves every parameter of `model` against its gradient.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if the learning rate or eps is negative or not finite, or a beta is not in `0..1`;
    /// [`Error::Length`] if an earlier step was on a model of another size. The model and the moments are then as
    /// they were.
    pub fn step<M: Parameters>(&mut self, model: &mut M, gradients: &M) -> Result<(), Error> {
        let at_least_zero = |x: f64| x >= 0.0 && x.is_finite();
        let beta = |x: f64| (0.0..1.0).contains(&x);
        let setting = |ok: bool, what, expected| if ok { Ok(()) } else { Err(Error::Setting { what, expected }) };
        setting(at_least_zero(self.learning_rate), "learning rate", "finite and not negative")?;
        setting(at_least_zero(self.eps), "eps", "finite and not negative")?;
        setting(beta(self.betas.0) && beta(self.betas.1), "each beta", "at least 0 and below 1")?;
        let count = model.parameter_count();
        if self.steps == 0 {
            self.first.resize(count, 0.0);
            self.second.resize(count, 0.0);
        }
        Error::check_length("the moments of Adam", count, self.first.len())?;
        self.steps += 1;
        let (beta1, beta2) = self.betas;
        let t = self.steps as f64;
        let factors = Factors {
            first: (1.0 - beta1) as f32,
            keep_second: beta2 as f32,
            second: (1.0 - beta2) as f32,
            negative_step: (-self.learning_rate / (1.0 - libm::pow(beta1, t))) as f32,
            correction: libm::sqrt(1.0 - libm::pow(beta2, t)) as f32,
            eps: self.eps as f32,
        };
        let (mut first, mut second) = (self.first.as_mut_slice(), self.second.as_mut_slice());
        let level = self.level;
        model.visit_with(gradients, &mut |parameters, gradients| {
            let (first_moments, first_rest) = core::mem::take(&mut first).split_at_mut(parameters.len());
            let (second_moments, second_rest) = core::mem::take(&mut second).split_at_mut(parameters.len());
            (first, second) = (first_rest, second_rest);
            adam::Adam { factors, parameters, gradients, first_moments, second_moments }.at(level);
        });
        Ok(())
    }
}
