//! Long sums of gradients, without the error of long sums.
//!
//! A sum of `n` numbers that are added one after the other may be off by `n` roundings, and one that all have the same sign
//! stops growing where the next number is lost in its rounding. So each sum over rows is cut: terms are added up in blocks
//! from zero, [`TERMS`] blocks to a sum, `TERMS` such sums to a sum of the next level, and so on. Each number then goes through
//! at most `TERMS` roundings a level, and there are `log(blocks) / log(TERMS)` levels: the error of a sum is at most
//! `(rows of a block + TERMS (1 + levels)) 2^-24` times the sum of the absolute values of its terms (Higham 2002, "Accuracy and
//! stability of numerical algorithms", section 4.2, for the error of such trees).

use alloc::vec::Vec;

/// Blocks, or sums, that are added one after the other before what they give goes to the level above.
const TERMS: usize = 64;

/// Tensors of a layer whose gradients are summed; a layer of fewer leaves the others empty.
pub(crate) const TENSORS: usize = 4;

/// What the blocks of a share of the batch add their gradients to.
///
/// All tensors together, in arrays taken apart by patterns: passes over a few steps of a few neurons are so short that what is
/// done for each tensor counts, and `map` of an array is a call.
pub(crate) struct BlockSums<'a> {
    pub(crate) tensors: [&'a mut [f32]; TENSORS],
    pub(crate) cascade: &'a mut Cascade,
}

impl BlockSums<'_> {
    /// Another block has been added. Sums that are full move to the level above.
    #[inline]
    pub(crate) fn count_block(&mut self) {
        self.cascade.count += 1;
        if self.cascade.count.is_multiple_of(TERMS) {
            let full = self.cascade.count / TERMS;
            for (levels, sums) in self.cascade.levels.iter_mut().zip(&mut self.tensors) {
                levels.carry(full, sums.len(), 0, sums);
            }
        }
    }
}

/// The levels above the sums of a share that are at hand.
#[derive(Debug, Default)]
pub(crate) struct Cascade {
    /// Terms so far.
    count: usize,
    levels: [Levels; TENSORS],
}

impl Cascade {
    /// No terms yet.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
    }

    /// Adds what has moved upward to the sums at hand, which then are the whole.
    #[inline]
    pub(crate) fn finish(&self, tensors: &mut [&mut [f32]; TENSORS]) {
        if self.count >= TERMS {
            for (levels, sums) in self.levels.iter().zip(tensors) {
                levels.add_to(self.count / TERMS, 0, sums);
            }
        }
    }
}

/// The same for the rows of a table, each of which has terms of its own.
#[derive(Debug, Default)]
pub(crate) struct RowCascade {
    /// Terms of each row so far.
    counts: Vec<usize>,
    levels: Levels,
}

impl RowCascade {
    /// No terms yet, of `rows` rows.
    pub(crate) fn reset(&mut self, rows: usize) {
        self.counts.clear();
        self.counts.resize(rows, 0);
    }

    /// Counts a term that has been added to a row, whose sum moves to the level above when it is full.
    #[inline]
    pub(crate) fn count(&mut self, row: usize, sum: &mut [f32]) {
        self.counts[row] += 1;
        if self.counts[row].is_multiple_of(TERMS) {
            self.levels.carry(self.counts[row] / TERMS, self.counts.len() * sum.len(), row * sum.len(), sum);
        }
    }

    /// Adds what has moved upward to every row's sum at hand, which then is the whole.
    pub(crate) fn finish<const N: usize>(&self, sums: &mut [[f32; N]]) {
        for (row, (count, sum)) in self.counts.iter().zip(sums).enumerate() {
            self.levels.add_to(count / TERMS, row * N, sum);
        }
    }
}

/// Sums of [`TERMS`] terms, of as many of those, and so on. Memory that is there is used again.
#[derive(Debug, Default)]
struct Levels(Vec<Vec<f32>>);

impl Levels {
    /// Moves sums upward, the `full`-th that are, to the place that begins at `first`; each level has `numbers` in all.
    #[cold]
    fn carry(&mut self, full: usize, numbers: usize, first: usize, sums: &mut [f32]) {
        self.make(full, numbers);
        let place = first..first + sums.len();
        let (mut full, mut below) = (full, sums);
        for level in &mut self.0 {
            let above = &mut level[place.clone()];
            if full == 1 {
                above.copy_from_slice(below);
            } else {
                add(below, above);
            }
            below.fill(0.0);
            if !full.is_multiple_of(TERMS) {
                return;
            }
            (below, full) = (above, full / TERMS);
        }
    }

    /// Makes the levels that `full` full sums reach.
    fn make(&mut self, mut full: usize, numbers: usize) {
        let mut level = 0;
        while full > 0 {
            if self.0.len() == level {
                self.0.push(Vec::new());
            }
            let above = &mut self.0[level];
            above.resize(above.len().max(numbers), 0.0);
            (level, full) = (level + 1, full / TERMS);
        }
    }

    /// Adds the sums that begin at `first`, of all levels that `full` full sums have reached.
    #[inline]
    fn add_to(&self, mut full: usize, first: usize, sums: &mut [f32]) {
        for level in &self.0 {
            if full == 0 {
                return;
            }
            add(&level[first..first + sums.len()], sums);
            full /= TERMS;
        }
    }
}

/// `to += from`.
pub(crate) fn add(from: &[f32], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to += x;
    }
}
