//! The levels of this CPU, and the lane operations of each against plain numbers.

use super::ran::{at_every_level, levels_of_this_cpu};
use super::{Kernel, Level, Simd, load_some, store_some};
use alloc::vec::Vec;

/// A broken detection would let every other test pass, without the level.
#[test]
fn available_levels_are_those_that_std_finds() {
    let expected: Vec<&str> = levels_of_this_cpu().into_iter().map(|(name, _)| name).collect();
    let given: Vec<&str> = Level::available().map(Level::name).collect();
    assert_eq!(given, expected);
}

/// What a kernel finds itself run over.
struct Found;

impl Kernel for Found {
    type Output = (usize, bool);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (usize, bool) {
        // (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24 with one rounding and zero with two.
        let x = s.splat(1.0 + 1.0 / 4096.0);
        let mut lanes = [0.0; 16];
        s.store(s.mul_add(x, x, s.splat(-1.0 - 1.0 / 2048.0)), &mut lanes);
        assert!(lanes[..S::LANES].iter().all(|rest| *rest == lanes[0]));
        (S::LANES, lanes[0] != 0.0)
    }
}

#[test]
fn a_level_runs_on_its_own_lanes() {
    at_every_level(|level| {
        let (_, lanes) = levels_of_this_cpu().into_iter().find(|(name, _)| *name == level.name()).unwrap();
        assert_eq!(level.run(Found), (lanes, level.is_fused()), "{level}");
        assert_eq!(level.lanes(), lanes, "{level}");
    });
}

/// Fails if the marks that [`at_every_level`] relies on are not made, or are made of other kernels.
#[test]
fn marks_are_those_of_the_level_that_runs() {
    let misses = std::panic::catch_unwind(|| at_every_level(|_| ()));
    assert!(misses.is_err(), "a level at which nothing runs is not noticed");
    let misses = std::panic::catch_unwind(|| at_every_level(|level| _ = super::ran::aside(|| level.run(Found))));
    assert!(misses.is_err(), "what runs aside counts");
    if levels_of_this_cpu().len() > 1 {
        let misses = std::panic::catch_unwind(|| at_every_level(|_| _ = Level::PORTABLE.run(Found)));
        assert!(misses.is_err(), "a level at which another one runs is not noticed");
    }
}

/// Parts of vectors of every length, from and to the middle of other numbers.
struct Parts;

impl Kernel for Parts {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let numbers: [f32; 20] = core::array::from_fn(|i| 1.0 + i as f32);
        for count in 0..=S::LANES {
            let mut lanes = [-1.0; 16];
            s.store(load_some(s, &numbers[1..1 + count]), &mut lanes);
            assert_eq!(lanes[..count], numbers[1..1 + count], "{count} of {} lanes, loaded", S::LANES);
            assert!(lanes[count..S::LANES].iter().all(|x| *x == 0.0), "{count} of {} lanes: {lanes:?}", S::LANES);

            let mut to = [-1.0; 20];
            store_some(s, s.load(&numbers), &mut to[2..2 + count]);
            assert_eq!(to[2..2 + count], numbers[..count], "{count} of {} lanes, stored", S::LANES);
            let around = to[..2].iter().chain(&to[2 + count..]);
            assert!(around.copied().all(|x| x == -1.0), "{count} of {} lanes: {to:?}", S::LANES);
        }
    }
}

#[test]
fn parts_of_vectors() {
    at_every_level(|level| level.run(Parts));
}

/// Pairs and triples of numbers that operations treat in ways of their own.
const SPECIAL: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    3.25e-5,
    -7.75e8,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-40,
    f32::MAX,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    0.333_333_34,
    -16_777_215.0,
    1.000_000_1,
];

/// Every operation on whole vectors, lane by lane.
struct Operations;

impl Kernel for Operations {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for shift in 0..SPECIAL.len() {
            for third in 0..SPECIAL.len() {
                check_operations(s, shift, third);
            }
        }
        check_integers(s);
        check_moves(s);
    }
}

/// The bits of a number, the same for every NaN.
fn bits(x: f32) -> u32 {
    // Hidden from the compiler, which may take it for granted that a root is a number.
    let x = core::hint::black_box(x);
    if x.is_nan() { u32::MAX } else { x.to_bits() }
}

