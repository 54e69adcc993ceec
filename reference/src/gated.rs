//! Cells of gates, PyTorch's `nn.GRU` and `nn.LSTM`: the same path as the cell of one sum, step, layer, stack, each with
//! its backward beneath it.
//!
//! A gate is a number between 0 and 1 for each neuron, a sigmoid of a sum of its own; so the matrices are as many times
//! as high as there are gates, stacked in PyTorch's order. The two cells have equations and functions of their own;
//! [`step`] calls those of the [`Kind`] at hand, so that the way through time and through a stack is written once.
//!
//! ```
//! use elman_reference::gated::{Cell, Kind, State, backward, forward};
//!
//! let mut cell = Cell::zeros(Kind::Lstm, 2, 1);
//! cell.weight_ih.copy_from_slice(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]); // two inputs of i, f, g, o
//! let (cells, x, zero) = ([cell], [1.0, 0.0, 0.0, 1.0], State::zeros(Kind::Lstm, 1)); // 2 steps of 2 inputs
//!
//! let states = forward(&cells, &x, &zero);
//! assert!(states[0].h[1] < states[0].c[1]);
//!
//! let mut gradients = [Cell::zeros(Kind::Lstm, 2, 1)];
//! let (_d_x, d_initial) = backward(&cells, &x, &zero, &states, &[0.0, 1.0], &zero, &mut gradients);
//! assert!(d_initial.c[0] > 0.0 && gradients[0].weight_ih[4] > 0.0);
//! ```

use crate::{add_scaled, affine, affine_backward, row, rows, sigmoid, sigmoid_derivative_from_output};
use crate::{tanh, tanh_derivative_from_output};

/// The equations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`gru_step`]: gates r, z, n.
    Gru,
    /// [`lstm_step`]: gates i, f, g, o, and a state `c` beside `h`.
    Lstm,
}

impl Kind {
    /// `G`, as many as the matrices have rows for each neuron.
    pub fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// The parameters of one layer, or their gradients: `H` hidden units over `I` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Which of the two.
    pub kind: Kind,
    /// `I`
    pub input_size: usize,
    /// `H`
    pub hidden_size: usize,
    /// `W_ih` `[G H][I]`, from the input to the gates.
    pub weight_ih: Vec<f64>,
    /// `W_hh` `[G H][H]`, from the hidden state to the gates.
    pub weight_hh: Vec<f64>,
    /// `b_ih` `[G H]`
    pub bias_ih: Vec<f64>,
    /// `b_hh` `[G H]`
    pub bias_hh: Vec<f64>,
}

