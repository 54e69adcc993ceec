#!/usr/bin/env python3
"""Writes the golden data beside this file: what PyTorch answers, for the tests of this crate to compare with.

    python3 tests/golden/make_golden.py [generator] [initial] [layers] [tutorial] [cells] [gated]

needs nothing but PyTorch. It writes the named files, or without a name all of them: generator.json, initial.json,
layers.json, tutorial.json, cells.json and gated.json. Every tensor is one flat list in PyTorch's row-major order. Every float32 is
printed with the fewest digits that read back to the same float32; where the same thing was computed again in float64,
from the same float32 weights and inputs, it is printed as a float64 under "f64" beside "f32".

The drawn numbers are the same on every machine that the script accepts. The last digits of the computed ones are not:
another CPU adds up in another order. So write anew only the files that are to change.
"""

import struct
import sys
from fractions import Fraction
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
COMMAND = "python3 tests/golden/make_golden.py"


# ---------------------------------------------------------------------------------------------------- writing


def text_f32(value):
    """The shortest decimal that is nearest to the float32 `value`, read directly or by way of a float64."""
    bits = struct.pack("<f", value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("<f", float(text)) == bits and is_nearest(text, value):
            break
    else:
        raise ValueError(f"no decimal for {value!r}")
    return text if any(c in text for c in ".e") else text + ".0"


def is_nearest(text, value):
    """Whether the decimal is closer to the float32 `value` than to its neighbours."""
    half = Fraction(float(torch.nextafter(torch.tensor(abs(value)), torch.tensor(0.0)))) - Fraction(abs(value))
    return value == 0.0 or abs(Fraction(text) - Fraction(value)) < abs(half) / 2


def encode(thing):
    if isinstance(thing, torch.Tensor):
        thing = thing.detach()
        assert thing.isfinite().all() if thing.is_floating_point() else True
        write = {torch.float32: text_f32, torch.float64: repr, torch.int64: str}[thing.dtype]
        if thing.dim() == 0:
            return write(thing.item())
        return "[" + ",".join(write(value) for value in thing.flatten().tolist()) + "]"
    if isinstance(thing, dict):
        return "{" + ",".join(f'"{key}":{encode(value)}' for key, value in thing.items()) + "}"
    if isinstance(thing, (list, tuple)):
        return "[" + ",".join(encode(value) for value in thing) + "]"
    if isinstance(thing, bool):
        return "true" if thing else "false"
    if isinstance(thing, str):
        assert '"' not in thing and "\\" not in thing and "\n" not in thing
        return f'"{thing}"'
    assert isinstance(thing, (int, float)), type(thing)
    return repr(thing)


def encode_section(section):
    def is_entries(thing):
        return isinstance(thing, list) and thing and isinstance(thing[0], dict)

    if is_entries(section):
        return "[\n" + ",\n".join(encode(entry) for entry in section) + "\n]"
    if isinstance(section, dict) and any(is_entries(part) for part in section.values()):
        return "{\n" + ",\n".join(f'"{key}":{encode_section(part)}' for key, part in section.items()) + "\n}"
    return encode(section)


def write(name, about, sections):
    """One file: the header, then the sections; each entry of a list on a line of its own, so that changes can be read.

    A section may hold such lists itself, by name.
    """
    header = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": COMMAND,
        "about": about,
    }
    lines = [f'"header":{encode(header)}']
    for key, section in sections.items():
        lines.append(f'"{key}":{encode_section(section)}')
    path = HERE / name
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


# -------------------------------------------------------------------------------------------------- generator


def draw(op, count, low=0.0, high=1.0):
    if op == "rand":
        return {"op": op, "values": torch.rand(count)}
    if op == "randn":
        return {"op": op, "values": torch.randn(count)}
    bounds = torch.tensor([low, high])
    values = torch.empty(count).uniform_(low, high)
    return {"op": op, "from": bounds[0], "to": bounds[1], "values": values}


