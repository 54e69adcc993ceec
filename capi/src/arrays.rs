//! Arrays of the caller: a pointer and how many numbers it says are there.

use crate::code::Code;
use core::mem::{MaybeUninit, size_of};
use core::ops::Range;
use core::slice;

/// Where numbers start, and how many there are.
#[derive(Clone, Copy)]
pub struct Array<T> {
    pub(crate) start: *const T,
    pub(crate) len: usize,
}

/// The same, to be written.
#[derive(Clone, Copy)]
pub struct ArrayMut<T> {
    pub(crate) start: *mut T,
    pub(crate) len: usize,
}

impl<T> Array<T> {
    /// An array of C.
    pub const fn new(start: *const T, len: usize) -> Self {
        Self { start, len }
    }

    /// Refuses all that can be found out: a length that is not `expected` (`None` is one that no array has), a pointer that is
    /// null or misaligned, numbers in the memory of the model.
    #[inline]
    pub(crate) fn check(self, expected: Option<usize>, memory: &Range<usize>) -> Result<(), Code> {
        let bytes = self.len.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
        let (true, Some(bytes)) = (expected == Some(self.len), bytes) else { return Err(Code::WrongLength) };
        if bytes == 0 {
            return Ok(());
        }
        if self.start.is_null() {
            return Err(Code::NullPointer);
        }
        if !self.start.is_aligned() {
            return Err(Code::Misaligned);
        }
        let start = self.start.addr();
        let end = start.checked_add(bytes).ok_or(Code::WrongLength)?;
        if start < memory.end && memory.start < end { Err(Code::Overlap) } else { Ok(()) }
    }

    /// The numbers.
    ///
    /// # Safety
    ///
    /// The array has been checked, and the numbers that C says are there are there and stay as they are.
    pub(crate) unsafe fn numbers<'a>(self) -> &'a [T] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the caller's promise; `check` has seen that it is neither null nor misaligned nor too long.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> ArrayMut<T> {
    /// An array of C.
    pub const fn new(start: *mut T, len: usize) -> Self {
        Self { start, len }
    }

    /// [`Array::check`]
    #[inline]
    pub(crate) fn check(self, expected: Option<usize>, memory: &Range<usize>) -> Result<(), Code> {
        Array::new(self.start, self.len).check(expected, memory)
    }

    /// Room for the numbers.
    ///
    /// # Safety
    ///
    /// The array has been checked, the room that C says is there is there, and nobody else uses it.
    pub(crate) unsafe fn room<'a>(self) -> &'a mut [MaybeUninit<T>] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the caller's promise; `check` has seen that it is neither null nor misaligned nor too long.
        unsafe { slice::from_raw_parts_mut(self.start.cast(), self.len) }
    }
}
