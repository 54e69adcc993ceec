//! The matrix-vector product of the latency path: one sample, sizes known at compile time.

use super::{chain_start, chains};
use crate::simd::{Simd, load, store};

/// What happens to a sum before it is stored.
pub(crate) trait Finish: Copy {
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32;
}

/// The sum itself.
#[derive(Clone, Copy)]
pub(crate) struct Linear;

impl Finish for Linear {
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, z: S::F32) -> S::F32 {
        z
    }
}

/// The activation of the Elman network.
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Finish for Tanh {
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32 {
        super::tanh::tanh(s, z)
    }
}

/// `z[n] = finish(z[n] + sum over k of x[k] * weight[k][n])`, in the canonical order.
///
/// `weight` is input-major: row `k` holds what input `k` gives to every output.
#[inline(always)]
pub(crate) fn matvec<S: Simd, F: Finish, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
    finish: F,
) {
    matvec_in_chains(s, chains(K, N), weight, x, z, finish);
}

/// [`matvec`] as a part of a product that has more outputs, which decide the number of chains.
#[inline(always)]
pub(crate) fn matvec_in_chains<S: Simd, F: Finish, const K: usize, const N: usize>(
    s: S,
    chains: usize,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
    finish: F,
) {
    // As many vectors at a time as leave eight sums in flight, which is what two FMA units of latency four can do.
    match chains {
        1 => vectors::<S, F, 8, 1, K, N>(s, weight, x, z, finish),
        2 => vectors::<S, F, 4, 2, K, N>(s, weight, x, z, finish),
        _ => vectors::<S, F, 2, 4, K, N>(s, weight, x, z, finish),
    }
}

/// Walks the outputs: `P` vectors at a time, then one at a time, then the part of a vector that is left.
#[inline(always)]
fn vectors<S: Simd, F: Finish, const P: usize, const C: usize, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
    finish: F,
) {
    let full = N / S::LANES;
    let mut vector = 0;
    while vector + P <= full {
        panel::<S, F, P, C, false, K, N>(s, weight, x, z, vector * S::LANES, finish);
        vector += P;
    }
    if P > 4 && vector + 4 <= full {
        panel::<S, F, 4, C, false, K, N>(s, weight, x, z, vector * S::LANES, finish);
        vector += 4;
    }
    if P > 2 && vector + 2 <= full {
        panel::<S, F, 2, C, false, K, N>(s, weight, x, z, vector * S::LANES, finish);
        vector += 2;
    }
    if vector < full {
        panel::<S, F, 1, C, false, K, N>(s, weight, x, z, vector * S::LANES, finish);
    }
    if !N.is_multiple_of(S::LANES) {
        panel::<S, F, 1, C, true, K, N>(s, weight, x, z, full * S::LANES, finish);
    }
}

/// `P` vectors of outputs from `first` on, `C` chains each; `PARTIAL` if they reach beyond the last output.
#[inline(always)]
fn panel<S: Simd, F: Finish, const P: usize, const C: usize, const PARTIAL: bool, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
    first: usize,
    finish: F,
) {
    let mut start = [s.splat(0.0); P];
    for (p, start) in start.iter_mut().enumerate() {
        *start = load::<S, PARTIAL>(s, &z[first + p * S::LANES..]);
    }
    let sums = chains_of::<S, P, C, PARTIAL, K, N>(s, weight, x, start, first);
    // Apart from the sums above, which would be kept in memory if a loop that is not unrolled reached them.
    for (p, sum) in sums.into_iter().enumerate() {
        store::<S, PARTIAL>(s, finish.finish(s, sum), &mut z[first + p * S::LANES..]);
    }
}

/// The sums of `P` vectors of outputs, in `C` chains that are then added pairwise.
#[inline(always)]
fn chains_of<S: Simd, const P: usize, const C: usize, const PARTIAL: bool, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    start: [S::F32; P],
    first: usize,
) -> [S::F32; P] {
    let mut sums = [[s.splat(0.0); P]; C];
    sums[0] = start;
    // A loop over more than one vector must stay a loop: unrolled whole, the compiler computes one vector after the other
    // and keeps every broadcast input in memory in between. It cannot unroll what it cannot count.
    let terms = if P > 1 { core::hint::black_box(K / C).min(K / C) } else { K / C };
    let (mut weights, mut inputs): ([&[[f32; N]]; C], [&[f32]; C]) = ([&[]; C], [&[]; C]);
    for c in 0..C {
        weights[c] = &weight[chain_start(c, C, K)..][..K / C];
        inputs[c] = &x[chain_start(c, C, K)..][..K / C];
    }
    for i in 0..terms {
        for c in 0..C {
            add_term::<S, P, PARTIAL, N>(s, &weights[c][i], inputs[c][i], first, &mut sums[c]);
        }
    }
    // Chains differ in length by one at most.
    for (c, sums) in sums.iter_mut().enumerate() {
        let k = chain_start(c, C, K) + K / C;
        if k < chain_start(c + 1, C, K) {
            add_term::<S, P, PARTIAL, N>(s, &weight[k], x[k], first, sums);
        }
    }
    let mut total = sums[0];
    for (p, total) in total.iter_mut().enumerate() {
        if C > 1 {
            *total = s.add(*total, sums[1][p]);
        }
        if C > 2 {
            *total = s.add(*total, s.add(sums[2][p], sums[3][p]));
        }
    }
    total
}

/// `sums[p] += x * row[first..]`
#[inline(always)]
fn add_term<S: Simd, const P: usize, const PARTIAL: bool, const N: usize>(
    s: S,
    row: &[f32; N],
    x: f32,
    first: usize,
    sums: &mut [S::F32; P],
) {
    let x = s.splat(x);
    for (p, sum) in sums.iter_mut().enumerate() {
        let w = load::<S, PARTIAL>(s, &row[first + p * S::LANES..]);
        *sum = s.mul_add(x, w, *sum);
    }
}

/// `out[k] = sum over n of weight[k][n] * d[n]`, the product with the transpose, in the canonical order.
///
/// Blocks of 16 rows are turned on the stack, so it needs no heap and no packed weights.
#[inline(always)]
pub(crate) fn matvec_transposed<S: Simd, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    d: &[f32; N],
) -> [f32; K] {
    const BLOCK: usize = 16;
    let mut out = [0.0; K];
    let mut turned = [[0.0; BLOCK]; N];
    for (rows, out) in weight.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        for (column, row) in rows.iter().enumerate() {
            for (to, x) in turned.iter_mut().zip(row) {
                to[column] = *x;
            }
        }
        let mut z = [0.0; BLOCK];
        matvec_in_chains(s, chains(N, K), &turned, d, &mut z, Linear);
        out.copy_from_slice(&z[..out.len()]);
    }
    out
}
