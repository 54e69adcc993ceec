//! What a peer has to offer to be measured.

use crate::work::{Data, Work};
use std::error::Error;

pub type Failure = Box<dyn Error + Send + Sync>;

/// A piece of work, ready to be run again and again.
pub trait Candidate {
    /// Does the work once: all of [`Work::results`], or one training step, or many single steps.
    fn run(&mut self) -> Result<(), Failure>;

    /// Does the work, before any other run, and gives the numbers of [`Work::results`] one after the other.
    fn result(&mut self) -> Result<Vec<f32>, Failure>;
}

/// A candidate under the name of its crate, or why there is none.
pub type Named = (String, Result<Box<dyn Candidate>, Failure>);

/// All candidates for a work that live in this process.
pub fn all(work: Work, data: &Data, threads: usize) -> Vec<Named> {
    [
        crate::peak::candidates(work, threads),
        crate::this_crate::candidates(work, data),
        #[cfg(feature = "candle")]
        crate::candle::candidates(work, data),
        #[cfg(feature = "burn")]
        crate::burn::candidates(work, data),
        #[cfg(feature = "tract")]
        crate::tract::candidates(work, data, threads),
        #[cfg(feature = "nalgebra")]
        crate::nalgebra::candidates(work, data),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One candidate with its name; a helper of the peers.
pub fn named<C: Candidate + 'static>(name: &str, candidate: Result<C, Failure>) -> Named {
    (name.to_owned(), candidate.map(|candidate| Box::new(candidate) as Box<dyn Candidate>))
}
