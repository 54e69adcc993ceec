//! AVX-512 (F, VL, DQ, BW): 16 lanes, fused multiply-add, masks for the tails.

use crate::simd::{Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that this CPU has AVX-512 F, VL, DQ, BW, and AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, if the CPU (with `std`) or the compiler's target (without) has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(feature = "std")]
        let found = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma");
        #[cfg(not(feature = "std"))]
        let found = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512vl",
            target_feature = "avx512dq",
            target_feature = "avx512bw",
            target_feature = "avx2",
            target_feature = "fma"
        ));
        found.then_some(Self(()))
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn trampoline<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: `self` exists, so every feature that the trampoline enables was found.
        unsafe { trampoline(self, kernel) }
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
    type F32 = __m512;
    type I32 = __m512i;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        #[inline(never)]
        fn trampoline<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: `self` exists, so every feature that the trampoline enables was found.
        unsafe { trampoline(self, kernel) }
    }
    #[inline(always)]
    fn half(self) -> Self::Half {
        super::avx2::Avx2::from_avx512(self)
    }

    #[inline(always)]
    fn prefetch(self, from: &[f32]) {
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn prefetch_for_later(self, from: &[f32]) {
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        assert!(from.len() >= Self::LANES);
        // SAFETY: the slice has 16 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m512 {
        // SAFETY: the mask selects lanes below `from.len()` only; masked-off lanes are not read; the token proves the feature.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(from.len()), from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32]) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the slice has 16 writable elements, as asserted; the store needs no alignment; the token proves the feature.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_partial(self, v: __m512, to: &mut [f32]) {
        // SAFETY: the mask selects lanes below `to.len()` only; masked-off lanes are not written; the token proves the feature.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first_lanes(to.len()), v) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn interleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)) }
    }
    #[inline(always)]
    fn interleave_fours(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: registers alone; the token proves the feature.
        unsafe {
            let first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
            let second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
            (_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b))
        }
    }
    #[inline(always)]
    fn select_less_i32(self, a: __m512i, b: __m512i, then: __m512, otherwise: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_mask_blend_ps(_mm512_cmplt_epi32_mask(a, b), otherwise, then) }
    }
    #[inline(always)]
    fn zero_small(self, a: __m512, limit: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(a), limit), a) }
    }
    #[inline(always)]
    fn select_less(self, a: __m512, b: __m512, then: __m512, otherwise: __m512) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            _mm512_mask_blend_ps(less, otherwise, then)
        }
    }
    #[inline(always)]
    fn load_four(self, from: &[f32]) -> __m512 {
        assert!(from.len() >= 4);
        // SAFETY: the slice has 4 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from.as_ptr())) }
    }
    #[inline(always)]
    fn one_of_four(self, a: __m512, i: i32) -> __m512 {
        // SAFETY: registers alone; the permutation reads the low two bits of each index; the token proves the feature.
        unsafe { _mm512_permutevar_ps(a, _mm512_set1_epi32(i)) }
    }

    #[inline(always)]
    fn to_bits(self, a: __m512) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_castps_si512(a) }
    }
    #[inline(always)]
    fn with_bits(self, a: __m512i) -> __m512 {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_sllv_epi32(a, _mm512_set1_epi32(BITS)) }
    }
    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: registers alone; the token proves the feature.
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(BITS)) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: __m512i) -> __m512 {
        // SAFETY: the permutation reads the low four bits of each index, so no lane can leave the 16 loaded values; the token proves the feature.
        unsafe { _mm512_permutexvar_ps(index, self.load(table)) }
    }
}
