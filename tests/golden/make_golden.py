#!/usr/bin/env python3
"""Writes the golden data beside this file: what PyTorch answers, for the tests of this crate to compare with.

    python3 tests/golden/make_golden.py

needs nothing but PyTorch. It writes generator.json, initial.json, layers.json and tutorial.json. Every tensor is one flat
list in PyTorch's row-major order. Every float32 is printed with the fewest digits that read back to the same float32;
where the same thing was computed again in float64, from the same float32 weights and inputs, it is printed as a float64
under "f64" beside "f32".
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


def write(name, about, sections):
    """One file: the header, then the sections; each entry of a list on a line of its own, so that changes can be read."""
    header = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": COMMAND,
        "about": about,
    }
    lines = [f'"header":{encode(header)}']
    for key, section in sections.items():
        if isinstance(section, list) and section and isinstance(section[0], dict):
            lines.append(f'"{key}":[\n' + ",\n".join(encode(entry) for entry in section) + "\n]")
        else:
            lines.append(f'"{key}":{encode(section)}')
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
    """The third program: Embedding(4, 10), RNN(10, 8, 2 layers), Linear(8, 4), made in this order."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(4, 10)
        self.rnn = nn.RNN(10, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, tokens):
        hidden = torch.zeros(2, tokens.size(0), 8, dtype=self.fc.weight.dtype)
        out, _ = self.rnn(self.emb(tokens), hidden)
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


def tutorial():
    runs = []
    for program in (CellProgram(), RnnProgram(), EmbeddingProgram()):
        for word in WORDS:
            for seed in (*range(10), 42, 777):
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
                if seed == 42:
                    run["final"] = model.state_dict()
                runs.append(run)
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert torch.get_default_dtype() == torch.float32
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        sys.exit("PyTorch draws normals in another way on this CPU: make the data on x86-64 with AVX2 or better")
    generator()
    initial()
    layers()
    tutorial()
