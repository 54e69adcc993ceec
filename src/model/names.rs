//! Names and shapes of tensors, as PyTorch has them.

use super::parameters::Parameters;
use crate::data::error::Shape;
use core::fmt::{self, Display, Formatter};

/// The name of a tensor in PyTorch's `state_dict`: the members of the model that lead to it, and the parameter, with points
/// between: `0.weight`, `rnn.weight_ih_l1`.
///
/// Members of a tuple are called by their index, as in `nn.Sequential`, unless they have been given names.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    outer: Option<&'a Name<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    /// The model itself, and the names of its members.
    Model(&'a [&'a str]),
    /// Member of a tuple.
    Index(usize),
    /// A parameter, and the layer of a stack that it is of.
    Parameter(&'static str, Option<usize>),
}

impl<'a> Name<'a> {
    /// That of a model, where the names of its tensors begin, given those of its members: for
    /// [`Parameters::describe`](crate::Parameters::describe).
    #[must_use]
    pub const fn model(members: &'a [&'a str]) -> Self {
        Name { outer: None, part: Part::Model(members) }
    }

    /// That of a member of a tuple.
    pub(crate) const fn member(&'a self, index: usize) -> Self {
        Name { outer: Some(self), part: Part::Index(index) }
    }

    /// That of a parameter.
    pub(crate) const fn parameter(&'a self, name: &'static str, layer: Option<usize>) -> Self {
        Name { outer: Some(self), part: Part::Parameter(name, layer) }
    }
}

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // What leads here; a model that is a single layer may have a name of its own.
        let given = match self.outer {
            Some(Name { part: Part::Model(members), .. }) => *members,
            Some(outer) => {
                write!(f, "{outer}.")?;
                &[]
            }
            None => return Ok(()),
        };
        match self.part {
            Part::Model(_) => Ok(()),
            Part::Index(index) => match given.get(index) {
                Some(name) => f.write_str(name),
                None => write!(f, "{index}"),
            },
            Part::Parameter(name, layer) => {
                if let [model] = given {
                    write!(f, "{model}.")?;
                }
                f.write_str(name)?;
                layer.map_or(Ok(()), |layer| write!(f, "_l{layer}"))
            }
        }
    }
}

/// The shape of a tensor in PyTorch, and how its numbers are stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorLayout {
    shape: Shape,
    transposed: bool,
}

impl TensorLayout {
    /// `[len]`
    pub(crate) const fn vector(len: usize) -> Self {
        Self { shape: Shape::new(&[len]), transposed: false }
    }

    /// `[rows][columns]`, row after row.
    pub(crate) const fn matrix(rows: usize, columns: usize) -> Self {
        Self { shape: Shape::new(&[rows, columns]), transposed: false }
    }

    /// `[outputs][inputs]` in PyTorch, `[inputs][outputs]` here.
    pub(crate) const fn transposed(outputs: usize, inputs: usize) -> Self {
        Self { shape: Shape::new(&[outputs, inputs]), transposed: true }
    }

    /// The lengths of all axes in PyTorch.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The same, the outermost first.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        self.shape.lengths()
    }

    /// Where the number stands here that is the `index`-th in PyTorch's order, row-major.
    #[must_use]
    pub fn place(&self, index: usize) -> usize {
        match (self.transposed, self.shape.lengths()) {
            (true, &[outputs, inputs]) => index % inputs * outputs + index / inputs,
            _ => index,
        }
    }
}

/// What `{:?}` prints of a layer: its type, and names and shapes instead of all numbers.
macro_rules! debug_by_names {
    ([$($generics:tt)*] $layer:ty, $($name:tt)+) => {
        impl<$($generics)*> core::fmt::Debug for $layer {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, $($name)+)?;
                crate::model::names::write_shapes::<Self>(f)
            }
        }
    };
}
pub(crate) use debug_by_names;

/// ` { weight: [2, 8], bias: [2] }`
pub(crate) fn write_shapes<L: Parameters>(f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(" {")?;
    let (mut between, mut result) = (" ", Ok(()));
    L::describe(&Name::model(&[]), &mut |name, layout| {
        result = result.and_then(|()| write!(f, "{between}{name}: {:?}", layout.shape()));
        between = ", ";
    });
    result?;
    f.write_str(" }")
}
