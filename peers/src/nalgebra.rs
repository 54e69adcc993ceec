//! nalgebra: matrices of fixed sizes, and tanh of the standard library; single steps of tanh only.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::{Cell, Data, Kind, SINGLE_STEPS, Work};
use nalgebra::{SMatrix, SVector};
use std::hint::black_box;

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    let candidate = match (work.kind, work.cell, work.size) {
        (Kind::Step, Cell::Tanh, 4) => named("nalgebra", Step::<4>::new(data)),
        (Kind::Step, Cell::Tanh, 8) => named("nalgebra", Step::<8>::new(data)),
        (Kind::Step, Cell::Tanh, 16) => named("nalgebra", Step::<16>::new(data)),
        (Kind::Step, Cell::Tanh, 32) => named("nalgebra", Step::<32>::new(data)),
        (Kind::Step, Cell::Tanh, 64) => named("nalgebra", Step::<64>::new(data)),
        (Kind::Step, Cell::Tanh, 128) => named("nalgebra", Step::<128>::new(data)),
        _ => return vec![],
    };
    vec![candidate]
}

struct Step<const H: usize> {
    weight_ih: Box<SMatrix<f32, H, H>>,
    weight_hh: Box<SMatrix<f32, H, H>>,
    bias: SVector<f32, H>,
    x: SVector<f32, H>,
    h: SVector<f32, H>,
}

impl<const H: usize> Step<H> {
    fn new(data: &Data) -> Result<Self, Failure> {
        Ok(Self {
            weight_ih: Box::new(SMatrix::from_row_slice(data.get("weight_ih"))),
            weight_hh: Box::new(SMatrix::from_row_slice(data.get("weight_hh"))),
            bias: SVector::from_row_slice(&data.bias()),
            x: SVector::from_row_slice(data.get("x")),
            h: SVector::zeros(),
        })
    }
}

impl<const H: usize> Candidate for Step<H> {
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..SINGLE_STEPS {
            let mut sum = self.bias;
            sum.gemv(1.0, &self.weight_ih, black_box(&self.x), 1.0);
            sum.gemv(1.0, &self.weight_hh, &self.h, 1.0);
            self.h = sum.map(f32::tanh);
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        Ok(self.h.as_slice().to_vec())
    }
}
