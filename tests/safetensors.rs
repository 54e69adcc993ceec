//! Models in safetensors files: those of PyTorch, our own, and what is refused.
#![cfg(feature = "safetensors")]

use elman::{
    Adam, CrossEntropy, Embedding, FileError, Generator, GruCell, Linear, Lstm, Model, Parameters, Rnn, Safetensors,
    save_safetensors, to_safetensors,
};
use safetensors::tensor::{Dtype, TensorView};

type Hello = (Embedding<4, 10>, Lstm<10, 8, 2>, Linear<8, 4>);
const NAMES: [&str; 3] = ["emb", "rnn", "fc"];

fn hello(seed: u64) -> Hello {
    let mut generator = Generator::seed(seed);
    (Embedding::new(&mut generator), Lstm::new(&mut generator), Linear::new(&mut generator))
}

fn bits(model: &impl Parameters) -> Vec<u32> {
    let mut bits = Vec::new();
    model.visit(&mut |tensor| bits.extend(tensor.iter().map(|x| x.to_bits())));
    bits
}

/// What PyTorch has saved (`scripts/safetensors_with_torch.py`): the same seed draws the same numbers here, so each has to stand
/// at its place; and the model then trains as it does there.
#[test]
fn a_state_dict_of_pytorch() {
    let file = include_bytes!("golden/hello_lstm.safetensors");
    let mut model = hello(1);
    Safetensors::read(file).unwrap().members(&NAMES).load_into(&mut model).unwrap();
    assert_eq!(bits(&model), bits(&hello(0)));

    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/hello_lstm.json")).unwrap();
    let mut adam = Adam::new(0.05);
    for expected in golden["losses"].as_array().unwrap() {
        let pass = model.forward(&[1, 0, 2, 2, 3]).unwrap();
        let (loss, d_logits) = CrossEntropy::mean().loss(pass.output(), &[3, 1, 2, 3, 2]).unwrap();
        let gradients = pass.backward(&d_logits).unwrap();
        adam.step(&mut model, &gradients).unwrap();
        let expected = expected.as_f64().unwrap();
        assert!((f64::from(loss) - expected).abs() < 1e-6 * expected, "{loss}, in PyTorch {expected}");
    }
}

/// What is written here has the bytes that PyTorch's file has.
#[test]
fn what_is_written_is_what_pytorch_writes() {
    let written = to_safetensors(&hello(0), &NAMES).unwrap();
    let (ours, theirs) = (
        safetensors::SafeTensors::deserialize(&written).unwrap(),
        safetensors::SafeTensors::deserialize(include_bytes!("golden/hello_lstm.safetensors")).unwrap(),
    );
    assert_eq!(ours.len(), theirs.len());
    for (name, view) in ours.iter() {
        let other = theirs.tensor(name).unwrap();
        assert_eq!((view.dtype(), view.shape(), view.data()), (other.dtype(), other.shape(), other.data()), "{name}");
    }
}

#[test]
fn there_and_back() {
    fn check<M: Parameters + PartialEq + std::fmt::Debug>(model: &M, members: &[&str]) {
        let bytes = to_safetensors(model, members).unwrap();
        let mut other = model.zeros_like();
        Safetensors::read(&bytes).unwrap().members(members).load_into(&mut other).unwrap();
        assert_eq!(bits(&other), bits(model));
    }
    let mut generator = Generator::seed(2);
    check(&hello(3), &NAMES);
    check(&hello(3), &[]);
    check(&Rnn::<3, 5, 3>::new(&mut generator), &["rnn"]);
    check(&Box::new(GruCell::<3, 5>::new(&mut generator)), &[]);
    check(
        &((Embedding::<3, 2>::new(&mut generator), GruCell::<2, 2>::new(&mut generator)), Linear::<2, 2>::zeros()),
        &["inner", "outer"],
    );
}

#[test]
fn names_are_those_of_pytorch() {
    assert_eq!(
        <(Embedding<4, 2>, Rnn<2, 3, 2>, Linear<3, 4>)>::names(&["emb", "rnn"]),
        [
            "emb.weight",
            "rnn.weight_ih_l0",
            "rnn.weight_hh_l0",
            "rnn.bias_ih_l0",
            "rnn.bias_hh_l0",
            "rnn.weight_ih_l1",
            "rnn.weight_hh_l1",
            "rnn.bias_ih_l1",
            "rnn.bias_hh_l1",
            "2.weight",
            "2.bias"
        ]
    );
    assert_eq!(Linear::<3, 4>::names(&[]), ["weight", "bias"]);
    assert_eq!(Linear::<3, 4>::names(&["fc"]), ["fc.weight", "fc.bias"]);
}

/// A file of tensors, each of a type, a shape and as many bytes as it takes.
fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let bytes = |dtype: Dtype, shape: &[usize]| vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
    let data: Vec<Vec<u8>> = tensors.iter().map(|(_, dtype, shape)| bytes(*dtype, shape)).collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, dtype, shape), data)| (name.to_string(), TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
}

#[track_caller]
fn refused(tensors: &[(&str, Dtype, &[usize])]) -> (FileError, String) {
    let (mut linear, before) = (Linear::<3, 2>::new(&mut Generator::seed(0)), Linear::new(&mut Generator::seed(0)));
    let error = Safetensors::read(&file(tensors)).unwrap().load_into(&mut linear).unwrap_err();
    assert_eq!(linear, before, "a refusal changes nothing");
    let message = error.to_string();
    (error, message)
}

