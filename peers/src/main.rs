//! elman and its peers on the same work in the same run, as one table.
//!
//! This process conducts: it starts workers, each with a fixed number of threads, checks that their candidates compute
//! what elman computes, and has them measured in turn, round by round, so that what disturbs the machine disturbs all.

#[cfg(feature = "burn")]
mod burn;
mod candidate;
#[cfg(feature = "candle")]
mod candle;
mod check;
#[cfg(any(feature = "burn", feature = "candle"))]
mod layout;
mod machine;
#[cfg(feature = "nalgebra")]
mod nalgebra;
mod options;
mod peak;
mod process;
mod table;
mod this_crate;
#[cfg(feature = "tract")]
mod tract;
mod work;
mod worker;

use candidate::Failure;
use check::Expected;
use indicatif::{ProgressBar, ProgressStyle};
use options::Options;
use process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::Measurement;
use work::{Data, Kind, Work};

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, threads, directory] = &arguments[..]
        && flag == "--worker"
    {
        return worker::run(threads.parse()?, Path::new(directory));
    }
    let options = Options::from_args();
    println!("{}\n", machine::describe());
    let directory = Directory::new()?;
    let mut processes = start(&options, &directory.0)?;
    let measurements = measure_all(&options, &directory.0, &mut processes)?;
    table::print(&options, &measurements);
    Ok(())
}

/// A directory for data and results that is gone in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("elman-peers-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left there harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(options: &Options, directory: &Path) -> Result<Vec<Process>, Failure> {
    let mut processes = Vec::new();
    for &threads in &options.threads {
        processes.push(Process::this_program(threads, directory)?);
        if let Some(python) = &options.python {
            processes.push(Process::python(python, threads, directory)?);
        }
        if let Some(cpp) = &options.cpp {
            processes.push(Process::cpp(cpp, threads, directory)?);
        }
    }
    Ok(processes)
}

fn measure_all(options: &Options, directory: &Path, processes: &mut [Process]) -> Result<Vec<Measurement>, Failure> {
    let works = options.sections().concat();
    let bar = ProgressBar::new((works.len() * (rounds(options) + 1)) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {elapsed} of about {duration}  {msg}")?);
    let mut measurements = Vec::new();
    for work in works {
        let entries = open(work, directory, processes, &bar)?;
        measurements.extend(measure(options, work, entries, processes, &bar)?);
    }
    bar.finish_and_clear();
    Ok(measurements)
}

/// A candidate that computes the right thing, and what was measured of it so far.
struct Entry {
    process: usize,
    name: String,
    shortest: f64,
    /// Time spent in measuring it, by the clock and by the processors.
    spent: f64,
    processor_seconds: f64,
}

/// Makes all candidates for a work and checks them; those that fail are told and left out.
fn open(work: Work, directory: &Path, processes: &mut [Process], bar: &ProgressBar) -> Result<Vec<Entry>, Failure> {
    bar.set_message(format!("{work}: checking"));
    let data = work.data();
    write(work, &data, directory)?;
    let expected = Expected::new(work, &data)?;
    // One step after the other has no use for threads.
    let count = if matches!(work.kind, Kind::Sequence | Kind::Step) {
        processes.iter().map(|process| process.threads).min()
    } else {
        None
    };
    let mut entries = Vec::new();
    for (index, process) in processes.iter_mut().enumerate() {
        if count.is_some_and(|count| process.threads > count) {
            continue;
        }
        for (name, offer) in process.open(work)? {
            match offer.and_then(|()| check(process, &name, &expected).unwrap_or_else(|error| Err(error.to_string()))) {
                Ok(()) => entries.push(Entry {
                    process: index,
                    name,
                    shortest: f64::INFINITY,
                    spent: 0.0,
                    processor_seconds: 0.0,
                }),
                Err(reason) => bar.suspend(|| eprintln!("{work}: {name} is left out: {reason}")),
            }
        }
    }
    bar.inc(1);
    Ok(entries)
}

/// Writes the data for Python and C++.
fn write(work: Work, data: &Data, directory: &Path) -> Result<(), Failure> {
    for (name, tensor) in &data.tensors {
        fs::write(directory.join(format!("{work}.{name}.f32")), worker::bytes(tensor))?;
    }
    Ok(())
}

fn check(process: &mut Process, name: &str, expected: &Expected) -> Result<Result<(), String>, Failure> {
    let result = match process.result(name)? {
        Ok(result) => result,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(match name {
        peak::NAME => Ok(()),
        // On any number of threads: the same bits.
        this_crate::NAME if !expected.is_equal(&result) => Err("not the bits of another number of threads".to_owned()),
        _ => expected.check(&result),
    })
}

fn rounds(options: &Options) -> usize {
    if options.quick { 2 } else { 6 }
}

/// Measures all candidates in turn, round by round.
fn measure(
    options: &Options,
    work: Work,
    mut entries: Vec<Entry>,
    processes: &mut [Process],
    bar: &ProgressBar,
) -> Result<Vec<Measurement>, Failure> {
    /// A candidate that has taken so long is measured well enough.
    const ENOUGH: f64 = 2.5;
    let milliseconds = if options.quick { 40 } else { 80 };
    for round in 0..rounds(options) {
        for entry in entries.iter_mut().filter(|entry| round < 2 || entry.spent < ENOUGH) {
            let process = &mut processes[entry.process];
            bar.set_message(format!("{work}: {}, threads: {}", entry.name, process.threads));
            // Pools that wait for more work by spinning get the time to give up.
            std::thread::sleep(Duration::from_millis(5));
            let (start, before) = (Instant::now(), process.processor_seconds());
            entry.shortest = entry.shortest.min(process.measure(&entry.name, milliseconds)?);
            entry.spent += start.elapsed().as_secs_f64();
            entry.processor_seconds +=
                process.processor_seconds().zip(before).map_or(0.0, |(after, before)| after - before);
        }
        bar.inc(1);
    }
    for entry in &entries {
        let threads = processes[entry.process].threads;
        let used = entry.processor_seconds / entry.spent;
        if used > threads as f64 + 0.15 {
            bar.suspend(|| eprintln!("{work}: {} used {used:.2} processors instead of {threads}", entry.name));
        }
    }
    let measurement = |entry: Entry| Measurement {
        work,
        name: entry.name,
        threads: processes[entry.process].threads,
        seconds: entry.shortest,
    };
    Ok(entries.into_iter().map(measurement).collect())
}
