//! A process that does the work with a fixed number of threads, as its standard input says.
//!
//! Thread pools cannot be changed once they run, so there is one process for each number of threads. Fields of a line are
//! separated by tabs. The programs in Python and C++ speak the same language:
//!
//! | line | answer |
//! |---|---|
//! | `open WORK` | `candidate NAME` or `failed NAME REASON` for each candidate, then `end` |
//! | `result NAME` | `done` when the result is in the file `result-PROCESS.f32`, or `failed NAME REASON` |
//! | `measure NAME MILLISECONDS` | `seconds SHORTEST` of the runs in that time, or `failed NAME REASON` |

use crate::candidate::{self, Candidate, Failure, Named};
use crate::work::Work;
use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a process puts a result.
pub fn result_path(directory: &Path, process: u32) -> PathBuf {
    directory.join(format!("result-{process}.f32"))
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Reads lines and answers them until there are no more.
pub fn run(threads: usize, directory: &Path) -> Result<(), Failure> {
    let mut open = Vec::new();
    for line in stdin().lock().lines() {
        let answer = answer(&line?, &mut open, threads, directory)?;
        let mut out = stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str, open: &mut Vec<Named>, threads: usize, directory: &Path) -> Result<String, Failure> {
    let fields: Vec<&str> = line.split('\t').collect();
    match fields[..] {
        ["open", work] => {
            open.clear();
            let work: Work = work.parse()?;
            *open = candidate::all(work, &work.data(), threads);
            let lines = open.iter().map(|(name, candidate)| match candidate {
                Ok(_) => format!("candidate\t{name}\n"),
                Err(error) => failed(name, error),
            });
            Ok(lines.chain(["end".to_owned()]).collect())
        }
        ["result", name] => {
            let write = |candidate: &mut dyn Candidate| -> Result<String, Failure> {
                fs::write(result_path(directory, std::process::id()), bytes(&candidate.result()?))?;
                Ok("done".to_owned())
            };
            Ok(with(open, name, write))
        }
        ["measure", name, milliseconds] => {
            let time = Duration::from_millis(milliseconds.parse()?);
            Ok(with(open, name, |candidate| Ok(format!("seconds\t{:e}", shortest(candidate, time)?))))
        }
        _ => Err(format!("not understood: {line}").into()),
    }
}

fn with(open: &mut [Named], name: &str, action: impl FnOnce(&mut dyn Candidate) -> Result<String, Failure>) -> String {
    let candidate = open.iter_mut().find(|(candidate, _)| candidate == name);
    let Some((_, Ok(candidate))) = candidate else { return failed(name, &"there is none").trim_end().to_owned() };
    match catch_unwind(AssertUnwindSafe(|| action(&mut **candidate))) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => failed(name, &error).trim_end().to_owned(),
        Err(_) => failed(name, &"it panicked").trim_end().to_owned(),
    }
}

fn failed(name: &str, reason: &dyn std::fmt::Display) -> String {
    format!("failed\t{name}\t{}\n", format!("{reason:#}").replace(char::is_control, " "))
}

/// Runs again and again for some time, at least once; the shortest run in seconds.
fn shortest(candidate: &mut dyn Candidate, time: Duration) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while best.is_infinite() || start.elapsed() < time {
        let run_start = Instant::now();
        candidate.run()?;
        best = best.min(run_start.elapsed().as_secs_f64());
    }
    Ok(best)
}