impl Cell {
    /// A cell, or the gradients of a cell, with every value zero.
    pub fn zeros(kind: Kind, input_size: usize, hidden_size: usize) -> Self {
        let height = kind.gates() * hidden_size;
        Self {
            kind,
            input_size,
            hidden_size,
            weight_ih: vec![0.0; height * input_size],
            weight_hh: vec![0.0; height * hidden_size],
            bias_ih: vec![0.0; height],
            bias_hh: vec![0.0; height],
        }
    }

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`: PyTorch's order.
    pub fn parameters(&self) -> [&[f64]; 4] {
        [&self.weight_ih, &self.weight_hh, &self.bias_ih, &self.bias_hh]
    }

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, to be filled, clipped or stepped.
    pub fn parameters_mut(&mut self) -> [&mut [f64]; 4] {
        [&mut self.weight_ih, &mut self.weight_hh, &mut self.bias_ih, &mut self.bias_hh]
    }
}

/// What is carried from step to step, or its gradient: one row of it, or a row for each step or layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// `h` `[..][H]`, which is the output too.
    pub h: Vec<f64>,
    /// `c` `[..][H]` of an LSTM; of a GRU it is empty.
    pub c: Vec<f64>,
}

impl State {
    /// Rows of zeros, `len` numbers in all.
    pub fn zeros(kind: Kind, len: usize) -> Self {
        let c = if kind == Kind::Lstm { len } else { 0 };
        Self { h: vec![0.0; len], c: vec![0.0; c] }
    }

    /// One row of several.
    pub fn row(&self, size: usize, index: usize) -> Self {
        let c = if self.c.is_empty() { &[] } else { row(&self.c, size, index) };
        Self { h: row(&self.h, size, index).to_vec(), c: c.to_vec() }
    }

    /// Further rows.
    pub fn extend(&mut self, other: &Self) {
        self.h.extend_from_slice(&other.h);
        self.c.extend_from_slice(&other.c);
    }
}

// ---- The gated recurrent unit --------------------------------------------------------------------------------------

/// The gates of a step of a GRU, each `[H]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GruGates {
    /// How much of the state the candidate sees.
    pub r: Vec<f64>,
    /// How much of the state stays.
    pub z: Vec<f64>,
    /// The candidate, what comes in.
    pub n: Vec<f64>,
    /// `W_hn h + b_hn`, what `r` multiplies.
    pub n_h: Vec<f64>,
}

/// The gates of a GRU (Cho et al. 2014; PyTorch's form, in which `r` multiplies the product and its bias):
///
/// ```text
/// r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
/// z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
/// n = tanh(W_in x + b_in + r (W_hn h + b_hn))
/// ```
///
/// `x` `[I]`, `h` `[H]`.
pub fn gru_gates(cell: &Cell, x: &[f64], h: &[f64]) -> GruGates {
    assert_eq!(cell.kind, Kind::Gru);
    let (from_input, from_hidden) =
        (affine(&cell.weight_ih, &cell.bias_ih, x), affine(&cell.weight_hh, &cell.bias_hh, h));
    let gate = |k: usize| row(&from_input, h.len(), k).iter().zip(row(&from_hidden, h.len(), k));
    let r: Vec<f64> = gate(0).map(|(i, h)| sigmoid(i + h)).collect();
    let z = gate(1).map(|(i, h)| sigmoid(i + h)).collect();
    let n = gate(2).zip(&r).map(|((i, h), r)| tanh(i + r * h)).collect();
    GruGates { r, z, n, n_h: row(&from_hidden, h.len(), 2).to_vec() }
}

/// `h' = (1 - z) n + z h`
///
/// `x` `[I]`, `h` `[H]`; returns `h'` `[H]`.
pub fn gru_step(cell: &Cell, x: &[f64], h: &[f64]) -> Vec<f64> {
    let GruGates { z, n, .. } = gru_gates(cell, x, h);
    (0..h.len()).map(|j| (1.0 - z[j]) * n[j] + z[j] * h[j]).collect()
}

/// With `a_r` and so on for the sums in the gates, and `a_h = W_hn h + b_hn`:
///
/// ```text
/// da_n = dh' (1 - z) tanh'(a_n)          da_h = da_n r
/// da_z = dh' (h - n) sigmoid'(a_z)       da_r = da_n a_h sigmoid'(a_r)
/// dh   = dh' z, and what comes back through the sums
/// ```
///
/// `x` `[I]`, `h`, `d_h_next` `[H]`. Adds to `d_cell`; returns `(d_x [I], d_h [H])`.
pub fn gru_step_backward(
    cell: &Cell,
    x: &[f64],
    h: &[f64],
    d_h_next: &[f64],
    d_cell: &mut Cell,
) -> (Vec<f64>, Vec<f64>) {
    let size = h.len();
    let GruGates { r, z, n, n_h } = gru_gates(cell, x, h);
    let (mut d_from_input, mut d_from_hidden) = (vec![0.0; 3 * size], vec![0.0; 3 * size]);
    for j in 0..size {
        let d_n = d_h_next[j] * (1.0 - z[j]) * tanh_derivative_from_output(n[j]);
        let d_z = d_h_next[j] * (h[j] - n[j]) * sigmoid_derivative_from_output(z[j]);
        let d_r = d_n * n_h[j] * sigmoid_derivative_from_output(r[j]);
        for (k, d_input, d_hidden) in [(0, d_r, d_r), (1, d_z, d_z), (2, d_n, d_n * r[j])] {
            (d_from_input[k * size + j], d_from_hidden[k * size + j]) = (d_input, d_hidden);
        }
    }
    let d_x = affine_backward(&cell.weight_ih, x, &d_from_input, &mut d_cell.weight_ih, &mut d_cell.bias_ih);
    let mut d_h = affine_backward(&cell.weight_hh, h, &d_from_hidden, &mut d_cell.weight_hh, &mut d_cell.bias_hh);
    for j in 0..size {
        d_h[j] += d_h_next[j] * z[j];
    }
    (d_x, d_h)
}

// ---- Long short-term memory ----------------------------------------------------------------------------------------

/// The gates of a step of an LSTM, each `[H]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmGates {
    /// How much of the candidate comes in.
    pub i: Vec<f64>,
    /// How much of `c` stays.
    pub f: Vec<f64>,
    /// The candidate.
    pub g: Vec<f64>,
    /// How much of `c` is seen outside.
    pub o: Vec<f64>,
}

