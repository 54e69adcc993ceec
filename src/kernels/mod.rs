//! The kernels: one operation a file, each written once over [`Simd`](crate::simd::Simd) and free of `unsafe`.
//!
//! - [`order`] says in which order sums are taken, [`rows`] how rows lie in memory, [`cut`] how axes are cut into panels and
//!   tiles, [`tuning`] which way is taken when.
//! - [`latency`]: one sample, one step.
//! - [`throughput`]: batches, rows of samples against panels of weights.
//! - [`lanes`]: batches of layers whose neurons would leave lanes empty, with samples in lanes.
//! - [`gradient`]: sums of outer products.
//! - [`recurrence`]: the way of a batch through time, forward and back.
//! - [`gates`]: the pointwise backward of cells of gates.
//! - [`elementwise`]: softmax, Adam.
#![forbid(unsafe_code)]

/// A block again and again, for every index in a list that lies below a constant, or for all of them: no loop, whatever
/// the compiler optimizes for.
///
/// Sums stay in registers only where the indices of their arrays are constants. With `opt-level = "s"` or `"z"`, which
/// programs for small devices are compiled with, a compiler unrolls no loop.
macro_rules! unrolled {
    ($i:ident < $n:expr, $body:block) => {
        const { assert!($n <= 12) };
        unrolled!($i < $n, of 0 1 2 3 4 5 6 7 8 9 10 11, $body);
    };
    ($i:ident < $n:expr, of $($index:literal)*, $body:block) => {
        $(if const { $index < $n } {
            let $i = $index;
            $body
        })*
    };
    ($i:ident of $($index:literal)*, $body:block) => {
        $({
            let $i = $index;
            $body
        })*
    };
}

pub(crate) mod cut;
pub(crate) mod elementwise;
pub(crate) mod gates;
pub(crate) mod gradient;
pub(crate) mod lanes;
pub(crate) mod latency;
pub(crate) mod order;
#[cfg(feature = "alloc")]
pub(crate) mod recurrence;
pub(crate) mod rows;
#[cfg(feature = "alloc")]
pub(crate) mod scratch;
pub(crate) mod slice;
#[cfg(all(test, feature = "std"))]
pub(crate) mod testing;
#[cfg(feature = "alloc")]
pub(crate) mod throughput;
pub(crate) mod tuning;
