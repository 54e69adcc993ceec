#!/usr/bin/env bash
# Runs elman where it is to run, and compares bits with this machine's: on a Cortex-M4F (emulated), as WebAssembly (Node), in a
# browser (headless Chromium), on aarch64 (emulated), from C. Arguments choose: m4f, wasm, web, aarch64, c; none are all.
# Each part installs what it lacks, from Debian and as root, and takes the targets of rustup where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# != 0 ] || set -- m4f wasm web c aarch64
for target; do
    case $target in
    m4f | wasm | web | c) part=(scripts/targets/"$target".sh) ;;
    aarch64) part=(scripts/check_aarch64.sh) ;;
    *) echo "check_targets: '$target' is none of m4f, wasm, web, aarch64, c" >&2 && exit 2 ;;
    esac
    printf '\n== %s\n' "$target"
    "${part[@]}"
done
printf '\nPassed: %s\n' "$*"