/// The gates of an LSTM (Hochreiter & Schmidhuber 1997, with the gate `f` of Gers et al. 2000):
///
/// ```text
/// i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
/// f = sigmoid(W_if x + b_if + W_hf h + b_hf)
/// g = tanh(W_ig x + b_ig + W_hg h + b_hg)
/// o = sigmoid(W_io x + b_io + W_ho h + b_ho)
/// ```
///
/// `x` `[I]`, `h` `[H]`.
pub fn lstm_gates(cell: &Cell, x: &[f64], h: &[f64]) -> LstmGates {
    assert_eq!(cell.kind, Kind::Lstm);
    let (from_input, from_hidden) =
        (affine(&cell.weight_ih, &cell.bias_ih, x), affine(&cell.weight_hh, &cell.bias_hh, h));
    let gate = |k: usize, f: fn(f64) -> f64| {
        row(&from_input, h.len(), k).iter().zip(row(&from_hidden, h.len(), k)).map(|(i, h)| f(i + h)).collect()
    };
    LstmGates { i: gate(0, sigmoid), f: gate(1, sigmoid), g: gate(2, tanh), o: gate(3, sigmoid) }
}

/// `c' = f c + i g`, `h' = o tanh(c')`
///
/// `x` `[I]`, `h`, `c` `[H]`; returns `(h' [H], c' [H])`.
pub fn lstm_step(cell: &Cell, x: &[f64], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let LstmGates { i, f, g, o } = lstm_gates(cell, x, h);
    let c_next: Vec<f64> = (0..c.len()).map(|j| f[j] * c[j] + i[j] * g[j]).collect();
    let h_next = o.iter().zip(&c_next).map(|(o, c)| o * tanh(*c)).collect();
    (h_next, c_next)
}

/// With `a_i` and so on for the sums in the gates:
///
/// ```text
/// da_o = dh' tanh(c') sigmoid'(a_o)      dc_total = dc' + dh' o tanh'(c')
/// da_i = dc_total g sigmoid'(a_i)        da_f = dc_total c sigmoid'(a_f)
/// da_g = dc_total i tanh'(a_g)           dc = dc_total f
/// ```
///
/// `x` `[I]`, `h`, `c`, `d_h_next`, `d_c_next` `[H]`. Adds to `d_cell`; returns `(d_x [I], d_h [H], d_c [H])`.
pub fn lstm_step_backward(
    cell: &Cell,
    x: &[f64],
    (h, c): (&[f64], &[f64]),
    (d_h_next, d_c_next): (&[f64], &[f64]),
    d_cell: &mut Cell,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let size = h.len();
    let LstmGates { i, f, g, o } = lstm_gates(cell, x, h);
    let (mut d_sums, mut d_c) = (vec![0.0; 4 * size], vec![0.0; size]);
    for j in 0..size {
        let y = tanh(f[j] * c[j] + i[j] * g[j]);
        let d_c_total = d_c_next[j] + d_h_next[j] * o[j] * tanh_derivative_from_output(y);
        d_sums[j] = d_c_total * g[j] * sigmoid_derivative_from_output(i[j]);
        d_sums[size + j] = d_c_total * c[j] * sigmoid_derivative_from_output(f[j]);
        d_sums[2 * size + j] = d_c_total * i[j] * tanh_derivative_from_output(g[j]);
        d_sums[3 * size + j] = d_h_next[j] * y * sigmoid_derivative_from_output(o[j]);
        d_c[j] = d_c_total * f[j];
    }
    let d_x = affine_backward(&cell.weight_ih, x, &d_sums, &mut d_cell.weight_ih, &mut d_cell.bias_ih);
    let d_h = affine_backward(&cell.weight_hh, h, &d_sums, &mut d_cell.weight_hh, &mut d_cell.bias_hh);
    (d_x, d_h, d_c)
}

