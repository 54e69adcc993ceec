#!/usr/bin/env bash
# The tests under tools that see what a wrong address does not always show: AddressSanitizer at every level of this CPU
# (nightly toolchain), valgrind at the levels that it knows, and Miri. No part of .ci/run. Needs root on Debian the first
# time, for apt-get, unless valgrind is there.
#
# The last run: nothing found by AddressSanitizer (199 tests, 9 minutes) and by valgrind (199 tests, 10 minutes); the one
# before, nothing by Miri (7 tests, 2 minutes). Valgrind did find branches on memory never written in iterators that the
# compiler had rearranged; loops stand there now.
#
#   scripts/check_memory.sh                  all three
#   scripts/check_memory.sh address          only AddressSanitizer
#   scripts/check_memory.sh valgrind         only valgrind
#   scripts/check_memory.sh miri             only Miri
#   PROPTEST_CASES=100 scripts/check_memory.sh   more cases for each property than the few that are the default here
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

# Not tests/examples.rs: it starts cargo.
tests=(--lib)
for test in tests/*.rs tests/*/main.rs; do
    name=${test#tests/} name=${name%/main.rs} name=${name%.rs}
    [ "$name" = examples ] || tests+=(--test "$name")
done

# Slices, packed panels and scratch memory lie on the heap: a load or a store one number beyond them is an error here,
# and only here, because the memory behind them is most often mapped.
address() {
    PROPTEST_CASES=${PROPTEST_CASES:-8} RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$target/address \
        cargo +nightly test --release --target x86_64-unknown-linux-gnu "${tests[@]}" "$@"
}

# Sees reads of memory that was never written, too. Its CPU has AVX2 but not AVX-512, so the tests that run at every level
# run at `portable` and `avx2`; those that take the detected one run at `portable`.
valgrind_() {
    command -v valgrind >/dev/null || apt-get install -y -qq valgrind >/dev/null
    PROPTEST_CASES=${PROPTEST_CASES:-2} ELMAN_LEVEL=portable CARGO_TARGET_DIR=$target/valgrind \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='valgrind --quiet --error-exitcode=99 --leak-check=no --trace-children=no' \
        cargo test --release --target x86_64-unknown-linux-gnu "${tests[@]}" "$@"
}

# Sees what no tool does that watches machine code: references that overlap, values that their type does not have. It is
# a thousand times slower, so a few tests of small sizes do, at `portable`, the only level that it knows. The soft floats
# are for libm, whose square root is assembly otherwise.
miri() {
    local run=(cargo +nightly miri test --features libm/force-soft-floats)
    export CARGO_TARGET_DIR=$target/miri MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=1
    "${run[@]}" --test bad_input refusals_of_a_cell
    "${run[@]}" --test properties -- --exact cell::single_steps::in_5_hid_2 linear::in_4_out_5 embedding::tokens_4 \
        rnn::in_2_hid_3_layers_1 cross_entropy::classes_5 streaming::tables::embedding_1_hid_1
}

what=${1:-all}
shift || true
case $what in
all)
    address
    valgrind_
    miri
    ;;
address) address "$@" ;;
valgrind) valgrind_ "$@" ;;
miri) miri ;;
*) echo "check_memory.sh: 'address', 'valgrind', 'miri' or nothing, not '$what'" >&2; exit 2 ;;
esac
