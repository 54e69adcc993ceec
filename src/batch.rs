//! How a batch is cut into pieces for threads.
//!
//! The cut never changes a result: samples do not meet in a forward pass, and gradients are summed over groups of a
//! fixed number of samples, group after group, whoever computed them.

use crate::parameters::Parameters;
use alloc::boxed::Box;

/// Samples whose gradients are summed together: the unit of work of the backward pass.
pub(crate) const SAMPLES_PER_GROUP: usize = 16;

/// Floating-point operations below which a pass stays on the calling thread: waking another one costs as long.
#[cfg(feature = "rayon")]
pub(crate) const OPERATIONS_FOR_THREADS: usize = 2_000_000;

/// Work over samples that can be cut between samples.
pub(crate) trait Divide: Sized + Send {
    /// The smallest pieces it can be cut into.
    fn pieces(&self) -> usize;
    /// The first `pieces` of it, and the rest.
    fn split(self, pieces: usize) -> (Self, Self);
    /// Does one piece, or several where the work allows it.
    fn run(self);
}

/// The product of all factors, or the most there can be: no steps at all may be any number of them.
pub(crate) fn operations(factors: &[usize]) -> usize {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

/// How many threads share `operations` floating-point operations.
pub(crate) fn threads(operations: usize) -> usize {
    #[cfg(feature = "rayon")]
    if operations >= OPERATIONS_FOR_THREADS {
        return rayon::current_num_threads();
    }
    let _ = operations;
    1
}

/// Cuts work into its smallest pieces and does them, on the threads of the current rayon pool if there is enough.
pub(crate) fn run_pieces<D: Divide>(work: D, operations: usize) {
    if threads(operations) == 1 {
        let mut rest = work;
        while rest.pieces() > 1 {
            let piece;
            (piece, rest) = rest.split(1);
            piece.run();
        }
        rest.run();
    } else {
        run_tree(work, 1);
    }
}

/// Does work in one go on one thread, or cuts it once for every thread.
pub(crate) fn run_shared<D: Divide>(work: D, operations: usize) {
    let threads = threads(operations);
    let share = work.pieces().div_ceil(threads).max(1);
    run_tree(work, share);
}

/// Halves work until a piece is at most `share`.
fn run_tree<D: Divide>(work: D, share: usize) {
    let pieces = work.pieces();
    if pieces <= share {
        return work.run();
    }
    let (first, second) = work.split(pieces.div_ceil(share) / 2 * share);
    join(true, || run_tree(first, share), || run_tree(second, share));
}

/// Does both, on two threads where there are some and it is wanted.
pub(crate) fn join<A: Send, B: Send>(
    on_threads: bool,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    #[cfg(feature = "rayon")]
    if on_threads {
        return rayon::join(first, second);
    }
    let _ = on_threads;
    (first(), second())
}

/// Where the gradients of consecutive groups go: those of group 0 to the caller, the others to memory of the layer.
pub(crate) struct GroupGradients<'a, G> {
    first: Option<&'a mut G>,
    rest: &'a mut [G],
}

impl<'a, G> GroupGradients<'a, G> {
    pub(crate) fn new(first: &'a mut G, rest: &'a mut [G]) -> Self {
        Self { first: Some(first), rest }
    }

    /// Those of the first `groups` groups, and the others.
    pub(crate) fn split(self, groups: usize) -> (Self, Self) {
        let (first, second) = self.rest.split_at_mut(groups - usize::from(self.first.is_some()));
        (Self { first: self.first, rest: first }, Self { first: None, rest: second })
    }

    /// Those of the only group.
    pub(crate) fn only(self) -> &'a mut G {
        match self.first {
            Some(first) => first,
            None => &mut self.rest[0],
        }
    }
}

/// Zeroed gradients for every group but the first.
pub(crate) fn reset_groups<G: Parameters + bytemuck::Zeroable>(memory: &mut Box<[G]>, groups: usize) {
    let groups = groups.saturating_sub(1);
    if memory.len() == groups {
        for gradients in memory {
            gradients.fill_zero();
        }
    } else {
        *memory = bytemuck::zeroed_slice_box(groups);
    }
}
