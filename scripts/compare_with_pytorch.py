#!/usr/bin/env python3
"""Trains the tutorial's three programs here and in PyTorch, from many seeds, and compares what they print.

    python3 scripts/compare_with_pytorch.py [SEEDS]

For the seeds 0 to SEEDS - 1 (default 100), both words and all 15 epochs: the loss must have PyTorch's first four
significant digits (a relative difference of at most 5e-5), and each predicted letter must be PyTorch's, unless PyTorch's
two greatest logits differ by 1e-4 or less. The losses are compared before they are printed, with all their digits; the
lines that the examples print are compared as well, and where one is not the same, it must be because the loss lies at
the edge between two last digits or the letter is such a near tie.

Needs PyTorch (on x86-64 with AVX2, where it draws normals as this crate does) and cargo. It is not
part of the gate: tests/golden.rs holds the same claim for twelve seeds, without PyTorch.
"""

import collections
import pathlib
import subprocess
import sys

import torch
from torch import nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "target" / "compare_with_pytorch"

LETTERS = "ehlo"
WORDS = {"hello": [1, 0, 2, 2, 3], "heloo": [1, 0, 2, 3, 3]}
TARGET = [3, 1, 2, 3, 2]  # ohlol
EPOCHS = 15

MANIFEST = f"""
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[dependencies]
elman = {{ path = "{ROOT}" }}
[workspace]
"""

# The examples' programs, except that they print every digit: program, word, seed, epoch, loss, predicted letters.
PROGRAM = """
use elman::{Adam, CrossEntropy, Embedding, Error, Generator, Linear, Model, Rnn, RnnCell};

const TARGET: [usize; 5] = [3, 1, 2, 3, 2];

fn train<M: Model<Output = [f32; 4]>>(
    name: &str,
    mut model: M,
    input: &[M::Input; 5],
    cross_entropy: CrossEntropy,
    rate: f64,
) -> Result<(), Error> {
    let mut adam = Adam::new(rate);
    for epoch in 1..=15 {
        let pass = model.forward(input)?;
        let (loss, d_output) = cross_entropy.loss(pass.output(), &TARGET)?;
        let best = |row: &[f32; 4]| (0..4).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        let letters: String = pass.output().iter().map(|row| ['e', 'h', 'l', 'o'][best(row)]).collect();
        println!("{name} {epoch} {loss:e} {letters}");
        let gradients = pass.backward(&d_output)?;
        adam.step(&mut model, &gradients)?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let seeds: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    for (word, tokens) in [("hello", [1, 0, 2, 2, 3]), ("heloo", [1, 0, 2, 3, 3])] {
        let one_hot = tokens.map(|letter| std::array::from_fn(|i| f32::from(i == letter)));
        for seed in 0..seeds {
            let generator = &mut Generator::seed(seed);
            let cell = RnnCell::<4, 4>::new(generator);
            train(&format!("hello_rnn_cell {word} {seed}"), cell, &one_hot, CrossEntropy::sum(), 0.1)?;
            let generator = &mut Generator::seed(seed);
            let rnn = Rnn::<4, 4, 1>::new(generator);
            train(&format!("hello_rnn {word} {seed}"), rnn, &one_hot, CrossEntropy::mean(), 0.1)?;
            let generator = &mut Generator::seed(seed);
            let model =
                (Embedding::<4, 10>::new(generator), Rnn::<10, 8, 2>::new(generator), Linear::<8, 4>::new(generator));
            train(&format!("hello_embedding {word} {seed}"), model, &tokens, CrossEntropy::mean(), 0.05)?;
        }
    }
    Ok(())
}
"""

Epoch = collections.namedtuple("Epoch", "loss predicted gaps")


# ---------------------------------------------------------------------------------------------------- PyTorch


def one_hot(word):
    return functional.one_hot(torch.tensor(word), 4).float().view(5, 1, 4)


def cell_forward(cell, word):
    """A cell driven by hand; the hidden state is the logits, the losses of the steps are summed."""
    hidden, loss, logits = torch.zeros(1, 4), 0, []
    for x, target in zip(one_hot(word), TARGET):
        hidden = cell(x, hidden)
        loss = loss + functional.cross_entropy(hidden, torch.tensor([target]))
        logits.append(hidden)
    return loss, torch.cat(logits)


def rnn_forward(rnn, word):
    logits = rnn(one_hot(word))[0].view(-1, 4)
    return functional.cross_entropy(logits, torch.tensor(TARGET)), logits


class EmbeddingModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 10)
        self.rnn = nn.RNN(10, 8, num_layers=2, batch_first=True)
        self.linear = nn.Linear(8, 4)


def embedding_forward(model, word):
    out, _ = model.rnn(model.embedding(torch.tensor([word])))
    logits = model.linear(out).view(-1, 4)
    return functional.cross_entropy(logits, torch.tensor(TARGET)), logits


