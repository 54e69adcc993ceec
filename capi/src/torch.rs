//! Weights that are given at run time.

use elman::{Name, Parameters, TensorLayout};

/// Takes over flat numbers, as many as there are parameters: the tensors of PyTorch's `parameters()` one behind the other, each
/// in PyTorch's row-major order.
pub(crate) fn load<M: Parameters>(model: &mut M, numbers: &[f32]) {
    let (mut tensors, mut numbers) = (0.., numbers);
    model.visit_mut(&mut |tensor| {
        let (these, rest) = numbers.split_at(tensor.len());
        numbers = rest;
        let layout = tensors.next().and_then(layout::<M>);
        for (index, x) in these.iter().enumerate() {
            tensor[layout.map_or(index, |layout| layout.place(index))] = *x;
        }
    });
}

/// Of the tensor that is visited as the `index`-th: found anew each time, as there is no heap to keep all of them.
fn layout<M: Parameters>(index: usize) -> Option<TensorLayout> {
    let (mut count, mut found) = (0, None);
    M::describe(&Name::model(&[]), &mut |_, layout| {
        found = if count == index { Some(layout) } else { found };
        count += 1;
    });
    found
}