fn check_operations<S: Simd>(s: S, shift: usize, third: usize) {
    let a = SPECIAL;
    let b: [f32; 16] = core::array::from_fn(|i| SPECIAL[(i + shift) % 16]);
    let c: [f32; 16] = core::array::from_fn(|i| SPECIAL[(i + third) % 16]);
    // In slices that begin at every lane, so that all numbers are in some lane of any vector.
    for first in (0..16).step_by(S::LANES) {
        let (x, y, z) = (s.load(&a[first..]), s.load(&b[first..]), s.load(&c[first..]));
        let check = |what: &str, v: S::F32, expected: &dyn Fn(f32, f32, f32) -> f32| {
            let mut lanes = [0.0; 16];
            s.store(v, &mut lanes);
            for i in 0..S::LANES {
                let (a, b, c) = (a[first + i], b[first + i], c[first + i]);
                let (given, expected) = (lanes[i], expected(a, b, c));
                assert_eq!(bits(given), bits(expected), "{what} of {a:e}, {b:e}, {c:e}: {given:e}, not {expected:e}");
            }
        };
        check("add", s.add(x, y), &|a, b, _| a + b);
        check("sub", s.sub(x, y), &|a, b, _| a - b);
        check("mul", s.mul(x, y), &|a, b, _| a * b);
        check("div", s.div(x, y), &|a, b, _| a / b);
        check("sqrt", s.sqrt(x), &|a, _, _| a.sqrt());
        check("min", s.min(x, y), &|a, b, _| if a < b { a } else { b });
        check("max", s.max(x, y), &|a, b, _| if a > b { a } else { b });
        let fused = S::FUSED;
        check("mul_add", s.mul_add(x, y, z), &|a, b, c| if fused { a.mul_add(b, c) } else { a * b + c });
        check("neg_mul_add", s.neg_mul_add(x, y, z), &|a, b, c| if fused { (-a).mul_add(b, c) } else { c - a * b });
        check("select_less", s.select_less(x, y, z, x), &|a, b, c| if a < b { c } else { a });
        check("zero_small", s.zero_small(x, y), &|a, b, _| if a.abs() < b { 0.0 } else { a });
    }
}

fn check_integers<S: Simd>(s: S) {
    for (a, b) in [(0, 1), (-5, 3), (i32::MAX, 1), (i32::MIN, -1), (0x1234_5678, 0x0f0f_f0f0), (7, 7)] {
        let (x, y) = (s.splat_i32(a), s.splat_i32(b));
        let check = |what: &str, v: S::I32, expected: i32| {
            // Compared as numbers, as a load may change a NaN nowhere, but a comparison would.
            let mut lanes = [0.0; 16];
            s.store(s.with_bits(v), &mut lanes);
            assert!(lanes[..S::LANES].iter().all(|x| x.to_bits() as i32 == expected), "{what} of {a} and {b}");
        };
        check("add", s.add_i32(x, y), a.wrapping_add(b));
        check("sub", s.sub_i32(x, y), a.wrapping_sub(b));
        check("and", s.and(x, y), a & b);
        check("or", s.or(x, y), a | b);
        check("shift_left", s.shift_left::<10>(x), a << 10);
        check("shift_right", s.shift_right::<22>(x), ((a as u32) >> 22) as i32);
        check("to_bits", s.to_bits(s.splat(f32::from_bits(a as u32))), a);
        let chosen = s.select_less_i32(x, y, s.splat(1.0), s.splat(2.0));
        check("select_less_i32", s.to_bits(chosen), if a < b { 1f32 } else { 2.0 }.to_bits() as i32);
    }
}

fn check_moves<S: Simd>(s: S) {
    let numbers: [f32; 32] = core::array::from_fn(|i| i as f32);
    let (a, b) = (s.load(&numbers), s.load(&numbers[16..]));
    let lanes = |v: S::F32| {
        let mut lanes = [-1.0; 16];
        s.store(v, &mut lanes);
        lanes[..S::LANES].to_vec()
    };
    let (low, high) = s.interleave(a, b);
    for four in (0..S::LANES).step_by(4) {
        let at = |i: usize| [numbers[four + i], numbers[16 + four + i]];
        assert_eq!(lanes(low)[four..four + 4], [at(0), at(1)].concat());
        assert_eq!(lanes(high)[four..four + 4], [at(2), at(3)].concat());
    }
    let fours: Vec<f32> = if S::LANES == 4 {
        numbers[..4].iter().chain(&numbers[16..20]).copied().collect()
    } else {
        let four = |i: usize| numbers[4 * i..4 * i + 4].iter().chain(&numbers[16 + 4 * i..20 + 4 * i]);
        (0..S::LANES / 4).flat_map(four).copied().collect()
    };
    let (first, second) = s.interleave_fours(a, b);
    assert_eq!([lanes(first), lanes(second)].concat(), fours);

    let four = s.load_four(&numbers[3..7]);
    let repeated: Vec<f32> = numbers[3..7].iter().copied().cycle().take(S::LANES).collect();
    assert_eq!(lanes(four), repeated);
    for i in 0..8 {
        assert!(lanes(s.one_of_four(four, i)).iter().all(|x| *x == numbers[3 + (i as usize & 3)]));
    }
    let table: [f32; 16] = core::array::from_fn(|i| 10.0 + (i % 8) as f32);
    for i in 0..40 {
        assert!(lanes(s.lookup(&table, s.splat_i32(i))).iter().all(|x| *x == table[i as usize & 7]), "entry {i}");
    }
    // Every lane looks for an entry of its own.
    let indices: [f32; 16] = core::array::from_fn(|i| f32::from_bits(3 * i as u32));
    let found = lanes(s.lookup(&table, s.to_bits(s.load(&indices))));
    assert!(found.iter().enumerate().all(|(i, x)| *x == table[(3 * i) & 7]), "{found:?}");
}

#[test]
fn operations() {
    at_every_level(|level| level.run(Operations));
}
