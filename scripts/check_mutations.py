#!/usr/bin/env python3
"""Breaks the kernels one way at a time and shows that the test suite notices.

Each mutation below is a place in the sources and what stands there instead: a sign swapped, a tail dropped, a bias
skipped, a sum in another order, a step forgotten. The script copies the crate, applies one mutation, and runs the test
crates of SUITE one after the other until one fails. A mutation that all of them pass is a hole in the tests: it is listed,
and the exit code is 1. A mutation whose place is no longer found exactly once is an error: the list goes with the code.

    python3 scripts/check_mutations.py            # all of them: about an hour on two cores
    python3 scripts/check_mutations.py tanh tile  # those whose file or description has one of the words

The last runs, on a CPU with AVX-512, since the code that they break changed: all of samples in lanes, the neuron tile and the
weight gradient's few columns; before, all of tanh and softmax, and the outer products of a step. Before that, on a CPU without:
all of exp and tile, nine of matvec, one of pack. All were noticed.

Not part of .ci/run. Compiled with little optimization, which the answers do not depend on.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "mutations"
SUITE = ["golden", "one_answer", "bad_input", "properties"]

# (file below src, what stands there, what stands there instead, what that is)
MUTATIONS = [
    ("kernels/tanh.rs", "s.with_bits(s.or(s.to_bits(y), sign))", "{ let _ = sign; y }", "tanh: the sign is lost"),
    ("kernels/tanh.rs", "s.neg_mul_add(y, y, s.splat(1.0))", "s.mul_add(y, y, s.splat(1.0))", "tanh: 1 + y^2 as derivative"),
    ("kernels/tanh.rs", "const LIMIT: f32 = 9.03125;", "const LIMIT: f32 = 7.0;", "tanh: it stops rising too early"),
    ("kernels/tanh.rs", "s.min(s.splat(LIMIT), size)", "s.min(size, s.splat(LIMIT))",
     "tanh: NaN becomes the limit"),
    ("kernels/tanh.rs", "const NORMAL: i32 = f32::MIN_POSITIVE.to_bits() as i32;", "const NORMAL: i32 = 0;", "tanh: denormal numbers are kept"),
    ("kernels/exp.rs", "s.splat(-LN_2_HIGH), x)", "s.splat(LN_2_HIGH), x)", "exp: a sign in the reduction"),
    ("kernels/softmax.rs", "row[target] -= scale;", "", "softmax: the target is not subtracted"),
    ("kernels/softmax.rs", "vector = s.max(s.load(starting_at(row, first.min(row.len() - S::LANES))), vector);",
     "if first + S::LANES <= row.len() { vector = s.max(s.load(starting_at(row, first)), vector); }",
     "softmax: the largest logit misses the tail"),
    ("kernels/softmax.rs", "product *= f64::from(sum);", "product = f64::from(sum);",
     "softmax: one row's logarithm for those of all"),
    ("kernels/softmax.rs", "exponentials = first_lanes(s, exponentials, logits.len());", "",
     "softmax: the sum counts what is behind a row"),
    ("kernels/softmax.rs", "first + second", "first", "softmax: the second half of the samples is not counted"),
    ("kernels/softmax.rs", "exponentials[i].multiply(s, scale / sum, row);", "exponentials[i].multiply(s, 1.0 / sum, row);", "softmax: not scaled"),
    ("kernels/tile.rs", "add_tiles(s, &first, &pair::<S, I, C, M, V>(s, panel, x, k, (2, chains), zeros()))",
     "pair::<S, I, C, M, V>(s, panel, x, k, (2, chains), first)", "tile: the four chains are added in another order"),
    ("kernels/tile.rs", "if end < chain_start(first + c + 1, chains, k) {", "if false {",
     "tile: a longer chain loses its last term"),
    ("kernels/tile.rs", "let mut k = terms.start + blocks * UNROLLED;",
     "let mut k = if blocks > 0 { terms.end } else { terms.start };",
     "tile: the terms behind the unrolled ones are dropped"),
    ("kernels/tile.rs", "for part in 0..rows.parts() {", "for part in 0..1 {", "tile: the second sum is forgotten"),
    ("kernels/pack.rs", "matrix.chunks_exact(rows).skip(first)", "matrix.chunks_exact(rows)",
     "pack: every transposed panel is the first"),
    ("kernels/matvec.rs", "s.one_of_four(fours[k / 4], indices[k % 4])", "s.one_of_four(fours[0], indices[k % 4])",
     "matvec: of a state read by fours, the first four stand for all"),
    ("kernels/matvec.rs", "let first = done.min(count - S::LANES);", "let first = 0;",
     "matvec: of the rows that are turned, the first ones stand for all"),
    ("kernels/matvec.rs", "x: starting_at(x, first), z }", "x: starting_at(x, first % 32), z }",
     "matvec: rows of weights beyond the first 32 meet the inputs of others"),
    ("kernels/matvec.rs", "for i in done..terms {", "for i in done..if long { done } else { terms } {",
     "matvec: the terms behind those read by fours are dropped"),
    ("kernels/matvec.rs", "weight.chunks(ROWS_TOGETHER).zip(", "weight.chunks_exact(ROWS_TOGETHER).zip(",
     "matvec: the last rows of weights that are read as they lie are dropped"),
    ("kernels/matvec.rs", "first += WIDTH * S::LANES;", "first += WIDTH.min(10) * S::LANES;",
     "matvec: outputs behind a panel of twelve vectors are taken from within it"),
    ("kernels/recurrence.rs", "start: Table { data: packed.bias.as_slice(hidden), ..Table::ZEROS },", "start: Table::ZEROS,",
     "recurrence: no bias in a batch"),
    ("kernels/samples_in_lanes.rs", "start.fill(*bias);", "start.fill(0.0); let _ = bias;", "samples in lanes: no bias"),
    ("kernels/samples_in_lanes.rs", "states.copy_within(count * state..(count + 1) * state, 0);", "",
     "samples in lanes: steps turned together start from the state of the first"),
    ("kernels/samples_in_lanes.rs", "[chains(inputs, hidden), chains(hidden, hidden)]", "[chains(inputs, samples), chains(hidden, samples)]",
     "samples in lanes: chains for another number of outputs"),
    ("kernels/samples_in_lanes.rs", "rows.step_stride == 1", "true", "samples in lanes: every input is taken for batch-first"),
    ("kernels/samples_in_lanes.rs", "d_z.copy_within(..state, together * state);", "",
     "samples in lanes: on the way back, nothing is carried to the steps before those that are together"),
    ("kernels/samples_in_lanes.rs", "chains: chains(hidden, inputs)", "chains: chains(hidden, samples)",
     "samples in lanes: chains for another number of inputs on the way back"),
    ("kernels/neuron_tile.rs", "*to = weight(neuron, term);", "*to = weight(neuron, term & !1);",
     "neuron tile: every second term has the weights of the one before"),
    ("kernels/neuron_tile.rs", "if m * V * S::LANES < to.len() {", "if (m + 1) * V * S::LANES < to.len() {",
     "neuron tile: the last neuron of a short tile is not written"),
    ("kernels/neuron_tile.rs", "s.mul(sums[m][v], derivative_from_output(s, y[m][v]))", "s.mul(sums[m][v], y[m][v])",
     "neuron tile: another slope than that of tanh"),
    ("kernels/neuron_tile.rs", "for Sum { weights, columns, chains } in *parts {",
     "for Sum { weights, columns, chains } in &parts[..1] {", "neuron tile: the second sum is forgotten"),
    ("kernels/weight_gradient.rs", "&x[S::LANES.min(x.len())..]", "x", "few columns: the second vector of inputs is the first"),
    ("kernels/weight_gradient.rs", "row[first + m] += sum;", "row[first] += sum;", "few columns: all go into the first one"),
    ("kernels/weight_gradient.rs", " || self.has_few_columns(s, panel, inputs)", "",
     "few columns: where inputs are copied, they are summed twice"),
    ("kernels/weight_gradient.rs", "return (height, done);", "return (height, done + 1);",
     "weight gradient: the input before a tile of five or six is passed over"),
    ("kernels/recurrence.rs", "0 => Input::Rows(initial.table(0)),", "0 => Input::Rows(Table { inner: 0, ..initial.table(0) }),",
     "recurrence: all samples start from the state of the first"),
    ("kernels/recurrence.rs", "before, state, Tanh);\n            before = state;\n", "before, state, Tanh);\n",
     "recurrence: one sample of many neurons forgets every step but the first"),
    ("kernels/recurrence.rs", "            }\n            before = state;\n", "            }\n",
     "recurrence: one sample of few neurons forgets every step but the first"),
    ("kernels/recurrence.rs", "finish: Finish::Slope(output.table(step)),", "finish: Finish::Nothing,",
     "recurrence: the backward forgets 1 - h^2"),
    ("kernels/recurrence.rs", "let d_final = if end == steps { last } else { Some(following) };",
     "let d_final = if end == steps { let _ = last; None } else { Some(following) };", "recurrence: the final gradient is lost"),
    ("kernels/recurrence.rs", "let d_final = if end == steps { last } else { Some(following) };",
     "let d_final = if end == steps { last } else { let _ = following; None };",
     "recurrence: no gradient crosses a block of steps"),
    ("kernels/recurrence.rs", "t => self.output.row(sample, t - 1),", "t => self.output.row(sample, t),",
     "recurrence: the weight gradient takes a state one step late"),
    ("kernels/weight_gradient.rs", "totals[m][v] = s.add(load_some(s, to), sums[m][v]);", "let _ = to; totals[m][v] = sums[m][v];",
     "weight gradient: the last block overwrites the others"),
    ("kernels/weight_gradient.rs", "&x[tile * M..(tile + 1) * M]", "&x[..M]",
     "weight gradient: of many inputs, each tile gets those of the first"),
    ("kernels/weight_gradient.rs", "&inputs[row], &mut sums", "&inputs[row & !1], &mut sums",
     "weight gradient: of packed rows, every second one is taken twice"),
    ("kernels/recurrence.rs", "d_input[(first * steps + start) * input.width..]", "d_input[start * input.width..]",
     "recurrence: of the gradients of the inputs, samples that are taken later overwrite the first"),
    ("kernels/weight_gradient.rs", "step_stride: rows.step_stride * rows.width,", "step_stride: rows.step_stride * span.width,",
     "weight gradient: rows in place are taken for packed ones"),
    ("kernels/weight_gradient.rs", "let skip = M - d_weight.len() / columns;", "let skip = 0;",
     "weight gradient: rows of an overlapping tile are mixed up"),
    ("kernels/weight_gradient.rs", "s.store(s.add(s.load(to), s.mul(s.splat(x), s.load(d))), to);",
     "s.store(s.sub(s.load(to), s.mul(s.splat(x), s.load(d))), to);", "weight gradient of a step: a sign"),
    ("kernels/weight_gradient.rs", "s.store(of_last, starting_at_mut(to, last));",
     "let _ = of_last;", "weight gradient of a step: the last vector is forgotten"),
    ("kernels/matvec.rs", "if const { PanelWidths::new::<S>(W::CHAINS, N).partial == WIDTH } {",
     "if N < 40 && PanelWidths::new::<S>(W::CHAINS, N).partial == WIDTH {",
     "matvec: the tail of the outputs is dropped"),
    ("kernels/matvec.rs", "total[p] = s.add(total[p], s.add(sums[2][p], sums[3][p]));",
     "total[p] = s.add(s.add(total[p], sums[2][p]), sums[3][p]);", "matvec: the chains are added in another order"),
    ("kernels/matvec.rs", "if k < chain_start(c + 1, count, K) {", "if false {", "matvec: a longer chain loses its last term"),
    ("kernels/mod.rs", "(c * k) >> chains.trailing_zeros()", "(c * k).div_ceil(chains)", "chains are cut at other places"),
    ("kernels/adam.rs", "if !p.is_empty() {", "if false {", "Adam: the tail of a tensor stays as it is"),
    ("kernels/adam.rs", "let m = s.select_less(size, s.splat(factors.smallest_moment), s.splat(0.0), m);",
     "let m = s.select_less(size, s.splat(1e-3), s.splat(0.0), m);", "Adam: moments become zero too early"),
    ("kernels/adam.rs", "s.splat(factors.eps)", "s.splat(0.0)", "Adam: no eps"),
    ("optim.rs", "correction: libm::sqrt(1.0 - libm::pow(beta2, t)) as f32,", "correction: 1.0,", "Adam: no second correction"),
    ("layers/rnn_cell.rs", "let before = &cache.initial[sample];", "let before = &cache.initial[sample - together];",
     "cell: samples that go alone start from the states of the first ones"),
    ("layers/rnn_cell.rs", "gradients.bias_hh = gradients.bias_ih;", "", "cell: the second bias has no gradient"),
    ("batch.rs", "*to += d;", "let _ = (&to, d);", "batch: groups of samples but the first are dropped"),
    ("batch.rs", "(shares - usize::from(first.is_some())) * self.len", "0", "batch: all shares but the first have one memory"),
    ("kernels/matvec.rs", "let biases = self.1.panel::<S, P>(s, first, partial);",
     "let biases = self.0.panel::<S, P>(s, first, partial);", "matvec: one bias is taken twice"),
    ("layers/rnn_threads.rs", "initial: forward.initial.starting_at_sample(samples),", "",
     "threads: every piece starts from the states of the first samples"),
    ("layers/embedding.rs", "*to += d;", "*to = *d;", "embedding: a token that comes twice counts once"),
    ("init.rs", "let value = fmaf(self.unit(), to - from, from);", "let value = self.unit() * (to - from) + from;",
     "generator: a uniform is rounded twice"),
    ("step_trace.rs", "and_then(|before| self.states.get(before))", "and_then(|_| self.states.get(step))",
     "step trace: a step began at the state where it ended"),
    ("layers/rnn_threads.rs", "(d_input, d_initial) = (d_input_rest, d_initial_rest);",
     "d_initial = d_initial_rest; d_input = d_input_rest.filter(|_| inputs.samples < 8);",
     "threads: the gradient of the input of a share's second group is left out"),
    ("chunked.rs", "M::copy_state(self.trace.d_initial(), &mut self.d_final);", "", "chunked: no gradient crosses a chunk"),
]


def copy_crate():
    """A fresh copy of what the tests need, beside a target folder that stays, so that dependencies are compiled once."""
    crate = WORK / "crate"
    if crate.exists():
        shutil.rmtree(crate)
    crate.mkdir(parents=True)
    for name in ["Cargo.toml", "Cargo.lock", "README.md"]:
        shutil.copy(ROOT / name, crate)
    for name in ["src", "tests", "benches", "examples"]:
        shutil.copytree(ROOT / name, crate / name)
    return crate


def main():
    words = sys.argv[1:]
    chosen = [m for m in MUTATIONS if not words or any(word in m[0] or word in m[3] for word in words)]
    crate = copy_crate()
    env = os.environ | {
        "CARGO_TARGET_DIR": str(WORK / "target"),
        "CARGO_PROFILE_TEST_OPT_LEVEL": "1",
        "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
        "CARGO_INCREMENTAL": "1",
        "CARGO_TERM_COLOR": "never",
    }
    for name in ["RUSTFLAGS", "ELMAN_LEVEL"]:
        env.pop(name, None)

    def first_failure():
        """The first test crate that fails, with what it says; `None` if all pass."""
        for suite in SUITE:
            command = ["cargo", "test", "--quiet", "--test", suite]
            try:
                run = subprocess.run(command, cwd=crate, env=env, capture_output=True, text=True, timeout=1200)
            except subprocess.TimeoutExpired:
                return f"{suite}, which does not end"
            if run.returncode != 0:
                if "could not compile" in run.stderr:
                    sys.exit(f"a mutation does not compile:\n{run.stderr}")
                return suite
        return None

    for file, before, _, description in chosen:
        if (count := (ROOT / "src" / file).read_text().count(before)) != 1:
            sys.exit(f"{description}: what it replaces in src/{file} is there {count} times, not once")

    print("unchanged: ", end="", flush=True)
    if failure := first_failure():
        sys.exit(f"fails in {failure}: there is nothing to compare with")
    print("passes", flush=True)

    missed = []
    for number, (file, before, after, description) in enumerate(chosen, 1):
        source = crate / "src" / file
        original = source.read_text()
        source.write_text(original.replace(before, after))
        start = time.time()
        failure = first_failure()
        source.write_text(original)
        print(f"{number}/{len(chosen)} {description}: {f'noticed by {failure}' if failure else 'NOT NOTICED'}"
              f" ({time.time() - start:.0f} s)", flush=True)
        if not failure:
            missed.append(description)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations noticed")
    if missed:
        sys.exit("not noticed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
