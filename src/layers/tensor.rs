//! Tensors of other libraries, borrowed.

use crate::data::error::{Error, Shape};

/// Numbers of a tensor in PyTorch's order, row-major `[out][in]`, and its shape where the source knows it.
///
/// With a shape, a transposed matrix or two tensors that were exchanged are refused, also where the number of elements is the
/// same; a plain slice has none, and only its length is checked.
///
/// ```
/// use elman::{Linear, Tensor};
/// let (numbers, bias) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0; 2]);
/// let weight = Tensor::new(&numbers, &[2, 3]); // 2 outputs, 3 inputs
/// assert!(Linear::<3, 2>::from_torch(weight, &bias).is_ok());
/// let transposed = Tensor::new(&numbers, &[3, 2]);
/// let refused = Linear::<3, 2>::from_torch(transposed, &bias).unwrap_err();
/// assert_eq!(refused.to_string(), "weight: shape [2, 3] expected, [3, 2] given");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    numbers: &'a [f32],
    shape: Option<Shape>,
}

impl<'a> Tensor<'a> {
    /// A tensor of a known shape.
    #[must_use]
    pub const fn new(numbers: &'a [f32], shape: &[usize]) -> Self {
        Self { numbers, shape: Some(Shape::new(shape)) }
    }

    /// The numbers of an `[outputs][inputs]` matrix.
    pub(crate) fn matrix(&self, name: &'static str, outputs: usize, inputs: usize) -> Result<&'a [f32], Error> {
        self.check(name, &[outputs, inputs], outputs * inputs)
    }

    /// The numbers of a vector.
    pub(crate) fn vector(&self, name: &'static str, len: usize) -> Result<&'a [f32], Error> {
        self.check(name, &[len], len)
    }

    fn check(&self, name: &'static str, shape: &[usize], len: usize) -> Result<&'a [f32], Error> {
        let expected = Shape::new(shape);
        let given = match self.shape {
            Some(given) if given != expected => given,
            _ if self.numbers.len() == len => return Ok(self.numbers),
            _ => Shape::new(&[self.numbers.len()]),
        };
        Err(Error::Tensor { name, layer: None, expected, given })
    }
}

impl<'a> From<&'a [f32]> for Tensor<'a> {
    /// A tensor whose shape is not known.
    fn from(numbers: &'a [f32]) -> Self {
        Self { numbers, shape: None }
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Tensor<'a> {
    fn from(numbers: &'a [f32; N]) -> Self {
        Self::from(numbers.as_slice())
    }
}

#[cfg(feature = "alloc")]
impl<'a> From<&'a alloc::vec::Vec<f32>> for Tensor<'a> {
    fn from(numbers: &'a alloc::vec::Vec<f32>) -> Self {
        Self::from(numbers.as_slice())
    }
}
