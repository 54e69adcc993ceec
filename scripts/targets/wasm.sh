#!/usr/bin/env bash
# The core under Node, with simd128 and without:
#   hashes   fixed runs of every kernel give the bits of the host without fused multiply-add
#   tests    the crate's unit tests, and those of tests/ that need neither threads nor to catch a panic
# Without an argument both, eight minutes on two cores. Needs Node 18 or later, and rustup's wasm32-wasip1;
# without that, root on Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/targets/wasm_toolchain.sh

part=${1:-all}
[[ $part =~ ^(all|hashes|tests)$ ]] || { echo "usage: $0 [hashes|tests]" >&2; exit 2; }
command -v node >/dev/null || "$install_packages" nodejs
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $PWD/web/wasi.mjs"
# The same bits in a fraction of the time to compile.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
target=$PWD/target/web

if [ "$part" != tests ]; then
    # x86-64 as it is by default has no fused multiply-add; checks refuses to run where there is one.
    host=$(cargo run --quiet --release --manifest-path web/Cargo.toml --target-dir "$target/host" -p checks)
    for simd in + -; do
        echo "hashes: ${simd}simd128"
        wasm=$(flags="-Ctarget-feature=${simd}simd128" wasm_cargo wasm32-wasip1 std,panic_abort \
            run --quiet --release --manifest-path web/Cargo.toml --target-dir "$target/checks$simd" -p checks)
        diff <(echo "$host") <(echo "$wasm") || { echo "FAILED: the lines above differ from the host's" >&2; exit 1; }
    done
    echo "$(wc -l <<<"$host") hashes are those of the host"
fi

if [ "$part" != hashes ]; then
    for simd in + -; do
        echo "tests: ${simd}simd128"
        flags="-Ctarget-feature=${simd}simd128" wasm_cargo wasm32-wasip1 std,panic_abort,test \
            test --quiet --release --target-dir "$target/tests$simd" --no-default-features --features std -p elman \
            --lib --test adam --test generator --test golden --test long_sums --test steps_of_gates \
            -- --skip marks_are_those_of_the_level_that_runs # which catches panics; they end the program here
    done
fi