def generator():
    seeds = []
    for seed in (0, 1, 42, 777, 2**32 + 5, 123456789):

        def fresh(make):
            torch.manual_seed(seed)
            return make()

        entry = {"seed": seed, "rand_100": fresh(lambda: torch.rand(100))}
        # One stream: the odd counts leave a spare normal for the next call.
        entry["randn_1_to_15"] = fresh(lambda: [torch.randn(count) for count in range(1, 16)])
        for count in (16, 17, 20, 100):
            entry[f"randn_{count}"] = fresh(lambda: torch.randn(count))
        entry["stream"] = fresh(
            lambda: [
                draw("rand", 5),
                draw("randn", 3),
                draw("rand", 1),
                draw("randn", 20),
                draw("randn", 1),
                draw("randn", 16),
                draw("uniform", 7, -0.25, 0.5),
                draw("randn", 7),
                draw("randn", 33),
                draw("randn", 15),
                draw("uniform", 20, 1e6, 1e6 + 1.0),
                draw("randn", 2),
            ]
        )
        seeds.append(entry)
    about = (
        "Each list of a seed starts anew from torch.manual_seed(seed). randn_1_to_15: torch.randn(1), torch.randn(2), ... "
        "torch.randn(15) in one stream. stream: the calls in one stream, uniform is torch.empty(n).uniform_(from, to)."
    )
    write("generator.json", about, {"seeds": seeds})


# ---------------------------------------------------------------------------------------------- initial values


class TutorialModel(nn.Module):
    """The third program: Embedding(4, 10), RNN(10, 8, 2 layers), Linear(8, 4), made in this order.

    Or nn.GRU or nn.LSTM in the place of nn.RNN. The states are absent, and so zero.
    """

    def __init__(self, kind=nn.RNN):
        super().__init__()
        self.emb = nn.Embedding(4, 10)
        self.rnn = kind(10, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, tokens):
        out, _ = self.rnn(self.emb(tokens))
        return self.fc(out).view(-1, 4)


def initial():
    modules = {
        "RNNCell(4,4)": lambda: nn.RNNCell(4, 4),
        "RNNCell(3,5)": lambda: nn.RNNCell(3, 5),
        "RNN(4,4,1)": lambda: nn.RNN(4, 4, 1),
        "RNN(10,8,2)": lambda: nn.RNN(10, 8, 2),
        "RNN(5,7,3)": lambda: nn.RNN(5, 7, 3),
        "Embedding(4,10)": lambda: nn.Embedding(4, 10),
        "Embedding(3,4)": lambda: nn.Embedding(3, 4),
        "Embedding(5,7)": lambda: nn.Embedding(5, 7),
        "Linear(8,4)": lambda: nn.Linear(8, 4),
        "tutorial": TutorialModel,
    }
    seeds = []
    for seed in (0, 1, 42, 777, 2**32 + 5):
        states = {}
        for name, make in modules.items():
            torch.manual_seed(seed)
            states[name] = make().state_dict()
        seeds.append({"seed": seed, "modules": states})
    about = (
        "The state dict of each module made right after torch.manual_seed(seed): flat lists, weights row-major as "
        "[out][in], an embedding's table as [V][E]. tutorial: emb = Embedding(4,10), rnn = RNN(10,8,2), fc = Linear(8,4) "
        "made in this order from one stream."
    )
    write("initial.json", about, {"seeds": seeds})


# ------------------------------------------------------------------------------------------------------ layers


def both(run, *tensors):
    """`run` in float32 and, from the same values, in float64."""
    answers = {}
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        # Cloned, or the float32 run would change the caller's own tensor.
        copies = [t.detach().clone() for t in tensors]
        copies = [t.to(dtype).requires_grad_() if t.is_floating_point() else t for t in copies]
        answers[name] = run(dtype, *copies)
    return answers


def module_like(module, dtype):
    """A copy of a module with its parameters in another type and no gradients."""
    copy = type(module)(*module.golden_args)
    copy.load_state_dict(module.state_dict())
    return copy.to(dtype)


def make(kind, *args):
    module = kind(*args)
    module.golden_args = args
    return module


