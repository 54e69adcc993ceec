#!/usr/bin/env bash
# The models of capi/example as a static library, with std and without, called from C: the header is up to date and
# compiles, every output has the bits of Rust's `Stream`, every mistake gets its code, valgrind and the sanitizers find
# nothing; and the library links for a Cortex-M4F. Figures: nanoseconds a step, bytes of code. A few minutes.
# Needs root on Debian the first time, for apt-get.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ -d /usr/lib/gcc/arm-none-eabi ] && arm=() || arm=(gcc-arm-none-eabi)
scripts/install_packages.sh gcc g++ libc6-dev binutils valgrind "${arm[@]}"

unset ELMAN_LEVEL RUSTFLAGS CARGO_BUILD_TARGET
target=$PWD/${CARGO_TARGET_DIR:-target}
case ${CARGO_TARGET_DIR:-} in /*) target=$CARGO_TARGET_DIR ;; esac
export CARGO_TARGET_DIR=$target/c
out=$CARGO_TARGET_DIR/out
mkdir -p "$out"
fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}
trap 'printf "FAILED at line %s: %s\n" "$LINENO" "$BASH_COMMAND" >&2' ERR
cd capi/example
warnings=(-Wall -Wextra -Werror -pedantic)
c=(gcc -std=c99 -O2 "${warnings[@]}" -Iinclude)

echo '== Format and clippy'
for manifest in Cargo.toml ../header/Cargo.toml; do cargo fmt --check --manifest-path "$manifest"; done
for features in '' std header; do
    targets=(--lib)
    [ -z "$features" ] || targets=(--lib --examples)
    cargo clippy --quiet --no-default-features --features "$features" "${targets[@]}" -- -D warnings
done
for features in '' std; do
    cargo clippy --quiet --manifest-path ../Cargo.toml --no-default-features --features "$features" -- -D warnings
done

echo '== Every kind of layer through the functions, called from Rust'
cargo test --quiet --manifest-path ../Cargo.toml --package elman-c
cargo test --quiet --manifest-path ../Cargo.toml --package elman-c --features std

echo '== The header: up to date, C99, C++11'
cargo run --quiet --features header --example header >"$out/models.h"
diff -u include/models.h "$out/models.h" || fail 'include/models.h is not what examples/header.rs makes'
echo '#include "models.h"' >"$out/include.c"
gcc -std=c99 "${warnings[@]}" -Iinclude -fsyntax-only "$out/include.c"
gcc -std=c11 "${warnings[@]}" -Iinclude -fsyntax-only "$out/include.c"
g++ -std=c++11 "${warnings[@]}" -Iinclude -fsyntax-only -x c++ "$out/include.c"

# A static library: name, arguments of cargo. `RUSTFLAGS` as they are.
library() {
    local name=$1
    shift
    cargo rustc --quiet --release --lib --crate-type staticlib "$@"
    cp "$CARGO_TARGET_DIR/release/libmodels.a" "$out/$name.a"
}
# The test program, and what it prints at a level must be what streams of Rust print at one.
compare() {
    local program=$1 level=$2 of_rust=$3
    ELMAN_LEVEL=$of_rust "$CARGO_TARGET_DIR/release/examples/streams" >"$out/rust.txt"
    ELMAN_LEVEL=$level "$out/$program" >"$out/c.txt" || fail "$program: a call has not given what it should"
    [ "$(wc -l <"$out/c.txt")" = 105 ] || fail "$program: not 105 lines"
    diff -q "$out/rust.txt" "$out/c.txt" || fail "$program: other bits than those of Rust at $of_rust"
    printf '%s: the bits of Rust at %s\n' "$program" "$of_rust"
}

echo '== With std'
cargo build --quiet --release --example streams
library std
system=(-lpthread -ldl -lm)
"${c[@]}" c/models.c "$out/std.a" "${system[@]}" -o "$out/models_std"
refusal=$(ELMAN_LEVEL=none "$CARGO_TARGET_DIR/release/examples/streams" 2>&1 >/dev/null) && fail 'no level is refused'
levels=$(sed -nE 's/.*this CPU has ([a-z0-9, ]*[a-z0-9]).*/\1/p' <<<"$refusal" | tr -d ',')
[[ " $levels " == *' portable '* ]] || fail "no list of levels: $refusal"
for level in $levels; do compare models_std "$level" "$level"; done
ELMAN_LEVEL=none "$out/models_std" unknown-level || fail 'an unknown level has another code'
grep -q '^ohlol$' "$out/c.txt" || fail 'the speller does not spell ohlol'

echo '== Without std'
library bare --no-default-features
# Not even the C program needs more than it would without Rust.
"${c[@]}" c/models.c "$out/bare.a" -o "$out/models_bare"
compare models_bare '' portable
if [ "$(uname -m)" = x86_64 ] && [[ " $levels " == *' avx2 '* ]]; then
    RUSTFLAGS='-Ctarget-cpu=x86-64-v3' library bare_v3 --no-default-features
    "${c[@]}" c/models.c "$out/bare_v3.a" -o "$out/models_bare_v3"
    compare models_bare_v3 '' avx2
fi

echo '== Sanitizers, valgrind'
for name in std bare; do
    "${c[@]}" -g -fsanitize=address,undefined -fno-sanitize-recover c/models.c "$out/$name.a" "${system[@]}" -o "$out/sanitized"
    "$out/sanitized" >/dev/null || fail "sanitizers, library $name"
    # valgrind knows no AVX-512, and says so to the program.
    valgrind --quiet --error-exitcode=9 --leak-check=full "$out/models_$name" >/dev/null || fail "valgrind, library $name"
done

echo '== A Cortex-M4F'
triple=thumbv7em-none-eabihf
thumb=(rustc --quiet --release --lib --crate-type staticlib --no-default-features --target "$triple")
if rustup target list --installed 2>/dev/null | grep -q "^$triple$"; then
    cargo "${thumb[@]}"
    built=$CARGO_TARGET_DIR
else
    ../../scripts/install_packages.sh rustc-web cargo-web rust-web-src
    built=$CARGO_TARGET_DIR/debian
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$built /usr/bin/cargo "${thumb[@]}" -Zbuild-std=core
fi
m4=(arm-none-eabi-gcc -std=c99 -Os "${warnings[@]}" -Iinclude -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16
    -Wl,-z,noexecstack)
"${m4[@]}" -ffreestanding -nostdlib -Wl,--gc-sections,-e,start c/size.c \
    "$built/$triple/release/libmodels.a" -lgcc -o "$out/size_m4"
arm-none-eabi-nm -u "$out/size_m4" | grep . && fail 'a symbol is missing'
arm-none-eabi-size -A "$out/size_m4" | grep -E '^\.(text|rodata|data|bss|ARM.*) '

echo '== Figures'
gcc -std=c99 -O2 -Iinclude -ffreestanding -nostartfiles -Wl,--gc-sections,-e,start c/size.c "$out/bare.a" -o "$out/size_host"
size -A "$out/size_host" | grep -E '^\.(text|rodata|data|bss) '
"${c[@]}" c/time.c "$out/std.a" "${system[@]}" -o "$out/time_std"
for run in 1 2; do
    "$CARGO_TARGET_DIR/release/examples/streams" time
    "$out/time_std"
done
