//! Layers as Rust source.

use super::cell::Cell;
#[cfg(feature = "alloc")]
use super::rnn::Rnn;
use super::{Embedding, Linear, RnnCell, TokenRnnCell};
use crate::cells::Tanh;
use crate::kernels::slice::flat;
use crate::model::source::{Fields, Source};
use core::any::TypeId;
use core::fmt::{self, Formatter};
use core::slice::from_ref;

impl<const IN: usize, const OUT: usize> Source for Linear<IN, OUT> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "elman::Linear<{IN}, {OUT}>")
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        let arrays = &[("weight", self.weight.as_flattened(), &[OUT][..]), ("bias", &self.bias, &[])];
        Fields { name: "Linear", arrays, rest: None }.write(f, indent)
    }
}

impl<const V: usize, const E: usize> Source for Embedding<V, E> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "elman::Embedding<{V}, {E}>")
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        let arrays = &[("weight", self.weight.as_flattened(), &[E][..])];
        Fields { name: "Embedding", arrays, rest: None }.write(f, indent)
    }
}

/// `<sizes>`, with the cell behind them unless it is the usual one.
fn write_sizes<C: Cell>(f: &mut Formatter<'_>, name: &str, sizes: [usize; 2]) -> fmt::Result {
    let [a, b] = sizes;
    match TypeId::of::<C>() == TypeId::of::<Tanh>() {
        true => write!(f, "elman::{name}<{a}, {b}>"),
        false => write!(f, "elman::{name}<{a}, {b}, elman::cells::{:?}>", C::CELL),
    }
}

/// The shape of a row of so many gates or sums, which has no axis for one alone.
fn row<const HID: usize>(gates: usize) -> &'static [usize] {
    let of_several: &[[usize; 2]] = const { &[[1, HID], [2, HID], [3, HID], [4, HID]] };
    let row = &of_several[gates - 1];
    if gates == 1 { &row[1..] } else { row }
}

impl<const IN: usize, const HID: usize, C: Cell> Source for RnnCell<IN, HID, C> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_sizes::<C>(f, "RnnCell", [IN, HID])
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        let row = row::<HID>(C::FEEDS.gates);
        let arrays = &[
            ("weight_ih", flat(&self.weight_ih), row),
            ("weight_hh", flat(&self.weight_hh), row),
            ("bias_ih", flat(from_ref(&self.bias_ih)), &row[1..]),
            ("bias_hh", flat(from_ref(&self.bias_hh)), &row[1..]),
        ];
        Fields { name: "RnnCell", arrays, rest: Some(("cell", &C::CELL)) }.write(f, indent)
    }
}

impl<const V: usize, const HID: usize, C: Cell> Source for TokenRnnCell<V, HID, C> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_sizes::<C>(f, "TokenRnnCell", [V, HID])
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        let arrays = &[
            ("table", flat(&self.table), row::<HID>(C::FEEDS.sums)),
            ("weight_hh", flat(&self.weight_hh), row::<HID>(C::FEEDS.gates)),
        ];
        Fields { name: "TokenRnnCell", arrays, rest: Some(("cell", &C::CELL)) }.write(f, indent)
    }
}

/// As the tuple of its cells: a pair of pairs, so that any number of layers can be written.
#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Source for Rnn<IN, HID, LAYERS, C> {
    fn write_type(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_stack(f, self.first(), self.rest(), &mut |f, cell| cell.write_type(f))
    }
    fn write_value(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        write_stack(f, self.first(), self.rest(), &mut |f, cell| cell.write_value(f, indent))
    }
}

/// `first`, or `(first, rest)`, where the rest is written in the same way.
#[cfg(feature = "alloc")]
fn write_stack<R: Source>(
    f: &mut Formatter<'_>,
    first: &dyn Source,
    rest: &[R],
    write: &mut dyn FnMut(&mut Formatter<'_>, &dyn Source) -> fmt::Result,
) -> fmt::Result {
    let Some((second, rest)) = rest.split_first() else { return write(f, first) };
    f.write_str("(")?;
    write(f, first)?;
    f.write_str(", ")?;
    write_stack(f, second, rest, write)?;
    f.write_str(")")
}