def gradients(module):
    return {"d_" + name: parameter.grad for name, parameter in module.named_parameters()}


def rnn_cell_case(inputs, hidden, batch):
    torch.manual_seed(1000 + inputs)
    cell = make(nn.RNNCell, inputs, hidden)
    x, h, r = torch.randn(batch, inputs), torch.rand(batch, hidden) * 2 - 1, torch.randn(batch, hidden)

    def run(dtype, x, h):
        copy = module_like(cell, dtype)
        out = copy(x, h)
        loss = (out * r.to(dtype)).sum()
        loss.backward()
        return {"out": out, "loss": loss, **gradients(copy), "d_x": x.grad, "d_h": h.grad}

    sizes = {"input_size": inputs, "hidden_size": hidden, "batch": batch}
    return {**sizes, "params": cell.state_dict(), "x": x, "h": h, "r": r, **both(run, x, h)}


def rnn_case(inputs, hidden, layers, steps, batch):
    torch.manual_seed(2000 + inputs)
    rnn = make(nn.RNN, inputs, hidden, layers)
    x, h0 = torch.randn(steps, batch, inputs), torch.rand(layers, batch, hidden) * 2 - 1
    r, r2 = torch.randn(steps, batch, hidden), torch.randn(layers, batch, hidden)

    def run(dtype, x, h0):
        copy = module_like(rnn, dtype)
        out, h_n = copy(x, h0)
        loss = (out * r.to(dtype)).sum() + (h_n * r2.to(dtype)).sum()
        loss.backward()
        if not h0.any():
            assert torch.equal(out, copy(x)[0]), "an absent h0 is zero"
        return {"out": out, "h_n": h_n, "loss": loss, **gradients(copy), "d_x": x.grad, "d_h0": h0.grad}

    sizes = {"input_size": inputs, "hidden_size": hidden, "num_layers": layers, "steps": steps, "batch": batch}
    entry = {**sizes, "params": rnn.state_dict(), "x": x, "r": r, "r2": r2}
    entry["given"] = {"h0": h0, **both(run, x, h0)}
    entry["zero"] = {"h0": torch.zeros_like(h0), **both(run, x, torch.zeros_like(h0))}
    return entry


def embedding_case():
    torch.manual_seed(3000)
    embedding = make(nn.Embedding, 7, 5)
    tokens = torch.tensor([[3, 0, 3, 6], [3, 1, 0, 3]])
    r = torch.randn(2, 4, 5)

    def run(dtype, tokens):
        copy = module_like(embedding, dtype)
        out = copy(tokens)
        loss = (out * r.to(dtype)).sum()
        loss.backward()
        return {"out": out, "loss": loss, **gradients(copy)}

    sizes = {"num_embeddings": 7, "embedding_dim": 5}
    return {**sizes, "params": embedding.state_dict(), "tokens": tokens, "r": r, **both(run, tokens)}


def linear_case():
    torch.manual_seed(4000)
    linear = make(nn.Linear, 5, 3)
    x, r = torch.randn(4, 5), torch.randn(4, 3)

    def run(dtype, x):
        copy = module_like(linear, dtype)
        out = copy(x)
        loss = (out * r.to(dtype)).sum()
        loss.backward()
        return {"out": out, "loss": loss, **gradients(copy), "d_x": x.grad}

    sizes = {"in_features": 5, "out_features": 3, "batch": 4}
    return {**sizes, "params": linear.state_dict(), "x": x, "r": r, **both(run, x)}


