#!/usr/bin/env python3
"""Breaks the kernels one way at a time and shows that the test suite notices.

Each mutation below is a place in the sources and what stands there instead: a sign swapped, a tail dropped, a bias
skipped, a sum in another order, a step forgotten. The script copies the crate, applies one mutation, and runs the test
crates of SUITE one after the other until one fails. A mutation that all of them pass is a hole in the tests: it is listed,
and the exit code is 1. A mutation whose place is no longer found exactly once is an error: the list goes with the code.

    python3 scripts/check_mutations.py            # all of them: about an hour on two cores
    python3 scripts/check_mutations.py tanh tile  # those whose file or description has one of the words

The last runs: before the sources were moved, all of samples in lanes, the neuron tile, few columns, tanh, softmax, exp and
tile, nine of matvec, and the outer products of a step; all were noticed. Since then, those of the cascades by long_sums and that of
gradients that die by denormals; a run of all is due, since the sources have moved once more for cells of gates.

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
SUITE = ["golden", "one_answer", "bad_input", "steps_of_gates", "properties", "denormals", "long_sums"]

# (file below src, what stands there, what stands there instead, what that is)
MUTATIONS = [
    ("math/tanh.rs", "s.with_bits(s.or(s.to_bits(y), sign))", "{ let _ = sign; y }", "tanh: the sign is lost"),
    ("math/tanh.rs", "const LIMIT: f32 = 9.03125;", "const LIMIT: f32 = 7.0;", "tanh: it stops rising too early"),
    ("math/tanh.rs", "s.min(s.splat(LIMIT), size)", "s.min(size, s.splat(LIMIT))",
     "tanh: NaN becomes the limit"),
    ("math/tanh.rs", "const NORMAL: i32 = f32::MIN_POSITIVE.to_bits() as i32;", "const NORMAL: i32 = 0;", "tanh: denormal numbers are kept"),
    ("math/exp.rs", "s.splat(-LN_2_HIGH), x)", "s.splat(LN_2_HIGH), x)", "exp: a sign in the reduction"),
    ("math/exp.rs", "const SMALLEST: f32 = f32::from_bits(0xc2ae_ac4f);", "const SMALLEST: f32 = -20.0;",
     "exp: it becomes zero too early"),
    ("math/mod.rs", "s.zero_small(d, s.splat(SMALLEST_GRADIENT))", "{ let _ = s; d }", "gradients: those that die become denormal"),
    ("math/mod.rs", "f32::from_bits((127 - 110) << 23)", "f32::from_bits((127 - 20) << 23)", "gradients: they become zero too early"),
    ("cells/tanh.rs", "s.neg_mul_add(y, y, s.splat(1.0))", "s.mul_add(y, y, s.splat(1.0))", "tanh: 1 + y^2 as derivative"),
    ("cells/relu.rs", "s.select_less(z, s.splat(f32::MIN_POSITIVE), s.splat(0.0), z)", "{ let _ = s; z }",
     "relu: sums below zero stay"),
    ("cells/relu.rs", "s.select_less(y, s.splat(f32::MIN_POSITIVE), s.splat(0.0), d)", "{ let _ = y; d }",
     "relu: the gradient passes where the sum was below zero"),
    ("math/sigmoid.rs", "s.select_less(x, zero, e, one)", "one", "sigmoid: of negative numbers, one over it"),
    ("math/sigmoid.rs", "s.mul_add(rest, inverse, t)", "{ let _ = (rest, inverse); t }",
     "sigmoid: the quotient is not corrected"),
    ("cells/gru.rs", "s.mul_add(r, n_h, n_x)", "s.add(n_h, n_x)", "GRU: the reset gate is always open"),
    ("cells/gru.rs", "s.mul_add(z, s.sub(before.h, n), n)", "s.mul_add(z, s.sub(n, before.h), before.h)",
     "GRU: z and 1 - z are exchanged"),
    ("cells/gru.rs", "s.mul(s.mul(d_n, n_h), logistic_slope(s, r))", "s.mul(s.mul(d_n, n), logistic_slope(s, r))",
     "GRU: the gradient of the reset gate takes n for n_h"),
    ("cells/gru.rs", "s.mul(s.mul(d.h, s.sub(before.h, n)), logistic_slope(s, z))",
     "s.mul(s.mul(d.h, before.h), logistic_slope(s, z))", "GRU: the gradient of the update gate forgets n"),
    ("cells/gru.rs", "flush_gradient(s, s.mul(d_n, r))", "flush_gradient(s, d_n)",
     "GRU: the gradient of n_h forgets the reset gate"),
    ("cells/gru.rs", "flush_gradient(s, s.mul(d.h, z))", "s.splat(0.0)", "GRU: the direct way back is closed"),
    ("cells/lstm.rs", "s.mul_add(f, before.c, s.mul(i, g))", "s.mul_add(i, before.c, s.mul(f, g))",
     "LSTM: i and f are exchanged"),
    ("cells/lstm.rs", "(Carried { h, c }, [i, f, g, o])",
     "(Carried { h, c: { let fade = s.mul(f, before.c); s.add(fade, s.mul(i, g)) } }, [i, f, g, o])", "LSTM: what fades from c becomes denormal"),
    ("cells/lstm.rs", "s.mul(o, tanh(s, c))", "s.mul(o, c)", "LSTM: h without tanh"),
    ("cells/lstm.rs", "s.mul_add(s.mul(d.h, o), s.neg_mul_add(y, y, one), d.c)",
     "s.mul(s.mul(d.h, o), s.neg_mul_add(y, y, one))", "LSTM: the gradient of c after is lost"),
    ("cells/lstm.rs", "s.mul(s.mul(d_c, before.c), logistic_slope(s, f))",
     "s.mul(s.mul(d_c, after.c), logistic_slope(s, f))", "LSTM: the gradient of f takes c one step late"),
    ("cells/lstm.rs", "flush_gradient(s, s.mul(d_c, f))", "flush_gradient(s, d_c)", "LSTM: the gradient of c forgets f"),
    ("kernels/latency/gates.rs", "s.add(a[sum][v], b[sum][v])", "{ let _ = b; a[sum][v] }",
     "gates: all chains but the first are dropped"),
    ("kernels/latency/gates.rs", "k < chain_start(first + c + 1, count, K)", "false",
     "gates: a longer chain loses its last term"),
    ("kernels/latency/gates.rs", "s.add(of_input, neurons.load::<S, V, HID>(s, bias_hh, gate, v))",
     "{ let _ = gate; s.add(of_input, of_input) }", "gates: one bias is taken twice"),
    ("kernels/latency/gates.rs", "neurons.load::<S, V, HID>(s, self.bias_hh, gate, v)", "{ let _ = gate; s.splat(0.0) }",
     "gates: behind a projection, the sum of the state alone has no bias"),
    ("kernels/latency/gates.rs", "d_sums[feeds.recurrent[g]]", "d_sums[g]",
     "gates: a step's gradient of W_hn is that of W_in"),
    ("kernels/latency/gates.rs", "add_product_transposed::<S, HID, HID>(s, weight_hh, run..feeds.gates, of_state, &mut by_sums);",
     "", "gates: on a step's way back, the gates behind the first run are forgotten"),
    ("kernels/latency/gates.rs", "(h_before, c_before) = (h, c);", "{ h_before = h; let _ = c; }",
     "gates: of one sample, every step starts from the first c"),
    ("kernels/latency/transposed.rs", ".min((gate + 1) * HID)", ".min((gate + 1) * HID - c.min(1))",
     "transposed gates: a chain loses its last term"),
    ("kernels/recurrence/gated_forward.rs", "self.initial[0].along_outer(0, 0)",
     "{ let mut rows = self.initial[0].along_outer(0, 0); rows.inner = 0; rows }", "recurrence of gates: all samples start from the state of the first"),
    ("kernels/recurrence/gated_forward.rs", "initial_c.skip_outer(first)", "initial_c",
     "recurrence of gates: each group of samples starts from the c of the first"),
    ("kernels/recurrence/gated_forward.rs", "([of_state; 2], h, None)", "continue",
     "recurrence of gates: a sum that the state alone feeds is not computed"),
    ("kernels/recurrence/gated_backward.rs", "d_output + behind", "{ let _ = behind; *d_output }",
     "recurrence of gates: no gradient of h crosses a block of steps"),
    ("kernels/recurrence/gated_backward.rs", "d_initial.iter_mut().zip(&*direct).for_each(|(d, direct)| *d += direct);", "",
     "recurrence of gates: what reaches the block before directly is lost"),
    ("kernels/recurrence/gated_backward.rs", "copy_rows(&rows, d_initial_c, hidden)",
     "{ let _ = rows; d_initial_c.fill(0.0) }", "recurrence of gates: the final gradient of c is lost"),
    ("kernels/gates.rs", "s.add(load_some(s, &more[here.clone()]), of_d_h)", "load_some(s, &more[here.clone()])", "recurrence of gates: what reaches the step before directly is lost"),
    ("kernels/recurrence/gated_backward.rs", "feeds.recurrent[run] * hidden", "run * hidden",
     "recurrence of gates: the gradient of n_x goes back through W_hn"),
    ("kernels/recurrence/gated_backward.rs", "Columns { first: gate * hidden,", "Columns { first: 0 * gate,",
     "recurrence of gates: the weight gradients of all gates go to the first"),
    ("kernels/recurrence/packed.rs", ".map(|gate| &bias_hh[gate * hidden..])", ".map(|_| bias_hh)",
     "packed: every gate has the recurrent bias of the first"),
    ("kernels/recurrence/packed.rs", "pack_transposed_columns(lanes, weight_hh, row, run..row)",
     "pack_transposed_columns(lanes, weight_hh, row, 0..row - run)", "packed: the transposed gates behind the first run are the first ones"),
    ("kernels/gradient/tile.rs", "(self.first + self.count.min(first + v * S::LANES), self.first + self.count)",
     "(self.count.min(first + v * S::LANES), self.count)", "weight gradient: the columns of every gate are those of the first"),
    ("kernels/gradient/tile.rs", "(self.first + self.count.min(first + v * S::LANES), self.first + self.count)",
     "(self.first + self.count.min(first + v * S::LANES), self.of)", "weight gradient: the last vector of a gate reaches into the next"),
    ("layers/recurrent.rs", "c_before.copy_from_slice(&c[c.len() - HID..]);", "",
     "one sample of many neurons: every block of projected steps starts from the first c"),
    ("kernels/elementwise/softmax.rs", "row[target] -= scale;", "", "softmax: the target is not subtracted"),
    ("kernels/elementwise/softmax.rs", "vector = s.max(s.load(starting_at(row, first.min(row.len() - S::LANES))), vector);",
     "if first + S::LANES <= row.len() { vector = s.max(s.load(starting_at(row, first)), vector); }",
     "softmax: the largest logit misses the tail"),
    ("kernels/elementwise/softmax.rs", "product *= f64::from(sum);", "product = f64::from(sum);",
     "softmax: one row's logarithm for those of all"),
    ("kernels/elementwise/softmax.rs", "exponentials = first_lanes(s, exponentials, logits.len());", "",
     "softmax: the sum counts what is behind a row"),
    ("kernels/elementwise/softmax.rs", "multiply(s, scale / sum, ", "multiply(s, 1.0 / sum, ", "softmax: not scaled"),
    ("train/loss.rs", "    first + second\n", "    let _ = second;\n    first\n", "softmax: the second half of the samples is not counted"),
    ("kernels/throughput/tile.rs", "add_tiles(s, &first, &pair::<S, I, C, M, V>(s, panel, x, k, (2, chains), zeros()))",
     "pair::<S, I, C, M, V>(s, panel, x, k, (2, chains), first)", "tile: the four chains are added in another order"),
    ("kernels/throughput/tile.rs", "if end < chain_start(first + c + 1, chains, k) {", "if false {",
     "tile: a longer chain loses its last term"),
    ("kernels/throughput/tile.rs", "let mut k = terms.start + blocks * TERMS_UNROLLED;",
     "let mut k = if blocks > 0 { terms.end } else { terms.start };",
     "tile: the terms behind the unrolled ones are dropped"),
    ("kernels/throughput/tile.rs", "for part in 0..work.parts() {", "for part in 0..1 {", "tile: the second sum is forgotten"),
    ("kernels/throughput/panels.rs", "matrix.chunks_exact(row).skip(first)", "matrix.chunks_exact(row)",
     "panels: every transposed one is the first"),
    ("kernels/latency/matvec.rs", "s.one_of_four(fours[k / 4], indices[k % 4])", "s.one_of_four(fours[0], indices[k % 4])",
     "matvec: of a state read by fours, the first four stand for all"),
    ("kernels/latency/transposed.rs", "let first = done.min(count - S::LANES);", "let first = 0;",
     "matvec: of the rows that are turned, the first ones stand for all"),
    ("kernels/latency/matvec.rs", "x: starting_at(x, first), z }", "x: starting_at(x, first % 32), z }",
     "matvec: rows of weights beyond the first 32 meet the inputs of others"),
    ("kernels/latency/matvec.rs", "for i in done..terms {", "for i in done..if long { done } else { terms } {",
     "matvec: the terms behind those read by fours are dropped"),
    ("kernels/latency/matvec.rs", "weight.chunks(WEIGHT_ROWS_TOGETHER).zip(", "weight.chunks_exact(WEIGHT_ROWS_TOGETHER).zip(",
     "matvec: the last rows of weights that are read as they lie are dropped"),
    ("kernels/latency/matvec.rs", "first += WIDTH * S::LANES;", "first += WIDTH.min(10) * S::LANES;",
     "matvec: outputs behind a panel of twelve vectors are taken from within it"),
    ("kernels/latency/matvec.rs", "if const { PanelWidths::of_sums::<S>(W::SUMS, W::CHAINS, N).partial == WIDTH } {",
     "if N < 40 && PanelWidths::new::<S>(W::CHAINS, N).partial == WIDTH {",
     "matvec: the tail of the outputs is dropped"),
    ("kernels/latency/matvec.rs", "total[p] = s.add(total[p], s.add(sums[2][p], sums[3][p]));",
     "total[p] = s.add(s.add(total[p], sums[2][p]), sums[3][p]);", "matvec: the chains are added in another order"),
    ("kernels/latency/matvec.rs", "if k < chain_start(c + 1, count, K) {", "if false {", "matvec: a longer chain loses its last term"),
    ("kernels/latency/matvec.rs", "let biases = self.1.panel::<S, P>(s, first, partial);",
     "let biases = self.0.panel::<S, P>(s, first, partial);", "matvec: one bias is taken twice"),
    ("kernels/latency/cell.rs", "before, state, self.cell);\n            before = state;\n", "before, state, self.cell);\n",
     "cell: one sample of many neurons forgets every step but the first"),
    ("kernels/latency/cell.rs", "            }\n            before = state;\n", "            }\n",
     "cell: one sample of few neurons forgets every step but the first"),
    ("kernels/order.rs", "(c * k) >> chains.trailing_zeros()", "(c * k).div_ceil(chains)", "chains are cut at other places"),
    ("kernels/recurrence/forward.rs", "start: Rows::repeated(packed.bias.as_slice(hidden)),", "start: Rows::ZEROS,",
     "recurrence: no bias in a batch"),
    ("kernels/recurrence/forward.rs", "0 => Input::Rows(initial.along_outer(0, 0)),",
     "0 => { let mut rows = initial.along_outer(0, 0); rows.inner = 0; Input::Rows(rows) }",
     "recurrence: all samples start from the state of the first"),
    ("kernels/recurrence/backward.rs", "BeforeActivation { cell: PhantomData::<A>, states: output.along_outer(0, step) }",
     "crate::kernels::throughput::tile::Store", "recurrence: the backward forgets the slope"),
    ("kernels/recurrence/backward.rs", "let d_final = if end == steps { last } else { Some(following) };",
     "let d_final = if end == steps { let _ = last; None } else { Some(following) };", "recurrence: the final gradient is lost"),
    ("kernels/recurrence/backward.rs", "let d_final = if end == steps { last } else { Some(following) };",
     "let d_final = if end == steps { last } else { let _ = following; None };",
     "recurrence: no gradient crosses a block of steps"),
    ("kernels/recurrence/backward.rs", "t => self.output.row(sample, t - 1),", "t => self.output.row(sample, t),",
     "recurrence: the weight gradient takes a state one step late"),
    ("kernels/recurrence/backward.rs", "d_input[(first * steps + block.start) * input.width..]", "d_input[block.start * input.width..]",
     "recurrence: of the gradients of the inputs, samples that are taken later overwrite the first"),
    ("kernels/recurrence/backward.rs", "[&mut **d_bias_ih, &mut **d_bias_hh]", "{ let _ = d_bias_hh; [&mut **d_bias_ih] }",
     "recurrence: the second bias has no gradient"),
    ("kernels/recurrence/in_lanes.rs", "start.fill(*bias);", "start.fill(0.0); let _ = bias;", "samples in lanes: no bias"),
    ("kernels/recurrence/in_lanes.rs", "states.copy_within(count * state..(count + 1) * state, 0);", "",
     "samples in lanes: steps turned together start from the state of the first"),
    ("kernels/recurrence/in_lanes.rs", "[chains(inputs, hidden), chains(hidden, hidden)]", "[chains(inputs, samples), chains(hidden, samples)]",
     "samples in lanes: chains for another number of outputs"),
    ("kernels/recurrence/in_lanes.rs", "rows.inner == rows.width", "true", "samples in lanes: every input is taken for batch-first"),
    ("kernels/recurrence/in_lanes.rs", "d_z.copy_within(..state, together * state);", "",
     "samples in lanes: on the way back, nothing is carried to the steps before those that are together"),
    ("kernels/recurrence/in_lanes.rs", "chains: chains(hidden, inputs)", "chains: chains(hidden, samples)",
     "samples in lanes: chains for another number of inputs on the way back"),
    ("kernels/lanes/tile.rs", "*to = weight(neuron, term);", "*to = weight(neuron, term & !1);",
     "neuron tile: every second term has the weights of the one before"),
    ("kernels/lanes/tile.rs", "if m * V * S::LANES < to.len() {", "if (m + 1) * V * S::LANES < to.len() {",
     "neuron tile: the last neuron of a short tile is not written"),
    ("kernels/lanes/tile.rs", "A::d_sum(s, sums[m][v], y[m][v])", "s.mul(sums[m][v], y[m][v])",
     "neuron tile: another slope than that of the cell"),
    ("kernels/lanes/tile.rs", "for NeuronSum { weights, columns, chains } in *parts {",
     "for NeuronSum { weights, columns, chains } in &parts[..1] {", "neuron tile: the second sum is forgotten"),
    ("kernels/cut.rs", "return (height, done);", "return (height, done + 1);",
     "weight gradient: the input before a tile of five or six is passed over"),
    ("kernels/gradient/tile.rs", "&x[S::LANES.min(x.len())..]", "x", "few columns: the second vector of inputs is the first"),
    ("kernels/gradient/tile.rs", "row[columns.first + first + m] += sum;", "row[columns.first + first] += sum;", "few columns: all go into the first one"),
    ("kernels/gradient/block.rs", " || self.has_few_columns(s, panel, inputs)", "",
     "few columns: where inputs are copied, they are summed twice"),
    ("kernels/gradient/tile.rs", "s.add(load_some(s, &row[begin..end]), sums[m][v])", "{ let _ = (row, begin, end); sums[m][v] }",
     "weight gradient: the last block overwrites the others"),
    ("kernels/gradient/block.rs", "&x[tile * M..(tile + 1) * M]", "&x[..M]",
     "weight gradient: of many inputs, each tile gets those of the first"),
    ("kernels/gradient/tile.rs", "&inputs[row], &mut sums", "&inputs[row & !1], &mut sums",
     "weight gradient: of packed rows, every second one is taken twice"),
    ("kernels/gradient/block.rs", "step_stride: rows.inner,", "step_stride: span.width,",
     "weight gradient: rows in place are taken for packed ones"),
    ("kernels/gradient/tile.rs", "let skip = M - d_weight.len() / columns.of;", "let skip = 0;",
     "weight gradient: rows of an overlapping tile are mixed up"),
    ("kernels/gradient/row.rs", "s.store(s.add(s.load(to), s.mul(s.splat(x), s.load(d))), to);",
     "s.store(s.sub(s.load(to), s.mul(s.splat(x), s.load(d))), to);", "weight gradient of a step: a sign"),
    ("kernels/gradient/row.rs", "s.store(of_last, starting_at_mut(to, last));",
     "let _ = of_last;", "weight gradient of a step: the last vector is forgotten"),
    ("kernels/gradient/cascade.rs", "add(below, above);", "above.copy_from_slice(below);",
     "cascade: of the sums that move up only the last one stays"),
    ("kernels/gradient/cascade.rs", "levels.add_to(self.count / TERMS, 0, sums);", "let _ = (levels, sums);",
     "cascade: what has moved up is not added in the end"),
    ("kernels/gradient/cascade.rs", "self.levels.add_to(count / TERMS, row * N, sum);", "self.levels.add_to(count / TERMS, 0, sum);",
     "cascade: every row of a table gets what has moved up from the first"),
    ("kernels/elementwise/adam.rs", "if !p.is_empty() {", "if false {", "Adam: the tail of a tensor stays as it is"),
    ("kernels/elementwise/adam.rs", "let m = s.zero_small(m, s.splat(factors.smallest_moment));",
     "let m = s.zero_small(m, s.splat(1e-3));", "Adam: moments become zero too early"),
    ("kernels/elementwise/adam.rs", "s.splat(factors.eps)", "s.splat(0.0)", "Adam: no eps"),
    ("kernels/elementwise/adam.rs", "s.sub(g, m), if", "g, if", "Adam: the first moment does not decay"),
    ("kernels/elementwise/adam.rs", "if factors.from_gradient { g } else { m }", "m",
     "Adam: of a small beta, the first moment starts from the wrong end"),
    ("train/adam.rs", "correction: libm::sqrt(1.0 - libm::pow(beta2, t)) as f32,", "correction: 1.0,", "Adam: no second correction"),
    ("layers/recurrent.rs", "*h = cache.initial.h()[sample];", "*h = cache.initial.h()[sample - together];",
     "cell: samples that go alone start from the states of the first ones"),
    ("threads.rs", "add(of_share, sums);", "let _ = (&of_share, sums);", "shares: all but the first are dropped"),
    ("threads.rs", "cascade.finish(&mut of_share);", "let _ = cascade;", "shares: but for the first, what has moved up is not added in the end"),
    ("layers/passes.rs", "initial: forward.initial.skip_outer(samples),", "",
     "threads: every piece starts from the states of the first samples"),
    ("layers/passes.rs", "(d_input, d_initial, d_initial_c) = (d_input_rest, d_initial_rest, d_initial_c_rest);",
     "(d_initial, d_initial_c) = (d_initial_rest, d_initial_c_rest); d_input = d_input_rest.filter(|_| inputs.samples < 8);",
     "threads: the gradient of the input of a share's second group is left out"),
    ("layers/embedding_sequences.rs", "*to += d;", "*to = *d;", "embedding: a token that comes twice counts once"),
    ("torch/generator.rs", "let value = fmaf(self.unit(), to - from, from);", "let value = self.unit() * (to - from) + from;",
     "generator: a uniform is rounded twice"),
    ("run/step_trace.rs", "and_then(|before| self.states.get(before))", "and_then(|_| self.states.get(step))",
     "step trace: a step began at the state where it ended"),
    ("run/chunked.rs", "M::copy_state(workspace.d_initial(), d_final);", "", "chunked: no gradient crosses a chunk"),
]


def copy_crate():
    """A fresh copy of what the tests need, beside a target folder that stays, so that dependencies are compiled once."""
    crate = WORK / "crate"
    if crate.exists():
        shutil.rmtree(crate)
    crate.mkdir(parents=True)
    for name in ["Cargo.toml", "Cargo.lock", "README.md"]:
        shutil.copy(ROOT / name, crate)
    # The benches are a part of the workspace: cargo wants them there, and compiles none.
    for name in ["src", "tests", "benches", "reference"]:
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
