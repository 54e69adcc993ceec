//! Random cases: shapes and kinds of values from proptest (which shrinks them), the values from a seed.

use elman::cells::Layout;
use elman::{Batch, Level, Parameters, Relu, RnnCell, Sequences, Steps};
use elman_reference::{self as reference, Cell};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::any::TypeId;

pub type Checked = Result<(), TestCaseError>;

/// Holds a property over random values; `PROPTEST_CASES` overrides the number of cases.
#[track_caller]
pub fn property<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Checked) {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    match TestRunner::new(config).run(&strategy, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nwith {case:#?}"),
        Err(error) => panic!("{error}"),
    }
}

/// Does a check at every level of this CPU, and says which one failed.
pub fn at_every_level(check: impl Fn(Level) -> Checked) -> Checked {
    for level in Level::available() {
        check(level).map_err(|error| TestCaseError::fail(format!("at level {level}: {error}")))?;
    }
    Ok(())
}

/// Fails where two slices differ in a bit.
pub fn same_bits(what: &str, a: &[f32], b: &[f32]) -> Checked {
    prop_assert_eq!(a.len(), b.len(), "{}: lengths", what);
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        prop_assert_eq!(a.to_bits(), b.to_bits(), "{}[{}]: {:e} and {:e}", what, i, a, b);
    }
    Ok(())
}

/// A small generator of numbers for tests (Steele et al. 2014, "SplitMix").
#[derive(Clone)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In -1 .. 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// In -1 .. 1.
    Ordinary,
    /// In -1000 .. 1000.
    Large,
    /// Around 1e-30: products underflow.
    Tiny,
    /// Zeros of both signs.
    Zero,
    /// Below the smallest normal number.
    Denormal,
    /// All of the above, side by side.
    Mixed,
}

impl Values {
    pub fn one(self, numbers: &mut Numbers) -> f32 {
        match self {
            Values::Ordinary => numbers.unit(),
            Values::Large => 1e3 * numbers.unit(),
            Values::Tiny => 1e-30 * numbers.unit(),
            Values::Zero => 0.0f32.copysign(numbers.unit()),
            Values::Denormal => f32::from_bits(numbers.next() as u32 & 0x7f_ffff).copysign(numbers.unit()),
            Values::Mixed => {
                use Values::*;
                let kinds = [Ordinary, Ordinary, Ordinary, Large, Tiny, Zero, Denormal];
                kinds[numbers.below(kinds.len())].one(numbers)
            }
        }
    }

    pub fn rows<const N: usize>(self, numbers: &mut Numbers, count: usize) -> Vec<[f32; N]> {
        (0..count).map(|_| core::array::from_fn(|_| self.one(numbers))).collect()
    }
}

pub fn values() -> impl Strategy<Value = Values> {
    use Values::*;
    prop_oneof![
        6 => Just(Ordinary), 1 => Just(Large), 1 => Just(Tiny), 1 => Just(Zero), 1 => Just(Denormal), 3 => Just(Mixed)
    ]
}

/// Kinds of weights, relative to the number of neurons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    /// Sums of absolute values below 1: errors do not grow over time.
    Contracting,
    /// PyTorch's initial values.
    Initial,
    /// States saturate.
    Saturating,
    /// These values, whatever the size.
    Plain(Values),
}

impl Weights {
    pub fn fill(self, numbers: &mut Numbers, size: usize, parameters: &mut impl Parameters) {
        let (values, scale) = match self {
            Weights::Contracting => (Values::Ordinary, 1.0 / size as f32),
            Weights::Initial => (Values::Ordinary, 1.0 / (size as f32).sqrt()),
            Weights::Saturating => (Values::Ordinary, 30.0 / (size as f32).sqrt()),
            Weights::Plain(values) => (values, 1.0),
        };
        parameters.visit_mut(&mut |tensor| tensor.fill_with(|| scale * values.one(numbers)));
    }
}

pub fn weights() -> impl Strategy<Value = Weights> {
    use Weights::*;
    prop_oneof![
        5 => Just(Contracting),
        3 => Just(Initial),
        1 => Just(Saturating),
        2 => values().prop_map(Plain),
    ]
}

/// Which axis comes first in memory.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    TimeMajor,
    BatchFirst,
}

pub fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::TimeMajor), Just(Order::BatchFirst)]
}

/// Rows in one order of memory, drawn and indexed batch-first.
pub struct Rows<R> {
    rows: Vec<R>,
    shape: (usize, usize),
    order: Order,
}

impl<R: Copy> Rows<R> {
    /// Arranges rows that come batch-first.
    pub fn new(order: Order, (steps, batch): (usize, usize), batch_first: Vec<R>) -> Self {
        let rows = match order {
            Order::BatchFirst => batch_first,
            Order::TimeMajor => {
                (0..steps).flat_map(|t| (0..batch).map(move |b| b * steps + t)).map(|i| batch_first[i]).collect()
            }
        };
        Rows { rows, shape: (steps, batch), order }
    }

