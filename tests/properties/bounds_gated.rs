//! The errors of `bounds`, carried through the cells of gates: GRU and LSTM.
//!
//! # Product and sum of single numbers
//!
//! `a b` is off by `|a| db + |b| da + da db`, and then by one rounding; `a + b` by `da + db` and one rounding. Where both are
//! one fused operation, one of the roundings is left out.
//!
//! # sigmoid
//!
//! `|sigmoid(z + dz) - sigmoid(z)| <= dz * max sigmoid'` over the interval, and `sigmoid' = y (1 - y)` is largest where `|z|` is
//! smallest. The implementation adds 1.71 units in the last place of the result, each at most `2 U y`; a gate below 2^-48
//! becomes zero.
//!
//! # The slope of sigmoid from its output, `y - y^2`
//!
//! Fused, one rounding of the result. Not fused, also one of `y^2`. An output off by `e` adds `|1 - 2 y| e + e^2`.
//!
//! # The state of a GRU, `n + z (h - n)`
//!
//! Without roundings it is off by `(1 - z) dn + z dh + dz (|h - n| + dh + dn)`: errors of `n` count once, although it stands
//! there twice. The difference, the product and the sum round.
//!
//! # What becomes zero
//!
//! A number that becomes zero below a limit `s` and is off by `e` otherwise is off by at most `e + s`: it became zero because what
//! was computed lay below `s`, which is within `e` of the truth.
//!
//! The limits are 2^-48 for gates; 2^-126 for `h`; 2^-60 for `c`; 2^-110 for the gradients of the sums in front of the gates, and for the
//! gradients of `h` and `c` that come directly from those of the step after.

use crate::bounds::{
    AffineSums, EXTRA, Near, SMALLEST_GRADIENT, SMALLEST_STATE, TINY, U, affine, affine_backward, sum_error, sums,
    tanh_error,
};
use elman_reference::gated::{self, Cell, Kind};
use elman_reference::{self as reference};

/// A gate below it counts as shut.
const SMALLEST_GATE: f64 = 1.0 / (1u64 << 48) as f64;

/// A state `c` below it counts as zero.
const SMALLEST_CELL: f64 = 1.0 / (1u64 << 60) as f64;

/// One number of the reference, and how far the crate's may be from it.
#[derive(Clone, Copy, Debug)]
struct One {
    value: f64,
    error: f64,
}

impl One {
    fn of(near: &Near, i: usize) -> One {
        One { value: near.value[i], error: near.error[i] }
    }

    fn magnitude(self) -> f64 {
        self.value.abs() + self.error
    }

    /// One rounding, unless it overflows.
    fn rounded(self) -> One {
        let error = self.error + U * self.magnitude() + TINY;
        let fits = self.value.abs() + error < f64::from(f32::MAX);
        One { error: if fits { error } else { f64::INFINITY }, ..self }
    }

    fn plus(self, b: One) -> One {
        One { value: self.value + b.value, error: self.error + b.error }.rounded()
    }

    fn minus(self, b: One) -> One {
        One { value: self.value - b.value, error: self.error + b.error }.rounded()
    }

    fn times(self, b: One) -> One {
        let error = self.value.abs() * b.error + b.value.abs() * self.error + self.error * b.error;
        One { value: self.value * b.value, error }.rounded()
    }

    /// It becomes zero where it is below a limit.
    fn zero_below(self, limit: f64) -> One {
        let lost = if self.value.abs() - self.error < limit { limit.min(self.value.abs()) } else { 0.0 };
        One { error: self.error + lost, ..self }
    }

    fn sigmoid(self) -> One {
        // On the side where the result is small: it is a slope of the same size, without cancellation.
        let nearest = reference::sigmoid(-(self.value.abs() - self.error).max(0.0));
        let before = reference::sigmoid_derivative_from_output(nearest) * self.error;
        let value = reference::sigmoid(self.value);
        One { value, error: before + 3.42 * U * (value + before) + TINY }.zero_below(SMALLEST_GATE)
    }

