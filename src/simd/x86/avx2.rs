//! AVX2 and FMA: 8 lanes, fused multiply-add, masked moves for the tails.

use crate::simd::{Kernel, Simd};
use core::arch::x86_64::*;

type F32 = __m256;
type I32 = __m256i;

/// Calls a macro with the features that the token proves, for which the operations and trampolines are compiled.
macro_rules! with_features {
    ($macro:ident! $arguments:tt) => {
        $macro! {
            (enable = "avx2", enable = "fma")
            $arguments
        }
    };
}

/// Proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, if the CPU (with `std`) or the compiler's target (without) has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        with_features!(found!()).then_some(Self(()))
    }

    /// The token of a CPU with AVX-512, whose detection asks for AVX2 and FMA too.
    #[inline]
    pub(super) fn from_avx512(_: super::avx512::Avx512) -> Self {
        Self(())
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        with_features!(trampoline!(Avx2, self, kernel))
    }

    /// The mask of the first `count` lanes, all of them from 8 on: a window of eight on eight ones and eight zeros.
    #[inline(always)]
    fn first_lanes(self, count: usize) -> I32 {
        const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        let window = &ONES_THEN_ZEROS[8 - count.min(8)..][..8];
        // SAFETY: the slice above has 8 readable elements; the token proves the feature.
        unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const FUSED: bool = true;
    const TILE_ROWS: usize = 6;
    type Half = Self;
    type F32 = F32;
    type I32 = I32;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        with_features!(trampoline!(Avx2, self, kernel, inline(never)))
    }
    #[inline(always)]
    fn half(self) -> Self::Half {
        self
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
        // SAFETY: the slice has 8 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> F32 {
        if from.len() == 4 {
            // SAFETY: the slice has 4 readable elements; the load needs no alignment; the token proves the feature.
            return unsafe { _mm256_zextps128_ps256(_mm_loadu_ps(from.as_ptr())) };
        }
        // SAFETY: the mask selects lanes below `from.len()` only; masked-off lanes are not read; the token proves the feature.
        unsafe { _mm256_maskload_ps(from.as_ptr(), self.first_lanes(from.len())) }
    }
    #[inline(always)]
    fn store(self, v: F32, to: &mut [f32]) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the slice has 8 writable elements, as asserted; the store needs no alignment; the token proves the feature.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_partial(self, v: F32, to: &mut [f32]) {
        if to.len() >= Self::LANES {
            return self.store(v, to);
        }
        // By four, two and one: a masked store takes forty micro-operations on some CPUs, and keeps loads behind it waiting.
        let (fours, left) = to.split_at_mut(to.len() / 4 * 4);
        // SAFETY: registers alone; the token proves the feature.
        let (low, high) = unsafe { (_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)) };
        let rest = match fours {
            [] => low,
            [..] => {
                // SAFETY: the slice has 4 writable elements, as it is not empty; the store needs no alignment; the token
                // proves the feature.
                unsafe { _mm_storeu_ps(fours.as_mut_ptr(), low) };
                high
            }
        };
        let (two, one) = left.split_at_mut(left.len() / 2 * 2);
        let last = if two.is_empty() {
            rest
        } else {
            // SAFETY: the slice has 2 writable elements, as it is not empty; the store needs no alignment; the token proves the
            // feature.
            unsafe {
                _mm_storel_epi64(two.as_mut_ptr().cast(), _mm_castps_si128(rest));
                _mm_movehl_ps(rest, rest)
            }
        };
        if let [one] = one {
            // SAFETY: registers alone; the token proves the feature.
            *one = unsafe { _mm_cvtss_f32(last) };
        }
    }
    #[inline(always)]
    fn load_four(self, from: &[f32]) -> F32 {
        assert!(from.len() >= 4);
        // SAFETY: the slice has 4 readable elements, as asserted; the load needs no alignment; the token proves the feature.
        unsafe { _mm256_set_m128(_mm_loadu_ps(from.as_ptr()), _mm_loadu_ps(from.as_ptr())) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: I32) -> F32 {
        // SAFETY: the permutation reads the low three bits of each index, so no lane can leave the 8 loaded values; the
        // token proves the feature.
        unsafe { _mm256_permutevar8x32_ps(self.load(table), index) }
    }

    with_features! { register_operations! {
        fn splat(x: f32) -> F32 = _mm256_set1_ps(x);
        fn add(a: F32, b: F32) -> F32 = _mm256_add_ps(a, b);
        fn sub(a: F32, b: F32) -> F32 = _mm256_sub_ps(a, b);
        fn mul(a: F32, b: F32) -> F32 = _mm256_mul_ps(a, b);
        fn div(a: F32, b: F32) -> F32 = _mm256_div_ps(a, b);
        fn mul_add(a: F32, b: F32, c: F32) -> F32 = _mm256_fmadd_ps(a, b, c);
        fn neg_mul_add(a: F32, b: F32, c: F32) -> F32 = _mm256_fnmadd_ps(a, b, c);
        fn sqrt(a: F32) -> F32 = _mm256_sqrt_ps(a);
        fn min(a: F32, b: F32) -> F32 = _mm256_min_ps(a, b);
        fn max(a: F32, b: F32) -> F32 = _mm256_max_ps(a, b);
        fn interleave(a: F32, b: F32) -> (F32, F32) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        fn interleave_fours(a: F32, b: F32) -> (F32, F32) =
            (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
        fn select_less(a: F32, b: F32, then: F32, otherwise: F32) -> F32 =
            _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        fn select_less_i32(a: I32, b: I32, then: F32, otherwise: F32) -> F32 =
            _mm256_blendv_ps(otherwise, then, _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)));
        fn zero_small(a: F32, limit: F32) -> F32 = {
            let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(size, limit), a)
        };
        // The permutation reads the low two bits of each index.
        fn one_of_four(a: F32, i: i32) -> F32 = _mm256_permutevar_ps(a, _mm256_set1_epi32(i));

        fn to_bits(a: F32) -> I32 = _mm256_castps_si256(a);
        fn with_bits(a: I32) -> F32 = _mm256_castsi256_ps(a);
        fn splat_i32(x: i32) -> I32 = _mm256_set1_epi32(x);
        fn add_i32(a: I32, b: I32) -> I32 = _mm256_add_epi32(a, b);
        fn sub_i32(a: I32, b: I32) -> I32 = _mm256_sub_epi32(a, b);
        fn and(a: I32, b: I32) -> I32 = _mm256_and_si256(a, b);
        fn or(a: I32, b: I32) -> I32 = _mm256_or_si256(a, b);
        fn shift_left<const BITS: i32>(a: I32) -> I32 = _mm256_slli_epi32::<BITS>(a);
        fn shift_right<const BITS: i32>(a: I32) -> I32 = _mm256_srli_epi32::<BITS>(a);
    } }
}
