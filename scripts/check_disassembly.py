#!/usr/bin/env python3
"""Looks into a release build: are the kernels what they should be, after inlining?

Inside a trampoline (`#[target_feature]`, src/simd/x86) every lane operation has to be inlined. One
`#[inline(always)]` lost on the way, and the intrinsics behind it become function calls: correct, and many times slower.
No test of results can see that. This script builds a small program that uses every kernel, disassembles it, and fails
unless

  1. the AVX-512 trampolines of the recurrence are there and hold zmm multiply-adds, those of AVX2 ymm multiply-adds;
  2. no intrinsic (`_mm512_add_ps`, ...) and no lane operation (`<Avx512 as Simd>::add`) is left as a function;
  3. no function that knows the instruction set stands outside of a trampoline;
  4. the trampolines call nothing but kernels that are functions of their own (`Simd::call`: register tiles,
     transpositions) of their own instruction set (those of AVX-512 also those of AVX2, for half vectors) and functions
     without lanes: those of `core` (most are panics), memcpy, and the like, tiles not even memcpy;
  5. from steps of streams and of a `StepTrace` nothing can be reached but trampolines and memory functions: no panic, no allocation, no
     system call;
  6. compiled for size (`opt-level = "s"`), tiles add to as many registers as they have sums, so that no loop over sums is
     left, and neither they nor the other inner loops (steps, Adam, ...) call functions of `core` but panics and copies, nor
     do tiles copy. Only trampolines are looked at; a small device's level `portable` is the same source.

It compiles for x86-64 and does not run what it compiles, so any CPU will do. Needs cargo, objdump, readelf and nm.
"""

import math
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"

# Kernels that must be found, at each level that has trampolines.
KERNELS = ["recurrent::ProjectedSteps<", "BackwardOf<elman::cells::tanh::Tanh",
           "gated_forward::Advance<", "gated_backward::StepBack<", "rnn_cell::Step<", "MultiplyTile<", "NeuronTile<",
           "::OuterTile<", "PackedOuterTile<"]
# Functions that carry target features: `run` for whole kernels, `call` for those that kernels call.
TRAMPOLINE = re.compile(r"::(?:run|call)::trampoline::<")
CALLED = re.compile(r"<elman::simd::(?:\w+::)+\w+ as elman::simd::Simd>::call::trampoline::<elman::kernels::")
LEVELS = {"x86::avx512::Avx512": "zmm", "x86::avx2::Avx2": "ymm"}

MANIFEST = f"""
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[dependencies]
elman = {{ path = "{ROOT}" }}
[workspace]
"""

