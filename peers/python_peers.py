#!/usr/bin/env python3
"""PyTorch, JAX and onnxruntime for the table of peers. The program in src/ runs this and speaks with it as src/worker.rs
says; a library that is not installed is left out.

    python3 python_peers.py THREADS DIRECTORY

The data are in DIRECTORY, as little-endian float32: sequences batch-first, weights [gate and out][in] with PyTorch's
order of gates: r z n of a GRU, i f g o of an LSTM.
"""

import functools
import os
import sys
import time
from pathlib import Path

THREADS, DIRECTORY = int(sys.argv[1]), Path(sys.argv[2])
# Before JAX starts: its processor pool, and whether its matrix products are spread over it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if THREADS > 1 else 'false'}"

import numpy  # noqa: E402

try:
    import torch
    from torch import nn
except ImportError:
    torch = None
try:
    import jax
    from jax import numpy as jnp
except ImportError:
    jax = None
try:
    import onnx
    import onnxruntime
except ImportError:
    onnxruntime = None

STEPS, LONG_STEPS, BATCH = 100, 10_000, 64
LETTERS, EMBEDDING, NEURONS, LEARNING_RATE = 65, 32, 128, 1e-3
COMPARED_LOSSES, SINGLE_STEPS = 3, 1000
GATES = {"tanh": 1, "gru": 3, "lstm": 4}


class Data:
    """The tensors of a work by name."""

    def __init__(self, work):
        self.work = work
        self.kind, self.cell, size = work.split("-")
        self.size, self.gates = int(size), GATES[self.cell]
        # An LSTM's state is h and c.
        self.states = 2 if self.cell == "lstm" else 1
        self.steps, self.batch = (LONG_STEPS, 1) if self.kind == "sequence" else (STEPS, BATCH)

    def get(self, name, *shape):
        return numpy.fromfile(DIRECTORY / f"{self.work}.{name}.f32", dtype="<f4").reshape(shape)

    def layer(self, inputs, neurons, suffix=""):
        rows = self.gates * neurons
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, neurons), "bias_ih": (rows,), "bias_hh": (rows,)}
        return {name: self.get(name + suffix, *shape) for name, shape in shapes.items()}

    def rows(self, name):
        return self.get(name, self.batch, self.steps, self.size)

    def letters(self, name):
        return self.get(name, self.batch, self.steps).astype("int64")


def biases(data, bias_ih, bias_hh):
    """The gradients of the biases that a result holds: both of them where they differ."""
    return (bias_ih, bias_hh) if data.cell == "gru" else (bias_ih,)


def joined(*tensors):
    """A result: all numbers one after the other."""
    return numpy.concatenate([numpy.asarray(tensor, dtype="<f4").ravel() for tensor in tensors])


# ---------------------------------------------------------------------------------------------------- PyTorch


def torch_rnn(data):
    """A layer on time-major sequences, which suit it best."""
    rnn = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[data.cell](data.size, data.size)
    torch_load(rnn, {f"{name}_l0": tensor for name, tensor in data.layer(data.size, data.size).items()})
    return rnn


def torch_load(module, tensors):
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})


def torch_time_major(rows):
    return torch.from_numpy(rows).transpose(0, 1).contiguous()


class TorchForward:
    def __init__(self, data):
        self.rnn, self.x = torch_rnn(data), torch_time_major(data.rows("x"))

    @torch.inference_mode() if torch else lambda f: f
    def run(self):
        self.h, _ = self.rnn(self.x)

    def result(self):
        self.run()
        return joined(self.h.transpose(0, 1))


def torch_zeros(data, *shape, **options):
    """A first state: h, or h and c."""
    state = tuple(torch.zeros(*shape, data.size, **options) for _ in range(data.states))
    return state if data.states > 1 else state[0]


class TorchTraining:
    def __init__(self, data):
        self.data, self.rnn = data, torch_rnn(data)
        self.x = torch_time_major(data.rows("x")).requires_grad_()
        self.state = torch_zeros(data, 1, BATCH, requires_grad=True)
        self.d_output = torch_time_major(data.rows("d_output"))

    def run(self):
        self.h, _ = self.rnn(self.x, self.state)
        inputs = [*self.rnn.parameters(), self.x, *(self.state if self.data.states > 1 else [self.state])]
        self.gradients = torch.autograd.grad(self.h, inputs, self.d_output)

    def result(self):
        self.run()
        weight_ih, weight_hh, bias_ih, bias_hh, d_x, *d_state = self.gradients
        weights = weight_ih, weight_hh, *biases(self.data, bias_ih, bias_hh)
        return joined(self.h.detach().transpose(0, 1), *weights, d_x.transpose(0, 1), *d_state)


