//! Cells: the pointwise mathematics of recurrent layers, for one vector of neurons.
//!
//! Everything else, the products with weights, the way through time and back, threads, streams, is written once over these
//! traits. A cell is one short file here.

mod state;

/// The cells, a file each. [`for_each_cell`] does something for all of them, those of one sum and those of gates.
macro_rules! cells {
    (one sum: $($file:ident::$cell:ident),+; gates: $($gated_file:ident::$gated:ident),+ $(,)?) => {
        $(
            mod $file;
            pub use $file::$cell;
        )+
        $(
            mod $gated_file;
            pub use $gated_file::$gated;
        )+

        /// Calls a macro with every cell.
        macro_rules! for_each_cell {
            ($do:ident) => {
                $do!(one sum: $($cell)+; gates: $($gated)+);
            };
        }
        pub(crate) use for_each_cell;
    };
}

cells!(one sum: relu::Relu, tanh::Tanh; gates: gru::Gru, lstm::Lstm);

#[cfg(test)]
pub(crate) use lstm::SMALLEST_CELL;
#[cfg(feature = "alloc")]
pub use state::States;
pub use state::{Numbers, State};

use crate::simd::Simd;

/// How a cell's numbers lie in memory, and which products feed its sums.
pub trait Layout: Copy + Send + Sync + 'static {
    /// The only value.
    #[doc(hidden)]
    const CELL: Self;
    /// Which gates of the weights feed which sums.
    #[doc(hidden)]
    const FEEDS: Feeds;
    /// Numbers of a neuron that its forward keeps for its backward, beside its states.
    #[doc(hidden)]
    const KEPT: usize = size_of::<Self::Kept<1>>() / size_of::<f32>();

    /// What one input gives to the gates of every neuron: `[f32; HID]`, or of several gates `[[f32; HID]; GATES]`.
    type Row<const HID: usize>: Numbers;
    /// A number for every sum: `[f32; HID]`, or of several `[[f32; HID]; 4]`.
    type Sums<const HID: usize>: Numbers;
    /// What a step keeps for its backward.
    #[doc(hidden)]
    type Kept<const HID: usize>: Numbers;
    /// What one sample carries from step to step: the hidden state, or that and the state of the cell.
    type State<const HID: usize>: State<HID>;
    /// The states of samples, a row each.
    #[cfg(feature = "alloc")]
    type States<const HID: usize>: States<HID>;
}

/// Which gates of the matrices, counted as PyTorch stacks them, feed which sums of a neuron.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Feeds {
    /// Gates of each matrix.
    pub(crate) gates: usize,
    /// Sums of a neuron. Those of `W_ih` are the first ones, in the order of its gates.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "batches need it"))]
    pub(crate) sums: usize,
    /// The sum of each gate of `W_hh`.
    pub(crate) recurrent: [usize; SUMS],
    /// The gate of `W_hh` that feeds each sum, if one does.
    pub(crate) recurrent_gates: [Option<usize>; SUMS],
}

/// The most sums that a neuron has.
pub(crate) const SUMS: usize = 4;

impl Feeds {
    /// Of so many sums, those that the gates of `W_hh` feed.
    const fn new(sums: usize, by_state: &[usize]) -> Self {
        let (mut recurrent, mut recurrent_gates) = ([SUMS; SUMS], [None; SUMS]);
        let mut gate = 0;
        while gate < by_state.len() {
            recurrent[gate] = by_state[gate];
            recurrent_gates[by_state[gate]] = Some(gate);
            gate += 1;
        }
        Self { gates: by_state.len(), sums, recurrent, recurrent_gates }
    }

    /// How many gates of `W_hh`, the first ones, feed sums that lie side by side; the others feed such sums too.
    #[inline(always)]
    pub(crate) const fn first_run(&self) -> usize {
        let mut gate = 1;
        while gate < self.gates && self.recurrent[gate] == self.recurrent[gate - 1] + 1 {
            gate += 1;
        }
        gate
    }
}

/// A cell of one sum, whose only state is what the function makes of it: `h' = f(W_ih x + b_ih + W_hh h + b_hh)`.
pub(crate) trait Activation: Layout {
    /// `f(z)`
    fn activate<S: Simd>(s: S, z: S::F32) -> S::F32;

    /// `d * f'(z)`, where `y = f(z)`: the gradient of the sum, given that of the state. Zero where it is below
    /// [`SMALLEST_GRADIENT`](crate::math::SMALLEST_GRADIENT).
    fn d_sum<S: Simd>(s: S, d: S::F32, y: S::F32) -> S::F32;
}

/// A cell of gates: [`SUMS`] sums for each neuron, some of which only the input or only the state feeds.
///
/// `V` stands for a vector. `c` is the state of the cell beside `h`, of cells that carry one.
pub(crate) trait Gated: Layout {
    /// Whether there is a `c`.
    const CARRIES: bool;

    /// The next states of one vector of neurons, and what its backward needs.
    fn forward<S: Simd>(s: S, sums: [S::F32; SUMS], before: Carried<S::F32>) -> (Carried<S::F32>, [S::F32; SUMS]);

    /// The gradients of the sums, and those of the states before by every way but the sums, given those of the states after.
    /// Zero where they are below [`SMALLEST_GRADIENT`](crate::math::SMALLEST_GRADIENT).
    fn backward<S: Simd>(
        s: S,
        kept: [S::F32; SUMS],
        before: Carried<S::F32>,
        after: Carried<S::F32>,
        d_after: Carried<S::F32>,
    ) -> ([S::F32; SUMS], Carried<S::F32>);
}

/// The states of one vector of neurons, or their gradients; `c` is zero where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Carried<V> {
    pub(crate) h: V,
    pub(crate) c: V,
}

/// What a cell of one sum says of its memory.
macro_rules! layout_of_one_sum {
    ($cell:ident) => {
        impl crate::cells::Layout for $cell {
            const CELL: Self = $cell;
            const FEEDS: crate::cells::Feeds = crate::cells::Feeds::new(1, &[0]);
            type Row<const HID: usize> = [f32; HID];
            type Sums<const HID: usize> = [f32; HID];
            type Kept<const HID: usize> = ();
            type State<const HID: usize> = [f32; HID];
            #[cfg(feature = "alloc")]
            type States<const HID: usize> = alloc::vec::Vec<[f32; HID]>;
        }
    };
}
use layout_of_one_sum;