// ---- Either of the two ---------------------------------------------------------------------------------------------

/// [`gru_step`] or [`lstm_step`].
///
/// `x` `[I]`, `before` one row; returns the state after the step.
pub fn step(cell: &Cell, x: &[f64], before: &State) -> State {
    match cell.kind {
        Kind::Gru => State { h: gru_step(cell, x, &before.h), c: Vec::new() },
        Kind::Lstm => {
            let (h, c) = lstm_step(cell, x, &before.h, &before.c);
            State { h, c }
        }
    }
}

/// [`gru_step_backward`] or [`lstm_step_backward`].
///
/// `x` `[I]`, `before` one row, `d_after` the gradient of the state after the step, *in total*: what this step's output
/// and what the following step ask for. Adds to `d_cell`; returns `d_x` `[I]` and the gradient of `before`.
pub fn step_backward(cell: &Cell, x: &[f64], before: &State, d_after: &State, d_cell: &mut Cell) -> (Vec<f64>, State) {
    match cell.kind {
        Kind::Gru => {
            let (d_x, h) = gru_step_backward(cell, x, &before.h, &d_after.h, d_cell);
            (d_x, State { h, c: Vec::new() })
        }
        Kind::Lstm => {
            let (before, d_after) = ((&before.h[..], &before.c[..]), (&d_after.h[..], &d_after.c[..]));
            let (d_x, h, c) = lstm_step_backward(cell, x, before, d_after, d_cell);
            (d_x, State { h, c })
        }
    }
}

/// `state[t] = step(x[t], state[t-1])`, with `state[-1] = initial`.
///
/// `x` `[T][I]`, `initial` one row; returns `T` rows, every state.
pub fn layer_forward(cell: &Cell, x: &[f64], initial: &State) -> State {
    let mut state = initial.clone();
    let mut states = State::default();
    for x in rows(x, cell.input_size) {
        state = step(cell, x, &state);
        states.extend(&state);
    }
    states
}

/// Backpropagation through time (Werbos 1990), from the last step to the first, every step adding to the same gradients.
///
/// `x` `[T][I]`, `initial` one row, `states` `T` rows of [`layer_forward`], `d_output` `[T][H]` asked of every `h`,
/// `d_last` one row, asked of the last state beyond `d_output`. Adds to `d_cell`; returns `d_x` `[T][I]` and the
/// gradient of `initial`.
pub fn layer_backward(
    cell: &Cell,
    x: &[f64],
    initial: &State,
    states: &State,
    d_output: &[f64],
    d_last: &State,
    d_cell: &mut Cell,
) -> (Vec<f64>, State) {
    let (input_size, hidden_size) = (cell.input_size, cell.hidden_size);
    let steps = rows(x, input_size).len();
    assert_eq!([states.h.len(), d_output.len()], [steps * hidden_size; 2]);
    let mut d_x = vec![0.0; x.len()];
    let mut d_state = d_last.clone();
    for t in (0..steps).rev() {
        let before = if t == 0 { initial.clone() } else { states.row(hidden_size, t - 1) };
        add_scaled(&mut d_state.h, 1.0, row(d_output, hidden_size, t));
        let (d_x_t, d_before) = step_backward(cell, row(x, input_size, t), &before, &d_state, d_cell);
        d_x[t * input_size..][..input_size].copy_from_slice(&d_x_t);
        d_state = d_before;
    }
    (d_x, d_state)
}

