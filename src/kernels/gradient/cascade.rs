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

/// The levels above the sums that are at hand, of rows of one length.
#[derive(Debug, Default)]
pub(crate) struct Cascade {
    /// Terms of each row so far.
    counts: Vec<usize>,
    /// Every level has as many rows; memory that is there is used again.
    levels: Vec<Vec<f32>>,
}

impl Cascade {
    /// No terms yet, of so many rows.
    pub(crate) fn reset(&mut self, rows: usize) {
        self.counts.clear();
        self.counts.resize(rows, 0);
    }

    /// Counts a term that has been added to a row, whose sum moves to the level above when it is full.
    #[inline]
    pub(crate) fn count(&mut self, row: usize, sum: &mut [f32]) {
        self.counts[row] += 1;
        if self.counts[row].is_multiple_of(TERMS) {
            self.carry(row, sum);
        }
    }

    #[cold]
    fn carry(&mut self, row: usize, sum: &mut [f32]) {
        let place = row * sum.len()..(row + 1) * sum.len();
        let mut below = sum;
        let mut sums = self.counts[row] / TERMS;
        self.make_levels(sums, below.len());
        for above in &mut self.levels {
            let above = &mut above[place.clone()];
            if sums == 1 {
                above.copy_from_slice(below);
            } else {
                add(below, above);
            }
            below.fill(0.0);
            if !sums.is_multiple_of(TERMS) {
                return;
            }
            (below, sums) = (above, sums / TERMS);
        }
    }

    /// Makes the levels that a number of full sums reaches.
    fn make_levels(&mut self, mut sums: usize, width: usize) {
        let numbers = self.counts.len() * width;
        let mut level = 0;
        while sums > 0 {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let above = &mut self.levels[level];
            above.resize(above.len().max(numbers), 0.0);
            (level, sums) = (level + 1, sums / TERMS);
        }
    }

    /// Adds what has moved upward to every row's sum at hand, which then is the whole.
    pub(crate) fn finish(&self, sums: &mut [f32]) {
        let width = sums.len() / self.counts.len().max(1);
        for (row, (count, sum)) in self.counts.iter().zip(sums.chunks_exact_mut(width.max(1))).enumerate() {
            let mut terms = *count;
            for level in &self.levels {
                terms /= TERMS;
                if terms == 0 {
                    break;
                }
                add(&level[row * width..(row + 1) * width], sum);
            }
        }
    }
}

/// What the blocks of a share add their gradients of one tensor to.
pub(crate) struct BlockSums<'a> {
    pub(crate) sums: &'a mut [f32],
    cascade: &'a mut Cascade,
}

impl<'a> BlockSums<'a> {
    pub(crate) fn new(sums: &'a mut [f32], cascade: &'a mut Cascade) -> Self {
        Self { sums, cascade }
    }

    /// Another block has been added.
    pub(crate) fn count_block(&mut self) {
        self.cascade.count(0, self.sums);
    }

    /// The same for as long as a group takes.
    pub(crate) fn reborrow(&mut self) -> BlockSums<'_> {
        BlockSums { sums: self.sums, cascade: self.cascade }
    }
}

fn add(from: &[f32], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to += x;
    }
}
