//! tract: an ONNX model of one RNN node, made in memory; forward only.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::{Data, Kind, SINGLE_STEPS, Work};
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::SimpleState;

pub fn candidates(work: Work, data: &Data, threads: usize) -> Vec<Named> {
    if threads > 1 {
        multithread::set_default_executor(multithread::Executor::multithread(threads));
    }
    match work.kind {
        Kind::Forward | Kind::Sequence => vec![named("tract", Forward::new(work, data))],
        Kind::Step => vec![named("tract", Step::new(work.size, data))],
        Kind::Training | Kind::Character => vec![],
    }
}

const FLOAT: i32 = pb::tensor_proto::DataType::Float as i32;

fn weights(name: &str, dims: &[usize], values: Vec<f32>) -> pb::TensorProto {
    let dims = dims.iter().map(|&dim| dim as i64).collect();
    pb::TensorProto { name: name.to_owned(), dims, data_type: FLOAT, float_data: values, ..Default::default() }
}

fn value(name: &str, dims: &[usize]) -> pb::ValueInfoProto {
    use pb::{tensor_shape_proto, type_proto};
    let dimension = |&dim: &usize| pb::tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(dim as i64)),
        ..Default::default()
    };
    let shape = pb::TensorShapeProto { dim: dims.iter().map(dimension).collect() };
    let tensor = type_proto::Tensor { elem_type: FLOAT, shape: Some(shape) };
    let of_tensor = pb::TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.to_owned(), r#type: Some(of_tensor), ..Default::default() }
}

fn attribute(name: &str, kind: pb::attribute_proto::AttributeType) -> pb::AttributeProto {
    pb::AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() }
}

/// `x` batch-first. With `initial_h`, that is an input too, and the output is the last state instead of all of them.
fn model(size: usize, data: &Data, batch: usize, steps: usize, initial_h: bool) -> pb::ModelProto {
    use pb::attribute_proto::AttributeType;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let node = pb::NodeProto {
        op_type: "RNN".to_owned(),
        name: "rnn".to_owned(),
        input: names(if initial_h { &["x", "W", "R", "B", "", "h0"] } else { &["x", "W", "R", "B"] }),
        output: names(if initial_h { &["", "h"] } else { &["h"] }),
        attribute: vec![
            pb::AttributeProto { i: size as i64, ..attribute("hidden_size", AttributeType::Int) },
            pb::AttributeProto { i: 1, ..attribute("layout", AttributeType::Int) },
        ],
        ..Default::default()
    };
    let state = [batch, 1, size];
    let states = [batch, steps, 1, size];
    let mut input = vec![value("x", &[batch, steps, size])];
    if initial_h {
        input.push(value("h0", &state));
    }
    let biases = [data.get("bias_ih"), data.get("bias_hh")].concat();
    let graph = pb::GraphProto {
        name: "rnn".to_owned(),
        node: vec![node],
        initializer: vec![
            weights("W", &[1, size, size], data.get("weight_ih").to_vec()),
            weights("R", &[1, size, size], data.get("weight_hh").to_vec()),
            weights("B", &[1, 2 * size], biases),
        ],
        input,
        output: vec![value("h", if initial_h { &state[..] } else { &states })],
        ..Default::default()
    };
    let opset = pb::OperatorSetIdProto { version: 14, ..Default::default() };
    pb::ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

type State = SimpleState<TypedFact, Box<dyn TypedOp>>;

fn state(model: &pb::ModelProto) -> Result<State, Failure> {
    let model = tract_onnx::onnx().model_for_proto_model(model)?;
    Ok(model.into_optimized()?.into_runnable()?.spawn()?)
}

fn read(values: &TVec<TValue>) -> Result<Vec<f32>, Failure> {
    Ok(values.first().ok_or("no output")?.to_plain_array_view::<f32>()?.iter().copied().collect())
}

struct Forward {
    state: State,
    x: TValue,
    h: TVec<TValue>,
}

impl Forward {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        let (steps, batch) = work.shape();
        Ok(Self {
            state: state(&model(work.size, data, batch, steps, false))?,
            x: Tensor::from_shape(&[batch, steps, work.size], data.get("x"))?.into(),
            h: TVec::new(),
        })
    }
}

impl Candidate for Forward {
    fn run(&mut self) -> Result<(), Failure> {
        self.h = self.state.run(tvec![self.x.clone()])?;
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        read(&self.h)
    }
}

struct Step {
    state: State,
    x: TValue,
    h: TValue,
}

impl Step {
    fn new(size: usize, data: &Data) -> Result<Self, Failure> {
        Ok(Self {
            state: state(&model(size, data, 1, 1, true))?,
            x: Tensor::from_shape(&[1, 1, size], data.get("x"))?.into(),
            h: Tensor::zero::<f32>(&[1, 1, size])?.into(),
        })
    }
}

impl Candidate for Step {
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..SINGLE_STEPS {
            let mut outputs = self.state.run(tvec![self.x.clone(), self.h.clone()])?;
            self.h = outputs.pop().ok_or("no output")?;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        read(&tvec![self.h.clone()])
    }
}
