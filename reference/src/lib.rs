//! What `elman` computes, as plainly as it can be said: scalar, `f64`, one function per equation.
//!
//! This crate is the judge, not a competitor. Every fast path is property-tested, fuzzed and benchmarked against it,
//! so it shares no code with them: sizes are dynamic, matrices are flat row-major slices in PyTorch's `[out][in]`
//! layout, and nothing is fused, blocked or reordered. GRU and LSTM are in [`gated`]. It also has options of PyTorch that
//! the crate has not (`padding_idx`, class weights, `ignore_index`, label smoothing, weight decay, AMSGrad), each checked
//! against PyTorch.
//!
//! * Each backward function stands directly beneath its forward one. `d_name` is the derivative of the loss by `name`.
//! * What can be shared (parameters: over time, over a batch) is *accumulated* into with `+=`; what cannot be shared
//!   (inputs, states) is *returned*. A batch is a loop over its sequences with the same gradients.
//! * Shapes stand in the documentation: another length panics. Sizes are at least 1; a sequence may be empty.
//!
//! ```
//! use elman_reference::{Cell, Loss, cross_entropy_rows, cross_entropy_rows_backward, rnn_backward, rnn_forward};
//!
//! let mut cell = Cell::zeros(2, 3);
//! cell.weight_ih.copy_from_slice(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
//! let (cells, x, h0) = ([cell], [1.0, 0.0, 0.0, 1.0], [0.0; 3]); // 2 steps of 2 inputs
//!
//! let outputs = rnn_forward(&cells, &x, &h0);
//! let loss = cross_entropy_rows(&Loss::default(), 3, &outputs[0], &[2, 0]);
//! let d_output = cross_entropy_rows_backward(&Loss::default(), 3, &outputs[0], &[2, 0]);
//!
//! let mut gradients = [Cell::zeros(2, 3)];
//! let (_d_x, _d_h0) = rnn_backward(&cells, &x, &h0, &outputs, &d_output, &[0.0; 3], &mut gradients);
//! assert!(loss > 0.0 && gradients[0].bias_hh[2] < 0.0);
//! ```
//!
//! Sources: J. L. Elman, *Finding Structure in Time*, 1990 (the cell). S. Hochreiter, J. Schmidhuber, *Long Short-Term
//! Memory*, 1997, with F. A. Gers, J. Schmidhuber, F. Cummins, *Learning to Forget*, 2000 (LSTM). K. Cho et al.,
//! *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation*, 2014 (GRU). P. J.
//! Werbos, *Backpropagation Through Time: What It Does and How to Do It*, 1990. I. Goodfellow, Y. Bengio, A. Courville,
//! *Deep Learning*, 2016 (softmax and cross-entropy). C. Szegedy et al., *Rethinking the Inception Architecture*, 2016
//! (label smoothing). D. P. Kingma, J. Ba, *Adam*, 2015. S. J. Reddi, S. Kale, S. Kumar, *On the Convergence of Adam
//! and Beyond*, 2018 (`amsgrad`). I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization*, 2019. R. Pascanu,
//! T. Mikolov, Y. Bengio, *On the Difficulty of Training Recurrent Neural Networks*, 2013 (clipping). Where PyTorch
//! differs, it counts.

#![forbid(unsafe_code)]

pub mod gated;

// ---- Tools ---------------------------------------------------------------------------------------------------------

/// The rows of a flat matrix `[..][width]`.
fn rows(matrix: &[f64], width: usize) -> std::slice::ChunksExact<'_, f64> {
    assert_eq!(matrix.len() % width, 0, "a matrix [..][{width}] has {} values", matrix.len());
    matrix.chunks_exact(width)
}

/// Row `index` of a flat matrix `[..][width]`.
fn row(matrix: &[f64], width: usize, index: usize) -> &[f64] {
    &matrix[index * width..][..width]
}

/// `Σᵢ aᵢ bᵢ`, summed from the first to the last.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `aᵢ += s bᵢ`
fn add_scaled(a: &mut [f64], s: f64, b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter_mut().zip(b) {
        *a += s * b;
    }
}

// ---- The activation ------------------------------------------------------------------------------------------------

/// `y = tanh(x)`
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}

/// `dy/dx = 1 - y²`, from the *output* `y = tanh(x)`: the backward pass need not keep `x`.
pub fn tanh_derivative_from_output(y: f64) -> f64 {
    1.0 - y * y
}

/// `relu(x) = max(x, 0)`, PyTorch's `nonlinearity='relu'`. Of NaN it is NaN.
pub fn relu(x: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { x }
}

/// `relu'(x)`, from `y = relu(x)`: 1 where `y > 0`, and 0 where it is 0, as PyTorch takes it; of NaN it is 1.
pub fn relu_derivative_from_output(y: f64) -> f64 {
    if y <= 0.0 { 0.0 } else { 1.0 }
}

/// `sigmoid(x) = 1 / (1 + e⁻ˣ)`, the logistic function.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `dy/dx = y (1 - y)`, from the *output* `y = sigmoid(x)`.
pub fn sigmoid_derivative_from_output(y: f64) -> f64 {
    y * (1.0 - y)
}

/// What a recurrent layer makes of its sums: PyTorch's `nonlinearity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonlinearity {
    /// [`tanh`]
    #[default]
    Tanh,
    /// [`relu`]
    Relu,
}

impl Nonlinearity {
    /// `y = f(x)`
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Tanh => tanh(x),
            Self::Relu => relu(x),
        }
    }

    /// `f'(x)`, from the output `y = f(x)`.
    pub fn derivative_from_output(self, y: f64) -> f64 {
        match self {
            Self::Tanh => tanh_derivative_from_output(y),
            Self::Relu => relu_derivative_from_output(y),
        }
    }
}

