//! Whether two candidates computed the same.

use crate::candidate::{Candidate, Failure};
use crate::this_crate;
use crate::work::{Data, Work};
use elman::Generator;

/// What elman computes, and how far each tensor of it moves under the rounding errors of a correct program.
///
/// A sum of n products in single precision, in whatever order, is the exact sum of products each of which is off by at
/// most n * 2^-24 of itself (Higham, Accuracy and Stability, section 3.1). So the result of a correct program is that of
/// data moved by about as much. The tolerance of a tensor is how far its numbers move in elman's own result when all data
/// are moved by random parts of n * 2^-24, n being the longest sum of the work: more than rounding errors do, which mostly
/// cancel, and much less than a mistake. To that come the roundings of the result's own last sum, 4 sqrt(n) 2^-24 of the
/// tensor's greatest number, as in tests/golden.rs: where moved data cancel too, as in a mean, they are what is left.
pub struct Expected {
    tensors: Vec<Tensor>,
}

/// The relative error of one rounding, at most: 2^-24.
const ROUNDING: f32 = f32::EPSILON / 2.0;

struct Tensor {
    name: &'static str,
    values: Vec<f32>,
    tolerance: f32,
}

impl Expected {
    pub fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        let result = compute(work, data)?;
        let mut tensors = Vec::new();
        let mut rest = &result[..];
        for (name, len) in work.results() {
            let (values, others) = rest.split_at(len);
            tensors.push(Tensor { name, values: values.to_vec(), tolerance: 0.0 });
            rest = others;
        }
        let mut expected = Self { tensors };
        let roundings = 4.0 * (work.longest_sum() as f32).sqrt() * ROUNDING;
        for seed in 0..4 {
            let moved = compute(work, &moved(work, data, seed))?;
            let differences = expected.differences(&moved);
            for (tensor, difference) in expected.tensors.iter_mut().zip(differences) {
                tensor.tolerance = tensor.tolerance.max(difference);
            }
        }
        for tensor in &mut expected.tensors {
            tensor.tolerance += roundings * tensor.values.iter().fold(0.0, |greatest: f32, x| greatest.max(x.abs()));
        }
        Ok(expected)
    }

    /// The greatest difference of each tensor.
    fn differences(&self, result: &[f32]) -> Vec<f32> {
        let mut rest = result;
        let difference = |tensor: &Tensor| {
            let (values, others) = rest.split_at(tensor.values.len());
            rest = others;
            // Not a number is the greatest difference of all.
            tensor.values.iter().zip(values).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or(0.0)
        };
        self.tensors.iter().map(difference).collect()
    }

    /// Refuses a result that is not elman's within the tolerance.
    pub fn check(&self, result: &[f32]) -> Result<(), String> {
        let expected: usize = self.tensors.iter().map(|tensor| tensor.values.len()).sum();
        if result.len() != expected {
            return Err(format!("the result has {} numbers instead of {expected}", result.len()));
        }
        for (tensor, difference) in self.tensors.iter().zip(self.differences(result)) {
            let (name, tolerance) = (tensor.name, tensor.tolerance);
            if difference.is_nan() || difference > tolerance {
                return Err(format!("{name}: a difference of {difference:e}, more than {tolerance:e}"));
            }
        }
        Ok(())
    }

    /// Whether the result has elman's bits.
    pub fn is_equal(&self, result: &[f32]) -> bool {
        let expected = self.tensors.iter().flat_map(|tensor| &tensor.values);
        expected.map(|value| value.to_bits()).eq(result.iter().map(|value| value.to_bits()))
    }
}

fn compute(work: Work, data: &Data) -> Result<Vec<f32>, Failure> {
    let (_, candidate) = this_crate::candidates(work, data).pop().ok_or("elman does not do this work")?;
    let mut candidate: Box<dyn Candidate> = candidate?;
    candidate.result()
}

/// The data with every number but the letters moved.
fn moved(work: Work, data: &Data, seed: u64) -> Data {
    let mut generator = Generator::seed(seed);
    let part = work.longest_sum() as f32 * ROUNDING;
    let mut data = data.clone();
    for (name, tensor) in &mut data.tensors {
        if !["tokens", "targets"].contains(name) {
            tensor.iter_mut().for_each(|value| *value *= 1.0 + generator.uniform(-part, part));
        }
    }
    data
}