def cross_entropy_cases():
    torch.manual_seed(5000)
    plain = torch.randn(6, 5) * 2
    extreme = torch.randn(6, 5)
    extreme[0] = torch.tensor([1e4, -1e4, 0.0, 1e4, 1.0])
    extreme[1] = torch.tensor([-1e4, -1e4, -1e4, -1e4, -1e4])
    extreme[2] = torch.tensor([1e4, 0.0, 0.0, 0.0, -1e4])
    extreme[3, 4] = 1e4
    extreme[4, 2] = -1e4
    entries = []
    for name, logits, targets in (
        ("plain", plain, torch.tensor([0, 4, 2, 2, 1, 3])),
        ("extreme", extreme, torch.tensor([3, 1, 4, 4, 2, 0])),
    ):
        entry = {"name": name, "rows": 6, "classes": 5, "logits": logits, "targets": targets}
        for reduction in ("sum", "mean"):

            def run(_, logits):
                loss = functional.cross_entropy(logits, targets, reduction=reduction)
                loss.backward()
                return {"loss": loss, "d_logits": logits.grad}

            entry[reduction] = both(run, logits)
        entries.append(entry)
    return entries


def adam_cases():
    torch.manual_seed(6000)
    start = torch.randn(7)
    grads = torch.randn(5, 7) * torch.tensor([1.0, 1e-3, 10.0, 1e-8, 0.1, 1.0, 1.0])
    grads[:, 5] = 0.0  # never a gradient: must stay where it is
    grads[1:, 6] = 0.0  # one gradient, then momentum alone
    entries = []
    for name, lr, betas, eps in (
        ("default", 1e-3, (0.9, 0.999), 1e-8),
        ("custom", 0.05, (0.8, 0.95), 1e-4),
    ):

        def run(dtype, parameter):
            adam = torch.optim.Adam([parameter], lr=lr, betas=betas, eps=eps, foreach=False, fused=False)
            history = {"params": [], "exp_avg": [], "exp_avg_sq": []}
            for grad in grads.to(dtype):
                parameter.grad = grad.clone()
                adam.step()
                history["params"].append(parameter.detach().clone())
                for key in ("exp_avg", "exp_avg_sq"):
                    history[key].append(adam.state[parameter][key].clone())
            return history

        options = {"name": name, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps}
        entries.append({**options, "start": start, "grads": list(grads), **both(run, start)})
    return entries


def layers():
    about = (
        "Flat row-major lists. RNNCell: x [B][I], h, r and out [B][H], loss = sum(out * r). RNN: x [T][B][I], h0, h_n and "
        "r2 [L][B][H], out and r [T][B][H], loss = sum(out * r) + sum(h_n * r2), once with a given h0, once with a zero "
        "one. Embedding: tokens [2][4], out and r [2][4][E], loss = sum(out * r). Linear: x [B][I], out and r [B][O], "
        "loss = sum(out * r). Cross-entropy: logits [N][C]. Adam: grads, and the states after each of the 5 steps. "
        "d_ is the gradient of the loss. f32: PyTorch's own; f64: the same computed in float64."
    )
    write(
        "layers.json",
        about,
        {
            "rnn_cell": [rnn_cell_case(*case) for case in ((4, 4, 1), (3, 5, 3), (10, 8, 4), (17, 33, 3))],
            "rnn": [
                rnn_case(*case) for case in ((4, 4, 1, 5, 1), (10, 8, 2, 5, 1), (3, 5, 2, 4, 3), (17, 33, 1, 6, 2))
            ],
            "embedding": [embedding_case()],
            "linear": [linear_case()],
            "cross_entropy": cross_entropy_cases(),
            "adam": adam_cases(),
        },
    )


# ---------------------------------------------------------------------------------------------------- tutorial

LETTERS = "ehlo"
WORDS = {"hello": [1, 0, 2, 2, 3], "heloo": [1, 0, 2, 3, 3]}
TARGET = [3, 1, 2, 3, 2]  # ohlol
EPOCHS = 15


def one_hot(word, dtype):
    return functional.one_hot(torch.tensor(word), 4).to(dtype)


class CellProgram:
    """A cell driven by hand; the hidden state is the logits, the losses of the steps are summed."""

    name, lr = "cell", 0.1

    def build(self):
        return nn.RNNCell(4, 4)

    def forward(self, model, word):
        inputs = one_hot(word, model.weight_ih.dtype).view(5, 1, 4)
        hidden = torch.zeros(1, 4, dtype=inputs.dtype)
        loss, logits = 0.0, []
        for x, target in zip(inputs, TARGET):
            hidden = model(x, hidden)
            loss = loss + functional.cross_entropy(hidden, torch.tensor([target]))
            logits.append(hidden)
        return loss, torch.cat(logits)


