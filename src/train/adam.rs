//! The optimizer.

use crate::data::error::Error;
use crate::kernels::elementwise::adam::{AdamStep, Factors};
use crate::model::parameters::Parameters;
use crate::simd::Level;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Adam (Kingma & Ba 2015, "Adam: a method for stochastic optimization"), as `torch.optim.Adam` computes it.
///
/// `m += (g - m) (1 - b1)`, `v = b2 v + (1 - b2) g^2`,
/// `p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`; the corrections are computed in f64.
///
/// Where eps is at least 1e-9, moments below the smallest normal number (1.2e-38) become zero, so that parameters whose
/// gradients have ended do not slow the steps to come; so do squares of gradients that are as small. PyTorch keeps them. No parameter notices, unless it is as small itself:
/// the root of such a second moment is lost in eps.
///
/// The moments live in `M`: for `Adam::new` vectors that are made at the first step, for [`Adam::with_moments`] memory
/// of the caller, which needs no heap. [`Adam::moments`] and [`Adam::steps`] are what PyTorch calls the optimizer's state:
/// with them, [`Adam::after_steps`] goes on where another run ended.
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
pub struct Adam<M> {
    learning_rate: f64,
    betas: (f64, f64),
    eps: f64,
    level: Level,
    steps: u64,
    /// First moments of all parameters, in the order of [`Parameters::visit`].
    first: M,
    /// Second moments.
    second: M,
}

#[cfg(feature = "alloc")]
impl Adam<Vec<f32>> {
    /// Adam with PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self::with_moments(learning_rate, Vec::new(), Vec::new())
    }
}

impl<M: Moments> Adam<M> {
    /// Adam with PyTorch's defaults and memory of the caller for the moments: one number for each parameter
    /// ([`Parameters::COUNT`]) in each, of which nothing is read before the first step.
    ///
    /// ```
    /// use elman::{Adam, Generator, Linear, Parameters};
    /// let mut linear = Linear::<2, 1>::new(&mut Generator::seed(0));
    /// const COUNT: usize = Linear::<2, 1>::COUNT;
    /// let mut adam = Adam::with_moments(1e-3, [0.0; COUNT], [0.0; COUNT]);
    /// let gradients = linear.zeros_like();
    /// adam.step(&mut linear, &gradients)?;
    /// # Ok::<(), elman::Error>(())
    /// ```
    #[must_use]
    pub fn with_moments(learning_rate: f64, first: M, second: M) -> Self {
        Self::with_moments_at(Level::detect(), learning_rate, first, second)
    }

    /// [`Adam::with_moments`] at a given level, as a constant: for an optimizer that is a `static`.
    ///
    /// ```
    /// use elman::{Adam, Level, Linear, Parameters};
    /// use std::sync::Mutex;
    /// const COUNT: usize = Linear::<2, 1>::COUNT;
    /// static ADAM: Mutex<Adam<[f32; COUNT]>> =
    ///     Mutex::new(Adam::with_moments_at(Level::PORTABLE, 1e-3, [0.0; COUNT], [0.0; COUNT]));
    /// assert_eq!(ADAM.lock().unwrap().steps(), 0);
    /// ```
    #[must_use]
    pub const fn with_moments_at(level: Level, learning_rate: f64, first: M, second: M) -> Self {
        Self { learning_rate, betas: (0.9, 0.999), eps: 1e-8, level, steps: 0, first, second }
    }

    /// How fast the first and the second moment forget.
    #[must_use]
    pub const fn with_betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// What keeps the denominator from zero.
    #[must_use]
    pub const fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Goes on after so many steps, which have left the moments that were given. After none they are not read.
    ///
    /// ```
    /// use elman::{Adam, Generator, Linear};
    /// let mut linear = Linear::<2, 1>::new(&mut Generator::seed(0));
    /// let gradients = linear;
    /// let mut adam = Adam::new(1e-3);
    /// adam.step(&mut linear, &gradients)?;
    ///
    /// let (first, second) = adam.moments();
    /// let mut again = Adam::with_moments(1e-3, first.clone(), second.clone()).after_steps(adam.steps());
    /// let mut other = linear;
    /// adam.step(&mut linear, &gradients)?;
    /// again.step(&mut other, &gradients)?;
    /// assert_eq!(other, linear);
    /// # Ok::<(), elman::Error>(())
    /// ```
    #[must_use]
    pub fn after_steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// How many steps there have been.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The first and the second moments, in the order of [`Parameters::visit`].
    #[must_use]
    pub fn moments(&self) -> (&M, &M) {
        (&self.first, &self.second)
    }

