//! Inputs, outputs and states as the flat numbers that C sees.

/// A state as flat numbers, in the order of the layers; of an LSTM `h` and then `c`.
pub trait Floats {
    /// How many.
    const LEN: usize;
    /// Calls `visitor` with all numbers, in pieces.
    fn visit(&self, visitor: &mut impl FnMut(&[f32]));
    /// Calls `visitor` with all numbers, to be changed.
    fn visit_mut(&mut self, visitor: &mut impl FnMut(&mut [f32]));
}

impl Floats for () {
    const LEN: usize = 0;
    fn visit(&self, _: &mut impl FnMut(&[f32])) {}
    fn visit_mut(&mut self, _: &mut impl FnMut(&mut [f32])) {}
}

impl<const N: usize> Floats for [f32; N] {
    const LEN: usize = N;
    #[inline]
    fn visit(&self, visitor: &mut impl FnMut(&[f32])) {
        visitor(self);
    }
    #[inline]
    fn visit_mut(&mut self, visitor: &mut impl FnMut(&mut [f32])) {
        visitor(self);
    }
}

macro_rules! floats_of_tuple {
    ($($part:ident $i:tt),+) => {
        impl<$($part: Floats),+> Floats for ($($part,)+) {
            const LEN: usize = 0 $(+ $part::LEN)+;
            #[inline]
            fn visit(&self, visitor: &mut impl FnMut(&[f32])) {
                $(self.$i.visit(visitor);)+
            }
            #[inline]
            fn visit_mut(&mut self, visitor: &mut impl FnMut(&mut [f32])) {
                $(self.$i.visit_mut(visitor);)+
            }
        }
    };
}
floats_of_tuple!(A 0, B 1);
floats_of_tuple!(A 0, B 1, C 2);
floats_of_tuple!(A 0, B 1, C 2, D 3);
floats_of_tuple!(A 0, B 1, C 2, D 3, E 4);
floats_of_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

/// What one step takes: a vector, or a token.
pub trait Input: Sized {
    /// What C gives: `float` or `uint32_t`.
    type Element: Copy;
    /// How many of them.
    const LEN: usize;
    /// Out of as many elements.
    ///
    /// # Safety
    ///
    /// `LEN` elements can be read there, at an address that is aligned.
    unsafe fn read(from: *const Self::Element) -> Self;
}

impl<const N: usize> Input for [f32; N] {
    type Element = f32;
    const LEN: usize = N;
    #[inline]
    unsafe fn read(from: *const f32) -> Self {
        // SAFETY: an array of `N` numbers is aligned as one of them, and the caller says that there are so many.
        unsafe { from.cast::<Self>().read() }
    }
}

impl Input for usize {
    type Element = u32;
    const LEN: usize = 1;
    #[inline]
    unsafe fn read(from: *const u32) -> Self {
        // A token that a `usize` of 16 bits does not hold is in no vocabulary, nor is the greatest `usize`.
        // SAFETY: the caller says that there is one.
        unsafe { from.read() }.try_into().unwrap_or(usize::MAX)
    }
}

/// What one step gives.
pub trait Vector: Copy {
    /// How many numbers.
    const LEN: usize;
    /// Copies them.
    ///
    /// # Safety
    ///
    /// `LEN` numbers can be written there, at an address that is aligned.
    unsafe fn write(self, to: *mut f32);
}

impl<const N: usize> Vector for [f32; N] {
    const LEN: usize = N;
    #[inline]
    unsafe fn write(self, to: *mut f32) {
        // SAFETY: an array of `N` numbers is aligned as one of them, and the caller says that there is room for so many.
        unsafe { to.cast::<Self>().write(self) }
    }
}