PROGRAM = """
use elman::{Adam, Batch, CrossEntropy, Embedding, Generator, Linear, Model, Relu, Rnn, RnnCell, Sequences, Steps};
use std::hint::black_box;

/// What an audio callback or a control loop would do.
mod real_time {
    use elman::{Embedding, Error, GruCell, Linear, LstmCell, Rnn, RnnCell, StepTrace, Stream, Streams, TokenRnnCell};
    pub type Model = (RnnCell<16, 64>, RnnCell<64, 33>, Linear<33, 2>);
    pub type Deep = (Rnn<2, 8, 3>, Linear<8, 1>);
    pub type Tokens = (TokenRnnCell<5, 8>, Linear<8, 5>);
    pub type Learner = (RnnCell<2, 8>, Linear<8, 1>);
    pub type Gates = (GruCell<2, 16>, LstmCell<16, 24>, Linear<24, 1>);

    #[inline(never)]
    pub fn step(stream: &mut Stream<Model>, x: &[f32; 16]) -> [f32; 2] {
        stream.advance(x)
    }
    #[inline(never)]
    pub fn step_of_several_layers(stream: &mut Stream<Deep>, x: &[f32; 2]) -> [f32; 1] {
        stream.advance(x)
    }
    #[inline(never)]
    pub fn token(stream: &mut Stream<Tokens>, token: usize) -> Result<[f32; 5], Error> {
        stream.advance_token(token)
    }
    #[inline(never)]
    pub fn voices(voices: &mut Streams<Learner, 7>, x: &[[f32; 2]; 7]) -> [[f32; 1]; 7] {
        voices.advance(x)
    }
    #[inline(never)]
    pub fn tokens(streams: &mut Streams<(Embedding<5, 2>, RnnCell<2, 8>), 7>, tokens: &[usize; 7]) -> Result<[[f32; 8]; 7], Error> {
        streams.advance_tokens(tokens)
    }
    #[inline(never)]
    pub fn step_of_gates(stream: &mut Stream<Gates>, x: &[f32; 2]) -> [f32; 1] {
        stream.advance(x)
    }
    #[inline(never)]
    pub fn learn(trace: &mut StepTrace<Learner, 9>, model: &Learner, x: &[f32; 2], d: &[[f32; 1]; 9], gradients: &mut Learner) -> Result<(), Error> {
        trace.advance(model, x)?;
        trace.backward_into(model, d.get(..trace.len()).unwrap_or_default(), gradients)?;
        trace.clear();
        Ok(())
    }
}

fn main() -> Result<(), elman::Error> {
    let mut generator = Generator::seed(black_box(0));

    let cell = RnnCell::<16, 64>::new(&mut generator);
    let mut gradients = RnnCell::<16, 64>::zeros();
    let (x, h) = (black_box([0.5; 16]), black_box([0.0; 64]));
    let next = cell.step(&x, &h);
    black_box(cell.step_backward_add(&x, &h, &next, &next, &mut gradients));
    black_box(Linear::<64, 32>::new(&mut generator).apply(&next));

    let model = (RnnCell::new(&mut generator), RnnCell::new(&mut generator), Linear::new(&mut generator));
    let mut stream = elman::Stream::new(model);
    black_box(real_time::step(&mut stream, &x));
    let deep: real_time::Deep = (Rnn::new(&mut generator), Linear::new(&mut generator));
    black_box(real_time::step_of_several_layers(&mut elman::Stream::new(deep), &black_box([0.5; 2])));
    let (embedding, small) = (Embedding::<5, 2>::new(&mut generator), RnnCell::<2, 8>::new(&mut generator));
    let folded = (elman::TokenRnnCell::new(&embedding, &small), Linear::new(&mut generator));
    black_box(real_time::token(&mut elman::Stream::new(folded), black_box(3))?);
    black_box(real_time::tokens(&mut elman::Streams::new((embedding, small)), &black_box([3; 7]))?);
    let learner: real_time::Learner = (small, Linear::new(&mut generator));
    black_box(real_time::voices(&mut elman::Streams::new(learner), &black_box([[0.5; 2]; 7])));
    let mut trace = elman::StepTrace::new();
    let mut d_learner = learner;
    real_time::learn(&mut trace, &learner, &black_box([0.5; 2]), &black_box([[1.0]; 9]), &mut d_learner)?;
    black_box(d_learner);

    let mut model = (
        Embedding::<4, 16>::new(&mut generator),
        Rnn::<16, 64, 2>::new(&mut generator),
        Linear::<64, 32>::new(&mut generator),
    );
    let tokens = black_box([1; 32 * 32]);
    let tokens = Sequences::batch_first(&tokens, Batch(32), Steps(32))?;
    let pass = model.forward(tokens)?;
    let (_, d_logits) = CrossEntropy::mean().loss(pass.output(), tokens)?;
    let gradients = pass.backward(&d_logits)?;
    Adam::new(1e-3).step(&mut model, &gradients)?;
    black_box((model, gradients));

    let gates: real_time::Gates = (RnnCell::new(&mut generator), RnnCell::new(&mut generator), Linear::new(&mut generator));
    let mut stream = elman::Stream::new(gates);
    black_box(real_time::step_of_gates(&mut stream, &black_box([0.5; 2])));
    let gates = stream.into_model();
    black_box(gates.forward(&black_box([[0.5; 2]; 20]))?.backward(&black_box([[0.1; 1]; 20]))?);
    let batch = black_box([[0.5; 2]; 32 * 8]);
    let batch = Sequences::batch_first(&batch, Batch(32), Steps(8))?;
    black_box(gates.forward(batch)?.backward(Sequences::batch_first(&black_box([[0.1; 1]; 32 * 8]), Batch(32), Steps(8))?)?);

    let relu = Rnn::<2, 8, 1, Relu>::new(&mut generator);
    black_box(relu.forward(&black_box([[0.5; 2]; 20]))?.backward(&black_box([[0.1; 8]; 20]))?);
    Ok(())
}
"""

# What a trampoline may call, by the start of the demangled name: `core` (panics, iterators, slices), but only where no
# type of this crate is among the type arguments; memory functions; and what has no lanes in it.
MAY_CALL = re.compile(r"(core::|<core::|<\[[^\]]*\]>::)(?!.*elman::)|(mem(cpy|move|set)|bcmp)\b"
                      r"|<elman::kernels::(scratch::Scratch|gradient::cascade::\w+)>::|libm::")


# What is looked at where programs are compiled for size, and what it may call there.
FAST_AT_ANY_SIZE = ["::tile::", "MultiplyTile<", "NeuronTile<", "::OuterTile<", "PackedOuterTile<", "transpose::",
                    "rnn_cell::Step<", "rnn_cell::StepBack<", "linear::Apply<", "adam::Adam", "softmax::"]
