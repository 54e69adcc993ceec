/work/main/scripts/elementary/target/release/deps/elementary-7ad9c6c52b21ef89.d: src/main.rs src/constants.rs

/work/main/scripts/elementary/target/release/deps/elementary-7ad9c6c52b21ef89: src/main.rs src/constants.rs

src/main.rs:
src/constants.rs:
