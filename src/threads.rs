//! How a batch is cut into pieces for threads.
//!
//! The cut never changes a result: samples do not meet in a forward pass, and gradients are summed over shares of the batch
//! that depend on its size alone, whoever computed them.

use crate::kernels::gradient::{BlockSums, Cascade, TENSORS, add};
use crate::kernels::order::{SAMPLES_PER_GROUP, samples_per_share};
use crate::kernels::scratch::Scratch;
#[cfg(feature = "rayon")]
use crate::kernels::tuning::OPERATIONS_FOR_THREADS;
use alloc::vec::Vec;

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

/// How many threads share `operations` floating-point operations, if they may be shared.
pub(crate) fn threads(shared: bool, operations: usize) -> usize {
    #[cfg(feature = "rayon")]
    if shared && operations >= OPERATIONS_FOR_THREADS {
        return rayon::current_num_threads();
    }
    let _ = (shared, operations);
    1
}

/// Cuts work into its smallest pieces and does them, on the threads of the current rayon pool if there is enough.
pub(crate) fn run_pieces<D: Divide>(shared: bool, work: D, operations: usize) {
    if threads(shared, operations) == 1 {
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
pub(crate) fn run_shared<D: Divide>(shared: bool, work: D, operations: usize) {
    let threads = threads(shared, operations);
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

/// Where the gradients go, of consecutive shares: those of share 0 to the caller, the others to memory of the layer.
pub(crate) struct ShareGradients<'a> {
    first: Option<[&'a mut [f32]; TENSORS]>,
    /// Share after share, tensor after tensor.
    rest: &'a mut [f32],
    /// Of every share.
    cascades: &'a mut [Cascade],
    /// Numbers in each tensor.
    lens: [usize; TENSORS],
}

impl<'a> ShareGradients<'a> {
    /// Takes those of the first `shares` shares away.
    fn take_front(&mut self, shares: usize) -> Self {
        let first = self.first.take();
        let numbers = (shares - usize::from(first.is_some())) * self.lens.iter().sum::<usize>();
        let (front, rest) = core::mem::take(&mut self.rest).split_at_mut(numbers);
        self.rest = rest;
        let (cascades, rest) = core::mem::take(&mut self.cascades).split_at_mut(shares);
        self.cascades = rest;
        Self { first, rest: front, cascades, lens: self.lens }
    }

    /// Those of the only share.
    pub(crate) fn only(self) -> BlockSums<'a> {
        let tensors = self.first.unwrap_or_else(|| tensors_of(self.rest, self.lens));
        BlockSums { tensors, cascade: &mut self.cascades[0] }
    }
}

/// The tensors that lie one after the other.
fn tensors_of(numbers: &mut [f32], [a, b, c, _]: [usize; TENSORS]) -> [&mut [f32]; TENSORS] {
    let (of_a, rest) = numbers.split_at_mut(a);
    let (of_b, rest) = rest.split_at_mut(b);
    let (of_c, of_d) = rest.split_at_mut(c);
    [of_a, of_b, of_c, of_d]
}

/// What a backward writes, of consecutive shares.
pub(crate) struct ShareOutputs<'a> {
    /// Samples in each, but for the last one.
    pub(crate) samples: usize,
    /// One a share.
    pub(crate) scratch: &'a mut [Scratch],
    /// `[samples][steps][inputs]`, if the gradient of the input is requested.
    pub(crate) d_input: Option<&'a mut [f32]>,
    pub(crate) gradients: ShareGradients<'a>,
}

impl ShareOutputs<'_> {
    /// Those of the first `shares` shares, with `d_input` numbers of the gradient of the input, and the others.
    pub(crate) fn split(mut self, shares: usize, d_input: usize) -> (Self, Self) {
        let samples = self.samples;
        let gradients = self.gradients.take_front(shares);
        let (scratch, scratch_rest) = self.scratch.split_at_mut(shares);
        let (d_input, d_input_rest) = self.d_input.map(|rows| rows.split_at_mut(d_input)).unzip();
        (
            Self { samples, scratch, d_input, gradients },
            Self { samples, scratch: scratch_rest, d_input: d_input_rest, gradients: self.gradients },
        )
    }
}

/// Scratch memory for every group of `samples` samples, as it was left.
pub(crate) fn scratch_of_groups(memory: &mut Vec<Scratch>, samples: usize) -> &mut [Scratch] {
    memory.resize_with(samples.div_ceil(SAMPLES_PER_GROUP).max(memory.len()), Scratch::default);
    memory
}

/// Memory of a layer for the gradients of every share but the first.
#[derive(Debug, Default)]
pub(crate) struct ShareMemory {
    /// Share after share, tensor after tensor.
    rest: Vec<f32>,
    /// Of every share, the first one too.
    cascades: Vec<Cascade>,
}

impl ShareMemory {
    /// Zeros for every share of `samples` samples, of tensors of these lengths.
    pub(crate) fn reset(&mut self, samples: usize, lens: [usize; TENSORS]) {
        let shares = samples.div_ceil(samples_per_share(samples)).max(1);
        self.rest.clear();
        self.rest.resize((shares - 1) * lens.iter().sum::<usize>(), 0.0);
        self.cascades.resize_with(shares.max(self.cascades.len()), Default::default);
        for cascade in &mut self.cascades[..shares] {
            cascade.reset();
        }
    }

    /// Where the gradients of every share go.
    pub(crate) fn shares<'a>(&'a mut self, tensors: [&'a mut [f32]; TENSORS]) -> ShareGradients<'a> {
        let lens = tensors.each_ref().map(|tensor| tensor.len());
        ShareGradients { first: Some(tensors), rest: &mut self.rest, cascades: &mut self.cascades, lens }
    }

    /// Adds all shares to the first, one after the other.
    pub(crate) fn add_to(&mut self, mut tensors: [&mut [f32]; TENSORS]) {
        let lens = tensors.each_ref().map(|tensor| tensor.len());
        let [first, cascades @ ..] = self.cascades.as_slice() else { return };
        first.finish(&mut tensors);
        for (share, cascade) in self.rest.chunks_exact_mut(lens.iter().sum::<usize>().max(1)).zip(cascades) {
            let mut of_share = tensors_of(share, lens);
            cascade.finish(&mut of_share);
            for (sums, of_share) in tensors.iter_mut().zip(of_share) {
                add(of_share, sums);
            }
        }
    }
}