class RnnProgram:
    """The same through nn.RNN; the mean of the steps' losses."""

    name, lr = "rnn", 0.1

    def build(self):
        return nn.RNN(4, 4, num_layers=1)

    def forward(self, model, word):
        inputs = one_hot(word, model.weight_ih_l0.dtype).view(5, 1, 4)
        out, _ = model(inputs, torch.zeros(1, 1, 4, dtype=inputs.dtype))
        logits = out.view(-1, 4)
        return functional.cross_entropy(logits, torch.tensor(TARGET)), logits


class EmbeddingProgram:
    """Embedding, two layers of RNN, a linear layer; the mean of the steps' losses."""

    name, lr = "embedding", 0.05

    def build(self):
        return TutorialModel()

    def forward(self, model, word):
        logits = model(torch.tensor([word]))
        return functional.cross_entropy(logits, torch.tensor(TARGET)), logits


def train(program, model, word):
    adam = torch.optim.Adam(model.parameters(), lr=program.lr)
    history = []
    for _ in range(EPOCHS):
        loss, logits = program.forward(model, word)
        adam.zero_grad()
        loss.backward()
        adam.step()
        history.append((loss.detach(), logits.detach()))
    return history


def training_run(program, word, seed, final=False):
    torch.manual_seed(seed)
    model = program.build()
    torch.manual_seed(seed)
    model_f64 = program.build().double()
    history = train(program, model, WORDS[word])
    history_f64 = train(program, model_f64, WORDS[word])
    best = [logits.topk(2, dim=1) for _, logits in history]
    run = {"program": program.name, "word": word, "seed": seed}
    run["loss"] = torch.stack([loss for loss, _ in history])
    run["loss_f64"] = torch.stack([loss for loss, _ in history_f64])
    run["predicted"] = ["".join(LETTERS[i] for i in top.indices[:, 0]) for top in best]
    run["gap"] = [top.values[:, 0] - top.values[:, 1] for top in best]
    if final:
        # Adam divides a gradient that is nearly zero by its own size, rounding and all.
        errors = [(a - b).abs().max() for a, b in zip(model.parameters(), model_f64.parameters())]
        assert max(errors) < 1e-6, "take another seed"
    if final or seed == 42:
        run["final"] = model.state_dict()
    return run


def tutorial():
    runs = []
    for program in (CellProgram(), RnnProgram(), EmbeddingProgram()):
        for word in WORDS:
            for seed in (*range(10), 42, 777):
                runs.append(training_run(program, word, seed))
    about = (
        "The tutorial's three programs: torch.manual_seed(seed), the model, Adam(lr), 15 epochs. Per epoch, before that "
        "epoch's update: loss (float32; loss_f64 is the same training in float64 from the same initial values), the "
        "predicted string, and for each of the 5 steps the gap between its two greatest logits. final (seed 42 only): the "
        "parameters after the last update. cell and rnn read one-hot letters."
    )
    programs = {program.name: {"lr": program.lr} for program in (CellProgram, RnnProgram, EmbeddingProgram)}
    write(
        "tutorial.json",
        about,
        {"letters": LETTERS, "target": TARGET, "words": WORDS, "epochs": EPOCHS, "programs": programs, "runs": runs},
    )


# ------------------------------------------------------------------------------------------------------- cells


class ReluProgram(RnnProgram):
    """The second program with nonlinearity='relu'."""

    name = "relu"

    def build(self):
        return nn.RNN(4, 4, num_layers=1, nonlinearity="relu")


class GruProgram(EmbeddingProgram):
    """The third program with nn.GRU in the place of nn.RNN."""

    name = "gru"

    def build(self):
        return TutorialModel(nn.GRU)


