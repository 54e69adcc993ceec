//! The table.

use crate::options::Options;
use crate::work::{BATCH, Kind, SINGLE_STEPS, STEPS, Work};
use crate::{peak, this_crate};
use elman::Level;

/// The shortest run of a candidate.
pub struct Measurement {
    pub work: Work,
    pub name: String,
    pub threads: usize,
    pub seconds: f64,
}

impl Measurement {
    /// `crate` of `crate/variant`.
    fn row(&self) -> &str {
        self.name.split('/').next().unwrap_or(&self.name)
    }
}

pub fn print(options: &Options, measurements: &[Measurement]) {
    for &threads in &options.threads {
        println!("Peak of multiply-adds, threads: {threads}: {:.0} GFLOP/s", peak_rate(measurements, threads) / 1e9);
    }
    println!("In parentheses: of elman, its part of that peak; of the others, how many times elman's time they take.");
    for &kind in &options.kinds {
        println!("\n{}\n", title(kind));
        print_rows(&rows(options, kind, measurements), options.markdown);
    }
    print_variants(measurements);
}

/// Floating-point operations a second, the best of all works.
fn peak_rate(measurements: &[Measurement], threads: usize) -> f64 {
    let peaks = measurements.iter().filter(|m| m.name == peak::NAME && m.threads == threads);
    let shortest = peaks.map(|m| m.seconds).fold(f64::INFINITY, f64::min);
    peak::operations(Level::detect(), threads) / shortest
}

fn title(kind: Kind) -> String {
    match kind {
        Kind::Forward => format!("Forward, every state kept: {BATCH} sequences of {STEPS} steps, milliseconds"),
        Kind::Training => {
            format!("Forward and backward, all gradients: {BATCH} sequences of {STEPS} steps, milliseconds")
        }
        Kind::Character => format!(
            "Character model, one training step: Embedding(65, 32), RNN(32, 128, 2 layers), Linear(128, 65), \
             cross-entropy, Adam; {BATCH} sequences of {STEPS} letters, thousands of letters a second"
        ),
        Kind::Step => "Single steps of one sequence, nanoseconds a step".to_owned(),
    }
}

/// The header and the rows of a section.
fn rows(options: &Options, kind: Kind, measurements: &[Measurement]) -> Vec<Vec<String>> {
    let works = kind.works(options.quick);
    let mut header = vec!["".to_owned(), "threads".to_owned()];
    header.extend(works.iter().map(|work| format!("{} neurons", work.size)));
    let mut table = vec![header];
    for &threads in &options.threads {
        let mut names: Vec<&str> = Vec::new();
        for m in measurements.iter().filter(|m| m.work.kind == kind && m.threads == threads && m.name != peak::NAME) {
            if !names.contains(&m.row()) {
                names.push(m.row());
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
    let shortest = |name: &str| fastest(measurements, work, name, threads).map(|m| m.seconds);
    let Some(seconds) = shortest(name) else { return "-".to_owned() };
    let comparison = if name == this_crate::NAME {
        format!("{:.0} %", 100.0 * work.operations() / seconds / peak_rate(measurements, threads))
    } else {
        shortest(this_crate::NAME).map_or("?".to_owned(), |elman| format!("{}x", three_digits(seconds / elman)))
    };
    let figure = match work.kind {
        Kind::Forward | Kind::Training => 1e3 * seconds,
        Kind::Character => (STEPS * BATCH) as f64 / seconds / 1e3,
        Kind::Step => 1e9 * seconds / SINGLE_STEPS as f64,
    };
    format!("{} ({comparison})", three_digits(figure))
}

/// The fastest variant of a crate.
fn fastest<'a>(measurements: &'a [Measurement], work: Work, name: &str, threads: usize) -> Option<&'a Measurement> {
    let variants = measurements.iter().filter(|m| m.work == work && m.row() == name && m.threads == threads);
    variants.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
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
            let dashes: Vec<String> = widths.iter().map(|&width| "-".repeat(width.max(2) - 1) + ":").collect();
            println!("|:{}|", dashes.join("|"));
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

/// Says which variants stand in the table, where a crate has several.
fn print_variants(measurements: &[Measurement]) {
    let mut winners: Vec<(&str, usize)> = Vec::new();
    for m in measurements.iter().filter(|m| m.name.contains('/')) {
        if fastest(measurements, m.work, m.row(), m.threads).is_some_and(|winner| winner.name == m.name) {
            match winners.iter_mut().find(|(name, _)| *name == m.name) {
                Some((_, count)) => *count += 1,
                None => winners.push((&m.name, 1)),
            }
        }
    }
    if !winners.is_empty() {
        let list: Vec<String> = winners.iter().map(|(name, count)| format!("{name} in {count}")).collect();
        println!("\nOf several variants the fastest stands in the table: {}.", list.join(", "));
    }
}
