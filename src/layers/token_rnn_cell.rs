//! A recurrent layer driven by tokens, with everything before the recurrence folded into a table: `TokenRnnCell`.

use super::at::At;
use super::{Embedding, RnnCell};
use crate::cells::Tanh;
use crate::data::error::Error;
use crate::kernels::latency::matvec::{Biases, Identity, State, evaluate, product};
use crate::kernels::tuning::{narrow, narrow_alone};
use crate::layers::nonlinearity::Nonlinearity;
use crate::model::step::{Step, check_token};
use crate::simd::{Kernel, Level, Simd};

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
#[derive(Copy, Debug, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct TokenRnnCell<const V: usize, const HID: usize, A = Tanh> {
    /// What each token gives to each neuron, biases included.
    pub table: [[f32; HID]; V],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [[f32; HID]; HID],
    /// What the sums become.
    pub nonlinearity: A,
}

/// Not derived, like that of [`RnnCell`].
impl<const V: usize, const HID: usize, A: Copy> Clone for TokenRnnCell<V, HID, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const V: usize, const HID: usize, A: Nonlinearity> TokenRnnCell<V, HID, A> {
    /// All numbers zero.
    #[must_use]
    pub const fn zeros() -> Self {
        const { assert!(V > 0 && HID > 0, "a TokenRnnCell needs at least one token and one neuron") };
        Self { table: [[0.0; HID]; V], weight_hh: [[0.0; HID]; HID], nonlinearity: A::CELL }
    }

    /// Folds an embedding into the cell behind it: `&cell`, or `cell.at(level)` for steps at another level than
    /// [`Level::detect`].
    #[must_use]
    pub fn new<'a, const E: usize>(embedding: &Embedding<V, E>, cell: impl Into<At<'a, RnnCell<E, HID, A>>>) -> Self {
        let mut folded = Self::zeros();
        folded.fold(embedding, cell);
        folded
    }

    /// [`TokenRnnCell::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed<'a, const E: usize>(
        embedding: &Embedding<V, E>,
        cell: impl Into<At<'a, RnnCell<E, HID, A>>>,
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
        cell: impl Into<At<'a, RnnCell<E, HID, A>>>,
    ) {
        let At { layer: cell, level } = cell.into();
        for (row, vector) in self.table.iter_mut().zip(&embedding.weight) {
            narrow(level, HID).run(Fold { cell, vector, row });
        }
        self.weight_hh = cell.weight_hh;
    }
}

impl<const V: usize, const HID: usize, A: Nonlinearity> Step for TokenRnnCell<V, HID, A> {
    type Input = usize;
    type Output = [f32; HID];
    type State = [f32; HID];

    #[inline]
    fn check_input(&self, token: &usize) -> Result<(), Error> {
        check_token(*token, V)
    }
    #[inline]
    fn forward_step(&self, level: Level, token: &usize, state: &mut [f32; HID]) -> [f32; HID] {
        let (weight_hh, row) = (&self.weight_hh, &self.table[*token]);
        narrow_alone(level, HID).run(TokenStep { cell: A::CELL, weight_hh, row, h: state });
        *state
    }
}

/// `row = bias_ih + bias_hh + W_ih vector`
struct Fold<'a, const E: usize, const HID: usize, A> {
    cell: &'a RnnCell<E, HID, A>,
    vector: &'a [f32; E],
    row: &'a mut [f32; HID],
}

impl<const E: usize, const HID: usize, A> Kernel for Fold<'_, E, HID, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let biases = Biases(&self.cell.bias_ih, &self.cell.bias_hh);
        *self.row = evaluate(s, &product(biases, &self.cell.weight_ih, self.vector), Identity);
    }
}

struct TokenStep<'a, A, const HID: usize> {
    cell: A,
    weight_hh: &'a [[f32; HID]; HID],
    row: &'a [f32; HID],
    h: &'a mut [f32; HID],
}

impl<A: Nonlinearity, const HID: usize> Kernel for TokenStep<'_, A, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.h = evaluate(s, &product(self.row, self.weight_hh, State(self.h)), self.cell);
    }
}