class LstmProgram(EmbeddingProgram):
    """The third program with nn.LSTM in the place of nn.RNN."""

    name = "lstm"

    def build(self):
        return TutorialModel(nn.LSTM)


def is_lstm(module):
    return isinstance(module, (nn.LSTM, nn.LSTMCell))


def assert_clear_of_the_kink(cells, x, states):
    """Fails if a ReLU's argument is so near to zero that another order of additions could turn its slope over."""
    states = [state.double() for state in states]  # one for each layer
    for rows in x.double():
        for layer, (weight_ih, weight_hh, bias_ih, bias_hh) in enumerate(cells):
            arguments = rows @ weight_ih.double().T + states[layer] @ weight_hh.double().T + bias_ih + bias_hh
            assert arguments.abs().min() > 1e-4, "take another seed"
            rows = states[layer] = arguments.relu()


def sequence_case(seed, kind, inputs, hidden, layers, steps, batch, *options):
    """nn.RNN, nn.GRU or nn.LSTM, forward and backward."""
    torch.manual_seed(seed)
    module = make(kind, inputs, hidden, layers, *options)
    names = ("h", "c") if is_lstm(module) else ("h",)
    x = torch.randn(steps, batch, inputs)
    starts = [torch.rand(layers, batch, hidden) * 2 - 1 for _ in names]
    d_output = torch.randn(steps, batch, hidden)
    d_ends = [torch.randn(layers, batch, hidden) for _ in names]
    if kind is nn.RNN:
        assert_clear_of_the_kink(module.all_weights, x, starts[0])

    def run(dtype, x, *starts):
        copy = module_like(module, dtype)
        output, ends = copy(x, starts if is_lstm(module) else starts[0])
        ends = ends if is_lstm(module) else (ends,)
        torch.autograd.backward([output, *ends], [d.to(dtype) for d in (d_output, *d_ends)])
        answer = {"output": output, **{name + "_n": end for name, end in zip(names, ends)}}
        answer |= {**gradients(copy), "d_x": x.grad}
        return answer | {f"d_{name}0": start.grad for name, start in zip(names, starts)}

    entry = {"input_size": inputs, "hidden_size": hidden, "num_layers": layers, "steps": steps, "batch": batch}
    entry |= {"params": module.state_dict(), "x": x, **{name + "0": start for name, start in zip(names, starts)}}
    entry |= {"d_output": d_output, **{f"d_{name}_n": d_end for name, d_end in zip(names, d_ends)}}
    return entry | both(run, x, *starts)


def steps_case(seed, kind, inputs, hidden, steps, batch, *options):
    """nn.RNNCell, nn.GRUCell or nn.LSTMCell driven by hand, forward and backward."""
    torch.manual_seed(seed)
    cell = make(kind, inputs, hidden, *options)
    names = ("h", "c") if is_lstm(cell) else ("h",)
    x = torch.randn(steps, batch, inputs)
    starts = [torch.rand(batch, hidden) * 2 - 1 for _ in names]
    d_output = torch.randn(steps, batch, hidden)
    d_c_n = [torch.randn(batch, hidden) for _ in names[1:]]
    if kind is nn.RNNCell:
        assert_clear_of_the_kink([list(cell.parameters())], x, starts)

    def run(dtype, x, *starts):
        copy = module_like(cell, dtype)
        states, before, after = starts, [], []
        for rows in x:
            # A node of its own, so that its gradient is what came through this step alone.
            states = [state.clone() for state in states]
            for state in states:
                state.retain_grad()
            before.append(states)
            states = copy(rows, tuple(states)) if is_lstm(cell) else (copy(rows, states[0]),)
            after.append(states)
        torch.autograd.backward([h for h, *_ in after] + list(states[1:]), [d.to(dtype) for d in (*d_output, *d_c_n)])
        answer = {"output": torch.stack([h for h, *_ in after])}
        if is_lstm(cell):
            answer["c"] = torch.stack([c for _, c in after])
        answer |= {**gradients(copy), "d_x": x.grad}
        answer |= {f"d_{name}0": start.grad for name, start in zip(names, starts)}
        for i, name in enumerate(names):
            answer[f"d_{name}_before"] = torch.stack([states[i].grad for states in before])
            assert torch.equal(answer[f"d_{name}_before"][0], answer[f"d_{name}0"])
        return answer

    entry = {"input_size": inputs, "hidden_size": hidden, "steps": steps, "batch": batch}
    entry |= {"params": cell.state_dict(), "x": x, **{name + "0": start for name, start in zip(names, starts)}}
    entry |= {"d_output": d_output, **{"d_c_n": d for d in d_c_n}}
    return entry | both(run, x, *starts)