/// A stack of layers over one sequence: the output of each, its `h`, is the input of the next.
///
/// `cells` `[LAYERS]` of one kind and one `hidden_size`, `x` `[T][I]`, `initial` `LAYERS` rows; returns for every layer
/// its states, `T` rows. The `h` of the last of them is the output of the network.
pub fn forward(cells: &[Cell], x: &[f64], initial: &State) -> Vec<State> {
    assert_eq!(initial.h.len(), cells.iter().map(|cell| cell.hidden_size).sum());
    let mut states: Vec<State> = Vec::new();
    for (layer, cell) in cells.iter().enumerate() {
        let input = states.last().map_or(x, |below| &below.h);
        states.push(layer_forward(cell, input, &initial.row(cell.hidden_size, layer)));
    }
    states
}

/// The layers backward, from the last to the first: `d_x` of each is `d_output` of the one below.
///
/// `x` `[T][I]`, `initial` `LAYERS` rows, `states` of [`forward`], `d_output` `[T][H]` of the top layer, `d_last`
/// `LAYERS` rows, of the last states. Adds to `d_cells` `[LAYERS]`; returns `d_x` `[T][I]` and the gradient of `initial`.
pub fn backward(
    cells: &[Cell],
    x: &[f64],
    initial: &State,
    states: &[State],
    d_output: &[f64],
    d_last: &State,
    d_cells: &mut [Cell],
) -> (Vec<f64>, State) {
    assert_eq!([states.len(), d_cells.len()], [cells.len(); 2]);
    assert_eq!([d_last.h.len(), d_last.c.len()], [initial.h.len(), initial.c.len()]);
    let mut d_x = d_output.to_vec();
    let mut d_initial = Vec::new();
    for (layer, cell) in cells.iter().enumerate().rev() {
        let size = cell.hidden_size;
        let input = if layer == 0 { x } else { &states[layer - 1].h };
        let (start, d_end) = (initial.row(size, layer), d_last.row(size, layer));
        let (d_input, d_start) = layer_backward(cell, input, &start, &states[layer], &d_x, &d_end, &mut d_cells[layer]);
        d_initial.push(d_start);
        d_x = d_input;
    }
    (d_x, stacked(d_initial.iter().rev()))
}

/// The last state of every layer, `LAYERS` rows, PyTorch's `h_n` and `c_n`: of an empty sequence it is `initial`.
pub fn last(states: &[State], initial: &State) -> State {
    let size = initial.h.len() / states.len().max(1);
    let last = |(layer, states): (usize, &State)| match states.h.len() / size {
        0 => initial.row(size, layer),
        steps => states.row(size, steps - 1),
    };
    stacked(states.iter().enumerate().map(last).collect::<Vec<_>>().iter())
}

