/work/main/scripts/elementary/target/release/elementary: /work/main/scripts/elementary/src/constants.rs /work/main/scripts/elementary/src/main.rs