def initial_cases(modules):
    entries = []
    for name, seed, kind, *arguments in modules:
        torch.manual_seed(seed)
        entries.append({"module": name, "seed": seed, "params": kind(*arguments).state_dict()})
    return entries


def cells():
    """ReLU, GRU and LSTM. The file has, beside the header:

    letters, target, words, epochs: as in tutorial.json; they belong to the trainings.
    programs: for "relu", "gru" and "lstm" the learning rate "lr" of Adam.
    relu, gru, lstm: one object each, with four lists.

    "initial", parameters right after torch.manual_seed(seed):
        module      "RNNCell(4,4)", "GRUCell(4,4)", "LSTMCell(4,4)", "GRU(3,5,2)" or "LSTM(3,5,2)"
        seed        a whole number
        params      the state dict, in PyTorch's order: weight_ih [G H][I], weight_hh [G H][H], bias_ih [G H],
                    bias_hh [G H], with G = 1 (ReLU), 3 (GRU) or 4 (LSTM); for a sequence module the names end in
                    _l0, _l1, and layer 1 has H inputs

    "sequence", nn.RNN(nonlinearity='relu'), nn.GRU or nn.LSTM with batch_first=False:
        input_size I, hidden_size H, num_layers L, steps T, batch B
        params      as above
        x           [T][B][I]
        h0          [L][B][H]; c0 the same, LSTM only
        d_output    [T][B][H], the gradient that arrives at output
        d_h_n       [L][B][H], the gradient that arrives at h_n, in addition to that; d_c_n the same, LSTM only
        f32, f64    the answers: output [T][B][H]; h_n and (LSTM only) c_n [L][B][H]; the gradients d_weight_ih_l0 and
                    so on of every parameter, d_x of x, d_h0 of h0 and (LSTM only) d_c0 of c0, each shaped like what it
                    is the gradient of

    "cell", nn.RNNCell(nonlinearity='relu'), nn.GRUCell or nn.LSTMCell driven over T steps by hand:
        input_size I, hidden_size H, steps T, batch B
        params      as above, the names without an ending
        x           [T][B][I]
        h0          [B][H]; c0 the same, LSTM only
        d_output    [T][B][H], the gradient that arrives at the h of each step from outside, the last step included
        d_c_n       [B][H], the gradient that arrives at the last c from outside, LSTM only
        f32, f64    the answers: output [T][B][H], h after each step; c [T][B][H], c after each step, LSTM only; the
                    gradients d_weight_ih and so on of every parameter, summed over the steps; d_x [T][B][I]; d_h0 and
                    (LSTM only) d_c0 [B][H]; d_h_before and (LSTM only) d_c_before [T][B][H], the gradient of the state
                    that each step starts from, through that step. So step t receives d_output[t] + d_h_before[t + 1]
                    at its h and d_c_before[t + 1] at its c; the last step receives d_output[t] and d_c_n. And
                    d_h_before[0] is d_h0.

    "training", 15 epochs of a program of the tutorial from torch.manual_seed(seed), as the runs of tutorial.json:
        program     "relu" (the second program, RNN(4,4,1), its hidden state is the logits), "gru" or "lstm" (the third
                    program, Embedding(4,10), GRU or LSTM(10,8,2), Linear(8,4), made in this order)
        word        "heloo" for relu, "hello" for gru and lstm
        seed        0 to 9
        loss        [15], before the update of each epoch; loss_f64 [15], the same training in float64
        predicted   15 strings of 5 letters
        gap         15 lists of 5: the difference of the two greatest logits of each step
    """
    relu = {
        "initial": initial_cases(("RNNCell(4,4)", seed, nn.RNNCell, 4, 4, True, "relu") for seed in (777, 0)),
        "sequence": [sequence_case(7000, nn.RNN, 3, 5, 2, 7, 3, "relu")],
        "cell": [steps_case(7100, nn.RNNCell, 10, 17, 5, 2, True, "relu")],
        "training": [training_run(ReluProgram(), "heloo", seed) for seed in range(10)],
    }
    sections = {"relu": relu}
    for name, program, sequence, cell, first in (
        ("gru", GruProgram(), nn.GRU, nn.GRUCell, 8000),
        ("lstm", LstmProgram(), nn.LSTM, nn.LSTMCell, 9000),
    ):
        upper = name.upper()
        modules = [(f"{upper}Cell(4,4)", seed, cell, 4, 4) for seed in (777, 0)]
        sections[name] = {
            "initial": initial_cases([*modules, (f"{upper}(3,5,2)", 1, sequence, 3, 5, 2)]),
            "sequence": [
                sequence_case(first, sequence, 3, 5, 2, 7, 3),
                sequence_case(first + 1, sequence, 10, 17, 1, 20, 2),
            ],
            "cell": [steps_case(first + 100, cell, 3, 5, 5, 2), steps_case(first + 101, cell, 10, 17, 5, 2)],
            "training": [training_run(program, "hello", seed) for seed in range(10)],
        }
    about = (
        "RNN with nonlinearity='relu', GRU, LSTM: initial parameters; sequence modules and cells forward and backward, "
        "with the gradients d_output, d_h_n and d_c_n given; trainings. Flat row-major lists, the sizes are in the "
        "docstring of cells() in make_golden.py. f32: PyTorch's own; f64: the same computed in float64."
    )
    programs = {program.name: {"lr": program.lr} for program in (ReluProgram, GruProgram, LstmProgram)}
    settings = {"letters": LETTERS, "target": TARGET, "words": WORDS, "epochs": EPOCHS, "programs": programs}
    write("cells.json", about, settings | sections)


