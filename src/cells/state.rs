//! What cells carry from step to step: a hidden state, or that and a state of the cell.

use crate::data::zero::Zero;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt::Debug;

/// An array of numbers, or of such arrays.
pub trait Numbers: Zero + bytemuck::Pod + Debug + PartialEq + Send + Sync {}

impl Numbers for () {}
impl<const N: usize> Numbers for [f32; N] {}
impl<const N: usize, const GATES: usize> Numbers for [[f32; N]; GATES] {}

/// The state of one sample: `h`, an array of a number for each neuron, or `(h, c)`.
pub trait State<const HID: usize>: Zero + Debug + PartialEq + Send + Sync {
    /// `h`
    fn h(&self) -> &[f32; HID];
    /// `c`; empty where there is none.
    fn c(&self) -> &[f32];
    /// Both, to be changed.
    #[doc(hidden)]
    fn both_mut(&mut self) -> (&mut [f32; HID], &mut [f32]);
}

impl<const HID: usize> State<HID> for [f32; HID] {
    #[inline(always)]
    fn h(&self) -> &[f32; HID] {
        self
    }
    #[inline(always)]
    fn c(&self) -> &[f32] {
        &[]
    }
    #[inline(always)]
    fn both_mut(&mut self) -> (&mut [f32; HID], &mut [f32]) {
        (self, &mut [])
    }
}

impl<const HID: usize> State<HID> for ([f32; HID], [f32; HID]) {
    #[inline(always)]
    fn h(&self) -> &[f32; HID] {
        &self.0
    }
    #[inline(always)]
    fn c(&self) -> &[f32] {
        &self.1
    }
    #[inline(always)]
    fn both_mut(&mut self) -> (&mut [f32; HID], &mut [f32]) {
        (&mut self.0, &mut self.1)
    }
}

/// The states of samples: the rows of `h`, or those of `(h, c)`.
#[cfg(feature = "alloc")]
pub trait States<const HID: usize>: Clone + Debug + Default + Send + Sync {
    /// The rows of `h`.
    fn h(&self) -> &Vec<[f32; HID]>;
    /// The rows of `c`, where there are some.
    fn c(&self) -> Option<&Vec<[f32; HID]>>;
    /// Both, to be changed.
    #[doc(hidden)]
    fn both_mut(&mut self) -> (&mut Vec<[f32; HID]>, Option<&mut Vec<[f32; HID]>>);
    /// Overwrites them in the memory that is there.
    #[doc(hidden)]
    fn copy_from(&mut self, from: &Self);
}

#[cfg(feature = "alloc")]
impl<const HID: usize> States<HID> for Vec<[f32; HID]> {
    fn h(&self) -> &Vec<[f32; HID]> {
        self
    }
    fn c(&self) -> Option<&Vec<[f32; HID]>> {
        None
    }
    fn both_mut(&mut self) -> (&mut Vec<[f32; HID]>, Option<&mut Vec<[f32; HID]>>) {
        (self, None)
    }
    fn copy_from(&mut self, from: &Self) {
        self.clone_from(from);
    }
}

#[cfg(feature = "alloc")]
impl<const HID: usize> States<HID> for (Vec<[f32; HID]>, Vec<[f32; HID]>) {
    fn h(&self) -> &Vec<[f32; HID]> {
        &self.0
    }
    fn c(&self) -> Option<&Vec<[f32; HID]>> {
        Some(&self.1)
    }
    fn both_mut(&mut self) -> (&mut Vec<[f32; HID]>, Option<&mut Vec<[f32; HID]>>) {
        (&mut self.0, Some(&mut self.1))
    }
    fn copy_from(&mut self, from: &Self) {
        self.0.clone_from(&from.0);
        self.1.clone_from(&from.1);
    }
}
