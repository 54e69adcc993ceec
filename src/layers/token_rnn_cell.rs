//! A recurrent layer driven by tokens, with everything before the recurrence folded into a table: `TokenRnnCell`.
#![allow(clippy::multiple_bound_locations, reason = "derived implementations repeat the bound")]

use super::at::At;
use super::cell::Cell;
use super::{Embedding, RnnCell};
use crate::cells::{Gru, Lstm, State, Tanh};
use crate::data::error::Error;
use crate::data::zero::Zero;
use crate::kernels::tuning::narrow;
use crate::model::step::{Step, check_token};
use crate::simd::{Kernel, Level, Simd};
use core::fmt;

/// An [`Embedding`] and an [`RnnCell`] for inference: what a token gives to every neuron is looked up, not computed.
///
/// `h' = tanh(table[token] + W_hh h)` with `table[token] = W_ih e[token] + b_ih + b_hh`. The bits are those of the two
/// layers one after the other, if the table was folded at the level of the steps (see [`TokenRnnCell::new`]); a step costs a row of the table instead of a matrix product.
///
/// ```
/// use elman::{Embedding, Generator, RnnCell, Stream, TokenRnnCell};
/// let mut generator = Generator::seed(0);
/// let (embedding, cell) = (Embedding::<4, 10>::new(&mut generator), RnnCell::<10, 8>::new(&mut generator));
/// let mut folded = Stream::new(TokenRnnCell::new(&embedding, &cell));
/// let mut layers = Stream::new((embedding, cell));
/// for token in [1, 0, 2, 2, 3] {
///     assert_eq!(folded.advance_token(token)?, layers.advance_token(token)?);
/// }
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Copy, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct TokenRnnCell<const V: usize, const HID: usize, C: Cell = Tanh> {
    /// What each token gives to each neuron, biases included.
    pub table: [C::Sums<HID>; V],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [C::Row<HID>; HID],
    /// What the sums become.
    pub cell: C,
}

/// [`TokenRnnCell`] of a [`GruCell`](crate::GruCell).
pub type TokenGruCell<const V: usize, const HID: usize> = TokenRnnCell<V, HID, Gru>;

/// [`TokenRnnCell`] of an [`LstmCell`](crate::LstmCell).
pub type TokenLstmCell<const V: usize, const HID: usize> = TokenRnnCell<V, HID, Lstm>;

/// The sizes, and not all numbers.
impl<const V: usize, const HID: usize, C: Cell> fmt::Debug for TokenRnnCell<V, HID, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sums, gates) = (C::FEEDS.sums * HID, C::FEEDS.gates * HID);
        write!(f, "TokenRnnCell<{V}, {HID}, {:?}> {{ table: [{V}, {sums}], weight_hh: [{gates}, {HID}] }}", C::CELL)
    }
}

/// Not derived, like that of [`RnnCell`].
impl<const V: usize, const HID: usize, C: Cell> Clone for TokenRnnCell<V, HID, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const V: usize, const HID: usize, C: Cell> TokenRnnCell<V, HID, C> {
    /// All numbers zero.
    #[must_use]
    pub const fn zeros() -> Self {
        const { assert!(V > 0 && HID > 0, "a TokenRnnCell needs at least one token and one neuron") };
        Self { table: [C::Sums::<HID>::ZERO; V], weight_hh: [C::Row::<HID>::ZERO; HID], cell: C::CELL }
    }

    /// Folds an embedding into the cell behind it: `&cell`, or `cell.at(level)` for steps at another level than
    /// [`Level::detect`].
    #[must_use]
    pub fn new<'a, const E: usize>(embedding: &Embedding<V, E>, cell: impl Into<At<'a, RnnCell<E, HID, C>>>) -> Self {
        let mut folded = Self::zeros();
        folded.fold(embedding, cell);
        folded
    }

    /// [`TokenRnnCell::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed<'a, const E: usize>(
        embedding: &Embedding<V, E>,
        cell: impl Into<At<'a, RnnCell<E, HID, C>>>,
    ) -> alloc::boxed::Box<Self> {
        const { assert!(V > 0 && HID > 0, "a TokenRnnCell needs at least one token and one neuron") };
        let mut folded: alloc::boxed::Box<Self> = bytemuck::zeroed_box();
        folded.fold(embedding, cell);
        folded
    }

    /// Folds anew, after the layers have changed.
    pub fn fold<'a, const E: usize>(
        &mut self,
        embedding: &Embedding<V, E>,
        cell: impl Into<At<'a, RnnCell<E, HID, C>>>,
    ) {
        let At { layer: cell, level } = cell.into();
        for (row, vector) in self.table.iter_mut().zip(&embedding.weight) {
            narrow(level, HID).run(Fold { cell, vector, row });
        }
        self.weight_hh = cell.weight_hh;
    }
}

impl<const V: usize, const HID: usize, C: Cell> Step for TokenRnnCell<V, HID, C> {
    type Input = usize;
    type Output = [f32; HID];
    type State = C::State<HID>;

    #[inline]
    fn check_input(&self, token: &usize) -> Result<(), Error> {
        check_token(*token, V)
    }
    #[inline]
    fn forward_step(&self, level: Level, token: &usize, state: &mut C::State<HID>) -> [f32; HID] {
        let (weight_hh, sums) = (&self.weight_hh, &self.table[*token]);
        C::alone(level, HID).run(FoldedStep::<C, HID> { weight_hh, sums, state });
        *state.h()
    }
}

/// What a token gives to every sum.
struct Fold<'a, const E: usize, const HID: usize, C: Cell> {
    cell: &'a RnnCell<E, HID, C>,
    vector: &'a [f32; E],
    row: &'a mut C::Sums<HID>,
}

impl<const E: usize, const HID: usize, C: Cell> Kernel for Fold<'_, E, HID, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.row = C::fold(s, &self.cell.weights(), self.vector);
    }
}

struct FoldedStep<'a, C: Cell, const HID: usize> {
    weight_hh: &'a [C::Row<HID>; HID],
    sums: &'a C::Sums<HID>,
    state: &'a mut C::State<HID>,
}

impl<C: Cell, const HID: usize> Kernel for FoldedStep<'_, C, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::folded_step(s, self.sums, self.weight_hh, self.state);
    }
}
