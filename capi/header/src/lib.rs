//! The C header of a crate that exports models by [`elman_c::export!`].
//!
//! cbindgen reads source text: it neither expands macros of other crates nor knows how large a type is. So it is given three
//! texts: the crate as the compiler expands it, the type of the codes, and the numbers, which this program has from the types
//! themselves.

use cbindgen::{Builder, Config, DocumentationStyle, Language, RenameRule};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// The numbers of a model: `<detector as elman_c::Export>::CONSTANTS`.
pub type Constants = &'static [(&'static str, &'static str, usize)];

/// A macro, as no compiler that speaks neither C++11 nor GNU's or Microsoft's C can align a type. There, `_init` refuses memory
/// that is not aligned.
const ALIGNED: &str = "\
#if defined(__cplusplus)
#define ELMAN_ALIGNED(n) alignas(n)
#elif defined(__GNUC__)
#define ELMAN_ALIGNED(n) __attribute__((aligned(n)))
#elif defined(_MSC_VER)
#define ELMAN_ALIGNED(n) __declspec(align(n))
#else
#define ELMAN_ALIGNED(n)
#endif";

/// The header of the crate in a folder, with the numbers of all its models; `guard` is the macro that keeps it from being
/// included twice.
///
/// # Errors
///
/// If the crate does not compile, or cbindgen does not understand it.
pub fn header(crate_dir: &str, guard: &str, models: &[Constants]) -> Result<String, Box<dyn Error>> {
    let work = env::temp_dir().join(format!("elman-c-header-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let header = generate(crate_dir, guard, models, &work);
    fs::remove_dir_all(&work)?;
    header
}

fn generate(crate_dir: &str, guard: &str, models: &[Constants], work: &Path) -> Result<String, Box<dyn Error>> {
    let mut numbers = String::new();
    for (name, comment, value) in models.iter().copied().flatten() {
        writeln!(numbers, "/// {comment}\npub const {name}: usize = {value};")?;
    }
    let mut builder = Builder::new().with_config(config(guard));
    for (file, text) in [("code.rs", elman_c::CODE_RS), ("numbers.rs", &numbers), ("models.rs", &expand(crate_dir)?)] {
        let path = work.join(file);
        fs::write(&path, text)?;
        builder = builder.with_src(path);
    }
    let mut header = Vec::new();
    builder.generate()?.write(&mut header);
    Ok(String::from_utf8(header)?)
}

/// The crate with all macros expanded, which stable compilers do only if they are told that they may.
fn expand(crate_dir: &str) -> Result<String, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["rustc", "--quiet", "--lib", "--profile", "check", "--", "-Zunpretty=expanded"]);
    cargo.current_dir(crate_dir).env("RUSTC_BOOTSTRAP", "1").stderr(Stdio::inherit());
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("{cargo:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn config(guard: &str) -> Config {
    let mut config = Config {
        language: Language::C,
        cpp_compat: true,
        include_guard: Some(guard.into()),
        autogen_warning: Some("/* Made by elman-c-header. Change the Rust source instead. */".into()),
        after_includes: Some(ALIGNED.into()),
        usize_is_size_t: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        documentation_style: DocumentationStyle::C99,
        line_length: 120,
        ..Config::default()
    };
    config.enumeration.rename_variants = RenameRule::QualifiedScreamingSnakeCase;
    config.export.rename.insert("Code".into(), "elman_code".into());
    config.layout.aligned_n = Some("ELMAN_ALIGNED".into());
    config
}
