//! The one place where an instruction set is chosen.

use super::{Kernel, Simd};
use core::fmt;

/// An instruction set that this CPU has.
///
/// A `Level` can be had only by finding the instruction set (or it is [`Level::PORTABLE`]), so it is the proof that its kernels
/// may run.
///
/// | level | lanes | fused multiply-add | where |
/// |---|---|---|---|
/// | `portable` | 4 | on aarch64 (NEON), on ARM's M profile with a floating-point unit (`thumbv7em-none-eabihf`, `thumbv8m.main-none-eabihf`), and on x86-64 if the target is compiled with FMA; nowhere else | every target |
/// | `avx2` | 8 | yes | x86-64 with AVX2 and FMA |
/// | `avx512` | 16 | yes | x86-64 with AVX-512 F, VL, DQ, BW |
///
/// Levels with fused multiply-add compute the same bits, but for those of a NaN: where one level gives a NaN, all do, but its
/// sign and payload are unspecified. So `avx512` takes half of its vectors where that is faster: for one sample of up to 24
/// neurons, for what is left over of wider ones. Everything in this crate uses [`Level::detect`] unless it is given another.
///
/// ```
/// use elman::Level;
/// for level in Level::available() {
///     println!("{level}");
/// }
/// assert!(Level::named("no such level").is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, bytemuck::Zeroable)]
pub struct Level(Token);

/// Makes the token of a level, one of those of the instruction sets, from a list of these, from the plainest to the best.
macro_rules! levels {
    ($($Set:ident($Token:ty) = $name:literal,)+) => {
        /// Zeros are the first one, that needs no proof.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Zeroable)]
        #[repr(u8)]
        enum Token {
            $($Set($Token),)+
        }

        $(
            impl From<$Token> for Token {
                #[inline(always)]
                fn from(token: $Token) -> Token {
                    Token::$Set(token)
                }
            }
        )+

        impl Token {
            fn available() -> impl Iterator<Item = Token> {
                [$(<$Token>::detect().map(Token::$Set),)+].into_iter().flatten()
            }

            const fn name(self) -> &'static str {
                match self {
                    $(Token::$Set(_) => $name,)+
                }
            }

            const fn is_fused(self) -> bool {
                match self {
                    $(Token::$Set(_) => <$Token>::FUSED,)+
                }
            }

            const fn lanes(self) -> usize {
                match self {
                    $(Token::$Set(_) => <$Token>::LANES,)+
                }
            }

            #[inline(always)]
            fn half(self) -> Token {
                match self {
                    $(Token::$Set(token) => token.half().into(),)+
                }
            }

            #[inline(always)]
            fn run<K: Kernel>(self, kernel: K) -> K::Output {
                match self {
                    $(Token::$Set(token) => token.run(kernel),)+
                }
            }
        }
    };
}

/// The portable level and those of an architecture.
macro_rules! levels_with {
    ($($sets:tt)*) => {
        levels! { Portable(super::portable::Portable) = "portable", $($sets)* }
    };
}

#[cfg(target_arch = "x86_64")]
super::x86::with_sets!(levels_with);
#[cfg(not(target_arch = "x86_64"))]
levels_with!();

impl Level {
    /// The level that every target has.
    pub const PORTABLE: Level = Level(Token::Portable(super::portable::Portable));

    /// The best level of this CPU, or the one that the environment variable `ELMAN_LEVEL` names, where it is not empty.
    ///
    /// Without the feature `std` there is no run-time detection: the target features that the crate is compiled with
    /// decide. With it, the answer is found once and kept.
    ///
    /// # Panics
    ///
    /// If `ELMAN_LEVEL` is set to something that is not an available level. The message lists those that are. Call
    /// `Level::from_environment` first where that must be an error value.
    #[inline]
    pub fn detect() -> Level {
        #[cfg(feature = "std")]
        {
            static DETECTED: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
            *DETECTED.get_or_init(|| match Level::from_environment() {
                Ok(level) => level,
                Err(error) => panic!("environment variable ELMAN_LEVEL: {error}"),
            })
        }
        #[cfg(not(feature = "std"))]
        Level::best()
    }

    /// What [`Level::detect`] answers, as a value instead of a panic, read anew at each call.
    ///
    /// # Errors
    ///
    /// If `ELMAN_LEVEL` is set to something that is not an available level.
    #[cfg(feature = "std")]
    pub fn from_environment() -> Result<Level, UnknownLevel> {
        match std::env::var_os("ELMAN_LEVEL") {
            None => Ok(Level::best()),
            Some(name) if name.is_empty() => Ok(Level::best()),
            Some(name) => Level::named(name.to_str().unwrap_or("(not Unicode)")),
        }
    }

    /// The level with this name.
    ///
    /// # Errors
    ///
    /// If there is none, or this CPU does not have it.
    pub fn named(name: &str) -> Result<Level, UnknownLevel> {
        Level::available().find(|level| level.name() == name).ok_or_else(|| UnknownLevel::new(name))
    }

    /// The levels of this CPU, from the plainest to the best.
    pub fn available() -> impl Iterator<Item = Level> {
        Token::available().map(Level)
    }

    /// `portable`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether products are added with one rounding. All levels where this holds compute the same bits.
    pub const fn is_fused(self) -> bool {
        self.0.is_fused()
    }

    /// Single-precision numbers in one vector.
    pub const fn lanes(self) -> usize {
        self.0.lanes()
    }

    /// The best of [`Level::available`].
    fn best() -> Level {
        Level::available().last().unwrap_or(Level::PORTABLE)
    }

    /// The half-width vectors of this level where there are some and they hold so few outputs. The same bits.
    #[inline(always)]
    pub(crate) fn half_up_to(self, most: usize, outputs: usize) -> Self {
        if outputs <= most { Level(self.0.half()) } else { self }
    }

    /// Runs a kernel at this level. A kernel whose sizes are not const parameters is better run through a function of its
    /// own that is not generic: then it is compiled once, in this crate, and not anew for every layer of every user.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(all(test, feature = "std"))]
        let kernel = super::ran::Marked(kernel);
        self.0.run(kernel)
    }
}

impl Default for Level {
    /// [`Level::detect`].
    fn default() -> Self {
        Level::detect()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Level({})", self.name())
    }
}

/// The error of [`Level::named`]: no such level, or not on this CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnknownLevel {
    /// The start of the name that was given, as much as fits; zeros behind it.
    name: [u8; 24],
    len: usize,
}

impl UnknownLevel {
    fn new(given: &str) -> Self {
        let mut name = [0; 24];
        let room = name.len().min(given.len());
        let len = (0..=room).rev().find(|&n| given.is_char_boundary(n)).unwrap_or(0);
        name[..len].copy_from_slice(&given.as_bytes()[..len]);
        Self { name, len }
    }
}

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = core::str::from_utf8(&self.name[..self.len]).unwrap_or_default();
        write!(f, "level `{name}` is not available; this CPU has")?;
        for (i, level) in Level::available().enumerate() {
            write!(f, "{} {level}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownLevel({self})")
    }
}

impl core::error::Error for UnknownLevel {}
