//! The gradient of one row: an outer product, added where it belongs.

use crate::kernels::slice::{starting_at, starting_at_mut};
use crate::simd::{Simd, load_some, store_some};

/// `d_weight[k][n] += input[k] * d_output[n]`, `d_weight` being input-major: a single row.
#[inline(always)]
pub(crate) fn add_outer_product<S: Simd>(s: S, input: &[f32], d_output: &[f32], d_weight: &mut [f32]) {
    let mut row = 0;
    for x in input {
        add_multiple(s, *x, d_output, &mut d_weight[row..row + d_output.len()]);
        row += d_output.len();
    }
}

/// `d_bias[n] += d_output[n]`: a single row.
#[inline(always)]
pub(crate) fn add_row<S: Simd>(s: S, d_output: &[f32], d_bias: &mut [f32]) {
    add_multiple(s, 1.0, d_output, d_bias);
}

/// `to[n] += x * d[n]`
///
/// In whole vectors, of which the last one ends with the row, where there is one: on many CPUs a load waits for a masked store
/// right before it, which here would be that of the row before.
#[inline(always)]
fn add_multiple<S: Simd>(s: S, x: f32, d: &[f32], to: &mut [f32]) {
    let Some(last) = d.len().checked_sub(S::LANES) else {
        if S::Half::LANES < S::LANES {
            add_multiple(s.half(), x, d, to);
        } else {
            store_some(s, s.add(load_some(s, to), s.mul(s.splat(x), load_some(s, d))), to);
        }
        return;
    };
    // Read before the vector in front of it is written, which may share numbers with it.
    let of_last = s.add(s.load(starting_at(to, last)), s.mul(s.splat(x), s.load(starting_at(d, last))));
    let mut first = 0;
    while first < last {
        let (d, to) = (starting_at(d, first), starting_at_mut(to, first));
        s.store(s.add(s.load(to), s.mul(s.splat(x), s.load(d))), to);
        first += S::LANES;
    }
    s.store(of_last, starting_at_mut(to, last));
}
