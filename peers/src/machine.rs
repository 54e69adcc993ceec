//! What machine this is, as far as it tells (Linux).

use elman::Level;
use std::fs;

/// The processor, its caches and the level, in one line.
pub fn describe() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads, {}, elman at level {}{}", processor(), caches(), Level::detect(), load())
}

/// How many others want the processors, before this program adds to them.
fn load() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split_whitespace().next().map_or(String::new(), |load| format!(", load before the run {load}"))
}

fn processor() -> String {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = information.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let numbers = ["cpu family", "model"].map(|key| value(key).unwrap_or_else(|| "?".to_owned()));
    match value("model name") {
        // Virtual machines often say little more than the maker's name.
        Some(name) => format!("{name} (family {}, model {})", numbers[0], numbers[1]),
        None => format!("a processor of kind {}", std::env::consts::ARCH),
    }
}

fn caches() -> String {
    let cache = |index: usize| {
        let read = |file: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
            fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
        };
        let (level, kind, size) = (read("level")?, read("type")?, read("size")?);
        (kind != "Instruction").then(|| format!("L{level} {size}"))
    };
    let caches: Vec<String> = (0..8).filter_map(cache).collect();
    if caches.is_empty() { "caches unknown".to_owned() } else { caches.join(", ") }
}
