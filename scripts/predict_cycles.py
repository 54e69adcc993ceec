#!/usr/bin/env python3
"""Cycles of the inner loops on CPUs that are not at hand, as LLVM's models of them predict (llvm-mca).

A change to the kernels has to be measured at every level. Where no CPU with AVX-512 is at hand, this tells at least
whether the loops of the tiles became longer: for each of them instructions, multiply-adds, and cycles for one multiply-add.
The models leave out caches, mispredicted branches and what lies between two loops, and are not always right about a CPU;
compare trees by them, not CPUs.

  scripts/predict_cycles.py            the loops of this tree with AVX-512
  scripts/predict_cycles.py avx2       with AVX2

No part of .ci/run. Installs llvm-19 the first time, which needs root on Debian.
"""

import pathlib
import re
import subprocess
import sys

from check_disassembly import LEVELS, ROOT, TRAMPOLINE, build, output

CPUS = {"x86::avx512::Avx512": ["znver4", "icelake-server", "sapphirerapids", "skylake-avx512"],
        "x86::avx2::Avx2": ["znver2", "znver3", "haswell", "skylake", "alderlake"]}
MCA = pathlib.Path("/usr/lib/llvm-19/bin/llvm-mca")
ITERATIONS = 300
# With fewer multiply-adds, or more instructions for each, it is no loop over the terms of sums.
LEAST, MOST_INSTRUCTIONS = 6, 4


def inner_loops(binary, level):
    """Name of the kernel and instructions of every loop without a loop in it, in the trampolines of a level."""
    for block in output("objdump", "-d", "-C", "--no-show-raw-insn", binary).split("\n\n"):
        header, *lines = block.splitlines() or [""]
        if f"<elman::simd::{level}" not in header or not TRAMPOLINE.search(header):
            continue
        kernel = re.sub(r"(\w+::)+", "", TRAMPOLINE.split(header, 1)[1]).removesuffix(">>:")
        body = [line.strip().partition(":") for line in lines if ":" in line]
        body = [(int(address, 16), instruction.strip()) for address, _, instruction in body]
        index = {address: i for i, (address, _) in enumerate(body)}
        jumps = ((i, re.match(r"j\w+ +([0-9a-f]+) ", instruction)) for i, (_, instruction) in enumerate(body))
        loops = [(index[start], i) for i, jump in jumps if jump and (start := int(jump[1], 16)) in index and index[start] <= i]
        for start, end in loops:
            if not any(start <= other_start and other_end < end for other_start, other_end in loops):
                yield kernel, [instruction for _, instruction in body[start:end + 1]]


def cycles(loop, cpu):
    """Cycles of an iteration."""
    # Jumps out of the loop and back to its beginning cost what a jump costs; where to is all one.
    lines = [re.sub(r"^(j\w+) .*", r"\1 1f", re.sub(r" *[<#].*", "", line)) for line in loop]
    command = [MCA, f"-mcpu={cpu}", "-mtriple=x86_64", f"-iterations={ITERATIONS}"]
    found = subprocess.run(command, input="\n".join([*lines, "1:", ""]), capture_output=True, text=True)
    if found.returncode != 0:
        sys.exit(f"predict_cycles: {found.stderr}")
    return int(re.search(r"Total Cycles: +(\d+)", found.stdout)[1]) / ITERATIONS


def main():
    levels = {level.split("::")[1]: level for level in LEVELS}
    level = levels.get(sys.argv[1] if sys.argv[1:] else "avx512")
    if not level or sys.argv[2:]:
        sys.exit(__doc__)
    if not MCA.exists():
        subprocess.run([ROOT / "scripts" / "install_packages.sh", "llvm-19"], check=True)
    rows = set()
    for kernel, loop in inner_loops(build("3"), level):
        multiply_adds = sum("vfmadd" in line for line in loop)
        if LEAST <= multiply_adds >= len(loop) / MOST_INSTRUCTIONS and LEVELS[level] in " ".join(loop):
            each = "".join(f"{cycles(loop, cpu) / multiply_adds:16.2f}" for cpu in CPUS[level])
            rows.add(f"{kernel:56}{len(loop):12}{multiply_adds:14}{each}")
    print(f"{'':56}instructions  multiply-adds{''.join(f'{cpu:>16}' for cpu in CPUS[level])}")
    print("\n".join(sorted(rows)))


if __name__ == "__main__":
    main()
