//! The command line.

use crate::work::{Cell, Kind, Work};
use lexopt::prelude::*;
use std::path::PathBuf;
use std::process::exit;

const USAGE: &str = "Measures elman and its peers on the same work and prints one table.

Options:
  --only KIND       forward, training, character, sequence or step; may be given again for a second kind
  --cell CELL       tanh (the default), gru, lstm or all; may be given again for a second cell
  --threads N       only with N threads (default: with 1, then with all that the machine has)
  --python PROGRAM  adds PyTorch, JAX and onnxruntime, as far as this Python has them
  --cpp PROGRAM     adds Eigen and oneDNN: the compiled cpp_peers.cpp (README.md has the command)
  --quick           fewer sizes and rounds: rough figures
  --markdown        prints tables for a README
  --help            this text

ELMAN_LEVEL=avx2 in the environment forces an instruction set on elman.";

pub struct Options {
    pub kinds: Vec<Kind>,
    pub cells: Vec<Cell>,
    pub threads: Vec<usize>,
    pub python: Option<PathBuf>,
    pub cpp: Option<PathBuf>,
    pub quick: bool,
    pub markdown: bool,
}

impl Options {
    /// The options of the command line. If they are wrong, says so and ends the program with exit code 2.
    pub fn from_args() -> Self {
        Self::parse().unwrap_or_else(|error| refuse(&error))
    }

    /// The sections of the table, each with its works.
    pub fn sections(&self) -> Vec<Vec<Work>> {
        let works = self.kinds.iter().flat_map(|kind| self.cells.iter().map(|&cell| kind.works(cell, self.quick)));
        works.filter(|works| !works.is_empty()).collect()
    }

    fn parse() -> Result<Self, String> {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            kinds: vec![],
            cells: vec![],
            threads: vec![],
            python: None,
            cpp: None,
            quick: false,
            markdown: false,
        };
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next().map_err(|error| error.to_string())? {
            match arg {
                Long("only") => options.kinds.push(only(&mut args)?),
                Long("cell") => options.cells.extend(cells(&mut args)?),
                Long("threads") => options.threads = vec![thread_count(&mut args, all)?],
                Long("python") => options.python = Some(program(&mut args, "--python", "a Python")?),
                Long("cpp") => options.cpp = Some(program(&mut args, "--cpp", "the compiled cpp_peers.cpp")?),
                Long("quick") => options.quick = true,
                Long("markdown") => options.markdown = true,
                Long("help") => {
                    println!("{USAGE}");
                    exit(0)
                }
                _ => return Err(arg.unexpected().to_string()),
            }
        }
        if options.kinds.is_empty() {
            options.kinds.extend(Kind::ALL);
        }
        if options.cells.is_empty() {
            options.cells.push(Cell::Tanh);
        }
        if options.sections().is_empty() {
            return Err("the character model has tanh alone".to_owned());
        }
        if options.threads.is_empty() {
            options.threads = if all > 1 { vec![1, all] } else { vec![1] };
        }
        elman::Level::from_environment().map_err(|error| format!("environment variable ELMAN_LEVEL: {error}"))?;
        Ok(options)
    }
}

fn only(args: &mut lexopt::Parser) -> Result<Kind, String> {
    let value = args.value().map_err(|error| error.to_string())?;
    value.to_string_lossy().parse().map_err(|error| format!("--only: {error}"))
}

fn cells(args: &mut lexopt::Parser) -> Result<Vec<Cell>, String> {
    let value = args.value().map_err(|error| error.to_string())?;
    match &*value.to_string_lossy() {
        "all" => Ok(Cell::ALL.to_vec()),
        cell => Ok(vec![cell.parse().map_err(|error| format!("--cell: {error}"))?]),
    }
}

fn thread_count(args: &mut lexopt::Parser, all: usize) -> Result<usize, String> {
    let value = args.value().map_err(|error| error.to_string())?;
    let value = value.to_string_lossy();
    match value.parse() {
        Ok(threads) if (1..=all).contains(&threads) => Ok(threads),
        _ => Err(format!("--threads must be a whole number from 1 to {all}, not `{value}`")),
    }
}

/// A program that knows `--version`, as those meant do.
fn program(args: &mut lexopt::Parser, option: &str, meant: &str) -> Result<PathBuf, String> {
    let program = PathBuf::from(args.value().map_err(|error| error.to_string())?);
    let answer = std::process::Command::new(&program).arg("--version").output();
    match answer {
        Ok(answer) if answer.status.success() => Ok(program),
        Ok(_) => Err(format!("{option}: `{}` is not {meant}", program.display())),
        Err(error) => Err(format!("{option}: `{}`: {error}", program.display())),
    }
}

fn refuse(error: &str) -> ! {
    // Whatever the user typed, the message is one line.
    let error = error.replace(char::is_control, "?");
    eprintln!("error: {error} (--help lists the options)");
    exit(2)
}