class TorchCharacter:
    def __init__(self, data):
        self.embedding = nn.Embedding(LETTERS, EMBEDDING)
        torch_load(self.embedding, {"weight": data.get("embedding", LETTERS, EMBEDDING)})
        self.rnn = nn.RNN(EMBEDDING, NEURONS, 2, batch_first=True)
        lower, upper = data.layer(EMBEDDING, NEURONS), data.layer(NEURONS, NEURONS, "_1")
        tensors = {f"{name}_l0": tensor for name, tensor in lower.items()}
        torch_load(self.rnn, tensors | {f"{name}_l1": tensor for name, tensor in upper.items()})
        self.linear = nn.Linear(NEURONS, LETTERS)
        weight, bias = data.get("linear_weight", LETTERS, NEURONS), data.get("linear_bias", LETTERS)
        torch_load(self.linear, {"weight": weight, "bias": bias})
        parameters = [p for layer in (self.embedding, self.rnn, self.linear) for p in layer.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        self.tokens, self.targets = (torch.from_numpy(data.letters(name)) for name in ("tokens", "targets"))

    def run(self):
        self.adam.zero_grad()
        out, _ = self.rnn(self.embedding(self.tokens))
        loss = nn.functional.cross_entropy(self.linear(out).flatten(0, 1), self.targets.flatten())
        loss.backward()
        self.adam.step()
        self.loss = loss.item()

    def result(self):
        return losses(self)


def losses(candidate):
    found = []
    for _ in range(COMPARED_LOSSES):
        candidate.run()
        found.append(candidate.loss)
    return joined(found)


class TorchStep:
    def __init__(self, data):
        cell = {"tanh": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}[data.cell]
        self.cell = cell(data.size, data.size)
        torch_load(self.cell, data.layer(data.size, data.size))
        self.x, self.state = torch.from_numpy(data.get("x", 1, data.size)), torch_zeros(data, 1)

    @torch.inference_mode() if torch else lambda f: f
    def run(self):
        for _ in range(SINGLE_STEPS):
            self.state = self.cell(self.x, self.state)

    def result(self):
        self.run()
        return joined(*(self.state if isinstance(self.state, tuple) else [self.state]))


# ---------------------------------------------------------------------------------------------------- JAX


def jax_layer(cell, layer, x, state):
    """Time-major: all inputs in one product a gate, then the recurrence. The state is (h,), or (h, c) of an LSTM."""
    sigmoid, weight_hh, bias_hh = jax.nn.sigmoid, layer["weight_hh"], layer["bias_hh"]
    biases = [a + b for a, b in zip(layer["bias_ih"], bias_hh)]
    if cell == "gru":
        # n keeps its biases apart.
        biases[2] = layer["bias_ih"][2]
    projected = [x @ weights + bias for weights, bias in zip(layer["weight_ih"], biases)]

    def step(state, x):
        # One product for each gate: one for all, cut afterwards, took up to three times as long.
        h, recurrent = state[0], [state[0] @ weights for weights in weight_hh]
        if cell == "gru":
            r, z = (sigmoid(a + b) for a, b in zip(x[:2], recurrent))
            n = jnp.tanh(x[2] + r * (recurrent[2] + bias_hh[2]))
            state = (n + z * (h - n),)
        elif cell == "lstm":
            i, f, g, o = (a + b for a, b in zip(x, recurrent))
            c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
            state = sigmoid(o) * jnp.tanh(c), c
        else:
            state = (jnp.tanh(x[0] + recurrent[0]),)
        return state, state[0]

    return jax.lax.scan(step, state, projected)[1]


def jax_weights(layer, gates):
    """Input-major, those of each gate apart."""
    parts = {name: numpy.split(tensor, gates) for name, tensor in layer.items()}
    return {name: [jnp.array(numpy.ascontiguousarray(part.T)) for part in tensors] for name, tensors in parts.items()}


def jax_joined(gates):
    """The gradients of the gates in the files' layout."""
    return numpy.concatenate([gate.T for gate in gates])


def jax_time_major(rows):
    return jnp.array(numpy.ascontiguousarray(rows.swapaxes(0, 1)))


class JaxForward:
    def __init__(self, data):
        self.data, self.layer = data, functools.partial(jax_layer, data.cell)
        self.arguments = jax_weights(data.layer(data.size, data.size), data.gates), jax_time_major(data.rows("x"))
        self.arguments += (tuple(jnp.zeros((data.batch, data.size)) for _ in range(data.states)),)
        self.function = jax.jit(self.layer)

    def run(self):
        self.h = self.function(*self.arguments).block_until_ready()

    def result(self):
        self.run()
        return joined(self.h.swapaxes(0, 1))


class JaxTraining(JaxForward):
    def __init__(self, data):
        super().__init__(data)
        self.arguments += (jax_time_major(data.rows("d_output")),)

        def function(layer, x, state, d_output):
            h, backward = jax.vjp(self.layer, layer, x, state)
            return h, *backward(d_output)

        self.function = jax.jit(function)

    def run(self):
        self.all = jax.block_until_ready(self.function(*self.arguments))

    def result(self):
        self.run()
        h, layer, d_x, d_state = self.all
        layer = {name: jax_joined(gates) for name, gates in layer.items()}
        weights = layer["weight_ih"], layer["weight_hh"], *biases(self.data, layer["bias_ih"], layer["bias_hh"])
        return joined(h.swapaxes(0, 1), *weights, d_x.swapaxes(0, 1), *d_state)


class JaxCharacter:
    def __init__(self, data):
        model = {"embedding": jnp.array(data.get("embedding", LETTERS, EMBEDDING))}
        model["lower"] = jax_weights(data.layer(EMBEDDING, NEURONS), data.gates)
        model["upper"] = jax_weights(data.layer(NEURONS, NEURONS, "_1"), data.gates)
        model["weight"] = jnp.array(data.get("linear_weight", LETTERS, NEURONS).T)
        model["bias"] = jnp.array(data.get("linear_bias", LETTERS))
        zeros = jax.tree.map(jnp.zeros_like, model)
        self.state = model, zeros, jax.tree.map(jnp.zeros_like, model), jnp.float32(0)
        tokens, targets = (jnp.array(data.letters(name).T) for name in ("tokens", "targets"))
        state = (jnp.zeros((BATCH, NEURONS)),)

        def loss(model):
            lower = jax_layer("tanh", model["lower"], model["embedding"][tokens], state)
            logits = jax_layer("tanh", model["upper"], lower, state) @ model["weight"] + model["bias"]
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)
            return -chosen.mean()

        def train(model, first, second, steps):
            value, gradients = jax.value_and_grad(loss)(model)
            steps += 1
            first = jax.tree.map(lambda m, g: m + (g - m) * 0.1, first, gradients)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
            correction = jnp.sqrt(1 - 0.999**steps)
            rate = LEARNING_RATE / (1 - 0.9**steps)
            move = lambda p, m, v: p - rate * m / (jnp.sqrt(v) / correction + 1e-8)  # noqa: E731
            return value, (jax.tree.map(move, model, first, second), first, second, steps)

        self.train = jax.jit(train, donate_argnums=(0, 1, 2, 3))

    def run(self):
        loss, self.state = jax.block_until_ready(self.train(*self.state))
        self.loss = float(loss)

    def result(self):
        return losses(self)