// ---- Linear --------------------------------------------------------------------------------------------------------

/// `y = W x + b`, the linear layer for one row.
///
/// `weight` `[O][I]`, `bias` `[O]`, `x` `[I]`; returns `y` `[O]`.
pub fn affine(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    assert_eq!(weight.len(), bias.len() * x.len());
    rows(weight, x.len()).zip(bias).map(|(w, b)| dot(w, x) + b).collect()
}

/// `dW += dy xᵀ`, `db += dy`, `dx = Wᵀ dy`
///
/// `weight`, `d_weight` `[O][I]`, `x` `[I]`, `d_y`, `d_bias` `[O]`; returns `d_x` `[I]`.
pub fn affine_backward(weight: &[f64], x: &[f64], d_y: &[f64], d_weight: &mut [f64], d_bias: &mut [f64]) -> Vec<f64> {
    assert_eq!(weight.len(), d_y.len() * x.len());
    assert_eq!(weight.len(), d_weight.len());
    let mut d_x = vec![0.0; x.len()];
    for (o, &d) in d_y.iter().enumerate() {
        add_scaled(&mut d_weight[o * x.len()..][..x.len()], d, x);
        add_scaled(&mut d_x, d, row(weight, x.len(), o));
    }
    add_scaled(d_bias, 1.0, d_y);
    d_x
}

// ---- Embedding -----------------------------------------------------------------------------------------------------

/// `y[t] = W[token[t]]`: gathers rows of the table.
///
/// `weight` `[V][E]`, `tokens` `[T]`; returns `[T][E]`. A token `>= V` panics.
pub fn embedding(weight: &[f64], embedding_size: usize, tokens: &[usize]) -> Vec<f64> {
    tokens.iter().flat_map(|&token| row(weight, embedding_size, token)).copied().collect()
}

/// `dW[token[t]] += dy[t]`: scatters back; the row `padding_idx` gets nothing.
///
/// `tokens` `[T]`, `d_y` `[T][E]`, `d_weight` `[V][E]`.
pub fn embedding_backward(
    embedding_size: usize,
    tokens: &[usize],
    padding_idx: Option<usize>,
    d_y: &[f64],
    d_weight: &mut [f64],
) {
    assert_eq!(d_y.len(), tokens.len() * embedding_size);
    for (&token, d_y) in tokens.iter().zip(rows(d_y, embedding_size)) {
        if Some(token) != padding_idx {
            add_scaled(&mut d_weight[token * embedding_size..][..embedding_size], 1.0, d_y);
        }
    }
}

// ---- The recurrent cell --------------------------------------------------------------------------------------------

/// The parameters of one recurrent layer, or their gradients: `H` hidden units over `I` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// `I`
    pub input_size: usize,
    /// `H`
    pub hidden_size: usize,
    /// `W_ih` `[H][I]`, from the input to the hidden state.
    pub weight_ih: Vec<f64>,
    /// `W_hh` `[H][H]`, from the hidden state to the next.
    pub weight_hh: Vec<f64>,
    /// `b_ih` `[H]`
    pub bias_ih: Vec<f64>,
    /// `b_hh` `[H]`
    pub bias_hh: Vec<f64>,
    /// `f`; of gradients it says nothing.
    pub nonlinearity: Nonlinearity,
}

