//! The other end of a worker's line.

use crate::candidate::Failure;
use crate::work::Work;
use crate::worker::{floats, result_path};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running worker: this program, Python, or the program in C++.
pub struct Process {
    pub threads: usize,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    directory: PathBuf,
}

/// A candidate that a worker offers, or why it cannot.
pub type Offer = (String, Result<(), String>);

impl Process {
    pub fn this_program(threads: usize, directory: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--worker");
        Self::start(command, threads, directory)
    }

    pub fn python(program: &Path, threads: usize, directory: &Path) -> Result<Self, Failure> {
        let script = directory.join("python_peers.py");
        fs::write(&script, include_str!("../python_peers.py"))?;
        let mut command = Command::new(program);
        command.arg(script);
        Self::start(command, threads, directory)
    }

    pub fn cpp(program: &Path, threads: usize, directory: &Path) -> Result<Self, Failure> {
        Self::start(Command::new(program), threads, directory)
    }

    /// A worker is a command with two more arguments.
    fn start(mut command: Command, threads: usize, directory: &Path) -> Result<Self, Failure> {
        command.arg(threads.to_string()).arg(directory);
        // rayon, matrixmultiply, OpenMP, MKL, and the pool of XLA.
        for variable in ["RAYON_NUM_THREADS", "MATMUL_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"] {
            command.env(variable, threads.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the worker has no pipes".into());
        };
        let output = BufReader::new(output).lines();
        Ok(Self { threads, child, input, output, directory: directory.to_owned() })
    }

    fn ask(&mut self, question: &str) -> Result<(), Failure> {
        writeln!(self.input, "{question}")?;
        Ok(self.input.flush()?)
    }

    fn answer(&mut self) -> Result<String, Failure> {
        Ok(self.output.next().ok_or("a worker ended early")??)
    }

    /// Makes the candidates for a work, those of the last work are dropped.
    pub fn open(&mut self, work: Work) -> Result<Vec<Offer>, Failure> {
        self.ask(&format!("open\t{work}"))?;
        let mut offers = Vec::new();
        loop {
            let line = self.answer()?;
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["candidate", name] => offers.push((name.to_owned(), Ok(()))),
                ["failed", name, reason] => offers.push((name.to_owned(), Err(reason.to_owned()))),
                ["end"] => return Ok(offers),
                _ => return Err(format!("a worker answered: {line}").into()),
            }
        }
    }

    /// What a candidate computes. The outer error is the worker's end, the inner one the candidate's failure.
    pub fn result(&mut self, name: &str) -> Result<Result<Vec<f32>, String>, Failure> {
        self.ask(&format!("result\t{name}"))?;
        let line = self.answer()?;
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["done"] => Ok(Ok(floats(&fs::read(result_path(&self.directory, self.child.id()))?))),
            ["failed", _, reason] => Ok(Err(reason.to_owned())),
            _ => Err(format!("a worker answered: {line}").into()),
        }
    }

    /// The shortest run in seconds.
    pub fn measure(&mut self, name: &str, milliseconds: u64) -> Result<f64, Failure> {
        self.ask(&format!("measure\t{name}\t{milliseconds}"))?;
        let line = self.answer()?;
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["seconds", seconds] => Ok(seconds.parse()?),
            _ => Err(format!("a worker answered: {line}").into()),
        }
    }

    /// Seconds of processor time that the worker has taken so far, where the system tells (Linux).
    pub fn processor_seconds(&self) -> Option<f64> {
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The second field, the program's name, ends with the last parenthesis; user and system time are the 14th and 15th.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(ticks / TICKS_A_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to lose, and may be deep in a run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
