//! The tutorial's first program: a tanh cell of four neurons learns to answer `hello` with `ohlol`.

use crate::hash::of_parameters;
use elman::{Adam, CrossEntropy, Error, Generator, Parameters, RnnCell, StepTrace};

/// A token is a letter's place in here.
pub const LETTERS: [char; 4] = ['e', 'h', 'l', 'o'];
/// The letters that are shown.
pub const HELLO: [usize; 5] = [1, 0, 2, 2, 3];
/// The letters that are to be answered.
pub const OHLOL: [usize; 5] = [3, 1, 2, 3, 2];

type Cell = RnnCell<4, 4>;
const PARAMETERS: usize = Cell::COUNT;

/// A training under way. Its numbers are those of `examples/hello_rnn_cell.rs --word hello`.
pub struct Hello {
    cell: Cell,
    adam: Adam<[f32; PARAMETERS]>,
    trace: StepTrace<Cell, 5>,
    gradients: Cell,
    answer: [usize; 5],
}

impl Hello {
    /// The weights of `torch.manual_seed(seed)`, untrained.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let cell = Cell::new(&mut Generator::seed(seed));
        let adam = Adam::with_moments(0.1, [0.0; PARAMETERS], [0.0; PARAMETERS]);
        Self { gradients: cell.zeros_like(), cell, adam, trace: StepTrace::new(), answer: [0; 5] }
    }

    /// Shows the word once, corrects the weights, and gives the loss before.
    ///
    /// # Errors
    ///
    /// None: all letters are in the alphabet.
    pub fn epoch(&mut self) -> Result<f32, Error> {
        self.trace.reset();
        let (mut loss, mut d_outputs) = (0.0, [[0.0; 4]; 5]);
        for (step, (letter, target)) in HELLO.into_iter().zip(OHLOL).enumerate() {
            let one_hot = core::array::from_fn(|i| if i == letter { 1.0 } else { 0.0 });
            let logits = self.trace.advance(&self.cell, &one_hot)?; // the hidden state is the logits
            let of_step;
            (of_step, d_outputs[step]) = CrossEntropy::sum().row(&logits, target)?;
            loss += of_step;
            self.answer[step] = greatest(&logits);
        }
        self.trace.backward_into(&self.cell, &d_outputs, &mut self.gradients)?;
        self.adam.step(&mut self.cell, &self.gradients)?;
        Ok(loss)
    }

    /// What the last epoch answered.
    #[must_use]
    pub fn answer(&self) -> [usize; 5] {
        self.answer
    }

    /// The hash of the weights.
    #[must_use]
    pub fn hash(&self) -> u64 {
        of_parameters(&self.cell)
    }
}

fn greatest(logits: &[f32; 4]) -> usize {
    (0..4).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0)
}