# ---------------------------------------------------------------------------------------------------- onnxruntime


def onnx_weights(data):
    """ONNX has the gates of a GRU in the order z r n, those of an LSTM in the order i o f g."""
    order = {"tanh": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}[data.cell]
    layer = {}
    for name, tensor in data.layer(data.size, data.size).items():
        gates = numpy.split(tensor, data.gates)
        layer[name] = numpy.concatenate([gates[gate] for gate in order])
    biases = numpy.concatenate([layer["bias_ih"], layer["bias_hh"]])
    return {"W": layer["weight_ih"], "R": layer["weight_hh"], "B": biases}


def onnx_session(data, batch, steps, with_state):
    """One node, time-major (it supports no other layout). With a state, the first is an input, the last the output."""
    name = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}[data.cell]
    inputs, outputs = ["x", "W", "R", "B"], ["h"]
    if with_state:
        inputs, outputs = [*inputs, "", *["h0", "c0"][: data.states]], ["", *["h", "c"][: data.states]]
    options = {"linear_before_reset": 1} if data.cell == "gru" else {}
    node = onnx.helper.make_node(name, inputs, outputs, hidden_size=data.size, **options)
    value = lambda name, *shape: onnx.helper.make_tensor_value_info(name, 1, shape)  # noqa: E731
    state = 1, batch, data.size
    graph = onnx.helper.make_graph(
        [node],
        name,
        [value("x", steps, batch, data.size)] + [value(name, *state) for name in inputs[5:]],
        [value(name, *state) for name in outputs[1:]] or [value("h", steps, *state)],
        [onnx.numpy_helper.from_array(tensor[None], name) for name, tensor in onnx_weights(data).items()],
    )
    opset = [onnx.helper.make_opsetid("", 14)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class OnnxForward:
    def __init__(self, data):
        self.session = onnx_session(data, data.batch, data.steps, with_state=False)
        self.inputs = {"x": numpy.ascontiguousarray(data.rows("x").swapaxes(0, 1))}

    def run(self):
        (self.h,) = self.session.run(None, self.inputs)

    def result(self):
        self.run()
        return joined(self.h[:, 0].swapaxes(0, 1))


class OnnxStep:
    def __init__(self, data):
        self.session = onnx_session(data, 1, 1, with_state=True)
        self.x = data.get("x", 1, 1, data.size)
        self.state = [numpy.zeros((1, 1, data.size), dtype="float32") for _ in range(data.states)]

    def run(self):
        for _ in range(SINGLE_STEPS):
            self.state = self.session.run(None, {"x": self.x, **dict(zip(("h0", "c0"), self.state))})

    def result(self):
        self.run()
        return joined(*self.state)


# ---------------------------------------------------------------------------------------------------- the talk


def candidates(kind):
    """The libraries that do a kind of work, with their classes."""
    torch_classes = {"forward": TorchForward, "training": TorchTraining, "character": TorchCharacter}
    torch_classes |= {"sequence": TorchForward, "step": TorchStep}
    jax_classes = {"forward": JaxForward, "training": JaxTraining, "character": JaxCharacter, "sequence": JaxForward}
    onnx_classes = {"forward": OnnxForward, "sequence": OnnxForward, "step": OnnxStep}
    libraries = [("PyTorch", torch, torch_classes), ("JAX", jax, jax_classes)]
    libraries.append(("onnxruntime", onnxruntime, onnx_classes))
    return [(name, classes[kind]) for name, library, classes in libraries if library and kind in classes]


def open_work(work):
    data = Data(work)
    made = {}
    for name, make in candidates(data.kind):
        try:
            made[name] = make(data)
            say("candidate", name)
        except Exception as error:  # noqa: BLE001 whatever it is, the others go on
            say("failed", name, error)
    say("end")
    return made


def shortest(candidate, milliseconds):
    """The shortest of the runs in some time, at least one, in seconds."""
    start = time.perf_counter()
    best = float("inf")
    while best == float("inf") or time.perf_counter() - start < milliseconds / 1e3:
        run_start = time.perf_counter()
        candidate.run()
        best = min(best, time.perf_counter() - run_start)
    return best


def say(*fields):
    print("\t".join(" ".join(str(field).split()) for field in fields), flush=True)


def answer(made, action, name, *rest):
    try:
        if action == "result":
            made[name].result().tofile(DIRECTORY / f"result-{os.getpid()}.f32")
            say("done")
        else:
            say("seconds", shortest(made[name], int(rest[0])))
    except Exception as error:  # noqa: BLE001 it is the answer
        say("failed", name, error)


def main():
    if torch:
        torch.set_num_threads(THREADS)
    made = {}
    for line in sys.stdin:
        action, *rest = line.rstrip("\n").split("\t")
        if action == "open":
            made.clear()
            made = open_work(*rest)
        else:
            answer(made, action, *rest)


if __name__ == "__main__":
    main()
