//! elman's f32 `tanh` and `exp`, written in scalar Rust exactly as the lanes do them, and a sweep over all 2^32 floats
//! against an f64 reference. Run: `RUSTFLAGS="-C target-cpu=native" cargo run --release [threads]` (default 2).
//! With QUICK set, only 2^-13 <= |x| < 128.
//! The constants come from `fit.py`.

include!("constants.rs");

/// One rounding where the lanes fuse, two where they cannot.
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Minimum as x86's `minps(limit, v)`: the second operand when either is NaN.
#[inline(always)]
fn min_keep(limit: f32, v: f32) -> f32 {
    if limit < v { limit } else { v }
}
#[inline(always)]
fn max_keep(limit: f32, v: f32) -> f32 {
    if limit > v { limit } else { v }
}

const SIGN: u32 = 0x8000_0000;

#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    let look = |table: &[u32; 8], i: u32| f32::from_bits(table[(i & 7) as usize]);
    let a = min_keep(LIMIT, f32::from_bits(x.to_bits() & !SIGN)); // keeps NaN
    let t = fma::<FUSED>(a, SCALE, OFFSET);
    let i = t.to_bits() >> 22;
    let d = a - look(&CENTER, i);
    let small = if a < f32::MIN_POSITIVE { 0.0 } else { a };
    let base = if t < 0.75 { small } else { look(&BASE, i) };
    let d2 = d * d;
    let c01 = fma::<FUSED>(look(&C1, i), d, look(&C0, i));
    let c23 = fma::<FUSED>(look(&C3, i), d, look(&C2, i));
    let c45 = fma::<FUSED>(look(&C5, i), d, look(&C4, i));
    let c03 = fma::<FUSED>(d2, c23, c01);
    let c46 = fma::<FUSED>(d2, look(&C6, i), c45);
    let p = fma::<FUSED>(d2 * d2, c46, c03);
    f32::from_bits(fma::<FUSED>(d, p, base).to_bits() | x.to_bits() & SIGN)
}

/// The smallest x whose exponential is normal; below, it is zero.
const SMALLEST: f32 = f32::from_bits(0xc2ae_ac4f);

#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, left in the low bits
    const FINE: f32 = 1536.0; //        1.5 * 2^10: rounds to a multiple of 2^-13
    let bits = |table: &[u32], i: usize| f32::from_bits(table[i]);
    let [log2e, ln2_hi, ln2_lo] = [0, 1, 2].map(|i| bits(&EXP_LOG2E_LN2HI_LN2LO, i));
    let (given, x) = (x, min_keep(89.0, max_keep(SMALLEST, x)));
    // n = floor(x log2(e) + log2(4/3)), so that 3/4 <= e^r <= 3/2: there the last additions round least.
    let n_bits = fma::<FUSED>(x, log2e, FINE + 3399.0 / 8192.0).to_bits() & !8191;
    let n = f32::from_bits(n_bits) - FINE;
    let half_bits = fma::<FUSED>(n, 0.5, MAGIC).to_bits() << 23; // about n / 2, rounded, in the exponent's place
    let one = 1f32.to_bits();
    let s1 = f32::from_bits(half_bits.wrapping_add(one));
    let s2 = f32::from_bits((n_bits << 10).wrapping_sub(half_bits).wrapping_add(one));
    let r = fma::<FUSED>(n, -ln2_lo, fma::<FUSED>(n, -ln2_hi, x));
    let r2 = r * r;
    let low = fma::<FUSED>(bits(&EXP_Q, 2), r, bits(&EXP_Q, 1));
    let high = fma::<FUSED>(bits(&EXP_Q, 4), r, bits(&EXP_Q, 3));
    let q = fma::<FUSED>(r, fma::<FUSED>(r2, high, low), bits(&EXP_Q, 0));
    let v = fma::<FUSED>(r2, q, r);
    if given < SMALLEST { 0.0 } else { fma::<FUSED>(v, s1, s1) * s2 } // (1 + v) * 2^n
}

// ---------------------------------------------------------------- reference: f64, about 1e-15 relative, vectorizes

