//! A recurrent layer driven by tokens, with everything before the recurrence folded into a table: `TokenRnnCell`.

use super::{Embedding, RnnCell};
use crate::kernels::matvec::{Biases, Linear, State, Tanh, evaluate, product};
use crate::simd::{Kernel, Simd};
use crate::step::{Step, check_token};
use crate::{Error, Level};

/// An [`Embedding`] and an [`RnnCell`] for inference: what a token gives to every neuron is looked up, not computed.
///
/// `h' = tanh(table[token] + W_hh h)` with `table[token] = W_ih e[token] + b_ih + b_hh`. The bits are those of the two
/// layers one after the other, if the table was folded at the level of the steps (see [`TokenRnnCell::fold_at`] and
/// [`Level`]); a step costs a row of the table instead of a matrix product.
///
/// ```
/// use elman::{Embedding, Generator, RnnCell, Stream, TokenRnnCell};
/// let mut generator = Generator::seed(0);
/// let (embedding, cell) = (Embedding::<4, 10>::new(&mut generator), RnnCell::<10, 8>::new(&mut generator));
/// let mut folded = Stream::new(TokenRnnCell::new(&embedding, &cell));
/// let mut layers = Stream::new((embedding, cell));
/// for token in [1, 0, 2, 2, 3] {
///     assert_eq!(folded.step_token(token)?, layers.step_token(token)?);
/// }
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct TokenRnnCell<const V: usize, const HID: usize> {
    /// What each token gives to each neuron, biases included.
    pub table: [[f32; HID]; V],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [[f32; HID]; HID],
}

impl<const V: usize, const HID: usize> TokenRnnCell<V, HID> {
    /// All numbers zero.
    #[must_use]
    pub const fn zeros() -> Self {
        const { assert!(V > 0 && HID > 0, "a TokenRnnCell needs at least one token and one neuron") };
        Self { table: [[0.0; HID]; V], weight_hh: [[0.0; HID]; HID] }
    }

    /// Folds an embedding into the cell behind it, at [`Level::detect`].
    #[must_use]
    pub fn new<const E: usize>(embedding: &Embedding<V, E>, cell: &RnnCell<E, HID>) -> Self {
        let mut folded = Self::zeros();
        folded.fold(embedding, cell);
        folded
    }

    /// [`TokenRnnCell::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed<const E: usize>(embedding: &Embedding<V, E>, cell: &RnnCell<E, HID>) -> alloc::boxed::Box<Self> {
        const { assert!(V > 0 && HID > 0, "a TokenRnnCell needs at least one token and one neuron") };
        let mut folded: alloc::boxed::Box<Self> = bytemuck::zeroed_box();
        folded.fold(embedding, cell);
        folded
    }

    /// Folds anew, after the layers have changed, at [`Level::detect`].
    pub fn fold<const E: usize>(&mut self, embedding: &Embedding<V, E>, cell: &RnnCell<E, HID>) {
        self.fold_at(Level::detect(), embedding, cell);
    }

    /// [`TokenRnnCell::fold`] at a given level.
    pub fn fold_at<const E: usize>(&mut self, level: Level, embedding: &Embedding<V, E>, cell: &RnnCell<E, HID>) {
        for (row, vector) in self.table.iter_mut().zip(&embedding.weight) {
            level.narrow(HID).run(Fold { cell, vector, row });
        }
        self.weight_hh = cell.weight_hh;
    }
}

impl<const V: usize, const HID: usize> Step for TokenRnnCell<V, HID> {
    type Input = usize;
    type Output = [f32; HID];
    type State = [f32; HID];

    #[inline]
    fn check_input(&self, token: &usize) -> Result<(), Error> {
        check_token(*token, V)
    }
    #[inline]
    fn forward_step(&self, level: Level, token: &usize, state: &mut [f32; HID]) -> [f32; HID] {
        level.narrow_alone(HID).run(TokenStep { weight_hh: &self.weight_hh, row: &self.table[*token], h: state });
        *state
    }
}

/// `row = bias_ih + bias_hh + W_ih vector`
struct Fold<'a, const E: usize, const HID: usize> {
    cell: &'a RnnCell<E, HID>,
    vector: &'a [f32; E],
    row: &'a mut [f32; HID],
}

impl<const E: usize, const HID: usize> Kernel for Fold<'_, E, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let biases = Biases(&self.cell.bias_ih, &self.cell.bias_hh);
        *self.row = evaluate(s, &product(biases, &self.cell.weight_ih, self.vector), Linear);
    }
}

struct TokenStep<'a, const HID: usize> {
    weight_hh: &'a [[f32; HID]; HID],
    row: &'a [f32; HID],
    h: &'a mut [f32; HID],
}

impl<const HID: usize> Kernel for TokenStep<'_, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.h = evaluate(s, &product(self.row, self.weight_hh, State(self.h)), Tanh);
    }
}
