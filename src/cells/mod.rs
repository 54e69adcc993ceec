//! Cells: the pointwise mathematics of recurrent layers, for one vector of neurons.
//!
//! Everything else, the products with weights, the way through time and back, threads, streams, is written once over these
//! traits. A cell is one short file here.

#[cfg(all(test, feature = "std"))]
pub(crate) mod gated;
/// The cells of one sum, a file each. [`for_each_cell`] does something for all of them.
macro_rules! cells {
    ($($file:ident::$cell:ident),+ $(,)?) => {
        $(
            mod $file;
            pub use $file::$cell;
        )+

        /// Calls a macro with every cell.
        macro_rules! for_each_cell {
            ($do:ident) => {
                $do!($($cell)+);
            };
        }
        pub(crate) use for_each_cell;
    };
}

cells!(relu::Relu, tanh::Tanh);

use crate::simd::Simd;

/// A cell of one sum, whose only state is what the function makes of it: `h' = f(W_ih x + b_ih + W_hh h + b_hh)`.
pub(crate) trait Activation: Copy + Send + Sync + 'static {
    /// The only value.
    const CELL: Self;

    /// `f(z)`
    fn activate<S: Simd>(s: S, z: S::F32) -> S::F32;

    /// `d * f'(z)`, where `y = f(z)`: the gradient of the sum, given that of the state. Zero where it is below
    /// [`SMALLEST_GRADIENT`](crate::math::SMALLEST_GRADIENT).
    fn d_sum<S: Simd>(s: S, d: S::F32, y: S::F32) -> S::F32;
}