const BIG: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// (2^k, e^r - 1) with z = k ln 2 + r, for |z| < 700.
#[inline(always)]
fn split64(z: f64) -> (f64, f64) {
    let kb = z * std::f64::consts::LOG2_E + BIG;
    let k = kb - BIG;
    let r = k.mul_add(-1.908_214_929_270_587_7e-10, k.mul_add(-6.931_471_803_691_238_2e-1, z));
    let mut p = 1.0 / 87_178_291_200.0;
    const FACTORIALS: [f64; 12] =
        [6_227_020_800.0, 479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0];
    for c in FACTORIALS {
        p = r.mul_add(p, 1.0 / c);
    }
    let scale = f64::from_bits((kb.to_bits() << 52).wrapping_add(0x3ff0_0000_0000_0000));
    (scale, (r * r).mul_add(p, r))
}
#[inline(always)]
fn tanh64(x: f64) -> f64 {
    let (scale, p) = split64(-2.0 * x.abs().min(40.0));
    let m = scale.mul_add(p, scale - 1.0);
    (-m / (2.0 + m)).copysign(x)
}
#[inline(always)]
fn exp64(x: f64) -> f64 {
    let (scale, p) = split64(x.clamp(-200.0, 200.0));
    scale.mul_add(p, scale)
}

/// 1 / (unit in the last place of the f32 binade that holds |y|), denormals included.
#[inline(always)]
fn per_ulp(y: f64) -> f64 {
    let e = (y.to_bits() >> 52 & 0x7ff).max(1023 - 126);
    f64::from_bits((2046 + 23 - e) << 52)
}

// ---------------------------------------------------------------- the sweep

const BLOCK: usize = 1 << 12;

#[derive(Clone, Copy, Default)]
struct Tally {
    worst: f64,
    worst_at: u32,
    over_half: u64, // results that are not the correctly rounded ones
    drops: u64,
    drop_at: u32,
    out_of_bounds: u64,
    not_odd: u64,
    count: u64,
    segment_worst: [f64; 8],
}

impl Tally {
    fn join(&mut self, o: &Tally) {
        if o.worst > self.worst { (self.worst, self.worst_at) = (o.worst, o.worst_at) }
        if o.drops > 0 { self.drop_at = o.drop_at }
        self.over_half += o.over_half;
        self.drops += o.drops;
        self.out_of_bounds += o.out_of_bounds;
        self.not_odd += o.not_odd;
        self.count += o.count;
        for i in 0..8 { self.segment_worst[i] = self.segment_worst[i].max(o.segment_worst[i]) }
    }
}

/// Bits first..first+BLOCK of one sign, in order of growing magnitude. `odd` also checks f(-x) = -f(x) and |f| <= 1.
#[inline(always)]
fn block(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, first: u32, odd: bool, largest: f64) -> Tally {
    let mut y = [0f32; BLOCK + 1];
    let mut mirrored = [0f32; BLOCK];
    let mut error = [0f64; BLOCK];
    let mut tally = Tally { count: BLOCK as u64, ..Tally::default() };
    for i in 0..=BLOCK { y[i] = f(f32::from_bits(first.wrapping_add(i as u32))) }
    for i in 0..BLOCK {
        let x = f32::from_bits(first + i as u32);
        // tanh and exp make denormal results zero.
        let e = if odd && x.abs() < f32::MIN_POSITIVE || !odd && x < SMALLEST { 0.0 } else { exact(x as f64) };
        // What overflows must be infinite: count it as right, anything else as wrong.
        let got = if e >= largest && y[i] == f32::INFINITY { e } else { y[i] as f64 };
        error[i] = (got - e).abs() * per_ulp(e);
    }
    let sign_of_step = if first & SIGN != 0 { -1.0 } else { 1.0 };
    let last = first.wrapping_add(BLOCK as u32) & !SIGN > f32::INFINITY.to_bits();
    for i in 0..BLOCK {
        let x = first + i as u32;
        let fell = (y[i + 1] - y[i]) * sign_of_step < 0.0 && !(last && i + 1 == BLOCK);
        if fell { tally.drop_at = x }
        tally.drops += fell as u64;
        tally.over_half += (error[i] > 0.5) as u64;
        if error[i] > tally.worst { (tally.worst, tally.worst_at) = (error[i], x) }
    }
    if odd {
        for i in 0..BLOCK { mirrored[i] = f(f32::from_bits((first + i as u32) ^ SIGN)) }
        for i in 0..BLOCK {
            tally.not_odd += (mirrored[i].to_bits() != y[i].to_bits() ^ SIGN) as u64;
            tally.out_of_bounds += !(y[i].abs() <= 1.0) as u64;
        }
        let x = f32::from_bits(first);
        let i = (x.abs().min(LIMIT).mul_add(SCALE, OFFSET).to_bits() >> 22) as usize - 252;
        tally.segment_worst[i] = tally.worst;
    } else {
        for i in 0..BLOCK { tally.out_of_bounds += !(y[i] == 0.0 || y[i] >= f32::MIN_POSITIVE) as u64 }
    }
    tally
}