    pub fn view(&self) -> Sequences<'_, R> {
        let (steps, batch) = self.shape;
        match self.order {
            Order::BatchFirst => Sequences::batch_first(&self.rows, Batch(batch), Steps(steps)).unwrap(),
            Order::TimeMajor => Sequences::time_major(&self.rows, Steps(steps), Batch(batch)).unwrap(),
        }
    }

    /// The steps of one sample.
    pub fn sample(&self, sample: usize) -> Vec<R> {
        (0..self.shape.0).map(|step| *self.view().row(sample, step)).collect()
    }
}

/// A run of a layer over sequences.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub steps: usize,
    pub batch: usize,
    pub weights: Weights,
    pub data: Values,
    pub gradient: Values,
    pub orders: (Order, Order),
    pub initial: bool,
    pub d_final: bool,
    pub d_input: bool,
}

impl Case {
    pub fn shape(&self) -> (usize, usize) {
        (self.steps, self.batch)
    }

    /// One row a sample (and layer), or none at all.
    pub fn state<const N: usize>(
        &self,
        given: bool,
        values: Values,
        numbers: &mut Numbers,
        rows: usize,
    ) -> Vec<[f32; N]> {
        if given { values.rows(numbers, rows) } else { Vec::new() }
    }
}

/// Lengths and batches around the blocks of 16 steps, the groups of 16 samples and the tiles of 8, 4, 2 and 1; fewer
/// samples where `row` (multiplications in one step of one sample) would make the reference slow.
pub fn case(row: usize) -> impl Strategy<Value = Case> {
    const MULTIPLICATIONS: usize = 2_000_000;
    let steps = prop_oneof![4 => 1..=40usize, 2 => 1..=3usize, 1 => 15..=17usize, 1 => 31..=33usize];
    let batch = prop_oneof![4 => 0..=40usize, 3 => 0..=5usize, 1 => 15..=17usize, 1 => 31..=33usize];
    let kinds = (weights(), values(), values(), order(), order());
    (any::<u64>(), steps, batch, kinds, any::<[bool; 3]>()).prop_map(move |(seed, steps, batch, kinds, given)| {
        let (weights, data, gradient, input_order, gradient_order) = kinds;
        let batch = batch.min((MULTIPLICATIONS / (row * steps)).max(2));
        let [initial, d_final, d_input] = given;
        let orders = (input_order, gradient_order);
        Case { seed, steps, batch, weights, data, gradient, orders, initial, d_final, d_input }
    })
}

/// A cell of one sum.
pub trait OneSum<const HID: usize>:
    elman::Cell + Layout<State<HID> = [f32; HID], States<HID> = Vec<[f32; HID]>>
{
}

impl<const HID: usize, A> OneSum<HID> for A where
    A: elman::Cell + Layout<State<HID> = [f32; HID], States<HID> = Vec<[f32; HID]>>
{
}

/// The same cell for the reference.
pub fn reference_cell<const IN: usize, const HID: usize, A: elman::Cell>(cell: &RnnCell<IN, HID, A>) -> Cell {
    let is_relu = TypeId::of::<A>() == TypeId::of::<Relu>();
    let wide = |values: &mut dyn Iterator<Item = f32>| values.map(f64::from).collect();
    Cell {
        input_size: IN,
        hidden_size: HID,
        weight_ih: wide(&mut cell.weight_ih_torch()),
        weight_hh: wide(&mut cell.weight_hh_torch()),
        bias_ih: wide(&mut cell.bias_ih_torch()),
        bias_hh: wide(&mut cell.bias_hh_torch()),
        nonlinearity: if is_relu { reference::Nonlinearity::Relu } else { reference::Nonlinearity::Tanh },
    }
}

/// The parameters of a cell in PyTorch's order.
pub fn torch_parameters<const IN: usize, const HID: usize, A: elman::Cell>(
    cell: &RnnCell<IN, HID, A>,
) -> [Vec<f32>; 4] {
    [
        cell.weight_ih_torch().collect(),
        cell.weight_hh_torch().collect(),
        cell.bias_ih_torch().collect(),
        cell.bias_hh_torch().collect(),
    ]
}

/// The names of [`torch_parameters`].
pub const CELL_PARAMETERS: [&str; 4] = ["d weight_ih", "d weight_hh", "d bias_ih", "d bias_hh"];

/// All parameters in one vector.
pub fn flat(parameters: &impl Parameters) -> Vec<f32> {
    let mut all = Vec::new();
    parameters.visit(&mut |tensor| all.extend_from_slice(tensor));
    all
}

/// Instantiates a property for a list of sizes.
#[allow(unused_macros, reason = "shared by test programs that do not all instantiate sizes")]
macro_rules! for_sizes {
    ($check:ident: $($name:ident ($($size:literal),+)),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                $check::<$($size),+>();
            }
        )+
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use for_sizes;
