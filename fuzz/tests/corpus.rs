//! Replays the corpus: every file that is kept through its target. Needs no fuzzer.

use std::path::Path;

fn replay(name: &str) {
    let (_, target) = elman_fuzz::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in &files {
        let data = std::fs::read(file).unwrap();
        if let Err(error) = target(&data) {
            panic!("{}: {error}", file.display());
        }
    }
    // Bytes that run out at once are a case too.
    target(&[]).unwrap();
}

#[test]
fn forward() {
    replay("forward");
}

#[test]
fn backward() {
    replay("backward");
}

#[test]
fn gates() {
    replay("gates");
}

#[test]
fn cross_entropy() {
    replay("cross_entropy");
}

#[test]
fn tanh() {
    replay("tanh");
}

#[test]
fn generator() {
    replay("generator");
}
