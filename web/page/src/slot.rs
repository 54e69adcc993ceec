//! A place in static memory for what is made later.

use atomic_refcell::AtomicRefCell;

/// Nothing, or a value. Other than in an `Option`, nothing is all zeros by its representation: such a static takes no room in
/// the file, and 160 KB of networks do not become 160 KB to be downloaded.
#[repr(u8)]
enum Content<T> {
    Nothing = 0,
    Value(T) = 1,
}

/// A place that checks at run time that it is borrowed once.
pub struct Slot<T>(AtomicRefCell<Content<T>>);

impl<T> Slot<T> {
    /// An empty place.
    pub const fn new() -> Self {
        Self(AtomicRefCell::new(Content::Nothing))
    }

    /// Puts a value there.
    pub fn set(&self, value: T) {
        *self.0.borrow_mut() = Content::Value(value);
    }

    /// What `f` makes of the value, if there is one.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        match &mut *self.0.borrow_mut() {
            Content::Nothing => None,
            Content::Value(value) => Some(f(value)),
        }
    }

    /// What `f` makes of the value, which is made first if there is none.
    pub fn with_or_new<R>(&self, new: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) -> R {
        let content = &mut *self.0.borrow_mut();
        if let Content::Nothing = content {
            *content = Content::Value(new());
        }
        match content {
            Content::Value(value) => f(value),
            Content::Nothing => unreachable!("it was made above"),
        }
    }
}