    /// The learning rate.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// How fast the first and the second moment forget.
    #[must_use]
    pub fn betas(&self) -> (f64, f64) {
        self.betas
    }

    /// What keeps the denominator from zero.
    #[must_use]
    pub fn eps(&self) -> f64 {
        self.eps
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
    /// [`Error::Length`] if the memory of the moments is of another length than the parameters, or an earlier step was on
    /// a model of another size. The model and the moments are then as they were.
    pub fn step<P: Parameters>(&mut self, model: &mut P, gradients: &P) -> Result<(), Error> {
        let at_least_zero = |x: f64| x >= 0.0 && x.is_finite();
        let beta = |x: f64| (0.0..1.0).contains(&x);
        let setting = |ok: bool, what, expected| if ok { Ok(()) } else { Err(Error::Setting { what, expected }) };
        setting(at_least_zero(self.learning_rate), "learning rate", "finite and not negative")?;
        setting(at_least_zero(self.eps), "eps", "finite and not negative")?;
        setting(beta(self.betas.0) && beta(self.betas.1), "each beta", "at least 0 and below 1")?;
        let count = model.parameter_count();
        for moments in [&mut self.first, &mut self.second] {
            let given = if self.steps == 0 { moments.room(count) } else { moments.numbers().len() };
            Error::check_length("the moments of Adam", count, given)?;
        }
        if self.steps == 0 {
            self.first.start(count);
            self.second.start(count);
        }
        self.steps = self.steps.saturating_add(1);
        let (beta1, beta2) = self.betas;
        let t = self.steps as f64;
        let smallest_moment = Factors::smallest_moment(self.eps);
        let (first, from_gradient) = Factors::first_moment((1.0 - beta1) as f32);
        let step = self.learning_rate / (1.0 - libm::pow(beta1, t));
        let factors = Factors {
            first,
            from_gradient,
            keep_second: beta2 as f32,
            second: (1.0 - beta2) as f32,
            negative_step: -step as f32,
            correction: libm::sqrt(1.0 - libm::pow(beta2, t)) as f32,
            eps: self.eps as f32,
            smallest_moment,
            smallest_gradient: smallest_moment * (1 << 24) as f32,
            smallest_moving: smallest_moment / step as f32,
            smallest_squared: libm::sqrtf(smallest_moment / (1.0 - beta2) as f32),
        };
        let (mut first, mut second) = (self.first.numbers(), self.second.numbers());
        let level = self.level;
        model.visit_with(gradients, &mut |parameters, gradients| {
            let (first_moments, first_rest) = core::mem::take(&mut first).split_at_mut(parameters.len());
            let (second_moments, second_rest) = core::mem::take(&mut second).split_at_mut(parameters.len());
            (first, second) = (first_rest, second_rest);
            AdamStep { factors, parameters, gradients, first_moments, second_moments }.at(level);
        });
        Ok(())
    }
}

/// Memory for the moments of [`Adam`]: one number for each parameter.
pub trait Moments: sealed::Moments {}

mod sealed {
    pub trait Moments {
        /// The numbers.
        fn numbers(&mut self) -> &mut [f32];
        /// How many there can be: `count` where the memory can grow.
        fn room(&self, count: usize) -> usize;
        /// Zeros; `count` of them where the memory can grow.
        fn start(&mut self, count: usize);
    }
}

#[cfg(feature = "alloc")]
impl Moments for Vec<f32> {}
#[cfg(feature = "alloc")]
impl sealed::Moments for Vec<f32> {
    fn numbers(&mut self) -> &mut [f32] {
        self
    }
    fn room(&self, count: usize) -> usize {
        count
    }
    fn start(&mut self, count: usize) {
        self.clear();
        self.resize(count, 0.0);
    }
}

impl<const N: usize> Moments for [f32; N] {}
impl<const N: usize> sealed::Moments for [f32; N] {
    fn numbers(&mut self) -> &mut [f32] {
        self
    }
    fn room(&self, _: usize) -> usize {
        self.len()
    }
    fn start(&mut self, _: usize) {
        self.fill(0.0);
    }
}

impl Moments for &mut [f32] {}
impl sealed::Moments for &mut [f32] {
    fn numbers(&mut self) -> &mut [f32] {
        self
    }
    fn room(&self, _: usize) -> usize {
        self.len()
    }
    fn start(&mut self, _: usize) {
        self.fill(0.0);
    }
}