MAY_CALL_AT_ANY_SIZE = re.compile(r"core::.*(panic|fail)|core::slice::copy_from_slice_impl|mem(cpy|set)\b|libm::|"
                                  r"<elman::simd::(?:\w+::)+\w+ as elman::simd::Simd>::call::trampoline")


def build(opt_level):
    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "disassembly"
    probe = target_dir / "probe"
    (probe / "src").mkdir(parents=True, exist_ok=True)
    (probe / "Cargo.toml").write_text(MANIFEST)
    (probe / "src" / "main.rs").write_text(PROGRAM)
    (probe / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    # No flags of the caller: a `target-cpu` would let the trampolines be inlined. The mangling keeps the type arguments.
    env = {k: v for k, v in os.environ.items() if not re.search(r"RUSTFLAGS|CARGO_BUILD_TARGET$|CARGO_PROFILE", k)}
    env |= {"RUSTFLAGS": "-Csymbol-mangling-version=v0", "CARGO_TARGET_DIR": str(target_dir),
            "CARGO_PROFILE_RELEASE_OPT_LEVEL": opt_level}
    command = ["cargo", "build", "--quiet", "--release", "--target", TARGET]
    if subprocess.run(command, cwd=probe, env=env).returncode != 0:
        sys.exit("check_disassembly: the program that is to be disassembled does not build")
    return target_dir / TARGET / "release" / "probe"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def functions(binary):
    """Address, name and instructions of every function; names repeat where the type arguments differ in lifetimes only."""
    found = []
    for line in output("objdump", "-d", "-C", "--no-show-raw-insn", binary).splitlines():
        if header := re.fullmatch(r"([0-9a-f]+) <(.*)>:", line):
            found.append((int(header[1], 16), header[2], []))
        elif found and line.startswith(" "):
            found[-1][2].append(line.partition(":")[2].strip())
    return found


def global_offset_table(binary, code):
    """The name of the function behind each entry of the table through which calls to other crates go."""
    names = {address: name for address, name, _ in code}
    table = {}
    for line in output("readelf", "-rW", binary).splitlines():
        if entry := re.match(r"([0-9a-f]+) +[0-9a-f]+ +R_X86_64_RELATIVE +([0-9a-f]+)", line):
            table[int(entry[1], 16)] = names.get(int(entry[2], 16), "?")
        elif entry := re.match(r"([0-9a-f]+) +[0-9a-f]+ +R_X86_64_\w+ +[0-9a-f]+ +([\w.]+)", line):
            table[int(entry[1], 16)] = entry[2]
    return table


def loaded(lines, register):
    """The entry of the table that a function has last loaded into a register before these lines end: what it calls again
    and again stays there."""
    loads = (re.match(rf"mov +0x[0-9a-f]+\(%rip\),{register} +# ([0-9a-f]+) <", line) for line in reversed(lines))
    return next((int(load[1], 16) for load in loads if load), None)


def callees(body, table):
    """The names of the functions that a function calls, or jumps to at its end."""
    found = []
    for i, line in enumerate(body):
        if not (call := re.match(r"(?:call|jmp)\w*\s+(.*)", line)):
            continue
        # A `match` by a table of distances jumps within the function.
        if i > 1 and line.startswith("jmp") and re.match(r"movslq \(%r\w+,%r\w+,4\),", body[i - 2]):
            continue
        if through_table := re.search(r"# ([0-9a-f]+) <", call[1]):
            found.append(table.get(int(through_table[1], 16), "?"))
        elif direct := re.search(r"<(.*)>$", call[1]):
            # A jump within a function shows its name and an offset.
            if not re.search(r"\+0x[0-9a-f]+$", direct[1]):
                found.append(direct[1])
        elif (register := re.fullmatch(r"\*(%r\w+)", call[1])) and (entry := loaded(body[:i], register[1])):
            found.append(table.get(entry, "?"))
        else:
            found.append(call[1])
    return found


def disassembled(opt_level):
    """The program, its functions, its global offset table, and name and instructions of its trampolines."""
    binary = build(opt_level)
    code = functions(binary)
    trampolines = [(name, body) for _, name, body in code if TRAMPOLINE.search(name)]
    return binary, code, global_offset_table(binary, code), trampolines


def check_size():
    """What is wrong with a program that was compiled for size."""
    _, _, table, trampolines = disassembled("s")
    found = {name: [kernel for kernel in FAST_AT_ANY_SIZE if kernel in TRAMPOLINE.split(name, 1)[-1]] for name, _ in trampolines}
    for level in LEVELS:
        here = {kernel for name, kernels in found.items() if name.startswith(f"<elman::simd::{level}") for kernel in kernels}
        for kernel in set(FAST_AT_ANY_SIZE) - here:
            yield f"compiled for size, no trampoline of {level} for {kernel}: was the kernel renamed?"
    for name, body in trampolines:
        if not found[name]:
            continue
        is_tile = "Tile<" in TRAMPOLINE.split(name, 1)[-1]
        for callee in set(callees(body, table)) - {name}:
            if not MAY_CALL_AT_ANY_SIZE.match(callee) or (is_tile and callee.startswith("mem")):
                yield f"{name}\n    compiled for size, calls {callee}"
        # The numbers among the type arguments are chains, rows and vectors, or rows and vectors.
        if not is_tile:
            continue
        shape = re.search(r"Tile<(?:.*?, )??(\d+(?:, \d+)*)>", name)
        if not shape:
            yield f"{name}\n    its shape is not among its type arguments"
            continue
        sums = math.prod(int(number) for number in shape[1].split(", "))
        adds = re.compile(r"vfmadd(231ps |213ps %)")
        registers = {line.rsplit(",", 1)[1] for line in body if adds.match(line)}
        if len(registers) < sums:
            yield f"{name}\n    compiled for size, adds to {len(registers)} registers for {sums} sums"
    print(f"compiled for size: {sum(map(bool, found.values()))} functions")


def main():
    problems = list(check_size())
    binary, code, table, trampolines = disassembled("3")
    symbols = [line[19:] for line in output("nm", "-C", binary).splitlines()]

    for level, register in LEVELS.items():
        here = [(name, body) for name, body in trampolines if name.startswith(f"<elman::simd::{level}")]
        if not here:
            problems.append(f"no trampoline of {level} is in the program: were they renamed, or inlined?")
            continue
        for kernel in KERNELS:
            bodies = [body for name, body in here if kernel in TRAMPOLINE.split(name, 1)[-1]]
            if not bodies:
                problems.append(f"no trampoline of {level} for {kernel}: was the kernel renamed?")
            counts = [sum(bool(re.match(rf"vfn?madd\d+ps .*%{register}", line)) for line in body) for body in bodies]
            if bodies:
                print(f"{level:20} {kernel:36} {len(bodies):3} functions, {min(counts):3} to {max(counts):3} {register} multiply-adds")
            if 0 in counts:
                problems.append(f"{level} {kernel}: not one multiply-add on {register} registers")

    for name in symbols:
        if re.search(r"core_arch::.*::_mm(256|512)?_", name):
            problems.append(f"an intrinsic is left as a function: {name}")
        elif re.search(r" as elman::simd::Simd>::(?!call::(?:<|trampoline))", name):
            problems.append(f"a lane operation is left as a function: {name}")
        elif re.search(r"elman::simd::x86::avx(2|512)::Avx", name) and not TRAMPOLINE.search(name):
            problems.append(f"a function of an instruction set stands outside of a trampoline: {name}")

    for name, body in trampolines:
        for callee in callees(body, table):
            level = re.match(r"<elman::simd::((?:\w+::)+\w+)", name)[1]
            is_kernel = any(CALLED.match(callee) and callee.startswith(f"<elman::simd::{own}") for own in {level, "x86::avx2::Avx2"})
            if not MAY_CALL.match(callee) and not is_kernel and callee != name:
                problems.append(f"{name}\n    calls {callee}")
            if "::tile::" in name and callee.startswith("mem"):
                problems.append(f"{name}\n    moves its numbers through memory: {callee}")

    bodies = {name: body for _, name, body in code}
    seen, found = set(), [name for name in bodies if re.search(r"\bprobe::real_time::\w+$", name)]
    if len(found) != 7:
        problems.append(f"of the program's seven real-time functions there are {len(found)}")
    while found:
        name = found.pop()
        if name in seen or re.match(r"mem(cpy|move|set)\b", name):
            continue
        seen.add(name)
        if name not in bodies or not re.search(r"elman::|probe::real_time", name):
            problems.append(f"a real-time function reaches {name}")
        else:
            found += callees(bodies[name], table)
            problems += [f"{name}\n    changes the float mode" for line in bodies[name] if line.startswith(("ldmxcsr", "vldmxcsr"))]
    print(f"the real-time functions reach {len(seen)} functions")

    for problem in sorted(set(problems)):
        print(f"check_disassembly: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(trampolines)} trampolines; no intrinsic, lane operation or kernel left as a function")


if __name__ == "__main__":
    main()