    fn tanh(self) -> One {
        let value = reference::tanh(self.value);
        One { value, error: tanh_error(self.value, self.error, value) }
    }

    fn sigmoid_slope(self, fused: bool) -> One {
        let value = reference::sigmoid_derivative_from_output(self.value);
        let propagated = (1.0 - 2.0 * self.value).abs() * self.error + self.error * self.error;
        let square = if fused { 0.0 } else { U * self.magnitude() * self.magnitude() + TINY };
        One { value, error: propagated + square }.rounded()
    }

    fn tanh_slope(self, fused: bool) -> One {
        let value = reference::tanh_derivative_from_output(self.value);
        let propagated = 2.0 * self.value.abs() * self.error + self.error * self.error;
        let square = if fused { 0.0 } else { U * self.magnitude() * self.magnitude() + TINY };
        One { value, error: propagated + square }.rounded()
    }
}

impl FromIterator<One> for Near {
    fn from_iter<I: IntoIterator<Item = One>>(ones: I) -> Near {
        let (value, error) = ones.into_iter().map(|one| (one.value, one.error)).unzip();
        Near { value, error }
    }
}

/// Rows of states, or their gradients; a GRU has no `c`.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub h: Near,
    pub c: Near,
}

impl State {
    /// One row of several.
    pub fn row(&self, size: usize, index: usize) -> State {
        let c = if self.c.value.is_empty() { Near::default() } else { self.c.row(size, index) };
        State { h: self.h.row(size, index), c }
    }

    fn extend(&mut self, other: &State) {
        self.h.extend(&other.h);
        self.c.extend(&other.c);
    }
}

/// What feeds one gate: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
fn gate(cell: &Cell, k: usize) -> [&[f64]; 4] {
    let (inputs, hidden) = (cell.input_size, cell.hidden_size);
    let lens = [hidden * inputs, hidden * hidden, hidden, hidden];
    let mut parameters = cell.parameters();
    parameters.iter_mut().zip(lens).for_each(|(parameter, len)| *parameter = &parameter[k * len..][..len]);
    parameters
}

/// `sigmoid(W_ih x + b_ih + W_hh h + b_hh)`
fn sigmoid_gate(cell: &Cell, k: usize, x: &Near, h: &Near) -> Near {
    let sums = sums(gate(cell, k), x, h);
    (0..cell.hidden_size).map(|j| One::of(&sums, j).sigmoid()).collect()
}

/// `r`, `z`, `n`, and `W_hn h + b_hn`.
fn gru_gates(cell: &Cell, x: &Near, h: &Near) -> [Near; 4] {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = gate(cell, 2);
    let (n_x, n_h) = (affine(weight_ih, bias_ih, x), affine(weight_hh, bias_hh, h));
    let (r, z) = (sigmoid_gate(cell, 0, x, h), sigmoid_gate(cell, 1, x, h));
    let n = |j: usize| One::of(&n_x, j).plus(One::of(&r, j).times(One::of(&n_h, j))).tanh();
    let n = (0..cell.hidden_size).map(n).collect();
    [r, z, n, n_h]
}

/// `n + z (h - n)`
pub fn gru_step(cell: &Cell, x: &Near, h: &Near) -> Near {
    let [_, z, n, _] = gru_gates(cell, x, h);
    let next = |j: usize| {
        let [z, n, h] = [&z, &n, h].map(|near| One::of(near, j));
        let value = (1.0 - z.value) * n.value + z.value * h.value;
        let difference = (h.value - n.value).abs() + h.error + n.error;
        let propagated = (1.0 - z.value) * n.error + z.value * h.error + z.error * difference;
        let error = propagated + 2.0 * U * z.magnitude() * difference + 2.0 * TINY;
        One { value, error }.rounded().zero_below(SMALLEST_STATE)
    };
    (0..cell.hidden_size).map(next).collect()
}

