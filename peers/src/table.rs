//! The table.

use crate::options::Options;
use crate::work::{BATCH, Cell, Kind, LONG_STEPS, STEPS, Work};
use crate::{peak, this_crate};
use elman::Level;

/// The shortest run of a candidate.
pub struct Measurement {
    pub work: Work,
    pub name: String,
    pub threads: usize,
    pub seconds: f64,
}

pub fn print(options: &Options, measurements: &[Measurement]) {
    for &threads in &options.threads {
        let peak = peak_rate(measurements, threads) / 1e9;
        // Single steps alone are not measured with several threads.
        if peak > 0.0 {
            println!("Peak of multiply-adds, threads: {threads}: {peak:.0} GFLOP/s");
        }
    }
    warn_if_busy(options, measurements);
    println!("In parentheses: of elman, its part of that peak; of the others, how many times elman's time they take.");
    for works in options.sections() {
        println!("\n{}\n", title(works[0]));
        print_rows(&rows(options, &works, measurements), options.markdown);
    }
}

/// Several threads that never had their processors to themselves show in the peak.
fn warn_if_busy(options: &Options, measurements: &[Measurement]) {
    let [first, .., last] = options.threads[..] else { return };
    let (one, all) = (peak_rate(measurements, first) / first as f64, peak_rate(measurements, last) / last as f64);
    if all > 0.0 && all < 0.75 * one {
        println!("The machine was busy: with {last} threads each reached {:.0} % of that.", 100.0 * all / one);
        println!("Rows with {last} threads tell little, least of all where threads wait for each other.");
    }
}

/// Floating-point operations a second, the best of all works.
fn peak_rate(measurements: &[Measurement], threads: usize) -> f64 {
    let peaks = measurements.iter().filter(|m| m.name == peak::NAME && m.threads == threads);
    let shortest = peaks.map(|m| m.seconds).fold(f64::INFINITY, f64::min);
    peak::operations(Level::detect(), threads) / shortest
}

fn title(work: Work) -> String {
    let cell = match work.cell {
        Cell::Tanh => "",
        Cell::Gru => "GRU. ",
        Cell::Lstm => "LSTM. ",
    };
    let kind = match work.kind {
        Kind::Forward => format!("Forward, every state kept: {BATCH} sequences of {STEPS} steps, milliseconds"),
        Kind::Training => {
            format!("Forward and backward, all gradients: {BATCH} sequences of {STEPS} steps, milliseconds")
        }
        Kind::Character => format!(
            "Character model, one training step: Embedding(65, 32), RNN(32, 128, 2 layers), Linear(128, 65), \
             cross-entropy, Adam; {BATCH} sequences of {STEPS} letters, thousands of letters a second"
        ),
        Kind::Sequence => format!("Forward, every state kept: one sequence of {LONG_STEPS} steps, nanoseconds a step"),
        Kind::Step => "Single steps of one sequence, nanoseconds a step".to_owned(),
    };
    format!("{cell}{kind}")
}

/// The header and the rows of a section.
fn rows(options: &Options, works: &[Work], measurements: &[Measurement]) -> Vec<Vec<String>> {
    let mut header = vec!["".to_owned(), "threads".to_owned()];
    header.extend(works.iter().map(|work| format!("{} neurons", work.size)));
    let mut table = vec![header];
    for &threads in &options.threads {
        let mut names: Vec<&str> = Vec::new();
        for m in measurements.iter().filter(|m| works.contains(&m.work) && m.threads == threads && m.name != peak::NAME)
        {
            if !names.contains(&m.name.as_str()) {
                names.push(&m.name);
            }
        }
        for name in names {
            let mut row = vec![name.to_owned(), threads.to_string()];
            row.extend(works.iter().map(|&work| cell(measurements, work, name, threads)));
            table.push(row);
        }
    }
    table
}

fn cell(measurements: &[Measurement], work: Work, name: &str, threads: usize) -> String {
    let shortest = |name: &str| seconds(measurements, work, name, threads);
    let Some(seconds) = shortest(name) else { return "-".to_owned() };
    let comparison = if name == this_crate::NAME {
        format!("{:.0} %", 100.0 * work.operations() / seconds / peak_rate(measurements, threads))
    } else {
        shortest(this_crate::NAME).map_or("?".to_owned(), |elman| format!("{}x", three_digits(seconds / elman)))
    };
    let figure = match work.kind {
        Kind::Forward | Kind::Training => 1e3 * seconds,
        Kind::Character => work.all_steps() as f64 / seconds / 1e3,
        Kind::Sequence | Kind::Step => 1e9 * seconds / work.all_steps() as f64,
    };
    format!("{} ({comparison})", three_digits(figure))
}

fn seconds(measurements: &[Measurement], work: Work, name: &str, threads: usize) -> Option<f64> {
    let found = measurements.iter().find(|m| m.work == work && m.name == name && m.threads == threads);
    found.map(|m| m.seconds)
}

fn three_digits(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn print_rows(rows: &[Vec<String>], markdown: bool) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        println!("{}", line(row, &widths, markdown));
        if index == 0 && markdown {
            let dashes: Vec<String> = widths.iter().map(|&width| "-".repeat(width + 1)).collect();
            println!("|:{}:|", dashes.join(":|").replacen(":|", "|", 1));
        }
    }
}

/// The first column to the left, the others to the right.
fn line(row: &[String], widths: &[usize], markdown: bool) -> String {
    let pad = |(index, (text, &width)): (usize, (&String, &usize))| match index {
        0 => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    };
    let cells: Vec<String> = row.iter().zip(widths).enumerate().map(pad).collect();
    if markdown { format!("| {} |", cells.join(" | ")) } else { cells.join("   ").trim_end().to_owned() }
}
