//! What the examples share beside the library: their options, their letters, and a `println!` that may be cut short.

#![allow(dead_code, unused_imports, unused_macros, reason = "each example takes what it needs")]

use elman::{Level, Sequences};
use lexopt::prelude::*;
use std::process::exit;

/// A token is a letter's place in here.
const LETTERS: [char; 4] = ['e', 'h', 'l', 'o'];

/// What the programs learn to answer: `ohlol`.
pub const TARGET: [usize; 5] = [3, 1, 2, 3, 2];

/// The letters with the greatest logits, one for each step.
pub fn spell(logits: Sequences<'_, [f32; 4]>) -> String {
    let best = |row: &[f32; 4]| (0..4).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
    logits.iter().map(|row| LETTERS[best(row)]).collect()
}

/// The options of the `hello` programs.
pub struct Options {
    /// As in `torch.manual_seed`.
    pub seed: u64,
    /// How often the word is shown.
    pub epochs: usize,
    /// The word, letter by letter.
    pub word: [usize; 5],
    /// What the recurrent layers are made of, where a program lets one choose.
    pub cell: CellName,
}

/// The cells by name.
#[derive(Clone, Copy, PartialEq)]
pub enum CellName {
    Rnn,
    Gru,
    Lstm,
}

impl Options {
    /// The options of the command line. If they are wrong, says so and ends the program with exit code 2.
    pub fn from_args(default_word: &str) -> Self {
        Self::of(default_word, false)
    }

    /// The same of a program with `--cell`.
    pub fn with_cell(default_word: &str) -> Self {
        Self::of(default_word, true)
    }

    fn of(default_word: &str, has_cell: bool) -> Self {
        let of_cell = if has_cell { "  --cell rnn|gru|lstm  the recurrent layers (default rnn)\n" } else { "" };
        let usage = format!(
            "Options:
  --seed N             initial weights are those of torch.manual_seed(N) (default 42)
  --epochs N           how often the word is shown (default 15)
  --word hello|heloo   the word whose answer is ohlol (default {default_word})
{of_cell}  --help               this text

ELMAN_LEVEL={} in the environment forces an instruction set.",
            Level::available().map(Level::name).collect::<Vec<_>>().join("|")
        );
        Self::parse(default_word, has_cell, &usage).unwrap_or_else(|error| refuse(&error))
    }

    fn parse(default_word: &str, has_cell: bool, usage: &str) -> Result<Self, String> {
        let (mut seed, mut epochs, mut word) = (42, 15, default_word.to_owned());
        let mut cell = CellName::Rnn;
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next().map_err(|error| error.to_string())? {
            match arg {
                Long("seed") => seed = value(&mut args, "--seed", "a whole number below 2^64")?,
                Long("epochs") => epochs = value(&mut args, "--epochs", "a whole number")?,
                Long("word") => word = value(&mut args, "--word", "hello or heloo")?,
                Long("cell") if has_cell => cell = cell_name(&mut args)?,
                Long("help") => help(usage),
                _ => return Err(arg.unexpected().to_string()),
            }
        }
        let word = match word.as_str() {
            "hello" => [1, 0, 2, 2, 3],
            "heloo" => [1, 0, 2, 3, 3],
            _ => return Err(format!("--word must be hello or heloo, not `{word}`")),
        };
        check_level()?;
        Ok(Self { seed, epochs, word, cell })
    }
}

fn cell_name(args: &mut lexopt::Parser) -> Result<CellName, String> {
    let name: String = value(args, "--cell", "a name")?;
    match name.as_str() {
        "rnn" => Ok(CellName::Rnn),
        "gru" => Ok(CellName::Gru),
        "lstm" => Ok(CellName::Lstm),
        _ => Err(format!("--cell must be rnn, gru or lstm, not `{name}`")),
    }
}

/// For programs without options.
pub fn no_options() {
    let parse = || match lexopt::Parser::from_env().next() {
        Ok(None) => check_level(),
        Ok(Some(Long("help"))) => help("This program takes no options."),
        Ok(Some(arg)) => Err(arg.unexpected().to_string()),
        Err(error) => Err(error.to_string()),
    };
    parse().unwrap_or_else(|error| refuse(&error));
}

/// The value of an option.
fn value<T: std::str::FromStr>(args: &mut lexopt::Parser, option: &str, expected: &str) -> Result<T, String> {
    let value = args.value().map_err(|error| error.to_string())?;
    let value = value.to_string_lossy();
    value.parse().map_err(|_| format!("{option} must be {expected}, not `{value}`"))
}

/// Whether `ELMAN_LEVEL`, if it is set, names an instruction set of this CPU.
fn check_level() -> Result<(), String> {
    Level::from_environment().map(drop).map_err(|error| format!("environment variable ELMAN_LEVEL: {error}"))
}

fn help(text: &str) -> ! {
    print_line(format_args!("{text}"));
    exit(0)
}

fn refuse(error: &str) -> ! {
    // Whatever the user typed, the message is one line.
    let error = error.replace(char::is_control, "?");
    eprintln!("error: {error} (--help lists the options)");
    exit(2)
}

/// `println!`, except that the program ends quietly where nobody reads on, as in `hello_rnn | head -1`.
macro_rules! say {
    ($($argument:tt)*) => { common::print_line(format_args!($($argument)*)) };
}
pub(crate) use say;

pub fn print_line(line: std::fmt::Arguments<'_>) {
    use std::io::{ErrorKind, Write, stdout};
    match writeln!(stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            eprintln!("error: standard output: {error}");
            exit(1)
        }
    }
}
