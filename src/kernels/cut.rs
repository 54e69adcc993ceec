//! All ways to cut an axis: columns into panels, rows and inputs into tiles, neurons into tiles of samples in lanes.

#[cfg(feature = "alloc")]
use core::ops::Range;

use super::tuning::NUMBERS_PER_LINE;
use crate::simd::Simd;

// ---------------------------------------------------------------- columns into panels of a packed matrix

/// Columns of a panel: the two vectors of a register tile, or at the right end what remains, one vector or half of one
/// where there are half-width vectors ([`Simd::Half`](crate::simd::Simd::Half)).
#[cfg(feature = "alloc")]
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) width: usize,
}

#[cfg(feature = "alloc")]
impl Span {
    /// Whether it is half a vector; never where there are no half-width vectors, which the compiler knows.
    #[inline(always)]
    pub(crate) fn is_half<S: Simd>(self, _: S) -> bool {
        S::Half::LANES < S::LANES && self.width < S::LANES
    }
}

/// How columns are cut into panels.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cut {
    pub(crate) lanes: usize,
    pub(crate) columns: usize,
    /// Whether the last panel has two vectors where one whole vector and one that is not full remain: two panels otherwise.
    pub(crate) joined: bool,
}

#[cfg(feature = "alloc")]
impl Cut {
    /// How many panels there are.
    #[inline(always)]
    pub(crate) const fn count(self) -> usize {
        let rest = self.columns % (2 * self.lanes);
        self.columns / (2 * self.lanes) + if rest == 0 { 0 } else { 1 + (rest > self.end_width(rest)) as usize }
    }

    /// The columns of a panel, counted from the left.
    #[inline(always)]
    pub(crate) const fn span(self, panel: usize) -> Span {
        let Self { lanes, columns, .. } = self;
        let whole = columns / (2 * lanes);
        if panel < whole {
            return Span { first: panel * 2 * lanes, width: 2 * lanes };
        }
        let first = whole * 2 * lanes;
        let width = self.end_width(columns - first);
        if panel == whole {
            return Span { first, width };
        }
        let first = first + width;
        Span { first, width: self.end_width(columns - first) }
    }

    /// Columns of the next panel where fewer than two vectors remain.
    #[inline(always)]
    const fn end_width(self, rest: usize) -> usize {
        let Self { lanes, joined, .. } = self;
        let half = half_width(lanes);
        if joined && rest > 2 * lanes - half {
            2 * lanes
        } else if rest > half {
            lanes
        } else {
            half
        }
    }

    /// The columns of all panels together.
    #[inline(always)]
    pub(crate) const fn padded(self) -> usize {
        match self.count() {
            0 => 0,
            count => {
                let Span { first, width } = self.span(count - 1);
                first + width
            }
        }
    }
}

/// Lanes of a half-width vector, where the CPU has them beside vectors of `lanes` lanes; otherwise `lanes`.
#[cfg(feature = "alloc")]
const fn half_width(lanes: usize) -> usize {
    if lanes == 16 { 8 } else { lanes }
}

// ---------------------------------------------------------------- rows into tiles

/// How many rows the next tiles have, where the first one begins, and how many they are, once `done` of `rows` are done:
/// [`next_tile`], again and again. With tiles of one row less, what remains is shared out among them.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn next_tiles(tallest: usize, one_less: bool, done: usize, rows: usize) -> (usize, usize, usize) {
    let left = rows - done;
    if one_less {
        let shorter = (tallest - left % tallest) % tallest;
        if let Some(tall) = left.checked_sub(shorter * (tallest - 1)) {
            return if tall > 0 { (tallest, done, tall / tallest) } else { (tallest - 1, done, shorter) };
        }
    }
    let (height, begin) = next_tile(tallest, done, rows);
    (height, begin, if height == tallest { (rows - begin) / height } else { 1 })
}

/// How many rows the next tile has and where it begins, once `done` of `rows` are done: `tallest`, or half as many, or one.
///
/// Where what remains does not fill a tile, the tile begins before it: rows that are done already are computed again and
/// dropped, which is cheaper than row by row.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn next_tile(tallest: usize, done: usize, rows: usize) -> (usize, usize) {
    let left = rows - done;
    let half = tallest / 2;
    if left > half && rows >= tallest {
        (tallest, done.min(rows - tallest))
    } else if left > 1 && rows >= half {
        (half, done.min(rows - half))
    } else {
        (1, done)
    }
}

