//! Which instruction sets the kernels of a test ran on: a test that means to run at every level fails where one did not.

use super::{Kernel, Level, Simd};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

std::thread_local! {
    /// The numbers of lanes of all vectors that kernels of this thread ran over, added: they are powers of two.
    static LANES_THAT_RAN: Cell<usize> = const { Cell::new(0) };
}

/// A kernel that leaves a mark: what [`Level::run`] makes of every kernel in tests.
pub(super) struct Marked<K>(pub(super) K);

impl<K: Kernel> Kernel for Marked<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> K::Output {
        LANES_THAT_RAN.with(|lanes| lanes.set(lanes.get() | S::LANES));
        self.0.run(s)
    }
}

/// The levels that this CPU has according to `std`, and their lanes.
pub(crate) fn levels_of_this_cpu() -> Vec<(&'static str, usize)> {
    #[allow(unused_mut, reason = "other CPUs have one")]
    let mut levels = vec![("portable", 4)];
    #[cfg(target_arch = "x86_64")]
    {
        use std::is_x86_feature_detected as has;
        let has_avx2 = has!("avx2") && has!("fma");
        if has_avx2 {
            levels.push(("avx2", 8));
        }
        if has_avx2 && has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw") {
            levels.push(("avx512", 16));
        }
    }
    levels
}

/// Checks something at every level of this CPU. Fails where [`Level::available`] misses one, and where no kernel ran on the
/// vectors of a level.
pub(crate) fn at_every_level(mut check: impl FnMut(Level)) {
    for (name, lanes) in levels_of_this_cpu() {
        let level = Level::named(name).expect("a level that std finds is available");
        LANES_THAT_RAN.with(|ran| ran.set(0));
        check(level);
        let ran = LANES_THAT_RAN.with(Cell::get);
        assert!(ran & lanes != 0, "nothing ran at level {name}; lanes that something ran over: {ran:#b}");
    }
}

/// Does something that is not what a test is about: it leaves no mark.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let before = LANES_THAT_RAN.with(Cell::get);
    let result = work();
    LANES_THAT_RAN.with(|ran| ran.set(before));
    result
}