/// Rows one after the other.
fn stacked<'a>(states: impl Iterator<Item = &'a State>) -> State {
    let mut all = State::default();
    states.for_each(|state| all.extend(state));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dot;
    use crate::tests::{assert_gradient, assert_near, check, values};

    const KINDS: [Kind; 2] = [Kind::Gru, Kind::Lstm];

    /// The cell number `layer` of a stack, the same in the PyTorch program that gave the numbers below.
    fn cell(kind: Kind, input_size: usize, hidden_size: usize, layer: usize) -> Cell {
        let mut cell = Cell::zeros(kind, input_size, hidden_size);
        for (k, parameter) in cell.parameters_mut().into_iter().enumerate() {
            parameter.copy_from_slice(&values(parameter.len(), (4 * layer + k + 1) as f64));
        }
        cell
    }

    /// `cell` with its parameter number `k` replaced.
    fn with(cell: &Cell, k: usize, parameter: &[f64]) -> Cell {
        let mut cell = cell.clone();
        cell.parameters_mut()[k].copy_from_slice(parameter);
        cell
    }

    /// Rows of states, `h` and `c` each from a seed.
    fn state(kind: Kind, len: usize, seeds: (f64, f64)) -> State {
        let c = if kind == Kind::Lstm { values(len, seeds.1) } else { Vec::new() };
        State { h: values(len, seeds.0), c }
    }

    fn dot_of(a: &State, b: &State) -> f64 {
        dot(&a.h, &b.h) + dot(&a.c, &b.c)
    }

    /// `h` and `c` in one, and back.
    fn joined(state: &State) -> Vec<f64> {
        [&state.h[..], &state.c].concat()
    }

    fn split(kind: Kind, joined: &[f64]) -> State {
        let h = if kind == Kind::Lstm { joined.len() / 2 } else { joined.len() };
        State { h: joined[..h].to_vec(), c: joined[h..].to_vec() }
    }

    fn s(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }

    #[test]
    fn one_unit_of_a_gru_by_hand() {
        let cell = Cell {
            weight_ih: vec![0.5, -0.25, 1.0],
            weight_hh: vec![-1.0, 0.5, 2.0],
            bias_ih: vec![0.25, 0.5, -0.5],
            bias_hh: vec![0.125, -1.0, 0.75],
            ..Cell::zeros(Kind::Gru, 1, 1)
        };
        // With x = 2 and h = 0.5: the sums are 1 + 0.375 - 0.5, -0.5 - 0.5 + 0.25, 1.5 and 1.75 with r before it.
        let (r, z) = (s(0.875), s(-0.75));
        let n = libm::tanh(1.5 + r * 1.75);
        assert_near(&gru_step(&cell, &[2.0], &[0.5]), &[(1.0 - z) * n + z * 0.5], 1e-15);

        let mut d = Cell::zeros(Kind::Gru, 1, 1);
        let (d_x, d_h) = gru_step_backward(&cell, &[2.0], &[0.5], &[3.0], &mut d);
        let d_n = 3.0 * (1.0 - z) * (1.0 - n * n);
        let d_z = 3.0 * (0.5 - n) * z * (1.0 - z);
        let d_r = d_n * 1.75 * r * (1.0 - r);
        assert_near(&d_x, &[0.5 * d_r - 0.25 * d_z + d_n], 1e-15);
        assert_near(&d_h, &[-d_r + 0.5 * d_z + 2.0 * d_n * r + 3.0 * z], 1e-15);
        assert_near(&d.weight_ih, &[2.0 * d_r, 2.0 * d_z, 2.0 * d_n], 1e-15);
        assert_near(&d.weight_hh, &[0.5 * d_r, 0.5 * d_z, 0.5 * d_n * r], 1e-15);
        assert_near(&d.bias_ih, &[d_r, d_z, d_n], 1e-15);
        assert_near(&d.bias_hh, &[d_r, d_z, d_n * r], 1e-15);
    }

    #[test]
    fn one_unit_of_an_lstm_by_hand() {
        let cell = Cell {
            weight_ih: vec![0.5, -0.25, 1.0, 0.75],
            weight_hh: vec![-1.0, 0.5, 2.0, -0.5],
            bias_ih: vec![0.25, 0.5, -0.5, 0.0],
            bias_hh: vec![0.125, -1.0, 0.75, 0.25],
            ..Cell::zeros(Kind::Lstm, 1, 1)
        };
        // With x = 2 and h = 0.5.
        let (i, f, g, o) = (s(0.875), s(-0.75), libm::tanh(3.25), s(1.5));
        let c = f * -0.75 + i * g;
        let y = libm::tanh(c);
        let (h_next, c_next) = lstm_step(&cell, &[2.0], &[0.5], &[-0.75]);
        assert_near(&[h_next[0], c_next[0]], &[o * y, c], 1e-15);

        let mut d = Cell::zeros(Kind::Lstm, 1, 1);
        let (d_x, d_h, d_c) = lstm_step_backward(&cell, &[2.0], (&[0.5], &[-0.75]), (&[3.0], &[-1.0]), &mut d);
        let d_total = -1.0 + 3.0 * o * (1.0 - y * y);
        let d_sums = [
            d_total * g * i * (1.0 - i),
            d_total * -0.75 * f * (1.0 - f),
            d_total * i * (1.0 - g * g),
            3.0 * y * o * (1.0 - o),
        ];
        assert_near(&d_x, &[dot(&d_sums, &[0.5, -0.25, 1.0, 0.75])], 1e-15);
        assert_near(&d_h, &[dot(&d_sums, &[-1.0, 0.5, 2.0, -0.5])], 1e-15);
        assert_near(&d_c, &[d_total * f], 1e-15);
        assert_near(&d.weight_ih, &d_sums.map(|d| 2.0 * d), 1e-15);
        assert_near(&d.weight_hh, &d_sums.map(|d| 0.5 * d), 1e-15);
        assert_near(&[d.bias_ih, d.bias_hh].concat(), &[d_sums, d_sums].concat(), 1e-15);
    }

    /// Gates that are shut or open let through what they say.
    #[test]
    fn gates_at_their_ends() {
        let x = [0.0];
        let mut gru = Cell::zeros(Kind::Gru, 1, 1);
        gru.bias_ih[1] = 1e3;
        assert_eq!(gru_step(&gru, &x, &[0.7]), [0.7]);
        (gru.bias_ih[1], gru.bias_hh[2]) = (-1e3, 0.5);
        assert_near(&gru_step(&gru, &x, &[0.7]), &[libm::tanh(0.25)], 1e-15);

        let mut lstm = Cell::zeros(Kind::Lstm, 1, 1);
        lstm.bias_ih.copy_from_slice(&[-1e3, 1e3, 0.0, 1e3]);
        assert_eq!(lstm_step(&lstm, &x, &[0.3], &[-5.0]), (vec![libm::tanh(-5.0)], vec![-5.0]));
        lstm.bias_ih.copy_from_slice(&[1e3, -1e3, 0.5, -1e3]);
        assert_eq!(lstm_step(&lstm, &x, &[0.3], &[-5.0]), (vec![0.0], vec![libm::tanh(0.5)]));
    }

    #[test]
    fn steps_are_differentiated() {
        for kind in KINDS {
            let (cell, x) = (cell(kind, 3, 4, 0), values(3, 5.0));
            let (before, d_after) = (state(kind, 4, (6.0, 7.0)), state(kind, 4, (8.0, 9.0)));
            let mut d_cell = Cell::zeros(kind, 3, 4);
            let (d_x, d_before) = step_backward(&cell, &x, &before, &d_after, &mut d_cell);
            assert_gradient(&x, &d_x, |x| dot_of(&d_after, &step(&cell, x, &before)));
            assert_gradient(&joined(&before), &joined(&d_before), |before| {
                dot_of(&d_after, &step(&cell, &x, &split(kind, before)))
            });
            for k in 0..4 {
                let loss = |parameter: &[f64]| dot_of(&d_after, &step(&with(&cell, k, parameter), &x, &before));
                assert_gradient(cell.parameters()[k], d_cell.parameters()[k], loss);
            }
        }
    }

    /// Two layers, five steps; every number is from `torch.nn.GRU(3, 4, 2)` or `LSTM` (torch 2.15, f64) on the same
    /// values.
    #[test]
    fn stacks_are_differentiated_and_are_pytorch() {
        for kind in KINDS {
            let (cells, x) = ([cell(kind, 3, 4, 0), cell(kind, 4, 4, 1)], values(15, 20.0));
            let initial = state(kind, 8, (21.0, 22.0));
            let (d_output, d_last) = (values(20, 23.0), state(kind, 8, (24.0, 25.0)));
            let loss = |cells: &[Cell], x: &[f64], initial: &State| {
                let states = forward(cells, x, initial);
                dot(&states[1].h, &d_output) + dot_of(&last(&states, initial), &d_last)
            };
            let states = forward(&cells, &x, &initial);
            let mut d_cells = [Cell::zeros(kind, 3, 4), Cell::zeros(kind, 4, 4)];
            let (d_x, d_initial) = backward(&cells, &x, &initial, &states, &d_output, &d_last, &mut d_cells);

            assert_gradient(&x, &d_x, |x| loss(&cells, x, &initial));
            assert_gradient(&joined(&initial), &joined(&d_initial), |initial| loss(&cells, &x, &split(kind, initial)));
            for (layer, k) in (0..8).map(|i| (i / 4, i % 4)) {
                assert_gradient(cells[layer].parameters()[k], d_cells[layer].parameters()[k], |parameter| {
                    let mut cells = cells.clone();
                    cells[layer] = with(&cells[layer], k, parameter);
                    loss(&cells, &x, &initial)
                });
            }

            let last = last(&states, &initial);
            let tensors = [&states[1].h, &last.h, &last.c, &d_x, &d_initial.h, &d_initial.c].map(|t| check(t));
            let [of_tensors, lower, upper]: [&[f64]; 3] = match kind {
                Kind::Gru => [&GRU_TENSORS, &GRU_LOWER, &GRU_UPPER],
                Kind::Lstm => [&LSTM_TENSORS, &LSTM_LOWER, &LSTM_UPPER],
            };
            assert_near(&tensors, of_tensors, 1e-14);
            assert_near(&d_cells[0].parameters().map(check), lower, 1e-14);
            assert_near(&d_cells[1].parameters().map(check), upper, 1e-14);
        }
    }

    // Of the output, h_n, c_n, d_x, d_h0, d_c0, and of the gradients of each layer's parameters.
    const GRU_TENSORS: [f64; 6] =
        [3.508281874039621, 0.807489016868958, 0.0, 0.305687511864440, -2.181712990034581, 0.0];
    const GRU_LOWER: [f64; 4] = [1.319312885588136, -0.218804683747319, 0.183759481469506, 0.143065568331453];
    const GRU_UPPER: [f64; 4] = [-1.386025647752335, 0.688545754760901, -1.249170963391805, 0.139707551846511];
    const LSTM_TENSORS: [f64; 6] = [
        2.802258999261638,
        0.268987267729025,
        1.452416947731785,
        -0.390940220928499,
        0.037086190966159,
        -0.351063345850377,
    ];
    const LSTM_LOWER: [f64; 4] = [-0.081844052392089, 0.154146645854959, -0.490964602097835, -0.490964602097835];
    const LSTM_UPPER: [f64; 4] = [0.856643186469361, -0.089937390249740, -0.642982969985679, -0.642982969985679];

    #[test]
    fn an_empty_sequence_passes_the_state_through() {
        for kind in KINDS {
            let (cells, initial) = ([cell(kind, 3, 2, 0), cell(kind, 2, 2, 1)], state(kind, 4, (1.0, 2.0)));
            let states = forward(&cells, &[], &initial);
            assert_eq!(last(&states, &initial), initial);
            let (mut d_cells, d_last) =
                ([Cell::zeros(kind, 3, 2), Cell::zeros(kind, 2, 2)], state(kind, 4, (3.0, 4.0)));
            let (d_x, d_initial) = backward(&cells, &[], &initial, &states, &[], &d_last, &mut d_cells);
            assert_eq!((d_x, d_initial), (vec![], d_last));
            assert_eq!(d_cells, [Cell::zeros(kind, 3, 2), Cell::zeros(kind, 2, 2)]);
        }
    }
}
