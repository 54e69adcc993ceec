//! One view of the layers of gates, cells and stacks of GRU and LSTM, for tests that do the same with all of them.
#![allow(dead_code, reason = "shared by test programs that use some of it")]

use elman::cells::{Gru, Lstm, State, States};
use elman::{Layer, Rnn, RnnCell};
use elman_reference::gated::{Cell, Kind};

/// A cell of gates.
pub trait Gates: elman::Cell {
    const KIND: Kind;
}

impl Gates for Gru {
    const KIND: Kind = Kind::Gru;
}

impl Gates for Lstm {
    const KIND: Kind = Kind::Lstm;
}

/// States of rows: of `h`, and where there is one, of `c`.
pub fn states<const HID: usize, S: States<HID>>(h: Vec<[f32; HID]>, c: Vec<[f32; HID]>) -> S {
    let mut states = S::default();
    match states.both_mut() {
        (to_h, Some(to_c)) => (*to_h, *to_c) = (h, c),
        (to_h, None) => *to_h = h,
    }
    states
}

/// The rows of `c`, none where there is none.
pub fn rows_of_c<const HID: usize>(states: &impl States<HID>) -> &[[f32; HID]] {
    states.c().map_or(&[], |c| c)
}

/// The state of one sample.
pub fn state<const HID: usize, S: State<HID>>(h: &[f32; HID], c: &[f32; HID]) -> S {
    let mut state: S = bytemuck::Zeroable::zeroed();
    let (to_h, to_c) = state.both_mut();
    *to_h = *h;
    to_c.copy_from_slice(&c[..to_c.len()]);
    state
}

/// A cell or a stack of cells over sequences.
pub trait GatedLayer<const IN: usize, const HID: usize>:
    Layer<Input = [f32; IN], Output = [f32; HID], InputGradient = [f32; IN], State: States<HID>> + Clone
{
    const KIND: Kind;
    const LAYERS: usize;

    fn zeros() -> Self;

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` of each layer, as PyTorch has them.
    fn tensors(&self) -> Vec<[Vec<f32>; 4]>;

    /// The same layers for the reference.
    fn reference(&self) -> Vec<Cell> {
        let cell = |(layer, tensors): (usize, [Vec<f32>; 4])| {
            let mut cell = Cell::zeros(Self::KIND, if layer == 0 { IN } else { HID }, HID);
            for (to, from) in cell.parameters_mut().into_iter().zip(tensors) {
                assert_eq!(to.len(), from.len());
                to.iter_mut().zip(from).for_each(|(to, from)| *to = f64::from(from));
            }
            cell
        };
        self.tensors().into_iter().enumerate().map(cell).collect()
    }
}

impl<const IN: usize, const HID: usize, A: Gates> GatedLayer<IN, HID> for Box<RnnCell<IN, HID, A>> {
    const KIND: Kind = A::KIND;
    const LAYERS: usize = 1;

    fn zeros() -> Self {
        RnnCell::zeros_boxed()
    }

    fn tensors(&self) -> Vec<[Vec<f32>; 4]> {
        vec![tensors_of(self)]
    }
}

impl<const IN: usize, const HID: usize, const LAYERS: usize, A: Gates> GatedLayer<IN, HID> for Rnn<IN, HID, LAYERS, A> {
    const KIND: Kind = A::KIND;
    const LAYERS: usize = LAYERS;

    fn zeros() -> Self {
        Rnn::zeros()
    }

    fn tensors(&self) -> Vec<[Vec<f32>; 4]> {
        let mut all = vec![tensors_of(self.first())];
        all.extend(self.rest().iter().map(tensors_of));
        all
    }
}

fn tensors_of<const IN: usize, const HID: usize, A: Gates>(cell: &RnnCell<IN, HID, A>) -> [Vec<f32>; 4] {
    [
        cell.weight_ih_torch().collect(),
        cell.weight_hh_torch().collect(),
        cell.bias_ih_torch().collect(),
        cell.bias_hh_torch().collect(),
    ]
}