#[test]
fn tensors_that_do_not_fit() {
    let (weight, bias): ((_, _, &[usize]), (_, _, &[usize])) =
        (("weight", Dtype::F32, &[2, 3]), ("bias", Dtype::F32, &[2]));
    let (error, message) = refused(&[weight]);
    assert!(matches!(error, FileError::Missing { .. }));
    assert_eq!(message, "bias is not in the file, which has weight");
    let (error, message) = refused(&[weight, bias, ("bias2", Dtype::F32, &[2])]);
    assert!(matches!(error, FileError::LeftOver { .. }));
    assert_eq!(message, "bias2 is in the file, but not in the model");
    // As many numbers, transposed.
    let (error, message) = refused(&[("weight", Dtype::F32, &[3, 2]), bias]);
    assert!(matches!(error, FileError::Shape { .. }));
    assert_eq!(message, "weight: shape [2, 3] expected, [3, 2] in the file");
    let (error, message) = refused(&[weight, ("bias", Dtype::F16, &[2])]);
    assert!(matches!(error, FileError::Type { convertible: true, .. }));
    assert_eq!(message, "bias: F32 expected, F16 in the file, which is converted on request only");
    let (error, _) = refused(&[weight, ("bias", Dtype::I32, &[2])]);
    assert!(matches!(error, FileError::Type { convertible: false, .. }));
}

#[test]
fn names_of_members_that_do_not_fit() {
    let error = |members: &[&str]| to_safetensors(&hello(0), members).unwrap_err().to_string();
    assert_eq!(error(&["emb", "rnn"]), "names of the members: 3 expected, 2 given");
    assert_eq!(error(&["emb", "rnn", "fc", "more"]), "names of the members: 3 expected, 4 given");
    assert_eq!(error(&["a", "rnn", "a"]), "names of the members: two tensors would be called a.weight");
}

#[test]
fn other_types_on_request() {
    let numbers = [0.5f32, -1.25, 65504.0, 1e-7, f32::NAN, 3.0];
    let mut linear = Linear::<1, 3>::zeros();
    let mut check = |dtype: Dtype, bytes: Vec<u8>, expected: [f32; 6]| {
        let views = [
            ("weight", TensorView::new(dtype, vec![3, 1], &bytes[..bytes.len() / 2]).unwrap()),
            ("bias", TensorView::new(dtype, vec![3], &bytes[bytes.len() / 2..]).unwrap()),
        ];
        let file = safetensors::serialize(views, None).unwrap();
        Safetensors::read(&file).unwrap().converting().load_into(&mut linear).unwrap();
        assert_eq!(bits(&linear).map_nan(), expected.map(f32::to_bits).to_vec().map_nan(), "{dtype:?}");
    };
    let f64s = numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    check(Dtype::F64, f64s, numbers);
    let bf16s = numbers.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
    check(Dtype::BF16, bf16s, numbers.map(|x| half::bf16::from_f32(x).to_f32()));
    let f16s = numbers.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    check(Dtype::F16, f16s, numbers.map(|x| half::f16::from_f32(x).to_f32()));
}

/// NaNs are equal, whatever their bits.
trait MapNan {
    fn map_nan(self) -> Vec<u32>;
}
impl MapNan for Vec<u32> {
    fn map_nan(self) -> Vec<u32> {
        self.into_iter().map(|bits| if f32::from_bits(bits).is_nan() { f32::NAN.to_bits() } else { bits }).collect()
    }
}

/// Every prefix of a file, every file with a byte changed in its header, and headers that promise too much: an error or a model,
/// never a panic.
#[test]
fn truncated_and_hostile_files() {
    let whole = to_safetensors(&Linear::<3, 2>::new(&mut Generator::seed(0)), &[]).unwrap();
    let mut linear = Linear::<3, 2>::zeros();
    let mut load = |bytes: &[u8]| Safetensors::read(bytes).and_then(|file| file.load_into(&mut linear));
    for len in 0..whole.len() {
        assert!(matches!(load(&whole[..len]), Err(FileError::Format(_))), "the first {len} bytes");
    }
    assert!(load(&whole).is_ok());
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for place in 0..header {
        for byte in [0, b' ', b'"', b'0', b'9', b'{', b'}', 0xff] {
            let mut changed = whole.clone();
            changed[place] = byte;
            _ = load(&changed);
        }
    }
    for (promised, rest) in [(u64::MAX, ""), (1 << 62, ""), (99_999_999, "{}"), (2, "{}"), (0, "")] {
        let mut bytes = promised.to_le_bytes().to_vec();
        bytes.extend(rest.as_bytes());
        assert!(load(&bytes).is_err());
    }
    for shape in ["[18446744073709551615,2]", "[4294967296,4294967296]", "[]"] {
        let header = format!("{{\"weight\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,24]}}}}");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 24]);
        assert!(load(&bytes).is_err(), "{shape}");
    }
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = std::env::temp_dir().join(format!("elman-safetensors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    for seed in 0..2 {
        save_safetensors(&path, &hello(seed), &NAMES).unwrap();
        let mut model = hello(9);
        let bytes = std::fs::read(&path).unwrap();
        Safetensors::read(&bytes).unwrap().members(&NAMES).load_into(&mut model).unwrap();
        assert_eq!(model, hello(seed));
    }
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model.safetensors"], "nothing is left beside it");
    let error = save_safetensors(folder.join("none").join("model"), &hello(0), &NAMES).unwrap_err();
    assert!(matches!(error, FileError::Io(_)));
    std::fs::remove_dir_all(&folder).unwrap();
}