impl Cell {
    /// A cell, or the gradients of a cell, with every value zero, and tanh.
    pub fn zeros(input_size: usize, hidden_size: usize) -> Self {
        Self {
            input_size,
            hidden_size,
            weight_ih: vec![0.0; hidden_size * input_size],
            weight_hh: vec![0.0; hidden_size * hidden_size],
            bias_ih: vec![0.0; hidden_size],
            bias_hh: vec![0.0; hidden_size],
            nonlinearity: Nonlinearity::Tanh,
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

/// `h' = f(W_ih x + b_ih + W_hh h + b_hh)` (Elman 1990).
///
/// `x` `[I]`, `h` `[H]`; returns `h'` `[H]`.
pub fn cell_step(cell: &Cell, x: &[f64], h: &[f64]) -> Vec<f64> {
    let from_input = affine(&cell.weight_ih, &cell.bias_ih, x);
    let from_hidden = affine(&cell.weight_hh, &cell.bias_hh, h);
    from_input.iter().zip(&from_hidden).map(|(i, h)| cell.nonlinearity.apply(i + h)).collect()
}

/// `dz = dh' f'(z)`, with `f'(z)` from `h'`, and from there both affine maps backward.
///
/// `x` `[I]`, `h` and its successor `h_next` `[H]`, `d_h_next` `[H]` *in total*: what this step's output and what the
/// following step ask for. Adds to `d_cell`; returns `(d_x [I], d_h [H])`.
pub fn cell_step_backward(
    cell: &Cell,
    x: &[f64],
    h: &[f64],
    h_next: &[f64],
    d_h_next: &[f64],
    d_cell: &mut Cell,
) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(h_next.len(), d_h_next.len());
    let derivative = |h: f64| cell.nonlinearity.derivative_from_output(h);
    let d_z: Vec<f64> = d_h_next.iter().zip(h_next).map(|(d, &h)| d * derivative(h)).collect();
    let d_x = affine_backward(&cell.weight_ih, x, &d_z, &mut d_cell.weight_ih, &mut d_cell.bias_ih);
    let d_h = affine_backward(&cell.weight_hh, h, &d_z, &mut d_cell.weight_hh, &mut d_cell.bias_hh);
    (d_x, d_h)
}

// ---- One layer over time -------------------------------------------------------------------------------------------

/// `h[t] = step(x[t], h[t-1])`, with `h[-1] = h0`.
///
/// `x` `[T][I]`, `h0` `[H]`; returns every `h[t]`: `[T][H]`.
pub fn layer_forward(cell: &Cell, x: &[f64], h0: &[f64]) -> Vec<f64> {
    let mut h = h0.to_vec();
    let mut output = Vec::new();
    for x in rows(x, cell.input_size) {
        h = cell_step(cell, x, &h);
        output.extend_from_slice(&h);
    }
    output
}

/// Backpropagation through time (Werbos 1990): `dz[t] = (dy[t] + W_hhᵀ dz[t+1]) f'(z[t])`, from the last step to the
/// first, every step adding to the same gradients.
///
/// `x` `[T][I]`, `h0` `[H]`, `output` `[T][H]` of [`layer_forward`], `d_output` `[T][H]`, `d_h_last` `[H]` asked of the
/// last state beyond `d_output`. Adds to `d_cell`; returns `(d_x [T][I], d_h0 [H])`.
pub fn layer_backward(
    cell: &Cell,
    x: &[f64],
    h0: &[f64],
    output: &[f64],
    d_output: &[f64],
    d_h_last: &[f64],
    d_cell: &mut Cell,
) -> (Vec<f64>, Vec<f64>) {
    let (input_size, hidden_size) = (cell.input_size, cell.hidden_size);
    let steps = rows(x, input_size).len();
    assert_eq!(output.len(), steps * hidden_size);
    assert_eq!(d_output.len(), steps * hidden_size);
    let mut d_x = vec![0.0; x.len()];
    let mut d_h = d_h_last.to_vec();
    for t in (0..steps).rev() {
        let h = if t == 0 { h0 } else { row(output, hidden_size, t - 1) };
        add_scaled(&mut d_h, 1.0, row(d_output, hidden_size, t));
        let (x, h_next) = (row(x, input_size, t), row(output, hidden_size, t));
        let (d_x_t, d_h_before) = cell_step_backward(cell, x, h, h_next, &d_h, d_cell);
        d_x[t * input_size..][..input_size].copy_from_slice(&d_x_t);
        d_h = d_h_before;
    }
    (d_x, d_h)
}

// ---- A stack of layers ---------------------------------------------------------------------------------------------

/// A stack of layers over one sequence: the output of each is the input of the next.
///
/// `cells` `[LAYERS]` of one `hidden_size`, `x` `[T][I]`, `h0` `[LAYERS][H]`; returns for every layer its output
/// `[T][H]`. The last of them is the output of the network.
pub fn rnn_forward(cells: &[Cell], x: &[f64], h0: &[f64]) -> Vec<Vec<f64>> {
    assert_eq!(h0.len(), cells.iter().map(|cell| cell.hidden_size).sum());
    let mut outputs: Vec<Vec<f64>> = Vec::new();
    for (layer, cell) in cells.iter().enumerate() {
        let input = outputs.last().map_or(x, |below| below);
        outputs.push(layer_forward(cell, input, row(h0, cell.hidden_size, layer)));
    }
    outputs
}

/// The layers backward, from the last to the first: `d_x` of each is `d_output` of the one below.
///
/// `x` `[T][I]`, `h0` `[LAYERS][H]`, `outputs` of [`rnn_forward`], `d_output` `[T][H]` of the top layer, `d_h_last`
/// `[LAYERS][H]` of the last states. Adds to `d_cells` `[LAYERS]`; returns `(d_x [T][I], d_h0 [LAYERS][H])`.
pub fn rnn_backward(
    cells: &[Cell],
    x: &[f64],
    h0: &[f64],
    outputs: &[Vec<f64>],
    d_output: &[f64],
    d_h_last: &[f64],
    d_cells: &mut [Cell],
) -> (Vec<f64>, Vec<f64>) {
    assert_eq!([outputs.len(), d_cells.len()], [cells.len(); 2]);
    assert_eq!(d_h_last.len(), h0.len());
    let mut d_x = d_output.to_vec();
    let mut d_h0 = vec![0.0; h0.len()];
    for (layer, cell) in cells.iter().enumerate().rev() {
        let size = cell.hidden_size;
        let input = if layer == 0 { x } else { &outputs[layer - 1] };
        let (h0, d_h_last) = (row(h0, size, layer), row(d_h_last, size, layer));
        let (d_input, d_h) = layer_backward(cell, input, h0, &outputs[layer], &d_x, d_h_last, &mut d_cells[layer]);
        d_h0[layer * size..][..size].copy_from_slice(&d_h);
        d_x = d_input;
    }
    (d_x, d_h0)
}

/// The last hidden state of every layer `[LAYERS][H]`, PyTorch's `h_n`: of an empty sequence it is `h0`.
pub fn last_hidden(outputs: &[Vec<f64>], h0: &[f64]) -> Vec<f64> {
    let size = h0.len() / outputs.len().max(1);
    let last = |layer: usize| rows(&outputs[layer], size).last().unwrap_or(row(h0, size, layer));
    (0..outputs.len()).flat_map(last).copied().collect()
}

// ---- Softmax and cross-entropy -------------------------------------------------------------------------------------

/// `log p[c] = z[c] - m - log Σₖ exp(z[k] - m)`, with `m = max z` so that nothing overflows (Goodfellow et al., 4.1).
///
/// `logits` `[C]`; returns `[C]`.
pub fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| libm::exp(z - max)).sum();
    logits.iter().map(|z| z - max - libm::log(sum)).collect()
}