/// `i`, `f`, `g`, `o`
fn lstm_gates(cell: &Cell, x: &Near, h: &Near) -> [Near; 4] {
    let g = sums(gate(cell, 2), x, h);
    let g = (0..cell.hidden_size).map(|j| One::of(&g, j).tanh()).collect();
    [sigmoid_gate(cell, 0, x, h), sigmoid_gate(cell, 1, x, h), g, sigmoid_gate(cell, 3, x, h)]
}

/// `f c + i g`
fn lstm_c([i, f, g]: [One; 3], c: One) -> One {
    f.times(c).plus(i.times(g)).zero_below(SMALLEST_CELL)
}

/// `c' = f c + i g`, `h' = o tanh(c')`
pub fn lstm_step(cell: &Cell, x: &Near, before: &State) -> State {
    let [i, f, g, o] = lstm_gates(cell, x, &before.h);
    let next = |j: usize| lstm_c([&i, &f, &g].map(|near| One::of(near, j)), One::of(&before.c, j));
    let c: Near = (0..cell.hidden_size).map(next).collect();
    let seen = |j: usize| One::of(&o, j).times(One::of(&c, j).tanh()).zero_below(SMALLEST_STATE);
    State { h: (0..cell.hidden_size).map(seen).collect(), c }
}

pub fn step(cell: &Cell, x: &Near, before: &State) -> State {
    match cell.kind {
        Kind::Gru => State { h: gru_step(cell, x, &before.h), c: Near::default() },
        Kind::Lstm => lstm_step(cell, x, before),
    }
}

/// Every state of one layer over one sequence.
pub fn layer_forward(cell: &Cell, x: &Near, initial: &State) -> State {
    let (mut state, mut states) = (initial.clone(), State::default());
    for t in 0..x.value.len() / cell.input_size {
        state = step(cell, &x.row(cell.input_size, t), &state);
        states.extend(&state);
    }
    states
}

/// Every state of one layer, where the outputs `h` are known as the crate has them; `c` is what it may be behind them. Also each
/// `h` as it may be from the one before.
pub fn layer_behind(cell: &Cell, x: &Near, initial: &State, output: &Near) -> (State, Near) {
    let (mut state, mut states, mut expected) = (initial.clone(), State::default(), Near::default());
    for t in 0..x.value.len() / cell.input_size {
        state = step(cell, &x.row(cell.input_size, t), &state);
        expected.extend(&state.h);
        state.h = output.row(cell.hidden_size, t);
        states.extend(&state);
    }
    (states, expected)
}

/// The gradients of a cell.
#[derive(Clone, Debug)]
pub struct GatedSums {
    pub ih: AffineSums,
    pub hh: AffineSums,
}

impl GatedSums {
    pub fn zeros(cell: &Cell) -> Self {
        let sums = |weight: &[f64], bias: &[f64]| AffineSums::zeros(weight.len(), bias.len());
        GatedSums { ih: sums(&cell.weight_ih, &cell.bias_ih), hh: sums(&cell.weight_hh, &cell.bias_hh) }
    }