/// How many inputs the next tile has and which one is its first, once `done` are done. A single vector waits for its loads:
/// what is too much for one tile of eight rows goes into nearly equal ones.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn next_inputs<S: Simd>(vectors: usize, done: usize, inputs: usize) -> (usize, usize) {
    if const { S::TILE_ROWS == 8 } && vectors == 1 {
        let left = inputs - done;
        let height = left.div_ceil(left.div_ceil(S::TILE_ROWS));
        if matches!(height, 5 | 6) {
            return (height, done);
        }
    }
    next_tile(S::TILE_ROWS, done, inputs)
}

// ---------------------------------------------------------------- neurons into tiles, where samples are in lanes

/// Neurons of the tallest tile and the shortest: few shapes, as each is a function of its own.
#[cfg(feature = "alloc")]
pub(crate) const TALLEST_NEURON_TILE: usize = 6;
#[cfg(feature = "alloc")]
pub(crate) const SHORTEST_NEURON_TILE: usize = 4;

/// The neurons of each tile: as few tiles as there can be, and nearly as many neurons in each of them.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn neuron_tiles(neurons: usize) -> impl Iterator<Item = Range<usize>> {
    let count = neurons.div_ceil(TALLEST_NEURON_TILE);
    let (each, taller) = (neurons / count, neurons % count);
    let mut end = 0;
    (0..count).map(move |tile| {
        let first = end;
        end += each + usize::from(tile >= count - taller);
        first..end
    })
}

/// How tall a tile of some neurons is; the shortest may have fewer.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn neuron_tile_height(neurons: &Range<usize>) -> usize {
    neurons.len().max(SHORTEST_NEURON_TILE)
}

// ---------------------------------------------------------------- outputs of one sample into panels

/// Vectors of the widest panel of any instruction set.
pub(crate) const WIDEST: usize = 12;

/// How the outputs are cut into panels.
pub(crate) struct PanelWidths {
    pub(crate) panels: usize,
    /// How many panels of whole vectors there are of each width; the widest come first.
    pub(crate) whole: [usize; WIDEST + 1],
    /// The width of the panel behind them, as narrow as any, whose last vector is not full; or nothing.
    pub(crate) partial: usize,
}

impl PanelWidths {
    /// As few panels as hold their sums where a tile, two vectors wide, has its own, and of nearly the same width: a narrow
    /// one takes as long as a wide one, for it waits for its own sums. Whole lines of the cache, lest one be read twice.
    pub(crate) const fn new<S: Simd>(chains: usize, outputs: usize) -> Self {
        let sums = if 2 * S::TILE_ROWS < WIDEST { 2 * S::TILE_ROWS } else { WIDEST };
        Self::up_to::<S>(sums / chains, outputs)
    }

    /// The same of outputs that have so many sums each. Of cells of gates, with four, two chains go side by side where there
    /// are several.
    pub(crate) const fn of_sums<S: Simd>(sums: usize, chains: usize, outputs: usize) -> Self {
        if sums == 1 {
            return Self::new::<S>(chains, outputs);
        }
        let widest = match (S::REGISTERS, chains) {
            (32, 1) => 4,
            (32, _) => 2,
            (_, 1) => 2,
            (_, _) => 1,
        };
        Self::up_to::<S>(widest, outputs)
    }

    /// Panels of at most `widest` vectors.
    const fn up_to<S: Simd>(widest: usize, outputs: usize) -> Self {
        let vectors = outputs.div_ceil(S::LANES);
        let line = if NUMBERS_PER_LINE / S::LANES < widest { NUMBERS_PER_LINE / S::LANES } else { widest };
        let panels = if vectors <= widest { 1 } else { vectors.div_ceil(line).div_ceil(widest / line) };
        let mut cut = Self { panels, whole: [0; WIDEST + 1], partial: 0 };
        let (mut left, mut panels_left) = (vectors, panels);
        while panels_left > 0 {
            let width = left.div_ceil(line).div_ceil(panels_left) * line;
            let width = if width < left { width } else { left };
            left -= width;
            panels_left -= 1;
            if panels_left == 0 && !outputs.is_multiple_of(S::LANES) {
                cut.partial = width;
            } else {
                cut.whole[width] += 1;
            }
        }
        cut
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
