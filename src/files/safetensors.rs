//! safetensors: PyTorch's names, shapes and order.

use super::error::FileError;
use crate::model::names::{Name, TensorLayout};
use crate::model::parameters::Parameters;
use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensorError, SafeTensors, View, serialize};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The weights of a file, as `safetensors.torch.save_file` writes them, to be taken over by a model.
///
/// A file has to fit exactly: a tensor that is missing, left over, of another shape or of another type is an error that names
/// it. Everything is checked before anything changes.
///
/// ```
/// use elman::{Embedding, Generator, Linear, Lstm, Safetensors, to_safetensors};
/// type Model = (Embedding<4, 10>, Lstm<10, 8, 2>, Linear<8, 4>);
/// let names = ["emb", "rnn", "fc"]; // the attributes of the module in Python
///
/// let mut generator = Generator::seed(0);
/// let model: Model = (Embedding::new(&mut generator), Lstm::new(&mut generator), Linear::new(&mut generator));
/// let bytes = to_safetensors(&model, &names)?; // or `save_safetensors("model.safetensors", &model, &names)?`
///
/// let mut other: Model = (Embedding::zeros(), Lstm::zeros(), Linear::zeros());
/// Safetensors::read(&bytes)?.members(&names).load_into(&mut other)?; // of `std::fs::read("model.safetensors")?`
/// assert_eq!(other, model);
/// # Ok::<(), elman::FileError>(())
/// ```
#[derive(Debug)]
pub struct Safetensors<'a> {
    file: SafeTensors<'a>,
    members: &'a [&'a str],
    converting: bool,
}

impl<'a> Safetensors<'a> {
    /// The tensors of a file that is in memory.
    ///
    /// # Errors
    ///
    /// [`FileError::Format`] if it is none, or a truncated one.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FileError> {
        let file = SafeTensors::deserialize(bytes).map_err(format_error)?;
        Ok(Self { file, members: &[], converting: false })
    }

    /// The names of the members of a tuple, or the one name of a layer alone. Without it members are called by their index.
    #[must_use]
    pub fn members(mut self, members: &'a [&'a str]) -> Self {
        self.members = members;
        self
    }

    /// Takes numbers of the types F16, BF16 and F64 too, and makes F32 of them: of F64, the nearest.
    #[must_use]
    pub fn converting(mut self) -> Self {
        self.converting = true;
        self
    }

    /// Names and shapes of all tensors, in the order of their names.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut tensors: Vec<_> =
            self.file.iter().map(|(name, view)| (name.to_string(), view.shape().to_vec())).collect();
        tensors.sort();
        tensors
    }

    /// Overwrites all parameters of a model.
    ///
    /// # Errors
    ///
    /// [`FileError`] naming the first tensor that does not fit; the model is then as it was.
    pub fn load_into<M: Parameters>(&self, model: &mut M) -> Result<(), FileError> {
        let expected = tensors_of::<M>(self.members)?;
        let mut views = Vec::new();
        for (name, layout) in &expected {
            views.push(self.view(name, *layout)?);
        }
        if let Some((name, _)) = self.tensors().into_iter().find(|(name, _)| expected.iter().all(|(n, _)| n != name)) {
            return Err(FileError::LeftOver { name });
        }
        let mut tensors = expected.iter().zip(&views);
        model.visit_mut(&mut |numbers| {
            if let Some(((_, layout), view)) = tensors.next() {
                let bytes = view.dtype().bitsize() / 8;
                for (index, number) in view.data().chunks_exact(bytes).enumerate() {
                    numbers[layout.place(index)] = to_f32(view.dtype(), number);
                }
            }
        });
        Ok(())
    }

    /// A tensor that fits.
    fn view(&self, name: &str, layout: TensorLayout) -> Result<TensorView<'a>, FileError> {
        let name = name.to_string();
        let Ok(view) = self.file.tensor(&name) else {
            return Err(FileError::Missing { name, there: self.tensors().into_iter().map(|(name, _)| name).collect() });
        };
        let shape = layout.shape();
        if view.shape() != shape.lengths() {
            return Err(FileError::Shape { name, expected: shape.lengths().to_vec(), given: view.shape().to_vec() });
        }
        let convertible = matches!(view.dtype(), Dtype::F16 | Dtype::BF16 | Dtype::F64);
        if view.dtype() != Dtype::F32 && !(convertible && self.converting) {
            return Err(FileError::Type { name, given: format!("{:?}", view.dtype()), convertible });
        }
        Ok(view)
    }
}

/// One number, little-endian, of a type that has been checked.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> f32 {
    match (dtype, bytes) {
        (Dtype::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
        (Dtype::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (_, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    }
}

/// A model as a safetensors file, which `safetensors.torch.load_file` reads.
///
/// `members` are the names of the members of a tuple, or the one name of a layer alone; where there are none, members are called
/// by their index.
///
/// # Errors
///
/// [`FileError::Members`] if there are not as many names as members, or two are the same.
pub fn to_safetensors<M: Parameters>(model: &M, members: &[&str]) -> Result<Vec<u8>, FileError> {
    let names = tensors_of::<M>(members)?;
    let mut tensors = Vec::with_capacity(names.len());
    let mut layouts = names.into_iter();
    model.visit(&mut |numbers| {
        if let Some((name, layout)) = layouts.next() {
            let number = |index| numbers[layout.place(index)].to_le_bytes();
            let bytes = (0..numbers.len()).flat_map(number).collect();
            tensors.push((name, Written { layout, bytes }));
        }
    });
    serialize(tensors, None).map_err(format_error)
}

/// Writes a model into a safetensors file: [`to_safetensors`], first under a temporary name beside it, which then is renamed. A
/// crash leaves the former file or the new one, never a half of it.
///
/// # Errors
///
/// Those of [`to_safetensors`], and [`FileError::Io`].
pub fn save_safetensors<M: Parameters>(path: impl AsRef<Path>, model: &M, members: &[&str]) -> Result<(), FileError> {
    Ok(replace(path.as_ref(), &to_safetensors(model, members)?)?)
}

/// Replaces a file by another one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = std::ffi::OsString::from(path);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // Best effort: the error that matters is the first one.
        _ = fs::remove_file(&temporary);
    }
    renamed
}

/// Names, shapes and orders, in the order of `visit`.
fn tensors_of<M: Parameters>(members: &[&str]) -> Result<Vec<(String, TensorLayout)>, FileError> {
    let mut tensors = Vec::new();
    M::describe(&Name::model(members), &mut |name, layout| tensors.push((name.to_string(), layout)));
    let mut names: Vec<&String> = tensors.iter().map(|(name, _)| name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(FileError::Members(format!("two tensors would be called {}", pair[0])));
    }
    if !members.is_empty() && members.len() != M::MEMBERS {
        return Err(FileError::Members(format!("{} expected, {} given", M::MEMBERS, members.len())));
    }
    Ok(tensors)
}

struct Written {
    layout: TensorLayout,
    bytes: Vec<u8>,
}

impl View for Written {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        self.layout.lengths()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn format_error(error: SafeTensorError) -> FileError {
    FileError::Format(error.to_string())
}
