# To be sourced: `wasm_cargo TARGET CRATES COMMAND...` runs cargo for a wasm target, with the target of rustup where it is
# installed, and otherwise with Debian's compiler, which builds CRATES (core, or std and so on) from their source.
# Nothing is compiled with relaxed simd, whose answers differ from CPU to CPU.

export CARGO_INCREMENTAL=0
unset RUSTFLAGS ELMAN_LEVEL
install_packages=$PWD/scripts/install_packages.sh

has_rustup_target() {
    compgen -G "$(rustc --print target-libdir --target "$1" 2>/dev/null)/libcore-*.rlib" >/dev/null
}

wasm_cargo() {
    local target=$1 crates=$2
    shift 2
    if has_rustup_target "$target"; then
        RUSTFLAGS="${flags:-}" cargo "$1" --target "$target" "${@:2}"
        return
    fi
    "$install_packages" rustc-web cargo-web rust-web-src
    # Its linker is the one that it was built with, in a package that it does not need by itself.
    [ -x /usr/bin/rust-lld ] || "$install_packages" "$(basename "$(readlink /usr/bin/rust-lld)")"
    local of_wasi=
    if [ "$target" = wasm32-wasip1 ]; then
        "$install_packages" wasi-libc
        local library=/usr/lib/wasm32-wasi
        # web/wasi.mjs stands in for functions that this library lacks.
        of_wasi="-Clink-self-contained=no -Clink-arg=-L$library -Clink-arg=$library/crt1-command.o"
        of_wasi+=' -Clink-arg=--allow-undefined'
    fi
    # Options behind the command's name, so that what follows `--` stays behind it.
    local command=$1
    shift
    RUSTFLAGS="${flags:-} $of_wasi" RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_WASIP1_LINKER=rust-lld /usr/bin/cargo "$command" --target "$target" "-Zbuild-std=$crates" "$@"
}
