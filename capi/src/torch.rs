//! Weights that are given at run time.

use core::mem::size_of;
use elman::cells::Layout;
use elman::{Cell, Embedding, Error, Linear, RnnCell, RnnWeights};

/// A model whose weights are taken over from flat numbers: the tensors of PyTorch's `parameters()` one behind the other, each
/// in PyTorch's row-major order.
pub trait FromTorch {
    /// How many numbers.
    const LEN: usize;
    /// Takes over the first [`FromTorch::LEN`] numbers and gives those behind them.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if there are fewer.
    fn load<'a>(&mut self, numbers: &'a [f32]) -> Result<&'a [f32], Error>;
}

/// Parts one behind the other; empty where there are no numbers left.
fn parts<const N: usize>(mut numbers: &[f32], lengths: [usize; N]) -> ([&[f32]; N], &[f32]) {
    let parts = lengths.map(|len| {
        let (part, rest) = numbers.split_at_checked(len).unwrap_or_default();
        numbers = rest;
        part
    });
    (parts, numbers)
}

impl<const IN: usize, const HID: usize, C: Cell> FromTorch for RnnCell<IN, HID, C> {
    const LEN: usize = row::<HID, C>() * (IN + HID + 2);

    fn load<'a>(&mut self, numbers: &'a [f32]) -> Result<&'a [f32], Error> {
        let row = row::<HID, C>();
        let ([weight_ih, weight_hh, bias_ih, bias_hh], rest) = parts(numbers, [row * IN, row * HID, row, row]);
        self.load_torch(&RnnWeights {
            weight_ih: weight_ih.into(),
            weight_hh: weight_hh.into(),
            bias_ih: bias_ih.into(),
            bias_hh: bias_hh.into(),
        })?;
        Ok(rest)
    }
}

/// A number for each gate of each neuron.
const fn row<const HID: usize, C: Layout>() -> usize {
    size_of::<C::Row<HID>>() / size_of::<f32>()
}

impl<const IN: usize, const OUT: usize> FromTorch for Linear<IN, OUT> {
    const LEN: usize = OUT * (IN + 1);

    fn load<'a>(&mut self, numbers: &'a [f32]) -> Result<&'a [f32], Error> {
        let ([weight, bias], rest) = parts(numbers, [OUT * IN, OUT]);
        self.load_torch(weight, bias)?;
        Ok(rest)
    }
}

impl<const V: usize, const E: usize> FromTorch for Embedding<V, E> {
    const LEN: usize = V * E;

    fn load<'a>(&mut self, numbers: &'a [f32]) -> Result<&'a [f32], Error> {
        let ([weight], rest) = parts(numbers, [V * E]);
        self.load_torch(weight)?;
        Ok(rest)
    }
}

macro_rules! from_torch_of_tuple {
    ($($layer:ident $i:tt),+) => {
        impl<$($layer: FromTorch),+> FromTorch for ($($layer,)+) {
            const LEN: usize = 0 $(+ $layer::LEN)+;

            fn load<'a>(&mut self, numbers: &'a [f32]) -> Result<&'a [f32], Error> {
                $(let numbers = self.$i.load(numbers)?;)+
                Ok(numbers)
            }
        }
    };
}
from_torch_of_tuple!(A 0, B 1);
from_torch_of_tuple!(A 0, B 1, C 2);
from_torch_of_tuple!(A 0, B 1, C 2, D 3);
from_torch_of_tuple!(A 0, B 1, C 2, D 3, E 4);
from_torch_of_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
