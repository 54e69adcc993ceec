#!/usr/bin/env bash
# The page in web/:
#   build   makes web/page.wasm and web/inference.wasm, and holds them to their sizes
#   test    builds, and opens the page in headless Chromium: its hash is the host's, and pictures are taken
#   serve   builds, and serves the page at http://localhost:8000
# Needs rustup's wasm32-unknown-unknown, without that root on Debian; `test` Chromium and Node, from Debian if missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/targets/wasm_toolchain.sh

build() {
    flags='-Ctarget-feature=+simd128' wasm_cargo wasm32-unknown-unknown core \
        build --quiet --release --manifest-path web/Cargo.toml --target-dir target/web/page -p page -p inference
    cp target/web/page/wasm32-unknown-unknown/release/{page,inference}.wasm web/
    local limit
    for limit in inference:12 page:100; do
        local name=${limit%:*} size
        size=$(wc -c <"web/$name.wasm")
        echo "$name.wasm: $size bytes, $(gzip -9c "web/$name.wasm" | wc -c) compressed"
        [ "$size" -lt $((1000 * ${limit#*:})) ] || { echo "FAILED: $name.wasm has ${limit#*:} KB or more" >&2; exit 1; }
    done
}

case ${1:-test} in
build) build ;;
serve)
    build
    exec python3 -m http.server 8000 --directory web
    ;;
test)
    build
    command -v node >/dev/null || "$install_packages" nodejs
    command -v chromium >/dev/null || "$install_packages" chromium fonts-dejavu-core
    hashes=$(CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo run --quiet --release --manifest-path web/Cargo.toml --target-dir target/web/host -p checks)
    node web/check_inference.mjs
    node web/check_page.mjs "$(sed -n 's/^page_hello //p' <<<"$hashes")" target/web/pictures
    ;;
*) echo "usage: $0 [build|test|serve]" >&2; exit 2 ;;
esac
