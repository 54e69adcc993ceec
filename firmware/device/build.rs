//! Hands the linker the memory map of the machine.

use std::env::var;
use std::fs::copy;
use std::path::Path;

fn main() {
    let out = var("OUT_DIR").expect("cargo sets OUT_DIR");
    copy("../memory.x", Path::new(&out).join("memory.x")).expect("memory.x is beside the crates");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rerun-if-changed=../memory.x");
}