fn sweep(threads: u32, name: &str, most: f64, run: impl Fn(u32) -> Tally + Sync, both_signs: bool) -> Tally {
    let blocks = f32::INFINITY.to_bits() / BLOCK as u32; // all finite floats of one sign; infinity is checked apart
    let quick = std::env::var_os("QUICK").is_some(); // while tuning: 2^-13 to 128 only
    let (from, blocks) = if quick { ((1u32 << 23) * 114 / BLOCK as u32, (1u32 << 23) * 134 / BLOCK as u32) } else { (0, blocks) };
    let mut total = Tally::default();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|k| {
                let run = &run;
                scope.spawn(move || {
                    let mut t = Tally::default();
                    for b in (from + k..blocks).step_by(threads as usize) {
                        t.join(&run(b * BLOCK as u32));
                        if both_signs { t.join(&run(b * BLOCK as u32 | SIGN)) }
                    }
                    t
                })
            })
            .collect();
        for h in handles { total.join(&h.join().unwrap()) }
    });
    println!("{name}: {} floats, worst {:.4} ulp at {:e} (0x{:08x}), not correctly rounded {:.2} %", total.count,
        total.worst, f32::from_bits(total.worst_at), total.worst_at, 100.0 * total.over_half as f64 / total.count as f64);
    println!("    steps the wrong way {} (last at {:e}), out of bounds {}, not odd {}", total.drops, f32::from_bits(total.drop_at), total.out_of_bounds, total.not_odd);
    assert!(total.drops == 0 && total.out_of_bounds == 0 && total.not_odd == 0, "{name} is not what it is to be");
    assert!(total.worst <= most, "{name}: more than {most} ulp");
    total
}

fn specials<const FUSED: bool>() {
    let same = |got: f32, want: f32| assert!(got.to_bits() == want.to_bits(), "got {got:e}, want {want:e}");
    for sign in [1.0, -1.0f32] {
        same(tanh::<FUSED>(sign * f32::INFINITY), sign);
        same(tanh::<FUSED>(sign * 0.0), sign * 0.0);
        same(exp::<FUSED>(sign * 0.0), 1.0);
    }
    same(exp::<FUSED>(f32::INFINITY), f32::INFINITY);
    same(exp::<FUSED>(f32::NEG_INFINITY), 0.0);
    for bits in (0x7f80_0001..0x8000_0000u32).step_by(997) {
        for b in [bits, bits | SIGN] {
            assert!(tanh::<FUSED>(f32::from_bits(b)).is_nan() && exp::<FUSED>(f32::from_bits(b)).is_nan());
        }
    }
    // Tiny inputs come back bit for bit, to 1e-5 (a^2/3 < 2^-25), but for denormal ones, which become zero.
    for b in 0..1e-5f32.to_bits() / 61 {
        let x = f32::from_bits(b * 61);
        same(tanh::<FUSED>(x), if x < f32::MIN_POSITIVE { 0.0 } else { x });
    }
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2);
    let (mut worst_tanh, mut worst_exp) = (0f64, 0f64);
    let mut z = 1u64;
    for _ in 0..3_000_000 {
        z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = f32::from_bits((z >> 33) as u32 % 0x4180_0000) as f64 * if z & 1 << 32 == 0 { 1.0 } else { -1.0 };
        if x != 0.0 { worst_tanh = worst_tanh.max((tanh64(x) / x.tanh() - 1.0).abs()) }
        let x = (z >> 11) as f64 / (1u64 << 53) as f64 * 200.0 - 105.0;
        worst_exp = worst_exp.max((exp64(x) / x.exp() - 1.0).abs());
    }
    println!("reference against std on 3e6 points, relative: tanh {worst_tanh:.1e}, exp {worst_exp:.1e}");
    specials::<true>();
    specials::<false>();
    println!("zeros, infinities, NaN, tiny inputs: right");
    // tanh: one sign in full (error, bounds, steps); the other by its bits.
    let t = sweep(threads, "tanh fused", 0.88, |b| block(tanh::<true>, tanh64, b, true, f64::MAX), false);
    println!("    by segment {:.3?}", t.segment_worst);
    let t = sweep(threads, "tanh unfused", 1.03, |b| block(tanh::<false>, tanh64, b, true, f64::MAX), false);
    println!("    by segment {:.3?}", t.segment_worst);
    let largest = f32::MAX as f64 * (1.0 + 2f64.powi(-25));
    sweep(threads, "exp fused", 0.96, |b| block(exp::<true>, exp64, b, false, largest), true);
    sweep(threads, "exp unfused", 0.96, |b| block(exp::<false>, exp64, b, false, largest), true);
}