    /// Sums that start from gradients that are there.
    pub fn from(start: &Cell) -> Self {
        let mut sums = Self::zeros(start);
        sums.ih.start(&start.weight_ih, &start.bias_ih);
        sums.hh.start(&start.weight_hh, &start.bias_hh);
        sums
    }

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`
    pub fn parameters(&self) -> [Near; 4] {
        [self.ih.weight(), self.hh.weight(), self.ih.bias(), self.hh.bias()]
    }
}

/// Gradients in front of the gates, those of `W_ih` and those of `W_hh`, and those that come to `h` and `c` directly.
struct Before {
    d_input: Near,
    d_hidden: Near,
    direct: State,
}

/// `dn = dh' (1 - z) (1 - n^2)`, `dr = dn n_h r (1 - r)`, `dz = dh' (h - n) z (1 - z)`; of `W_hn h + b_hn` it is `dn r`; directly,
/// `dh' z`.
fn gru_before(cell: &Cell, x: &Near, h: &Near, d_h_next: &Near, fused: bool) -> Before {
    let hidden = cell.hidden_size;
    let gates = gru_gates(cell, x, h);
    let of_neuron = |j: usize| {
        let [r, z, n, n_h] = gates.each_ref().map(|near| One::of(near, j));
        let (h, d) = (One::of(h, j), One::of(d_h_next, j));
        let one = One { value: 1.0, error: 0.0 };
        let d_n = d.times(one.minus(z)).times(n.tanh_slope(fused)).zero_below(SMALLEST_GRADIENT);
        let d_r = d_n.times(n_h).times(r.sigmoid_slope(fused));
        let d_z = d.times(h.minus(n)).times(z.sigmoid_slope(fused));
        [d_r, d_z, d_n, d_n.times(r), d.times(z)].map(|d| d.zero_below(SMALLEST_GRADIENT))
    };
    let of_neurons: Vec<[One; 5]> = (0..hidden).map(of_neuron).collect();
    let gates = |which: [usize; 3]| which.iter().flat_map(|k| of_neurons.iter().map(|of| of[*k])).collect();
    let direct = State { h: of_neurons.iter().map(|of| of[4]).collect(), c: Near::default() };
    Before { d_input: gates([0, 1, 2]), d_hidden: gates([0, 1, 3]), direct }
}

/// `do = dh' tanh(c') o (1 - o)`, `dc = dc' + dh' o (1 - tanh(c')^2)`, `di = dc g i (1 - i)`, `df = dc c f (1 - f)`,
/// `dg = dc i (1 - g^2)`; directly to the `c` before, `dc f`.
fn lstm_before(cell: &Cell, x: &Near, before: &State, d_after: &State, fused: bool) -> Before {
    let hidden = cell.hidden_size;
    let gates = lstm_gates(cell, x, &before.h);
    let of_neuron = |j: usize| {
        let [i, f, g, o] = gates.each_ref().map(|near| One::of(near, j));
        let c = One::of(&before.c, j);
        let (d_h, d_c) = (One::of(&d_after.h, j), One::of(&d_after.c, j));
        let y = lstm_c([i, f, g], c).tanh();
        let d_o = d_h.times(y).times(o.sigmoid_slope(fused));
        let d_c = d_c.plus(d_h.times(o).times(y.tanh_slope(fused)));
        let d_i = d_c.times(g).times(i.sigmoid_slope(fused));
        let d_f = d_c.times(c).times(f.sigmoid_slope(fused));
        let d_g = d_c.times(i).times(g.tanh_slope(fused));
        [d_i, d_f, d_g, d_o, d_c.times(f)].map(|d| d.zero_below(SMALLEST_GRADIENT))
    };
    let of_neurons: Vec<[One; 5]> = (0..hidden).map(of_neuron).collect();
    let d_sums: Near = (0..4).flat_map(|k| of_neurons.iter().map(move |of| of[k])).collect();
    let zero = Near { value: vec![0.0; hidden], error: vec![0.0; hidden] };
    let direct = State { h: zero, c: of_neurons.iter().map(|of| of[4]).collect() };
    Before { d_input: d_sums.clone(), d_hidden: d_sums, direct }
}

/// One step backward; returns the gradients of `x` and of the state before.
pub fn step_backward(
    cell: &Cell,
    x: &Near,
    before: &State,
    d_after: &State,
    fused: bool,
    sums: &mut GatedSums,
) -> (Near, State) {
    let Before { d_input, d_hidden, direct } = match cell.kind {
        Kind::Gru => gru_before(cell, x, &before.h, &d_after.h, fused),
        Kind::Lstm => lstm_before(cell, x, before, d_after, fused),
    };
    let d_x = affine_backward(&cell.weight_ih, x, &d_input, &mut sums.ih);
    let mut d_h = affine_backward(&cell.weight_hh, &before.h, &d_hidden, &mut sums.hh);
    add_terms(&mut d_h, &direct.h, d_hidden.value.len());
    (d_x, State { h: d_h, c: direct.c })
}

/// Further terms of sums of so many products: they may take part in every rounding.
fn add_terms(sums: &mut Near, terms: &Near, products: usize) {
    for i in 0..sums.value.len() {
        let (sum, term) = (One::of(sums, i), One::of(terms, i));
        sums.error[i] += sum_error(products + EXTRA, sum.magnitude() + term.magnitude(), term.error);
        sums.value[i] += term.value;
    }
}

/// What a layer went through in one sequence.
pub struct Passed<'a> {
    pub x: &'a Near,
    pub initial: &'a State,
    pub states: &'a State,
}

