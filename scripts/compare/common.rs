//! What all workers of compare_with_commit.sh share: the list of works, the clock, and how they talk with run.py.
//!
//! A worker is told the milliseconds of a turn as its argument. It reads a line, answers with lines, and so on:
//!
//! | line | answer |
//! |---|---|
//! | `levels` | the levels of this CPU, in one line |
//! | `list` | the names of the works, one a line, and an empty line |
//! | `LEVEL WORK` | takes a turn: the shortest run's seconds, for one of what the work counts |
//!
//! Commits keep their workers, so that later ones can be compared with them: this table stays as it is.

use crate::api::{self, Level};
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Something to measure, with all its memory.
pub struct Work {
    /// What is counted in one run: steps, trainings.
    count: usize,
    /// Whether the last run took so long that others may have had the core meanwhile.
    is_long: bool,
    run: Box<dyn FnMut()>,
}

impl Work {
    pub fn new(count: usize, run: impl FnMut() + 'static) -> Self {
        Self { count, is_long: false, run: Box::new(run) }
    }
}

type Make = fn(Level) -> Work;

/// `group(function: sizes)` stands for works called `group size`, made by `function::<size>`.
macro_rules! sized {
    ($($group:literal($function:ident: $($size:literal)*))*) => {
        [$($((concat!($group, " ", $size), api::$function::<$size> as Make)),*),*]
    };
}

/// The names of the works, and what makes them. What stands in front of the number is the group.
fn works() -> Vec<(&'static str, Make)> {
    let mut works = sized! {
        "forward"(forward: 16 32 64 128 256 512)
        "training"(training: 16 32 64 128 256 512)
        "forward-off-grid"(forward: 10 17 33 42 100)
        "training-off-grid"(training: 10 17 33 42 100)
        "sequence"(sequence: 16 32 64 128 256)
        "step"(step: 4 8 16 32 64 128)
        "step-trace"(step_trace: 8 32)
    }
    .to_vec();
    works.extend([
        ("character", api::character as Make),
        ("tutorial 1", api::tutorial_1),
        ("tutorial 3", api::tutorial_3),
    ]);
    works
}

/// Seconds that this thread has waited for a core which another had; 0 where Linux does not tell. (The clock that counts a
/// thread's own time is of no use: on a virtual machine it can run slow, and the shortest time then is none.)
fn waited() -> f64 {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    counts.split(' ').nth(1).and_then(|count| count.parse::<f64>().ok()).unwrap_or(0.0) * 1e-9
}

/// The seconds of one run. Long runs are interrupted on a busy machine, all of them: what they have waited is taken off.
/// It is read inside of what is timed, some microseconds of milliseconds: never is more taken off than was timed.
fn time(work: &mut Work) -> f64 {
    let start = Instant::now();
    let seconds = if work.is_long {
        let before = waited();
        (work.run)();
        let after = waited();
        start.elapsed().as_secs_f64() - (after - before)
    } else {
        (work.run)();
        start.elapsed().as_secs_f64()
    };
    work.is_long = seconds > 2e-3;
    seconds
}

/// A turn lasts at least this long, unless a single run lasts longer; then two runs if they are not too long. The first
/// run finds the other program's data in the caches.
fn turn(work: &mut Work, least: Duration) -> f64 {
    let start = Instant::now();
    let mut shortest = f64::INFINITY;
    for runs in 1.. {
        shortest = shortest.min(time(work));
        let elapsed = start.elapsed();
        if elapsed >= least && (runs > 1 || elapsed > 3 * least) {
            break;
        }
    }
    shortest / work.count as f64
}

fn answer(lines: impl BufRead, out: &mut impl Write, least: Duration) -> std::io::Result<()> {
    let works = works();
    // The work of the last turn, for the next one.
    let mut current: Option<(String, Work)> = None;
    for line in lines.lines() {
        let line = line?;
        match line.as_str() {
            "levels" => writeln!(out, "{}", api::levels().map(Level::name).collect::<Vec<_>>().join(" "))?,
            "list" => {
                works.iter().try_for_each(|(name, _)| writeln!(out, "{name}"))?;
                writeln!(out)?;
            }
            _ => {
                let mut work = match current.take() {
                    Some((name, work)) if name == line => work,
                    last => {
                        drop(last);
                        let (level, name) = line.split_once(' ').expect("a level and a work");
                        let level = api::levels().find(|l| l.name() == level).expect("a level of this CPU");
                        let (_, make) = works.iter().find(|(n, _)| *n == name).expect("a work of the list");
                        let mut work = make(black_box(level));
                        // Memory that is had at the first use is had before anything is measured.
                        time(&mut work);
                        work
                    }
                };
                writeln!(out, "{:e}", turn(&mut work, least))?;
                current = Some((line, work));
            }
        }
        out.flush()?;
    }
    Ok(())
}

pub fn main() {
    let milliseconds = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).expect("the ms of a turn");
    // The pool decides on how many threads batches are spread: none but its only one.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let result = pool.install(|| {
        answer(std::io::stdin().lock(), &mut std::io::stdout().lock(), Duration::from_millis(milliseconds))
    });
    result.expect("pipes");
}