/// `dz = dy - p Σ dy`, from the *output* `log_p = log_softmax(z)`, with `p = exp(log_p)`.
///
/// `log_p`, `d_log_p` `[C]`; returns `d_logits` `[C]`.
pub fn log_softmax_backward(log_p: &[f64], d_log_p: &[f64]) -> Vec<f64> {
    assert_eq!(log_p.len(), d_log_p.len());
    let sum: f64 = d_log_p.iter().sum();
    d_log_p.iter().zip(log_p).map(|(d, &log_p)| d - libm::exp(log_p) * sum).collect()
}

/// `p[c] = exp(z[c]) / Σₖ exp(z[k])` (Goodfellow et al., 6.2.2.3).
///
/// `logits` `[C]`; returns `[C]`.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    log_softmax(logits).into_iter().map(libm::exp).collect()
}

/// `loss = -log p[y]` of one row, with `p = softmax(z)` (Goodfellow et al., 6.2.2.3).
///
/// `logits` `[C]`, `target` `< C`.
pub fn cross_entropy(logits: &[f64], target: usize) -> f64 {
    -log_softmax(logits)[target]
}

/// `dz = (p - onehot(y)) scale`, with `scale` the derivative by this row's loss: 1 for a sum, `1 / N` for a mean.
///
/// `logits` `[C]`, `target` `< C`; returns `d_logits` `[C]`.
pub fn cross_entropy_backward(logits: &[f64], target: usize, scale: f64) -> Vec<f64> {
    let mut d_logits = softmax(logits);
    d_logits[target] -= 1.0;
    d_logits.iter_mut().for_each(|d| *d *= scale);
    d_logits
}

/// How the losses of the rows become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The mean over the rows that are not ignored, each counting as much as the class weight of its target.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

/// The options of PyTorch's `CrossEntropyLoss`. The default is its default: the plain mean, nothing ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss<'a> {
    /// `w` `[C]`, a weight for each class; 1 when absent.
    pub weight: Option<&'a [f64]>,
    /// Rows with this target, which need not be `< C`, count for nothing.
    pub ignore_index: Option<usize>,
    /// `ε` in 0..=1: the share of the target that is spread evenly over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// Mean or sum.
    pub reduction: Reduction,
}

impl Loss<'_> {
    /// `w[c]`
    fn class_weight(&self, class: usize) -> f64 {
        self.weight.map_or(1.0, |weight| weight[class])
    }

    /// `q[c] = (1 - ε) w[y] onehot(y)[c] + (ε / C) w[c]`, so that `loss = -Σ q[c] log p[c]`; zeros for an ignored row.
    ///
    /// Returns `[C]`.
    pub fn soft_target(&self, classes: usize, target: usize) -> Vec<f64> {
        if Some(target) == self.ignore_index {
            return vec![0.0; classes];
        }
        let share = self.label_smoothing / classes as f64;
        let mut q: Vec<f64> = (0..classes).map(|class| share * self.class_weight(class)).collect();
        q[target] += (1.0 - self.label_smoothing) * self.class_weight(target);
        q
    }

    /// What each row's loss is multiplied by: 1 for a sum; for a mean `1 / Σ w[y]` over the rows that are kept, and 0
    /// where that sum is 0. (There PyTorch gives NaN; here a batch with nothing to learn from has loss 0.)
    pub fn scale(&self, targets: &[usize]) -> f64 {
        if self.reduction == Reduction::Sum {
            return 1.0;
        }
        let kept = targets.iter().filter(|&&target| Some(target) != self.ignore_index);
        let sum: f64 = kept.map(|&target| self.class_weight(target)).sum();
        if sum == 0.0 { 0.0 } else { 1.0 / sum }
    }
}

/// `loss[n] = -Σ q[n][c] log p[n][c]`, each row for itself: PyTorch's reduction `'none'`.
///
/// `logits` `[N][C]`, `targets` `[N]`; returns `[N]`.
pub fn cross_entropy_each(options: &Loss, classes: usize, logits: &[f64], targets: &[usize]) -> Vec<f64> {
    assert_eq!(logits.len(), targets.len() * classes);
    let losses = rows(logits, classes).zip(targets).map(|(logits, &target)| {
        let q = options.soft_target(classes, target);
        // A class that is not asked for may well be impossible: here 0 · ∞ is 0.
        let terms = q.iter().zip(log_softmax(logits)).map(|(q, log_p)| if *q == 0.0 { 0.0 } else { -q * log_p });
        terms.sum()
    });
    losses.collect()
}

/// `loss = scale Σₙ loss[n]`, with class weights, ignored rows and label smoothing.
///
/// `logits` `[N][C]`, `targets` `[N]`.
pub fn cross_entropy_rows(options: &Loss, classes: usize, logits: &[f64], targets: &[usize]) -> f64 {
    let losses = cross_entropy_each(options, classes, logits, targets);
    losses.iter().sum::<f64>() * options.scale(targets)
}

/// `dz[n] = (p[n] Σ q[n] - q[n]) scale`, which is `(p - onehot) scale` without options; zeros for an ignored row.
///
/// `logits` `[N][C]`, `targets` `[N]`; returns `d_logits` `[N][C]`.
pub fn cross_entropy_rows_backward(options: &Loss, classes: usize, logits: &[f64], targets: &[usize]) -> Vec<f64> {
    assert_eq!(logits.len(), targets.len() * classes);
    let scale = options.scale(targets);
    let mut d_logits = Vec::new();
    for (logits, &target) in rows(logits, classes).zip(targets) {
        let d_log_p: Vec<f64> = options.soft_target(classes, target).iter().map(|q| -q * scale).collect();
        d_logits.extend(log_softmax_backward(&log_softmax(logits), &d_log_p));
    }
    d_logits
}

// ---- Optimization --------------------------------------------------------------------------------------------------