Program = collections.namedtuple("Program", "build forward rate line")
RNN_LINE = "Predicted:  {}, Epoch [{}/15] loss = {:.3f}"
PROGRAMS = {
    "hello_rnn_cell": Program(
        lambda: nn.RNNCell(4, 4), cell_forward, 0.1, "Predicted string: {}, Epoch [{}/15] loss={:.4f}"
    ),
    "hello_rnn": Program(lambda: nn.RNN(4, 4), rnn_forward, 0.1, RNN_LINE),
    "hello_embedding": Program(EmbeddingModel, embedding_forward, 0.05, RNN_LINE),
}


def train(program, word, seed):
    torch.manual_seed(seed)
    model = program.build()
    adam = torch.optim.Adam(model.parameters(), lr=program.rate)
    history = []
    for _ in range(EPOCHS):
        loss, logits = program.forward(model, WORDS[word])
        adam.zero_grad()
        loss.backward()
        adam.step()
        best = logits.detach().topk(2, dim=1)
        predicted = "".join(LETTERS[i] for i in best.indices[:, 0])
        history.append(Epoch(loss.item(), predicted, (best.values[:, 0] - best.values[:, 1]).tolist()))
    return history


# ---------------------------------------------------------------------------------------------------- this crate


def full_precision(seeds):
    """(program, word, seed) -> the epochs of this crate, with all digits."""
    (BUILD / "src").mkdir(parents=True, exist_ok=True)
    (BUILD / "Cargo.toml").write_text(MANIFEST)
    (BUILD / "src" / "main.rs").write_text(PROGRAM)
    command = ["cargo", "run", "--quiet", "--release", "--manifest-path", str(BUILD / "Cargo.toml"), str(seeds)]
    runs = collections.defaultdict(list)
    for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        program, word, seed, _, loss, predicted = line.split()
        runs[program, word, int(seed)].append(Epoch(float(loss), predicted, None))
    return runs


def example_lines(program, word, seed):
    command = [str(ROOT / "target/release/examples" / program), "--seed", str(seed), "--word", word]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


# ---------------------------------------------------------------------------------------------------- comparison


class Report:
    def __init__(self):
        self.runs = self.epochs = self.equal_lines = 0
        self.worst = collections.defaultdict(lambda: (0.0, ""))
        self.failures, self.ties, self.edges = [], [], []

    def compare(self, program, word, seed, ours, theirs, lines):
        assert len(ours) == len(theirs) == len(lines) == EPOCHS
        self.runs += 1
        for index, (our, their, line) in enumerate(zip(ours, theirs, lines)):
            what = f"{program} --word {word} --seed {seed}, epoch {index + 1}"
            self.epochs += 1
            self.compare_loss(program, what, our, their)
            ties = self.compare_letters(what, our, their)
            expected = PROGRAMS[program].line.format(their.predicted, index + 1, their.loss)
            if line == expected:
                self.equal_lines += 1
            elif line.split("loss")[0] == expected.split("loss")[0]:
                self.edges.append(f"{what}: printed {line.split()[-1]}; losses {our.loss!r} and {their.loss!r}")
            elif not ties:
                self.failures.append(f"{what}: printed `{line}` instead of `{expected}`")

    def compare_loss(self, program, what, our, their):
        difference = abs(our.loss - their.loss) / their.loss
        self.worst[program] = max(self.worst[program], (difference, what))
        if not difference <= 5e-5:
            self.failures.append(f"{what}: loss {our.loss!r} instead of {their.loss!r}")

    def compare_letters(self, what, our, their):
        """How many letters are not the same, for a near tie."""
        ties = 0
        for letter, (mine, other, gap) in enumerate(zip(our.predicted, their.predicted, their.gaps)):
            if mine == other:
                continue
            ties += 1
            found = f"{what}: letter {letter} is {mine} instead of {other}, PyTorch's logits differ by {gap:.2e}"
            (self.ties if gap <= 1e-4 else self.failures).append(found)
        return ties

    def print(self):
        print(f"{self.runs} trainings, {self.epochs} epochs, {self.equal_lines} lines printed alike.")
        for program, (difference, what) in self.worst.items():
            print(f"{program}: the losses differ by at most {difference:.2e} of the loss ({what}).")
        for title, list_ in (("Near ties", self.ties), ("Losses at the edge of a digit", self.edges)):
            print(f"{title}: {len(list_)}")
            for line in list_:
                print(f"  {line}")
        for failure in self.failures:
            print(f"FAILED: {failure}")


def main():
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        sys.exit("PyTorch draws normals in another way on this CPU: compare on x86-64 with AVX2 or better")
    torch.set_num_threads(1)
    subprocess.run(["cargo", "build", "--quiet", "--release", "--examples"], check=True, cwd=ROOT)
    ours = full_precision(seeds)
    report = Report()
    for name, program in PROGRAMS.items():
        for word in WORDS:
            for seed in range(seeds):
                lines = example_lines(name, word, seed)
                report.compare(name, word, seed, ours[name, word, seed], train(program, word, seed), lines)
    report.print()
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