/// Backpropagation through time over one sequence; returns the gradients of `x` and of the initial state.
pub fn layer_backward(
    cell: &Cell,
    passed: &Passed<'_>,
    d_output: &Near,
    d_last: &State,
    fused: bool,
    sums: &mut GatedSums,
) -> (Near, State) {
    let (inputs, hidden) = (cell.input_size, cell.hidden_size);
    let steps = passed.x.value.len() / inputs;
    let mut d_x = vec![Near::default(); steps];
    let mut d_state = d_last.clone();
    for t in (0..steps).rev() {
        let before = if t == 0 { passed.initial.clone() } else { passed.states.row(hidden, t - 1) };
        add_terms(&mut d_state.h, &d_output.row(hidden, t), cell.kind.gates() * hidden);
        (d_x[t], d_state) = step_backward(cell, &passed.x.row(inputs, t), &before, &d_state, fused, sums);
    }
    let mut rows = Near::default();
    d_x.iter().for_each(|row| rows.extend(row));
    (rows, d_state)
}

/// The bounds walk the reference's own steps: without errors they give its numbers.
#[test]
fn the_bounds_follow_the_reference() {
    let numbers = |n: usize, seed: f64| (0..n).map(|i| (i as f64 * 0.7 + seed).sin()).collect::<Vec<f64>>();
    let near = |value: Vec<f64>| Near { error: vec![0.0; value.len()], value };
    for kind in [Kind::Gru, Kind::Lstm] {
        let state = |n: usize, seed: f64| {
            let c = if kind == Kind::Lstm { numbers(n, seed + 0.5) } else { Vec::new() };
            gated::State { h: numbers(n, seed), c }
        };
        let near_state = |state: &gated::State| State { h: near(state.h.clone()), c: near(state.c.clone()) };
        let mut cell = Cell::zeros(kind, 3, 4);
        for (i, tensor) in cell.parameters_mut().into_iter().enumerate() {
            tensor.copy_from_slice(&numbers(tensor.len(), i as f64));
        }
        let (x, initial) = (numbers(15, 10.0), state(4, 11.0));
        let (d_output, d_last) = (numbers(20, 12.0), state(4, 13.0));
        let states = gated::layer_forward(&cell, &x, &initial);
        let mut d_cell = Cell::zeros(kind, 3, 4);
        let (d_x, d_initial) = gated::layer_backward(&cell, &x, &initial, &states, &d_output, &d_last, &mut d_cell);

        let (x, start) = (near(x), near_state(&initial));
        let walked = layer_forward(&cell, &x, &start);
        assert_eq!((&walked.h.value, &walked.c.value), (&states.h, &states.c));
        let (behind, expected) = layer_behind(&cell, &x, &start, &near(states.h.clone()));
        assert_eq!((&behind.h.value, &behind.c.value, &expected.value), (&states.h, &states.c, &states.h));
        let mut sums = GatedSums::zeros(&cell);
        let passed = Passed { x: &x, initial: &start, states: &near_state(&states) };
        let near_d = layer_backward(&cell, &passed, &near(d_output), &near_state(&d_last), true, &mut sums);
        assert_eq!((&near_d.0.value, &near_d.1.h.value, &near_d.1.c.value), (&d_x, &d_initial.h, &d_initial.c));
        for (near, d) in sums.parameters().iter().zip(d_cell.parameters()) {
            assert_eq!(near.value, d);
        }
    }
}
