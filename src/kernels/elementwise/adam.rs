//! One step of Adam over one tensor.

use crate::kernels::slice::{starting_at, starting_at_mut};
use crate::simd::{Kernel, Level, Simd};

/// The factors of one step, rounded to single precision once, where PyTorch rounds them.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    /// `1 - beta1`, or where that is at least a half, `-beta1`: the first moment goes from the gradient back to itself then.
    pub(crate) first: f32,
    /// Whether the first moment is reckoned from the gradient.
    pub(crate) from_gradient: bool,
    /// `beta2`
    pub(crate) keep_second: f32,
    /// `1 - beta2`
    pub(crate) second: f32,
    /// `-lr / (1 - beta1^t)`
    pub(crate) negative_step: f32,
    /// `sqrt(1 - beta2^t)`
    pub(crate) correction: f32,
    pub(crate) eps: f32,
    /// Moments below it become zero.
    pub(crate) smallest_moment: f32,
    /// Gradients below it count as zero: between one and its moment there may be less than the smallest normal number.
    pub(crate) smallest_gradient: f32,
    /// First moments below it move nothing: their product with the step would be below the smallest moment.
    pub(crate) smallest_moving: f32,
    /// The same for the second moment.
    pub(crate) smallest_squared: f32,
}

impl Factors {
    /// What [`Factors::smallest_moment`] is for an eps: the smallest normal number where the square root of anything below
    /// it, 1.1e-19 at most, is lost in the rounding of eps, so that a first moment as small moves nothing; otherwise zero.
    pub(crate) const fn smallest_moment(eps: f64) -> f32 {
        if eps >= 1e-9 { f32::MIN_POSITIVE } else { 0.0 }
    }

    /// Where to begin [`Factors::first`] from and what it is, for `1 - beta1` in single precision: PyTorch's `lerp`, which
    /// starts from the nearer end.
    pub(crate) fn first_moment(weight: f32) -> (f32, bool) {
        if weight < 0.5 { (weight, false) } else { (weight - 1.0, true) }
    }
}

/// Adam (Kingma & Ba 2015) in PyTorch's order of operations:
/// `m += (g - m) (1 - b1)`, `v = b2 v + (1 - b2) g^2`, `p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`.
pub(crate) struct AdamStep<'a> {
    pub(crate) factors: Factors,
    pub(crate) parameters: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) first_moments: &'a mut [f32],
    pub(crate) second_moments: &'a mut [f32],
}

impl AdamStep<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for AdamStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { factors, parameters: p, gradients: g, first_moments: m, second_moments: v } = self;
        let (g, m, v) = (&g[..p.len()], &mut m[..p.len()], &mut v[..p.len()]);
        let mut first = 0;
        while p.len() - first >= S::LANES {
            let whole = first..first + S::LANES;
            let (p, g) = (&mut p[whole.clone()], &g[whole.clone()]);
            let (m, v) = (&mut m[whole.clone()], &mut v[whole]);
            let (p_new, m_new, v_new) = step(s, factors, s.load(p), s.load(g), s.load(m), s.load(v));
            s.store(p_new, p);
            s.store(m_new, m);
            s.store(v_new, v);
            first += S::LANES;
        }
        let (p, g) = (starting_at_mut(p, first), starting_at(g, first));
        let (m, v) = (starting_at_mut(m, first), starting_at_mut(v, first));
        if !p.is_empty() {
            let (old_p, old_g) = (s.load_partial(p), s.load_partial(g));
            let (p_new, m_new, v_new) = step(s, factors, old_p, old_g, s.load_partial(m), s.load_partial(v));
            s.store_partial(p_new, p);
            s.store_partial(m_new, m);
            s.store_partial(v_new, v);
        }
    }
}

#[inline(always)]
fn step<S: Simd>(s: S, factors: Factors, p: S::F32, g: S::F32, m: S::F32, v: S::F32) -> (S::F32, S::F32, S::F32) {
    let g = s.zero_small(g, s.splat(factors.smallest_gradient));
    let m = s.mul_add(s.splat(factors.first), s.sub(g, m), if factors.from_gradient { g } else { m });
    let squared = s.zero_small(g, s.splat(factors.smallest_squared));
    let v = s.mul_add(s.mul(s.splat(factors.second), squared), squared, s.mul(s.splat(factors.keep_second), v));
    // Moments that nothing feeds would end among the denormal numbers, stay there, as their rounding stops them, and slow
    // every step to come.
    let m = s.zero_small(m, s.splat(factors.smallest_moment));
    let v = s.zero_small(v, s.splat(factors.smallest_moment));
    let denominator = s.add(s.div(s.sqrt(v), s.splat(factors.correction)), s.splat(factors.eps));
    let moving = s.zero_small(m, s.splat(factors.smallest_moving));
    let p = s.add(p, s.div(s.mul(s.splat(factors.negative_step), moving), denominator));
    (p, m, v)
}
