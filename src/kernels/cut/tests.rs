use super::*;
use crate::simd::portable::Portable;
use alloc::{format, vec::Vec};
use core::iter::repeat_n;

/// Panels hold every output once, no more sums than there are registers for, and are nearly of one width.
fn check<S: Simd>() {
    for (outputs, chains) in (1..1100).flat_map(|outputs| [1, 2, 4].map(|chains| (outputs, chains))) {
        let PanelWidths { panels, whole, partial } = PanelWidths::new::<S>(chains, outputs);
        let widths = (1..=WIDEST).rev().flat_map(|width| repeat_n(width, whole[width]));
        let widths: Vec<usize> = widths.chain((partial > 0).then_some(partial)).collect();
        let case = format!("{outputs} outputs in {chains} chains: {widths:?}");
        assert_eq!(widths.len(), panels, "{case}");
        assert_eq!(widths.iter().sum::<usize>(), outputs.div_ceil(S::LANES), "{case}");
        assert_eq!(partial > 0, !outputs.is_multiple_of(S::LANES), "{case}");
        assert!(widths.is_sorted_by(|wide, narrow| wide >= narrow), "{case}");
        assert!(widths[0] <= WIDEST.min(2 * S::TILE_ROWS) / chains, "{case}");
        assert!(widths[0] < widths[panels - 1] + 2 * (NUMBERS_PER_LINE / S::LANES), "{case}");
    }
}

#[test]
fn cuts() {
    check::<Portable>();
    #[cfg(target_arch = "x86_64")]
    check::<crate::simd::x86::Avx2>();
    #[cfg(target_arch = "x86_64")]
    check::<crate::simd::x86::Avx512>();
}
