#!/usr/bin/env python3
"""What another size of a cell costs a program: bytes of code and seconds of compiling.

    python3 scripts/measure_sizes.py [INxHID ...]            # 10x24 12x40 14x56 16x64 20x100 3x8
    python3 scripts/measure_sizes.py --cell Gru [INxHID ...] # of another cell than Rnn: Gru, Lstm

Builds a program that makes, steps, runs forward and backward and trains (Adam) a cell of the first size, then of the first
two, and so on, at opt-level 3 for every instruction set of the target, and prints what each size adds. The first one pays
for what all sizes share. The seconds are those of the program alone, behind its dependencies, and as noisy as the machine.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

from check_disassembly import MANIFEST, ROOT

WORK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "sizes"

PROGRAM = """
use elman::{Adam, CELL, Generator, Model};
use std::hint::black_box;

#[allow(dead_code, reason = "the first program has no sizes")]
fn use_cell<const IN: usize, const HID: usize>(generator: &mut Generator) -> Result<(), elman::Error> {
    let mut cell = CELL::<IN, HID>::new(generator);
    let (x, d) = (vec![[0.5; IN]; 20], vec![[0.1; HID]; 20]);
    let gradients = cell.forward(&x)?.backward(&d)?;
    Adam::new(0.1).step(&mut cell, &gradients)?;
    let mut state = START;
    cell.step_in_place(&x[0], &mut state);
    black_box((cell, state));
    Ok(())
}

fn main() -> Result<(), elman::Error> {
    let mut generator = Generator::seed(1);
    let _ = &mut generator;
    CALLS
    Ok(())
}
"""


STARTS = {"Rnn": "[0.0; HID]", "Gru": "[0.0; HID]", "Lstm": "([0.0; HID], [0.0; HID])"}


def build(cell, sizes):
    """Bytes of code and data, and seconds."""
    calls = " ".join(f"use_cell::<{inputs}, {hidden}>(&mut generator)?;" for inputs, hidden in sizes)
    (WORK / "src").mkdir(parents=True, exist_ok=True)
    (WORK / "Cargo.toml").write_text(MANIFEST)
    (WORK / "src" / "main.rs").write_text(
        PROGRAM.replace("CALLS", calls).replace("CELL", f"{cell}Cell").replace("START", STARTS[cell])
    )
    start = time.time()
    subprocess.run(["cargo", "build", "--quiet", "--release", "--target-dir", WORK / "target"], cwd=WORK, check=True)
    seconds = time.time() - start
    table = subprocess.run(["size", WORK / "target" / "release" / "probe"], check=True, stdout=subprocess.PIPE, text=True)
    text, data = table.stdout.splitlines()[1].split()[:2]
    return int(text) + int(data), seconds


def main():
    arguments, cell = sys.argv[1:], "Rnn"
    if arguments[:1] == ["--cell"]:
        cell, arguments = arguments[1], arguments[2:]
    if cell not in STARTS:
        sys.exit(f"a cell is one of {', '.join(STARTS)}: {cell}")
    given = arguments or ["10x24", "12x40", "14x56", "16x64", "20x100", "3x8"]
    matches = [re.fullmatch(r"(\d+)x(\d+)", size) for size in given]
    if not all(matches):
        sys.exit(f"a size is INxHID, such as 10x24: {' '.join(given)}")
    sizes = [(int(match[1]), int(match[2])) for match in matches]
    build(cell, [])  # the dependencies
    before, seconds_before = build(cell, [])
    for count in range(1, len(sizes) + 1):
        after, seconds = build(cell, sizes[:count])
        print(f"{given[count - 1]:>8}: {(after - before) / 1000:6.1f} KB, {seconds - seconds_before:5.1f} s more", flush=True)
        before, seconds_before = after, seconds


if __name__ == "__main__":
    main()
