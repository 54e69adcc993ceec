#!/usr/bin/env bash
# Builds the tests for aarch64 with the standard library from source, and runs them under qemu: there the level
# `portable` is NEON, and has to give the bits of AVX2 and AVX-512. About ten minutes on two cores, so it is no part of
# .ci/run. Needs root on Debian the first time, for apt-get. Arguments go to `cargo test`, for example `--test golden`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_packages.sh rustc-web cargo-web rust-web-src qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross

export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/aarch64"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
if [ $# = 0 ]; then
    # Not tests/examples.rs: it starts cargo.
    set -- --lib
    for test in tests/*.rs tests/*/main.rs; do
        name=${test#tests/} name=${name%/main.rs} name=${name%.rs}
        [ "$name" = examples ] || set -- "$@" --test "$name"
    done
fi
/usr/bin/cargo test --release -Zbuild-std --target aarch64-unknown-linux-gnu "$@"