# ------------------------------------------------------------------------------------------------------- gated


def gated():
    """The GRU and the LSTM of the third program, whole: what cells.json has of smaller ones, or in outline.

    letters, target, words, epochs, programs: as in cells.json.
    initial: parameters of GRU(10,8,2) and LSTM(10,8,2) right after torch.manual_seed(0), in the form of cells.json.
    training: for each the run of seed 777, which like some of tutorial.json has in "final" all parameters after the
    last update.
    """
    programs = (GruProgram(), LstmProgram())
    about = (
        "GRU(10,8,2) and LSTM(10,8,2): the initial parameters of a seed, and the third program of the tutorial trained with "
        "them, with the parameters after the last update. In the form of cells.json, float32 but for loss_f64."
    )
    settings = {"letters": LETTERS, "target": TARGET, "words": WORDS, "epochs": EPOCHS}
    settings["programs"] = {program.name: {"lr": program.lr} for program in programs}
    modules = [("GRU(10,8,2)", 0, nn.GRU, 10, 8, 2), ("LSTM(10,8,2)", 0, nn.LSTM, 10, 8, 2)]
    training = [training_run(program, "hello", 777, final=True) for program in programs]
    write("gated.json", about, {**settings, "initial": initial_cases(modules), "training": training})


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert torch.get_default_dtype() == torch.float32
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        sys.exit("PyTorch draws normals in another way on this CPU: make the data on x86-64 with AVX2 or better")
    files = {make_file.__name__: make_file for make_file in (generator, initial, layers, tutorial, cells, gated)}
    if unknown := set(sys.argv[1:]) - set(files):
        sys.exit(f"there is no {', '.join(sorted(unknown))}: the names are {', '.join(files)}")
    for name in sys.argv[1:] or files:
        files[name]()
