#!/usr/bin/env bash
# Builds firmware/ for a Cortex-M4F, runs it under QEMU, and compares what it prints with the host, byte for byte: states and
# weights of all cells, streamed and trained, have the same bits. Then it prints what that costs, as a table in Markdown.
# Fails where a line differs, where a kernel multiplies and adds in two roundings, where a bar of size is exceeded.
# Needs root on Debian the first time, for apt-get. A minute on two cores, and two for the first build.
set -euo pipefail
cd "$(dirname "$0")/../../firmware"

../scripts/install_packages.sh qemu-system-arm binutils-arm-none-eabi

target=thumbv7em-none-eabihf
results=${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}/firmware
mkdir -p "$results"
fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

# The target of rustup where it is installed; else Debian's compiler, which builds core from its source.
if rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    build() { cargo build "$@"; }
else
    ../scripts/install_packages.sh rustc-web cargo-web rust-web-src
    build() { RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo build -Zbuild-std=core "$@"; }
fi

CARGO_TARGET_DIR=$results/host cargo build --quiet --locked --release -p host
host() { ELMAN_LEVEL='' "$results/host/release/host" "$1"; }
host weights | diff - scenario/src/weights.rs || fail 'scenario/src/weights.rs is not what `host weights` makes'
diff <(host train | grep '^Predicted') <(host tutorial) || fail 'steps and batches of the tutorial differ'

# Prints what a program prints on the device, optimized as the first argument says.
device() {
    timeout 120 qemu-system-arm -machine mps2-an386 -cpu cortex-m4 -nographic -monitor none -icount shift=0 \
        -semihosting-config enable=on,target=native -kernel "$results/$1/$target/device/$2"
}
# The size of a section.
section() { arm-none-eabi-size -A "$results/$1/$target/device/$2" | awk -v name="$3" '$1 == name { print $2 }'; }
flash() { echo $(($(section "$1" "$2" .text) + $(section "$1" "$2" .rodata) + $(section "$1" "$2" .data))); }
weights() {
    local bytes=0 size
    while read -r _ size _; do
        bytes=$((bytes + 16#$size))
    done < <(arm-none-eabi-nm -S "$results/$1/$target/device/$2" | grep 'scenario7weights')
    echo $bytes
}
# What is behind the colon of the line of a program that begins so, without its unit.
reported() { sed -n "s/^device, $2: \([0-9]*\) .*/\1/p" "$results/$1"; }

for level in 3 s; do
    CARGO_TARGET_DIR=$results/$level CARGO_PROFILE_DEVICE_OPT_LEVEL=$level \
        build --quiet --locked --profile device -p device --bins --target "$target"
    for program in inference train cells; do
        printed=$results/$program-$level.txt
        device "$level" "$program" >"$printed" || fail "$program, opt-level $level: the device stopped"
        diff <(host "$program") <(grep -v '^device' "$printed") ||
            fail "$program, opt-level $level: the device (right) has not the host's lines (left)"
    done
    device "$level" instructions >"$results/instructions-$level.txt" || fail "instructions, opt-level $level"
    [ "$(reported "instructions-$level.txt" 'a loop of 1000 instructions')" -le 1005 ] || fail 'instructions are miscounted'
    # A step of the network has vfma.f32 and no two roundings. (Programs have some of their own, in scalar code.)
    step=$(arm-none-eabi-objdump -d --no-show-raw-insn "$results/$level/$target/device/instructions" |
        awk '/^[0-9a-f]+ <.*>:$/ { inside = /instructions7advance|elman4simd4four/ } inside')
    [ "$(grep -c 'vfma\.f32' <<<"$step")" -ge 20 ] || fail "opt-level $level: a step has too few vfma.f32"
    ! grep -E 'vml[as]\.f32' <<<"$step" || fail "opt-level $level: a step has multiply-adds of two roundings"
done
printf 'The device has the bits of the host: %s lines\n\n' "$(cat "$results"/{inference,train,cells}-s.txt | grep -vc '^device')"

printf '| Cortex-M4F, bytes | opt-level | .text | .rodata | of it weights | .data | .bss | stack |\n|---|---|---|---|---|---|---|---|\n'
for program in inference train; do
    for level in 3 s; do
        printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$program" "$level" "$(section $level $program .text)" \
            "$(section $level $program .rodata)" "$(weights $level $program)" "$(section $level $program .data)" \
            "$(section $level $program .bss)" "$(reported "$program-$level.txt" stack)"
    done
done
printf '\n| a step of RnnCell<3, 8> and Linear<8, 2> | opt-level | instructions | stack | a plain loop with libm |\n|---|---|---|---|---|\n'
for level in 3 s; do
    printf '| | %s | %s | %s | %s |\n' $level "$(reported instructions-$level.txt elman)" \
        "$(reported instructions-$level.txt 'stack of a step')" "$(reported instructions-$level.txt 'plain loop')"
done

# Bars, of programs that are compiled for size, beside the table of interrupts.
at_most() { [ "$1" -le "$2" ] || fail "$3: $1, at most $2"; }
at_most $(($(flash s inference) - $(weights s inference))) 4608 'flash of inference beside the weights'
at_most "$(weights s inference)" 640 'flash of the weights of inference'
at_most "$(reported instructions-s.txt 'stack of a step')" 300 'stack of a step'
at_most "$(flash s train)" 49152 'flash of training'
at_most $(($(reported train-s.txt stack) + $(section s train .data) + $(section s train .bss))) 12288 'memory of training'
for level in 3 s; do
    at_most "$(reported instructions-$level.txt elman)" "$(reported instructions-$level.txt 'plain loop')" \
        "instructions of a step, opt-level $level"
done
