//! The example programs as a user runs them: what they print, and what they refuse.

#![cfg(feature = "std")]

#[path = "golden/data.rs"]
mod data;

use data::{double, doubles, integer, list, read, text};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// An example of this build. Cargo makes examples before tests, but not where it was asked for this test alone.
fn example(name: &str) -> Command {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let profile = if cfg!(debug_assertions) { "test" } else { "release" };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--examples", "--message-format=json", "--profile", profile]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(not(feature = "rayon")) {
            build.args(["--no-default-features", "--features", "std"]);
        }
        let output = build.stderr(Stdio::inherit()).output().expect("cargo");
        assert!(output.status.success(), "{build:?}");
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).expect("one message a line"));
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect()
    });
    let path = built.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    Command::new(path.unwrap_or_else(|| panic!("no example {name} in {built:?}")))
}

fn run(name: &str, arguments: &[&str]) -> Output {
    example(name).args(arguments).output().unwrap()
}

/// The lines on stdout of a run that succeeds and says nothing on stderr.
#[track_caller]
fn lines(name: &str, arguments: &[&str]) -> Vec<String> {
    let output = run(name, arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{name} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

/// How an example prints an epoch: before the prediction, before the loss, digits of the loss.
type Format = (&'static str, &'static str, usize);

/// The training programs: their names here and in the golden data, and how they print an epoch.
const HELLO: [(&str, &str, Format); 3] = [
    ("hello_rnn_cell", "cell", ("Predicted string: ", "loss=", 4)),
    ("hello_rnn", "rnn", ("Predicted:  ", "loss = ", 3)),
    ("hello_embedding", "embedding", ("Predicted:  ", "loss = ", 3)),
];

/// The tutorial's line for every epoch and nothing else, with PyTorch's numbers as far as they are printed.
#[track_caller]
fn assert_as_pytorch(lines: &[String], golden: &Value, (program, word, seed): (&str, &str, u64), format: Format) {
    let run = list(&golden["runs"]).iter().find(|run| {
        text(&run["program"]) == program && text(&run["word"]) == word && run["seed"].as_u64() == Some(seed)
    });
    let run = run.unwrap_or_else(|| panic!("the golden data has {program} {word} {seed}"));
    let epochs = integer(&golden["epochs"]);
    assert_eq!(lines.len(), epochs);
    let (before_prediction, before_loss, digits) = format;
    for (epoch, line) in lines.iter().enumerate() {
        let number = line.rsplit(['=', ' ']).next().unwrap();
        let prediction = line.strip_prefix(before_prediction).and_then(|rest| rest.get(..5)).unwrap_or_default();
        let (loss, expected) = (number.parse::<f64>().unwrap(), double(&run["loss"][epoch]));
        let again =
            format!("{before_prediction}{prediction}, Epoch [{}/{epochs}] {before_loss}{loss:.digits$}", epoch + 1);
        assert_eq!(line, &again);
        let half_a_digit = 0.5 * 0.1f64.powi(digits as i32);
        assert!((loss - expected).abs() <= half_a_digit + 5e-5 * expected, "{line}, but PyTorch's is {expected}");
        let letters = prediction.chars().zip(text(&run["predicted"][epoch]).chars());
        for ((letter, expected), gap) in letters.zip(doubles(&run["gap"][epoch])) {
            assert!(letter == expected || gap <= 1e-4, "{line}, but PyTorch predicts {}", run["predicted"][epoch]);
        }
    }
}

#[test]
fn hello_programs_print_what_pytorch_prints() {
    let golden = read("tutorial.json");
    for (name, program, format) in HELLO {
        let default_word = if program == "embedding" { "hello" } else { "heloo" };
        let by_default = lines(name, &[]);
        assert_as_pytorch(&by_default, &golden, (program, default_word, 42), format);
        assert!(by_default[14].contains(" ohlol, Epoch [15/15] "), "{}", by_default[14]);
        for word in ["hello", "heloo"] {
            let seven = lines(name, &["--seed", "777", "--word", word]);
            assert_as_pytorch(&seven, &golden, (program, word, 777), format);
        }
        // A training is the start of a longer one.
        let longer = lines(name, &["--epochs=20"]);
        assert_eq!(longer.len(), 20);
        for (short, long) in by_default.iter().zip(&longer) {
            assert_eq!(&short.replace("/15]", "/20]"), long);
        }
    }
}

#[test]
fn how_to_programs_print_shapes_and_values() {
    // >>> torch.manual_seed(42); cell = RNNCell(4, 2); inputs = torch.randn(3, 1, 4)
    let hidden = ["[0.9363, 0.1140]", "[0.9450, 0.7219]", "[0.9572, 0.4899]"];
    let cell = lines("rnn_cell", &[]);
    assert_eq!(cell[1..3], ["Input size:  [1, 4]", "Hidden size: [1, 2]"]);
    let rnn = lines("rnn", &[]);
    assert_eq!((rnn[0].as_str(), rnn[4].as_str()), ("Output size: [3, 1, 2]", "Hidden size: [1, 1, 2]"));
    for (step, hidden) in hidden.iter().enumerate() {
        assert_eq!(cell[4 * step + 3], format!("Hidden: [{hidden}]"));
        assert_eq!(rnn[1 + step], format!("Output of step {step}: {hidden}"));
    }
    assert_eq!(rnn[5], format!("Hidden: [{}]", hidden[2]));
    assert_eq!((cell.len(), rnn.len()), (12, 6));
}

/// Exit code 2, nothing on stdout, one line on stderr that holds `mention`.
#[track_caller]
fn assert_refused(output: &Output, mention: &str) {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(message.ends_with('\n') && message.lines().count() == 1 && message.contains(mention), "{message}");
}

#[test]
fn bad_options_are_refused() {
    for (name, ..) in HELLO {
        for (arguments, mention) in [
            (&["--sede", "1"][..], "--sede"),
            (&["-s", "1"], "-s"),
            (&["hello"], "hello"),
            (&["--seed"], "--seed"),
            (&["--seed", "one"], "one"),
            (&["--seed=-1"], "-1"),
            (&["--seed", "18446744073709551616"], "18446744073709551616"),
            (&["--epochs", "1.5"], "1.5"),
            (&["--epochs="], "--epochs"),
            (&["--word", "world"], "world"),
            (&["--word", "two\nlines"], "two?lines"),
        ] {
            assert_refused(&run(name, arguments), mention);
        }
    }
    for name in ["rnn_cell", "rnn"] {
        assert_refused(&run(name, &["--seed", "1"]), "--seed");
        assert_refused(&run(name, &["hello"]), "hello");
    }
    for name in HELLO.map(|(name, ..)| name).into_iter().chain(["rnn_cell", "rnn"]) {
        let output = example(name).env("ELMAN_LEVEL", "mmx").output().unwrap();
        assert_refused(&output, "ELMAN_LEVEL");
        assert_refused(&output, "portable");
    }
}

#[test]
fn help_is_not_an_error() {
    for name in HELLO.map(|(name, ..)| name) {
        let usage = lines(name, &["--help"]).join("\n");
        assert!(["--seed", "--epochs", "--word"].iter().all(|option| usage.contains(option)), "{usage}");
    }
    assert!(!lines("rnn", &["--help"]).is_empty() && !lines("rnn_cell", &["--help"]).is_empty());
}

#[test]
fn closed_stdout_is_not_an_error() {
    for (name, ..) in HELLO {
        let mut command = example(name);
        command.args(["--epochs", "1000000000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
