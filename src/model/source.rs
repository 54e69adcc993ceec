//! Models as Rust source: weights that a program holds as constants.

use core::fmt::{self, Display, Formatter, Write};

/// A model that can be written as Rust source: its type, and its value as a constant expression.
///
/// A program that has trained or loaded a model writes it down once; the program that uses it compiles the file in. A `static`
/// stays in flash on a microcontroller, and no file is read anywhere.
///
/// ```
/// use elman::{Generator, Linear, RnnCell, Source};
/// let mut generator = Generator::seed(0);
/// let model = (RnnCell::<3, 8>::new(&mut generator), Linear::<8, 2>::new(&mut generator));
/// let source = model.rust_static("DETECTOR").to_string();
/// assert!(source.contains("pub static DETECTOR: (elman::RnnCell<3, 8>, elman::Linear<8, 2>) = (\n"));
/// ```
///
/// Numbers are the shortest decimals that give back their bits; those that are not finite are written by their bits. A stack
/// (`Rnn` and the like), which lives on the heap, is written as the tuple of its cells, which computes the same bits.
pub trait Source {
    /// Writes the type, as `elman::RnnCell<3, 8>`.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result;

    /// Writes the value, an expression that a constant can be made of, `indent` levels of four blanks from the left.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result;

    /// The source of a public `static` of that name, which has to be an identifier.
    #[must_use]
    fn rust_static<'a>(&'a self, name: &'a str) -> RustStatic<'a, Self>
    where
        Self: Sized,
    {
        RustStatic { name, model: self }
    }
}

/// The source of a `static`, to be displayed: by [`Source::rust_static`].
#[derive(Clone, Copy, Debug)]
pub struct RustStatic<'a, M> {
    name: &'a str,
    model: &'a M,
}

impl<M: Source> Display for RustStatic<'_, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("#[rustfmt::skip]\n#[allow(clippy::all, clippy::pedantic, clippy::excessive_precision)]\n")?;
        write!(f, "pub static {}: ", self.name)?;
        self.model.write_type(f)?;
        f.write_str(" = ")?;
        self.model.write_value(f, 0)?;
        f.write_str(";\n")
    }
}

/// A struct of arrays: `name { field: [..], .. }`, and what is written behind the fields.
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a str,
    /// Name, numbers, and the shape of one of the outermost rows; no shape where these are numbers.
    pub(crate) arrays: &'a [(&'a str, &'a [f32], &'a [usize])],
    pub(crate) rest: Option<(&'a str, &'a dyn fmt::Debug)>,
}

impl Fields<'_> {
    pub(crate) fn write(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        writeln!(f, "elman::{} {{", self.name)?;
        for (field, numbers, row) in self.arrays {
            write!(f, "{:1$}{field}: ", "", 4 * (indent + 1))?;
            write_array(f, numbers, row, indent + 1)?;
            f.write_str(",\n")?;
        }
        if let Some((field, value)) = self.rest {
            writeln!(f, "{:1$}{field}: elman::cells::{value:?},", "", 4 * (indent + 1))?;
        }
        write!(f, "{:1$}}}", "", 4 * indent)
    }
}

/// Nested arrays, given the shape of a row; the innermost ones stand in a line.
fn write_array(f: &mut Formatter<'_>, numbers: &[f32], row: &[usize], indent: usize) -> fmt::Result {
    f.write_char('[')?;
    if let [_, inner @ ..] = row {
        f.write_char('\n')?;
        for numbers in numbers.chunks(row.iter().product()) {
            write!(f, "{:1$}", "", 4 * (indent + 1))?;
            write_array(f, numbers, inner, indent + 1)?;
            f.write_str(",\n")?;
        }
        write!(f, "{:1$}", "", 4 * indent)?;
    } else {
        for (i, x) in numbers.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            match x.is_finite() {
                true => write!(f, "{x:?}")?,
                false => write!(f, "f32::from_bits({:#010x})", x.to_bits())?,
            }
        }
    }
    f.write_char(']')
}

/// A tuple of values, each in lines of its own.
pub(crate) fn write_values(f: &mut Formatter<'_>, values: &[&dyn Source], indent: usize) -> fmt::Result {
    f.write_str("(\n")?;
    for value in values {
        write!(f, "{:1$}", "", 4 * (indent + 1))?;
        value.write_value(f, indent + 1)?;
        f.write_str(",\n")?;
    }
    write!(f, "{:1$})", "", 4 * indent)
}

/// The type of a tuple.
pub(crate) fn write_types(f: &mut Formatter<'_>, values: &[&dyn Source]) -> fmt::Result {
    f.write_char('(')?;
    for (i, value) in values.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        value.write_type(f)?;
    }
    f.write_str(if values.len() == 1 { ",)" } else { ")" })
}

impl<M: Source + ?Sized> Source for &M {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (**self).write_type(f)
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        (**self).write_value(f, indent)
    }
}

#[cfg(feature = "alloc")]
impl<M: Source + ?Sized> Source for alloc::boxed::Box<M> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (**self).write_type(f)
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        (**self).write_value(f, indent)
    }
}
