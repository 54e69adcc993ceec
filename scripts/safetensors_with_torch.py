#!/usr/bin/env python3
"""Weights between PyTorch and elman, both ways.

    pip install torch safetensors
    scripts/safetensors_with_torch.py            # writes tests/golden/hello_lstm.{safetensors,json}
    scripts/safetensors_with_torch.py FILE       # checks a file that elman has written: the same module with other numbers

The module is Embedding(4, 10), LSTM(10, 8, 2), Linear(8, 4), initialized from seed 0 and trained by Adam to spell ohlol.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).parent.parent / "tests/golden"


class Hello(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(4, 10)
        self.rnn = torch.nn.LSTM(10, 8, 2, batch_first=True)
        self.fc = torch.nn.Linear(8, 4)

    def forward(self, tokens):
        return self.fc(self.rnn(self.emb(tokens))[0])


def losses(model, epochs):
    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    hello, ohlol = torch.tensor([[1, 0, 2, 2, 3]]), torch.tensor([3, 1, 2, 3, 2])
    for _ in range(epochs):
        loss = torch.nn.functional.cross_entropy(model(hello).view(-1, 4), ohlol)
        adam.zero_grad()
        loss.backward()
        adam.step()
        yield loss.item()


torch.manual_seed(0)
model = Hello()
if len(sys.argv) > 1:
    model.load_state_dict(load_file(sys.argv[1]), strict=True)
    print(json.dumps(list(losses(model, 5))))
else:
    save_file(model.state_dict(), GOLDEN / "hello_lstm.safetensors")
    golden = {"torch": torch.__version__, "losses": list(losses(model, 5))}
    (GOLDEN / "hello_lstm.safetensors").chmod(0o644)
    (GOLDEN / "hello_lstm.json").write_text(json.dumps(golden, indent=1) + "\n")