/// The options of PyTorch's `Adam` and `AdamW`, with the defaults of `Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// `η`
    pub lr: f64,
    /// `(β₁, β₂)`
    pub betas: (f64, f64),
    /// `ε`
    pub eps: f64,
    /// `λ`
    pub weight_decay: f64,
    /// `false`: decay is part of the gradient (`Adam`); `true`: it shrinks the parameter itself (`AdamW`).
    pub decoupled: bool,
    /// Divide by the largest second moment so far.
    pub amsgrad: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decoupled: false, amsgrad: false }
    }
}

/// What Adam remembers of the `N` values of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// `m` `[N]`, the running mean of the gradient.
    pub m: Vec<f64>,
    /// `v` `[N]`, the running mean of its square.
    pub v: Vec<f64>,
    /// `v̂` `[N]`, the largest `v` so far; used by `amsgrad` only.
    pub v_max: Vec<f64>,
}

impl Moments {
    /// The moments before the first step.
    pub fn zeros(len: usize) -> Self {
        Self { m: vec![0.0; len], v: vec![0.0; len], v_max: vec![0.0; len] }
    }
}

/// One step of Adam (Kingma & Ba 2015), number `t = 1, 2, …`:
///
/// ```text
/// p ← p - η λ p                               when decoupled (Loshchilov & Hutter 2019)
/// g ← g + λ p                                 when not
/// m ← m + (1 - β₁) (g - m)
/// v ← β₂ v + (1 - β₂) g²
/// p ← p - η / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
/// ```
///
/// with the largest `v` so far in the place of `v` in the last line under `amsgrad` (Reddi et al. 2018). As in PyTorch
/// that maximum is taken before the correction for the start, where the paper has no correction.
///
/// `parameter`, `gradient`, and each of `moments`: `[N]`.
pub fn adam_step(options: &Adam, t: u64, parameter: &mut [f64], gradient: &[f64], moments: &mut Moments) {
    assert!(t >= 1, "steps are counted from 1");
    assert_eq!(parameter.len(), gradient.len());
    assert_eq!(parameter.len(), moments.m.len());
    let Adam { lr, betas: (beta1, beta2), eps, weight_decay, decoupled, amsgrad } = *options;
    let correction1 = 1.0 - libm::pow(beta1, t as f64);
    let correction2 = 1.0 - libm::pow(beta2, t as f64);
    for (i, p) in parameter.iter_mut().enumerate() {
        let mut g = gradient[i];
        if decoupled {
            *p -= lr * weight_decay * *p;
        } else {
            g += weight_decay * *p;
        }
        let m = moments.m[i] + (1.0 - beta1) * (g - moments.m[i]);
        let v = beta2 * moments.v[i] + (1.0 - beta2) * g * g;
        (moments.m[i], moments.v[i]) = (m, v);
        if amsgrad {
            moments.v_max[i] = moments.v_max[i].max(v);
        }
        let v = if amsgrad { moments.v_max[i] } else { v };
        *p -= lr / correction1 * m / (libm::sqrt(v) / libm::sqrt(correction2) + eps);
    }
}

