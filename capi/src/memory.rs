//! What lies in the memory of the caller.

use crate::code::Code;
use crate::floats::{Floats, Input, Vector};
use bytemuck::Zeroable;
use core::mem::{align_of, size_of};
use core::ops::Range;
use elman::{Level, Step};

/// A model that C can use: what [`export!`](crate::export) implements for the C type of its name.
pub trait Export: Sized {
    /// The layers.
    type Layers: Step<Input: Input, Output: Vector, State: Floats>;
    /// What the memory holds beside the state: the layers, or nothing where they are a `static`.
    type Weights: Zeroable;
    /// Its name in C.
    const NAME: &'static str;
    /// The numbers that the header names, each with a comment.
    const CONSTANTS: &'static [(&'static str, &'static str, usize)];
    /// The layers, wherever they are.
    fn layers(weights: &Self::Weights) -> &Self::Layers;
}

/// The memory of a model. It holds no pointer: C may copy it from one place to another.
#[repr(C)]
pub struct Memory<E: Export> {
    /// Tells initialized memory of this model.
    magic: u32,
    pub(crate) level: Level,
    pub(crate) state: <E::Layers as Step>::State,
    pub(crate) weights: E::Weights,
}

impl<E: Export> Memory<E> {
    /// FNV-1a of the name and the sizes: not zero, and different for another model.
    const MAGIC: u32 = {
        let (name, mut hash, mut i) = (E::NAME.as_bytes(), 0x811c_9dc5, 0);
        while i < name.len() {
            hash = add(hash, name[i]);
            i += 1;
        }
        let mut sizes = size_of::<E::Layers>() ^ (size_of::<Self>() << 3);
        while sizes > 0 {
            hash = add(hash, sizes as u8);
            sizes >>= 8;
        }
        hash | 1
    };

    /// Memory that may not be initialized yet, and its addresses.
    ///
    /// # Errors
    ///
    /// If it is null or misaligned.
    #[inline]
    pub(crate) fn locate(memory: *mut E) -> Result<(*mut Self, Range<usize>), Code> {
        const { assert!(size_of::<E>() == size_of::<Self>() && align_of::<E>() == align_of::<Self>()) };
        let memory = memory.cast::<Self>();
        if memory.is_null() {
            return Err(Code::NullPointer);
        }
        if !memory.is_aligned() {
            return Err(Code::Misaligned);
        }
        let start = memory.addr();
        // C has no object that goes beyond the last address.
        Ok((memory, start..start.saturating_add(size_of::<Self>())))
    }

    /// Memory that [`Memory::initialize`] has written, and its addresses.
    ///
    /// # Errors
    ///
    /// If it is null, misaligned or not initialized.
    ///
    /// # Safety
    ///
    /// What is there can be read and written, as far as the type of C goes, and nobody else uses it during the call. If its
    /// first word is the magic, all of it comes from [`Memory::initialize`].
    #[inline]
    pub(crate) unsafe fn open<'a>(memory: *mut E) -> Result<(&'a mut Self, Range<usize>), Code> {
        let (memory, addresses) = Self::locate(memory)?;
        // SAFETY: not null, aligned, and the caller says that it can be read. Read by itself, before there is a reference:
        // the rest may not be a `Memory` yet.
        if unsafe { (&raw const (*memory).magic).read() } != Self::MAGIC {
            return Err(Code::Uninitialized);
        }
        // SAFETY: not null, aligned, and with the magic a valid `Memory`, which nobody else uses.
        Ok((unsafe { &mut *memory }, addresses))
    }

    /// Writes the memory of a model at its start; its weights, if it holds any, are zero.
    ///
    /// # Safety
    ///
    /// `memory` comes from [`Memory::locate`], can be written and read, and nobody else uses it during the call.
    pub(crate) unsafe fn initialize<'a>(memory: *mut Self, level: Level) -> &'a mut Self {
        // SAFETY: not null, aligned, writable. Zeros are valid for every field: a number, and types that are `Zeroable`. So no
        // weights are ever on the stack.
        let memory = unsafe {
            memory.write_bytes(0, 1);
            &mut *memory
        };
        memory.level = level;
        memory.magic = Self::MAGIC;
        memory
    }
}

/// A step of FNV-1a.
const fn add(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}
