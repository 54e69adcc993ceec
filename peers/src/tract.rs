//! tract: an ONNX model of one node (RNN, GRU or LSTM), made in memory; forward only.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::{Cell, Data, Kind, SINGLE_STEPS, Work};
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::SimpleState;

pub fn candidates(work: Work, data: &Data, threads: usize) -> Vec<Named> {
    if threads > 1 {
        multithread::set_default_executor(multithread::Executor::multithread(threads));
    }
    match work.kind {
        Kind::Forward | Kind::Sequence => vec![named("tract", Forward::new(work, data))],
        Kind::Step => vec![named("tract", Step::new(work, data))],
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

/// The numbers of a tensor's gates in ONNX's order: z r n of a GRU, i o f g of an LSTM.
fn gates(work: Work, values: &[f32]) -> Vec<f32> {
    let order: &[usize] = match work.cell {
        Cell::Tanh => &[0],
        Cell::Gru => &[1, 0, 2],
        Cell::Lstm => &[0, 3, 1, 2],
    };
    let len = values.len() / work.cell.gates();
    order.iter().flat_map(|gate| &values[gate * len..(gate + 1) * len]).copied().collect()
}

/// `x` batch-first. With a state, the first one is an input, and the output is the last one instead of every `h`.
fn model(work: Work, data: &Data, batch: usize, steps: usize, with_state: bool) -> pb::ModelProto {
    use pb::attribute_proto::AttributeType;
    let Work { cell, size, .. } = work;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let integer = |name, i| pb::AttributeProto { i, ..attribute(name, AttributeType::Int) };
    let mut node = pb::NodeProto {
        op_type: match cell {
            Cell::Tanh => "RNN".to_owned(),
            Cell::Gru => "GRU".to_owned(),
            Cell::Lstm => "LSTM".to_owned(),
        },
        name: "layer".to_owned(),
        input: names(&["x", "W", "R", "B"]),
        output: names(&["h"]),
        attribute: vec![integer("hidden_size", size as i64), integer("layout", 1)],
        ..Default::default()
    };
    if cell == Cell::Gru {
        node.attribute.push(integer("linear_before_reset", 1));
    }
    let state = [batch, 1, size];
    let mut input = vec![value("x", &[batch, steps, size])];
    let mut output = vec![value("h", &[batch, steps, 1, size])];
    if with_state {
        let (first, last) = (&["h0", "c0"][..cell.states()], &["h", "c"][..cell.states()]);
        node.input.extend(names(&[&[""], first].concat()));
        node.output = names(&[&[""], last].concat());
        input.extend(first.iter().map(|name| value(name, &state)));
        output = last.iter().map(|name| value(name, &state)).collect();
    }
    let [weight_ih, weight_hh, bias_ih, bias_hh] =
        ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| gates(work, data.get(name)));
    let rows = cell.gates() * size;
    let graph = pb::GraphProto {
        name: "layer".to_owned(),
        node: vec![node],
        initializer: vec![
            weights("W", &[1, rows, size], weight_ih),
            weights("R", &[1, rows, size], weight_hh),
            weights("B", &[1, 2 * rows], [bias_ih, bias_hh].concat()),
        ],
        input,
        output,
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
    let mut numbers = Vec::new();
    for value in values {
        numbers.extend(value.to_plain_array_view::<f32>()?);
    }
    Ok(numbers)
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
            state: state(&model(work, data, batch, steps, false))?,
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
    /// h, and c of an LSTM.
    carried: TVec<TValue>,
}

impl Step {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        let shape = [1, 1, work.size];
        let zeros = |_| Ok(Tensor::zero::<f32>(&shape)?.into());
        Ok(Self {
            state: state(&model(work, data, 1, 1, true))?,
            x: Tensor::from_shape(&shape, data.get("x"))?.into(),
            carried: (0..work.cell.states()).map(zeros).collect::<Result<_, Failure>>()?,
        })
    }
}

impl Candidate for Step {
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..SINGLE_STEPS {
            let mut inputs = tvec![self.x.clone()];
            inputs.append(&mut self.carried);
            self.carried = self.state.run(inputs)?;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        read(&self.carried)
    }
}
