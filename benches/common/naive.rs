//! Training a model by the plain reference: letters, recurrent layers, perhaps a linear layer, cross-entropy, Adam.

use elman::{Embedding, Linear, RnnCell};
use elman_reference::{self as reference, Cell, Loss, Moments};

/// The cell once more.
pub fn cell<const IN: usize, const HID: usize>(cell: &RnnCell<IN, HID>) -> Cell {
    Cell {
        input_size: IN,
        hidden_size: HID,
        weight_ih: cell.weight_ih_torch().map(f64::from).collect(),
        weight_hh: cell.weight_hh_torch().map(f64::from).collect(),
        bias_ih: cell.bias_ih.map(f64::from).to_vec(),
        bias_hh: cell.bias_hh.map(f64::from).to_vec(),
        nonlinearity: reference::Nonlinearity::Tanh,
    }
}

pub fn flattened<const N: usize>(rows: &[[f32; N]]) -> Vec<f64> {
    rows.as_flattened().iter().map(|x| f64::from(*x)).collect()
}

/// What a model of letters is made of. Without a table letters are one-hot, without a head the states are the logits.
pub struct Naive {
    /// `[V][E]`, and `E`.
    table: Option<(Vec<f64>, usize)>,
    cells: Vec<Cell>,
    /// `[C][H]` and `[C]`.
    head: Option<(Vec<f64>, Vec<f64>)>,
    loss: reference::Reduction,
    adam: reference::Adam,
    moments: Vec<Moments>,
    steps: u64,
}

impl Naive {
    pub fn new(cells: Vec<Cell>, loss: reference::Reduction, lr: f64) -> Self {
        let adam = reference::Adam { lr, ..Default::default() };
        Self { table: None, cells, head: None, loss, adam, moments: Vec::new(), steps: 0 }
    }

    pub fn between<const V: usize, const E: usize, const H: usize, const C: usize>(
        mut self,
        embedding: &Embedding<V, E>,
        linear: &Linear<H, C>,
    ) -> Self {
        self.table = Some((flattened(&embedding.weight), E));
        self.head = Some((linear.weight_torch().map(f64::from).collect(), linear.bias.map(f64::from).to_vec()));
        self
    }

    /// One step of training on one sequence.
    pub fn train(&mut self, letters: &[usize], targets: &[usize]) {
        let Self { table, cells, head, loss, adam, moments, steps } = self;
        let (width, hidden) = (cells[0].input_size, cells[0].hidden_size);
        let h0 = vec![0.0; cells.len() * hidden];
        let x = match table {
            Some((table, width)) => reference::embedding(table, *width, letters),
            None => letters.iter().flat_map(|&letter| (0..width).map(move |i| f64::from(i == letter))).collect(),
        };
        let outputs = reference::rnn_forward(cells, &x, &h0);
        let top = &outputs[cells.len() - 1];
        let options = Loss { reduction: *loss, ..Default::default() };

        let mut d_cells: Vec<Cell> = cells.iter().map(|c| Cell::zeros(c.input_size, c.hidden_size)).collect();
        let mut d_head = head.as_ref().map(|(weight, bias)| (vec![0.0; weight.len()], vec![0.0; bias.len()]));
        let d_top = match (&*head, &mut d_head) {
            (Some((weight, bias)), Some((d_weight, d_bias))) => {
                let rows = top.chunks(hidden);
                let logits: Vec<f64> = rows.clone().flat_map(|h| reference::affine(weight, bias, h)).collect();
                let d_logits = reference::cross_entropy_rows_backward(&options, bias.len(), &logits, targets);
                let d_rows = d_logits.chunks(bias.len()).zip(rows);
                d_rows.flat_map(|(d, h)| reference::affine_backward(weight, h, d, d_weight, d_bias)).collect()
            }
            _ => reference::cross_entropy_rows_backward(&options, hidden, top, targets),
        };
        let (d_x, _) = reference::rnn_backward(cells, &x, &h0, &outputs, &d_top, &vec![0.0; h0.len()], &mut d_cells);

        let mut tensors: Vec<(&mut [f64], Vec<f64>)> = Vec::new();
        if let Some((table, width)) = table {
            let mut d_table = vec![0.0; table.len()];
            reference::embedding_backward(*width, letters, None, &d_x, &mut d_table);
            tensors.push((table, d_table));
        }
        for (Cell { weight_ih, weight_hh, bias_ih, bias_hh, .. }, d) in cells.iter_mut().zip(d_cells) {
            tensors.push((weight_ih, d.weight_ih));
            tensors.push((weight_hh, d.weight_hh));
            tensors.push((bias_ih, d.bias_ih));
            tensors.push((bias_hh, d.bias_hh));
        }
        if let (Some((weight, bias)), Some((d_weight, d_bias))) = (head, d_head) {
            tensors.push((weight, d_weight));
            tensors.push((bias, d_bias));
        }
        *steps += 1;
        for (i, (tensor, gradient)) in tensors.into_iter().enumerate() {
            if moments.len() == i {
                moments.push(Moments::zeros(tensor.len()));
            }
            reference::adam_step(adam, *steps, tensor, &gradient, &mut moments[i]);
        }
    }
}
