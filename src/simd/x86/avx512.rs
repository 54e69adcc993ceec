//! AVX-512 (F, VL, DQ, BW): 16 lanes, fused multiply-add, masks for the tails.

use crate::simd::{Kernel, Simd};
use core::arch::x86_64::*;

type F32 = __m512;
type I32 = __m512i;

/// Calls a macro with the features that the token proves, for which the operations and trampolines are compiled.
macro_rules! with_features {
    ($macro:ident! $arguments:tt) => {
        $macro! {
            (enable = "avx512f", enable = "avx512vl", enable = "avx512dq", enable = "avx512bw", enable = "avx2", enable = "fma")
            $arguments
        }
    };
}

/// Proof that this CPU has AVX-512 F, VL, DQ, BW, and AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, if the CPU (with `std`) or the compiler's target (without) has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        with_features!(found!()).then_some(Self(()))
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        with_features!(trampoline!(Avx512, self, kernel))
    }
}

/// The mask of the first `count` lanes, all of them from 16 on.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    if count >= 16 { u16::MAX } else { (1 << count) - 1 }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const FUSED: bool = true;
    const TILE_ROWS: usize = 8;
    type Half = super::avx2::Avx2;
    type F32 = F32;
    type I32 = I32;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        with_features!(trampoline!(Avx512, self, kernel, inline(never)))
    }
    #[inline(always)]
    fn half(self) -> Self::Half {
        super::avx2::Avx2::from_avx512(self)
    }

    #[inline(always)]
    fn prefetch(self, from: &[f32]) {
        super::prefetch::<_MM_HINT_T0>(from)
    }
    #[inline(always)]
    fn prefetch_for_later(self, from: &[f32]) {
        super::prefetch::<_MM_HINT_T1>(from)
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> F32 {
        assert!(from.len() >= Self::LANES);
        // SAFETY: the slice has 16 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> F32 {
        // SAFETY: the mask selects lanes below `from.len()` only; masked-off lanes are not read; the token proves the feature.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(from.len()), from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: F32, to: &mut [f32]) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the slice has 16 writable elements, as asserted; the store needs no alignment; the token proves the feature.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_partial(self, v: F32, to: &mut [f32]) {
        // SAFETY: the mask selects lanes below `to.len()` only; masked-off lanes are not written; the token proves the feature.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first_lanes(to.len()), v) }
    }
    #[inline(always)]
    fn load_four(self, from: &[f32]) -> F32 {
        assert!(from.len() >= 4);
        // SAFETY: the slice has 4 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from.as_ptr())) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: I32) -> F32 {
        // SAFETY: the permutation reads the low four bits of each index, so no lane can leave the 16 loaded values; the
        // token proves the feature.
        unsafe { _mm512_permutexvar_ps(index, self.load(table)) }
    }

    with_features! { register_operations! {
        fn splat(x: f32) -> F32 = _mm512_set1_ps(x);
        fn add(a: F32, b: F32) -> F32 = _mm512_add_ps(a, b);
        fn sub(a: F32, b: F32) -> F32 = _mm512_sub_ps(a, b);
        fn mul(a: F32, b: F32) -> F32 = _mm512_mul_ps(a, b);
        fn div(a: F32, b: F32) -> F32 = _mm512_div_ps(a, b);
        fn mul_add(a: F32, b: F32, c: F32) -> F32 = _mm512_fmadd_ps(a, b, c);
        fn neg_mul_add(a: F32, b: F32, c: F32) -> F32 = _mm512_fnmadd_ps(a, b, c);
        fn sqrt(a: F32) -> F32 = _mm512_sqrt_ps(a);
        fn min(a: F32, b: F32) -> F32 = _mm512_min_ps(a, b);
        fn max(a: F32, b: F32) -> F32 = _mm512_max_ps(a, b);
        fn interleave(a: F32, b: F32) -> (F32, F32) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        fn interleave_fours(a: F32, b: F32) -> (F32, F32) = {
            let first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
            let second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
            (_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b))
        };
        fn select_less(a: F32, b: F32, then: F32, otherwise: F32) -> F32 = {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            _mm512_mask_blend_ps(less, otherwise, then)
        };
        fn select_less_i32(a: I32, b: I32, then: F32, otherwise: F32) -> F32 =
            _mm512_mask_blend_ps(_mm512_cmplt_epi32_mask(a, b), otherwise, then);
        fn zero_small(a: F32, limit: F32) -> F32 =
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(a), limit), a);
        // The permutation reads the low two bits of each index.
        fn one_of_four(a: F32, i: i32) -> F32 = _mm512_permutevar_ps(a, _mm512_set1_epi32(i));

        fn to_bits(a: F32) -> I32 = _mm512_castps_si512(a);
        fn with_bits(a: I32) -> F32 = _mm512_castsi512_ps(a);
        fn splat_i32(x: i32) -> I32 = _mm512_set1_epi32(x);
        fn add_i32(a: I32, b: I32) -> I32 = _mm512_add_epi32(a, b);
        fn sub_i32(a: I32, b: I32) -> I32 = _mm512_sub_epi32(a, b);
        fn and(a: I32, b: I32) -> I32 = _mm512_and_si512(a, b);
        fn or(a: I32, b: I32) -> I32 = _mm512_or_si512(a, b);
        fn shift_left<const BITS: i32>(a: I32) -> I32 = _mm512_sllv_epi32(a, _mm512_set1_epi32(BITS));
        fn shift_right<const BITS: i32>(a: I32) -> I32 = _mm512_srlv_epi32(a, _mm512_set1_epi32(BITS));
    } }
}