/// `g ← g min(1, max_norm / (‖g‖ + 1e-6))`, with `‖g‖` the Euclidean norm of *all* gradients together (Pascanu et al.
/// 2013, with PyTorch's 1e-6). Returns `‖g‖` as it was before. A norm that is NaN makes every gradient NaN.
pub fn clip_grad_norm(gradients: &mut [&mut [f64]], max_norm: f64) -> f64 {
    let norm = libm::sqrt(gradients.iter().map(|gradient| dot(gradient, gradient)).sum());
    let factor = max_norm / (norm + 1e-6);
    let factor = if factor > 1.0 { 1.0 } else { factor };
    for g in gradients.iter_mut().flat_map(|gradient| gradient.iter_mut()) {
        *g *= factor;
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that are neither small, equal nor ordered, and the same in Python: `0.9 * math.sin(seed + 1.7 * i)`.
    pub(crate) fn values(len: usize, seed: f64) -> Vec<f64> {
        (0..len).map(|i| 0.9 * libm::sin(seed + 1.7 * i as f64)).collect()
    }

    /// A tensor as one number, which depends on every value and its place.
    pub(crate) fn check(tensor: &[f64]) -> f64 {
        dot(tensor, &values(tensor.len(), 0.5))
    }

    #[track_caller]
    pub(crate) fn assert_near(actual: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(actual.len(), expected.len());
        let near = actual.iter().zip(expected).all(|(a, e)| (a - e).abs() <= tolerance * (1.0 + e.abs()));
        assert!(near, "{actual:?}\nis not\n{expected:?}");
    }

    /// `d_at` is the gradient of `f` at `at`, by central differences of the fourth order.
    #[track_caller]
    pub(crate) fn assert_gradient(at: &[f64], d_at: &[f64], f: impl Fn(&[f64]) -> f64) {
        const STEP: f64 = 1e-3;
        let moved = |i: usize, by: f64| {
            let mut at = at.to_vec();
            at[i] += by;
            f(&at)
        };
        let slope = |i, step| (moved(i, step) - moved(i, -step)) / (2.0 * step);
        let numeric = (0..at.len()).map(|i| (4.0 * slope(i, STEP) - slope(i, 2.0 * STEP)) / 3.0);
        assert_near(d_at, &numeric.collect::<Vec<_>>(), 1e-10);
    }

    /// The cell number `layer` of a stack, the same in the PyTorch program that gave the numbers below.
    fn cell(input_size: usize, hidden_size: usize, layer: usize) -> Cell {
        let mut cell = Cell::zeros(input_size, hidden_size);
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

    #[test]
    fn tanh_backward() {
        for x in [-3.0, -0.4, 0.0, 1.0] {
            assert_gradient(&[x], &[tanh_derivative_from_output(tanh(x))], |x| tanh(x[0]));
        }
    }

    #[test]
    fn sigmoid_by_hand_and_backward() {
        assert_eq!([-1e3, 0.0, 1e3].map(sigmoid), [0.0, 0.5, 1.0]);
        assert_near(&[sigmoid(libm::log(3.0)), sigmoid(-libm::log(3.0))], &[0.75, 0.25], 1e-15);
        // Small results keep their digits.
        assert!((sigmoid(-50.0) / libm::exp(-50.0) - 1.0).abs() < 1e-15);
        assert!(sigmoid(f64::NAN).is_nan());
        for x in [-3.0, -0.4, 0.0, 1.0] {
            assert_gradient(&[x], &[sigmoid_derivative_from_output(sigmoid(x))], |x| sigmoid(x[0]));
        }
    }

    #[test]
    fn relu_backward() {
        for (x, y, d) in [(-3.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1e-300, 1e-300, 1.0), (2.5, 2.5, 1.0)] {
            assert_eq!((relu(x), relu_derivative_from_output(relu(x))), (y, d));
        }
        assert!(relu(f64::NAN).is_nan());
        assert_eq!(relu_derivative_from_output(f64::NAN), 1.0);
        for x in [-3.0, -0.4, 0.3, 1.0] {
            assert_gradient(&[x], &[Nonlinearity::Relu.derivative_from_output(relu(x))], |x| relu(x[0]));
        }
    }

    #[test]
    fn affine_by_hand_and_backward() {
        assert_eq!(affine(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0.5, -0.5], &[1.0, 0.0, -1.0]), [-1.5, -2.5]);

        let (weight, bias, x, d_y) = (values(6, 1.0), values(2, 2.0), values(3, 3.0), values(2, 4.0));
        let (mut d_weight, mut d_bias) = (vec![0.0; 6], vec![0.0; 2]);
        let d_x = affine_backward(&weight, &x, &d_y, &mut d_weight, &mut d_bias);
        assert_gradient(&weight, &d_weight, |weight| dot(&d_y, &affine(weight, &bias, &x)));
        assert_gradient(&bias, &d_bias, |bias| dot(&d_y, &affine(&weight, bias, &x)));
        assert_gradient(&x, &d_x, |x| dot(&d_y, &affine(&weight, &bias, x)));
    }

    #[test]
    fn embedding_by_hand_and_backward() {
        let (weight, tokens, d_y) = (values(8, 1.0), [3, 0, 3], values(6, 2.0));
        let output = embedding(&weight, 2, &tokens);
        assert_eq!(output, [weight[6], weight[7], weight[0], weight[1], weight[6], weight[7]]);

        let mut d_weight = vec![0.0; 8];
        embedding_backward(2, &tokens, None, &d_y, &mut d_weight);
        assert_gradient(&weight, &d_weight, |weight| dot(&d_y, &embedding(weight, 2, &tokens)));

        let mut d_padded = vec![0.0; 8];
        embedding_backward(2, &tokens, Some(3), &d_y, &mut d_padded);
        assert_eq!(d_padded[..6], d_weight[..6]);
        assert_eq!(d_padded[6..], [0.0, 0.0]);
    }

    #[test]
    fn one_unit_by_hand() {
        let (weight_ih, weight_hh, bias_ih, bias_hh) = (vec![0.5], vec![-1.0], vec![0.25], vec![0.125]);
        let cell = Cell { weight_ih, weight_hh, bias_ih, bias_hh, ..Cell::zeros(1, 1) };
        let (h1, h2) = (libm::tanh(0.5 * 2.0 + 0.375 - 0.75), libm::tanh(0.5 * 3.0 + 0.375 - libm::tanh(0.625)));
        let outputs = rnn_forward(core::slice::from_ref(&cell), &[2.0, 3.0], &[0.75]);
        assert_near(&outputs[0], &[h1, h2], 1e-15);

        let mut d = [Cell::zeros(1, 1)];
        let (d_x, d_h0) = rnn_backward(&[cell], &[2.0, 3.0], &[0.75], &outputs, &[0.0, 1.0], &[0.5], &mut d);
        let d_z2 = 1.5 * (1.0 - h2 * h2);
        let d_z1 = -d_z2 * (1.0 - h1 * h1);
        assert_near(&d_x, &[0.5 * d_z1, 0.5 * d_z2], 1e-15);
        assert_near(&d_h0, &[-d_z1], 1e-15);
        let d_parameters = [2.0 * d_z1 + 3.0 * d_z2, 0.75 * d_z1 + h1 * d_z2, d_z1 + d_z2, d_z1 + d_z2];
        assert_near(&d[0].parameters().concat(), &d_parameters, 1e-15);
    }

    #[test]
    fn cell_step_is_differentiated() {
        for nonlinearity in [Nonlinearity::Tanh, Nonlinearity::Relu] {
            let cell = Cell { nonlinearity, ..cell(3, 4, 0) };
            let (x, h, d_h_next) = (values(3, 5.0), values(4, 6.0), values(4, 7.0));
            let mut d_cell = Cell::zeros(3, 4);
            let (d_x, d_h) = cell_step_backward(&cell, &x, &h, &cell_step(&cell, &x, &h), &d_h_next, &mut d_cell);
            assert_gradient(&x, &d_x, |x| dot(&d_h_next, &cell_step(&cell, x, &h)));
            assert_gradient(&h, &d_h, |h| dot(&d_h_next, &cell_step(&cell, &x, h)));
            for k in 0..4 {
                let loss = |parameter: &[f64]| dot(&d_h_next, &cell_step(&with(&cell, k, parameter), &x, &h));
                assert_gradient(cell.parameters()[k], d_cell.parameters()[k], loss);
            }
        }
    }

    #[test]
    fn one_rectified_unit_by_hand() {
        let (weight_ih, weight_hh, bias_ih, bias_hh) = (vec![0.5], vec![-1.0], vec![0.25], vec![0.125]);
        let nonlinearity = Nonlinearity::Relu;
        let cell = Cell { weight_ih, weight_hh, bias_ih, bias_hh, nonlinearity, ..Cell::zeros(1, 1) };
        // z = 0.625, then -0.75, then 1.875.
        let (x, h0) = ([2.0, -1.0, 3.0], [0.75]);
        let output = layer_forward(&cell, &x, &h0);
        assert_eq!(output, [0.625, 0.0, 1.875]);
        let mut d = Cell::zeros(1, 1);
        let (d_x, d_h0) = layer_backward(&cell, &x, &h0, &output, &[1.0, 2.0, 4.0], &[8.0], &mut d);
        // The second step is off: nothing passes it.
        assert_eq!((d_x, d_h0), (vec![0.5, 0.0, 6.0], vec![-1.0]));
        assert_eq!(d.parameters().concat(), [2.0 + 36.0, 0.75, 13.0, 13.0]);
    }

    /// Two layers, five steps; every number is from `torch.nn.RNN(3, 4, 2)` (torch 2.15, f64) on the same values.
    #[test]
    fn rnn_is_differentiated_and_is_pytorch() {
        let (cells, x, h0) = ([cell(3, 4, 0), cell(4, 4, 1)], values(15, 20.0), values(8, 21.0));
        let (d_output, d_h_last) = (values(20, 22.0), values(8, 23.0));
        let loss = |cells: &[Cell], x: &[f64], h0: &[f64]| {
            let outputs = rnn_forward(cells, x, h0);
            dot(&outputs[1], &d_output) + dot(&last_hidden(&outputs, h0), &d_h_last)
        };
        let outputs = rnn_forward(&cells, &x, &h0);
        let mut d_cells = [Cell::zeros(3, 4), Cell::zeros(4, 4)];
        let (d_x, d_h0) = rnn_backward(&cells, &x, &h0, &outputs, &d_output, &d_h_last, &mut d_cells);

        assert_gradient(&x, &d_x, |x| loss(&cells, x, &h0));
        assert_gradient(&h0, &d_h0, |h0| loss(&cells, &x, h0));
        for (layer, k) in (0..8).map(|i| (i / 4, i % 4)) {
            assert_gradient(cells[layer].parameters()[k], d_cells[layer].parameters()[k], |parameter| {
                let mut cells = cells.clone();
                cells[layer] = with(&cells[layer], k, parameter);
                loss(&cells, &x, &h0)
            });
        }

        let tensors = [&outputs[1], &last_hidden(&outputs, &h0), &d_x, &d_h0].map(|tensor| check(tensor));
        assert_near(&tensors, &[2.441070455769586, -0.276652898304806, -0.434352644888875, 1.913894355587545], 1e-14);
        let lower = [1.571465771267413, 0.618190970254514, 0.729390209940523, 0.729390209940523];
        let upper = [0.188874223633713, 2.401719165779323, -1.414593382403878, -1.414593382403878];
        assert_near(&d_cells[0].parameters().map(check), &lower, 1e-14);
        assert_near(&d_cells[1].parameters().map(check), &upper, 1e-14);
    }

    #[test]
    fn an_empty_sequence_passes_the_state_through() {
        let (cells, h0) = ([cell(3, 2, 0), cell(2, 2, 1)], values(4, 1.0));
        let outputs = rnn_forward(&cells, &[], &h0);
        assert_eq!(last_hidden(&outputs, &h0), h0);
        let mut d_cells = [Cell::zeros(3, 2), Cell::zeros(2, 2)];
        let (d_x, d_h0) = rnn_backward(&cells, &[], &h0, &outputs, &[], &[1.0, 2.0, 3.0, 4.0], &mut d_cells);
        assert_eq!((d_x, d_h0), (vec![], vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(d_cells, [Cell::zeros(3, 2), Cell::zeros(2, 2)]);
    }

    #[test]
    fn softmax_by_hand_and_backward() {
        let ln = |x: f64| libm::log(x);
        assert_near(&softmax(&[ln(1.0), ln(2.0), ln(5.0)]), &[0.125, 0.25, 0.625], 1e-15);
        assert_near(&log_softmax(&[1000.0, 1000.0, f64::NEG_INFINITY])[..2], &[-ln(2.0), -ln(2.0)], 1e-15);
        assert!(log_softmax(&[0.0, f64::NAN]).iter().all(|log_p| log_p.is_nan()));

        let (logits, d_log_p) = (values(4, 1.0), values(4, 2.0));
        let d_logits = log_softmax_backward(&log_softmax(&logits), &d_log_p);
        assert_gradient(&logits, &d_logits, |logits| dot(&d_log_p, &log_softmax(logits)));
    }

    #[test]
    fn cross_entropy_of_rows_is_the_mean_of_each() {
        let (logits, targets) = (values(6, 1.0), [2, 0]);
        let mean = (cross_entropy(&logits[..3], 2) + cross_entropy(&logits[3..], 0)) / 2.0;
        assert_near(&[cross_entropy_rows(&Loss::default(), 3, &logits, &targets)], &[mean], 1e-15);

        let d_rows = [cross_entropy_backward(&logits[..3], 2, 0.5), cross_entropy_backward(&logits[3..], 0, 0.5)];
        assert_near(&cross_entropy_rows_backward(&Loss::default(), 3, &logits, &targets), &d_rows.concat(), 1e-15);
        assert_gradient(&logits[..3], &d_rows[0], |logits| 0.5 * cross_entropy(logits, 2));
        assert_eq!(cross_entropy(&[0.0, f64::NEG_INFINITY], 0), 0.0);
        assert_eq!(cross_entropy_rows(&Loss::default(), 2, &[0.0, f64::NEG_INFINITY], &[0]), 0.0);
    }

    /// Loss and checked gradient of `torch.nn.functional.cross_entropy` (torch 2.15, f64) on the same values.
    #[test]
    fn cross_entropy_is_differentiated_and_is_pytorch() {
        // By reduction, class weights and ignored class (the bits of the row's number); then by label smoothing.
        const EXPECTED: [[(f64, f64); 2]; 8] = [
            [(2.498162587049515, 0.31610284205886), (2.490192086416273, 0.141388419314395)],
            [(2.202826446245555, 0.116896876684877), (2.279294318812175, -0.040303035525961)],
            [(2.679773859109465, 0.172518281191057), (2.560299434846551, 0.035738063109821)],
            [(2.609334144074272, 0.098398035492081), (2.380410897205757, -0.016486784402425)],
            [(9.992650348198058, 1.264411368235441), (9.960768345665091, 0.565553677257579)],
            [(6.608479338736664, 0.350690630054632), (6.837882956436524, -0.120909106577884)],
            [(14.73875622510206, 0.948850546550812), (14.081646891656032, 0.196559347104015)],
            [(13.046670720371361, 0.491990177460407), (11.902054486028787, -0.082433922012125)],
        ];
        let logits: Vec<f64> = values(12, 30.0).iter().map(|z| 3.0 * z).collect();
        let targets = [2, 0, 1, 1];
        for (case, smoothed) in (0..16).map(|i| (i / 2, i % 2)) {
            let options = Loss {
                reduction: if case & 4 == 0 { Reduction::Mean } else { Reduction::Sum },
                weight: (case & 2 != 0).then_some(&[0.5, 2.0, 1.0]),
                ignore_index: (case & 1 != 0).then_some(0),
                label_smoothing: [0.0, 0.3][smoothed],
            };
            let loss = cross_entropy_rows(&options, 3, &logits, &targets);
            let d_logits = cross_entropy_rows_backward(&options, 3, &logits, &targets);
            let expected = EXPECTED[case][smoothed];
            assert_near(&[loss, check(&d_logits)], &[expected.0, expected.1], 1e-14);
            assert_gradient(&logits, &d_logits, |logits| cross_entropy_rows(&options, 3, logits, &targets));
        }
    }

    #[test]
    fn nothing_to_learn_from_is_zero() {
        let options = Loss { ignore_index: Some(usize::MAX), label_smoothing: 0.1, ..Loss::default() };
        let (logits, targets) = (values(4, 1.0), [usize::MAX; 2]);
        assert_eq!(cross_entropy_rows(&options, 2, &logits, &targets), 0.0);
        assert_eq!(cross_entropy_rows_backward(&options, 2, &logits, &targets), [0.0; 4]);
        assert_eq!(cross_entropy_rows(&options, 2, &[], &[]), 0.0);
    }

    /// Parameters after six steps of `torch.optim.Adam` and `AdamW` (torch 2.15, f64) with the same gradients.
    #[test]
    fn adam_is_pytorch() {
        let plain = Adam { lr: 0.05, betas: (0.8, 0.9), ..Adam::default() };
        let decay = Adam { weight_decay: 0.1, ..plain };
        let adam_w = Adam { decoupled: true, ..decay };
        for (options, expected) in [
            (plain, [0.485182215454934, -0.739711046673819, -0.324013254348578]),
            (decay, [0.464562549745692, -0.687148832657529, -0.309256216544520]),
            (adam_w, [0.468467617956310, -0.717968705129373, -0.312330557466037]),
            (Adam { amsgrad: true, ..plain }, [0.490389497901311, -0.739453893096688, -0.329277862651101]),
            (Adam { amsgrad: true, ..adam_w }, [0.473628257116629, -0.717720020140266, -0.317547076674087]),
        ] {
            let (mut parameter, mut moments) = (values(3, 40.0), Moments::zeros(3));
            for t in 1..=6 {
                let gradient: Vec<f64> = values(3, 50.0 + t as f64).iter().map(|g| g / t as f64).collect();
                adam_step(&options, t, &mut parameter, &gradient, &mut moments);
            }
            assert_near(&parameter, &expected, 1e-14);
        }
        // By hand: the first step goes by lr against the sign, whatever the size of the gradient.
        let mut parameter = [1.0, 1.0];
        adam_step(&Adam::default(), 1, &mut parameter, &[3.0, -5e3], &mut Moments::zeros(2));
        assert_near(&parameter, &[0.999, 1.001], 1e-11);
    }

    /// Against `torch.nn.utils.clip_grad_norm_` (torch 2.15, f64), and by hand where nothing is to be clipped.
    #[test]
    fn clipping_is_pytorch() {
        let (mut a, mut b) = (values(3, 60.0), values(2, 61.0));
        let norm = clip_grad_norm(&mut [&mut a, &mut b], 0.7);
        assert_near(&[norm], &[1.320422244174454], 1e-14);
        assert_near(&a, &[-0.145431165455177, -0.431889396794051, 0.256724307298234], 1e-14);
        assert_near(&b, &[-0.460953862930386, -0.06272757891892], 1e-14);

        let mut small = [3.0, -4.0];
        assert_eq!(clip_grad_norm(&mut [&mut small], 6.0), 5.0);
        assert_eq!(small, [3.0, -4.0]);
        let mut broken = [f64::NAN, 1.0];
        assert!(clip_grad_norm(&mut [&mut broken], 1.0).is_nan() && broken.iter().all(|g| g.is_nan()));
    }
}
