//! The random numbers behind a model's first values: the same stream as PyTorch's on a CPU.

use core::f32::consts::TAU as TAU_F32;
use core::f64::consts::TAU;
use core::fmt;

use libm::fmaf;

/// Words in the state of MT19937.
const N: usize = 624;
/// Distance between a word of the state and the word it is combined with.
const M: usize = 397;
/// Two halves of a block of Box-Muller pairs: eight radii, then eight angles.
const HALF: usize = 8;
/// The smallest tensor which PyTorch fills with normals in blocks, and the length of such a block.
const BLOCK: usize = 2 * HALF;

/// A random generator whose numbers equal those of PyTorch on a CPU after `torch.manual_seed(seed)`.
///
/// The bits come from MT19937 (Matsumoto and Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform
/// pseudo-random number generator", 1998, with their initialization of 2002). On them stand the two distributions that
/// the layers of this crate are initialized from: [`uniform`](Self::uniform) and [`normal`](Self::normal). Layers draw
/// in PyTorch's order, so one seed gives the same initial weights here and there.
///
/// It is a generator for initial values and for tests. Whoever has seen 624 numbers can foretell the rest: never use it
/// for keys or passwords.
///
/// # How equal
///
/// To the last bit, with PyTorch's x86-64 builds on a CPU with AVX2 or better: 117 million normals and 21 million
/// uniforms were compared with PyTorch 2.15, and none differed. The same arithmetic runs here on every target. PyTorch
/// itself differs between CPUs: without fused multiply-add its uniforms are rounded twice, and its normals (of tensors
/// with 16 values or more) are off by up to 2e-6. Normals of smaller tensors are computed in `f64` and rounded, in
/// PyTorch by the system's math library: there, in principle, a last bit may differ.
///
/// # Example
///
/// ```
/// use elman::Generator;
///
/// // >>> torch.manual_seed(0); torch.rand(4)
/// let mut generator = Generator::seed(0);
/// let mut values = [0.0; 4];
/// generator.fill_uniform(&mut values, 0.0, 1.0);
/// assert_eq!(values, [0.4962566, 0.7682218, 0.08847743, 0.13203049]);
///
/// // >>> torch.manual_seed(0); torch.randn(4)
/// let mut generator = Generator::seed(0);
/// generator.fill_normal(&mut values);
/// assert_eq!(values, [1.5409961, -0.2934289, -2.1787894, 0.56843126]);
/// ```
///
/// # Memory
///
/// The state is 2.5 KB and lives wherever the value does; nothing is allocated.
#[derive(Clone)]
pub struct Generator {
    /// The words of the current round, not yet tempered.
    state: [u32; N],
    /// The word that comes next; `N` means that the round is used up.
    next: usize,
    /// The second normal of a Box-Muller pair, until somebody asks for it.
    spare_normal: Option<f64>,
}

impl Generator {
    /// The generator of `torch.manual_seed(seed)`.
    ///
    /// Only the low 32 bits of `seed` matter, as in PyTorch on a CPU: `0` and `1 << 32` start the same stream. A
    /// negative Python seed is its two's complement, `-1_i64 as u64`.
    ///
    /// # Example
    ///
    /// ```
    /// use elman::Generator;
    ///
    /// assert_eq!(Generator::seed(0).random_u32(), 2_357_136_044);
    /// assert_eq!(Generator::seed(1 << 32).random_u32(), 2_357_136_044);
    /// ```
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        // x[0] = seed, x[i] = 1812433253 (x[i-1] ^ (x[i-1] >> 30)) + i: `init_genrand` of 2002.
        let mut word = (seed & 0xFFFF_FFFF) as u32;
        let mut state = [0; N];
        for (slot, i) in state.iter_mut().zip(1_u32..) {
            *slot = word;
            word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
        }
        Self { state, next: N, spare_normal: None }
    }

    /// The next 32 random bits: one number of MT19937, uniform over all of `u32`.
    #[must_use = "it moves the stream on; a number drawn and dropped is a number lost"]
    pub fn random_u32(&mut self) -> u32 {
        if self.next >= N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C_5680;
        y ^= (y << 15) & 0xEFC6_0000;
        y ^ (y >> 18)
    }

    /// One number from U(`from`, `to`), as `torch.empty(1).uniform_(from, to)` draws it.
    ///
    /// With `k` the low 24 bits of [`random_u32`](Self::random_u32) and `x = k / 2^24`, the number is
    /// `x * (to - from) + from`, the product and the sum rounded once (a fused multiply-add). A result that rounds up
    /// to `to` becomes `from`, so `to` itself never comes, unless the two are equal.
    ///
    /// PyTorch refuses `from > to`, infinities and NaN; here the formula is simply followed.
    #[must_use = "it moves the stream on; a number drawn and dropped is a number lost"]
    pub fn uniform(&mut self, from: f32, to: f32) -> f32 {
        let value = fmaf(self.unit(), to - from, from);
        if value == to { from } else { value }
    }

    /// Fills `out` with numbers from U(`from`, `to`), in order: `tensor.uniform_(from, to)`.
    ///
    /// The same stream as one [`uniform`](Self::uniform) after another, whatever the length. A matrix that is stored
    /// transposed is therefore filled through single draws, in the order in which PyTorch stores it.
    ///
    /// # Example
    ///
    /// ```
    /// use elman::Generator;
    ///
    /// // PyTorch's weight [out = 2][in = 3], kept here as [in][out].
    /// let mut generator = Generator::seed(7);
    /// let mut transposed = [[0.0_f32; 2]; 3];
    /// for o in 0..2 {
    ///     for row in &mut transposed {
    ///         row[o] = generator.uniform(-0.5, 0.5);
    ///     }
    /// }
    ///
    /// let mut plain = [[0.0_f32; 3]; 2];
    /// Generator::seed(7).fill_uniform(plain.as_flattened_mut(), -0.5, 0.5);
    /// assert_eq!(transposed[2][1], plain[1][2]);
    /// ```
    pub fn fill_uniform(&mut self, out: &mut [f32], from: f32, to: f32) {
        for value in out {
            *value = self.uniform(from, to);
        }
    }

    /// One number from the normal distribution with mean 0 and standard deviation 1, as `torch.randn(1)` draws it.
    ///
    /// The transform of Box and Muller (1958), in `f64`: from two uniforms `u1` and `u2` of 53 random bits each,
    ///
    /// ```text
    /// r = sqrt(-2 ln(1 - u2)),  theta = 2 pi u1,  first r cos(theta), then r sin(theta).
    /// ```
    ///
    /// The second of the pair is kept for the next call, and stays there while other numbers are drawn in between. Four
    /// words of the stream make two normals.
    ///
    /// A tensor with 16 values or more draws its normals another way: see [`fill_normal`](Self::fill_normal).
    #[must_use = "it moves the stream on; a number drawn and dropped is a number lost"]
    pub fn normal(&mut self) -> f32 {
        let value = match self.spare_normal.take() {
            Some(spare) => spare,
            None => {
                let u1 = self.unit_f64();
                let u2 = self.unit_f64();
                let radius = libm::sqrt(-2.0 * libm::log1p(-u2));
                let theta = TAU * u1;
                self.spare_normal = Some(radius * libm::sin(theta));
                radius * libm::cos(theta)
            }
        };
        // Adding zero is PyTorch's `value * std + mean`: it turns -0 into 0.
        (value + 0.0) as f32
    }

    /// Fills `out` with normals of mean 0 and standard deviation 1: `tensor.normal_()`, `torch.randn`.
    ///
    /// PyTorch draws by the size of the whole tensor, so `out` must be all of it. A tensor with rows is flattened
    /// first, in row-major order, with [`as_flattened_mut`](slice::as_flattened_mut) or
    /// [`fill_normal_rows`](Self::fill_normal_rows).
    ///
    /// - Fewer than 16 values: one [`normal`](Self::normal) after another, and a spare one is used and kept.
    /// - 16 values or more: every value first becomes a uniform of 24 bits. Then, in each full block of 16, with
    ///   `u1 = 1 - d[j]` and `u2 = d[j + 8]` for `j < 8`, Box and Muller in `f32`:
    ///   `d[j] = sqrt(-2 ln u1) cos(2 pi u2)` and `d[j + 8] = sqrt(-2 ln u1) sin(2 pi u2)`. If the length is not a
    ///   multiple of 16, the last 16 values are drawn again, from 16 further uniforms. A spare normal is left alone.
    ///
    /// # Example
    ///
    /// ```
    /// use elman::Generator;
    ///
    /// // >>> torch.manual_seed(0); torch.randn(20)
    /// let mut values = [0.0; 20];
    /// Generator::seed(0).fill_normal(&mut values);
    /// assert_eq!(values[..3], [-1.1258398, -1.1523602, -0.25057858]);
    /// assert_eq!(values[16..], [0.9318266, 1.2590092, 2.0049806, 0.053736903]);
    /// ```
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        if out.len() < BLOCK {
            for value in out {
                *value = self.normal();
            }
            return;
        }
        for value in &mut *out {
            *value = self.unit();
        }
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        for block in blocks {
            box_muller(block);
        }
        if !rest.is_empty()
            && let Some(last) = out.last_chunk_mut::<BLOCK>()
        {
            for value in &mut *last {
                *value = self.unit();
            }
            box_muller(last);
        }
    }

    /// Fills the rows of a matrix with normals, as one tensor of `rows.len() * E` values: the table of an embedding.
    ///
    /// The same as [`fill_normal`](Self::fill_normal) over the flattened rows, which is not the same as one row after
    /// another: the number of values in the whole tensor decides how they are drawn.
    ///
    /// # Example
    ///
    /// ```
    /// use elman::Generator;
    ///
    /// // >>> torch.manual_seed(0); torch.nn.Embedding(4, 10).weight[0, :3]
    /// let mut table = [[0.0; 10]; 4];
    /// Generator::seed(0).fill_normal_rows(&mut table);
    /// assert_eq!(table[0][..3], [-1.1258398, -1.1523602, -0.25057858]);
    /// ```
    pub fn fill_normal_rows<const E: usize>(&mut self, rows: &mut [[f32; E]]) {
        self.fill_normal(rows.as_flattened_mut());
    }

    /// A uniform from [0, 1) out of the low 24 bits of one word: exact.
    fn unit(&mut self) -> f32 {
        const STEP: f32 = 1.0 / (1 << 24) as f32;
        (self.random_u32() & 0x00FF_FFFF) as f32 * STEP
    }

    /// A uniform from [0, 1) out of the low 53 bits of two words, the high word drawn first: exact.
    fn unit_f64(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        let high = u64::from(self.random_u32());
        let low = u64::from(self.random_u32());
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 * STEP
    }

    /// The next round: every word anew from itself, its successor and the word `M` further on, all modulo `N`.
    fn twist(&mut self) {
        for i in 0..N {
            let upper = self.state[i] & 0x8000_0000;
            let lower = self.state[(i + 1) % N] & 0x7FFF_FFFF;
            let odd = if lower & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ ((upper | lower) >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// Shows where the stream stands, not the 624 words behind it.
impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("next", &self.next)
            .field("spare_normal", &self.spare_normal)
            .finish_non_exhaustive()
    }
}

/// Turns 8 + 8 uniforms from [0, 1) into 16 normals, in place: pair `j` is `d[j]` and `d[j + 8]`.
///
/// PyTorch's AVX2 kernel does this with the single-precision logarithm, sine and cosine of Cephes, of which the
/// functions below repeat each rounding (its compiler fused products and sums where `fmaf` stands). Correctly rounded
/// functions in their place give another number in one of six values, by up to 3 units in the last place.
fn box_muller(d: &mut [f32; BLOCK]) {
    let (first, second) = d.split_at_mut(HALF);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = libm::sqrtf(-2.0 * ln_unit(1.0 - *a));
        let (sin, cos) = sin_cos_turn(TAU_F32 * *b);
        // Adding zero is PyTorch's `value * std + mean`: it turns -0 into 0.
        *a = radius * cos + 0.0;
        *b = radius * sin + 0.0;
    }
}

/// `((c[0] x + c[1]) x + c[2]) ...` with one rounding per coefficient.
fn horner<const K: usize>(x: f32, coefficients: [f32; K]) -> f32 {
    let mut sum = 0.0;
    for c in coefficients {
        sum = fmaf(sum, x, c);
    }
    sum
}

/// The natural logarithm of a normal number above 0 and up to 1: `logf` of Cephes (S. L. Moshier).
///
/// With `u = 2^e (1 + x)` and `1 + x` between sqrt(1/2) and sqrt(2): `ln u = x - x^2/2 + x^3 P(x) + e ln 2`, where ln 2
/// comes in two parts, the first short enough that its product with `e` is exact.
fn ln_unit(u: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_87e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let bits = u.to_bits();
    // u = mantissa * 2^exponent with the mantissa in [1/2, 1).
    let mantissa = f32::from_bits((bits & 0x007F_FFFF) | 0x3F00_0000);
    let exponent = (bits >> 23) as f32 - 126.0;
    let (x, e) = if mantissa < core::f32::consts::FRAC_1_SQRT_2 {
        (mantissa - 1.0 + mantissa, exponent - 1.0)
    } else {
        (mantissa - 1.0, exponent)
    };

    let square = x * x;
    let mut tail = fmaf(x * horner(x, P), square, e * LN_2_LOW);
    tail = fmaf(-0.5, square, tail);
    fmaf(e, LN_2_HIGH, x + tail)
}

/// Sine and cosine of an angle from 0 to 2 pi: `sinf` and `cosf` of Cephes (S. L. Moshier).
///
/// The angle is brought to ±pi/4 by a multiple `2 q` of pi/4, which is subtracted in three parts; `q` says
/// which of the two polynomials is the sine and which signs they get.
fn sin_cos_turn(theta: f32) -> (f32, f32) {
    const PI_4: [f32; 3] = [0.785_156_25, 2.418_756_5e-4, 3.774_895e-8];
    const SIN: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COS: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    const PER_PI_4: f32 = 1.273_239_5;

    let eighths = ((theta * PER_PI_4) as u32 + 1) & !1;
    let mut x = theta;
    for part in PI_4 {
        x = fmaf(eighths as f32, -part, x);
    }

    let square = x * x;
    let sin = fmaf(x, square * horner(square, SIN), x);
    let cos = fmaf(square * horner(square, COS), square, -0.5 * square) + 1.0;
    match (eighths / 2) % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    // Every number below that is not the generator's own was printed by PyTorch 2.15 (x86-64, AVX-512).
    use super::*;

    fn normals<const K: usize>(generator: &mut Generator) -> [f32; K] {
        let mut out = [0.0; K];
        generator.fill_normal(&mut out);
        out
    }

    fn uniforms<const K: usize>(generator: &mut Generator, from: f32, to: f32) -> [f32; K] {
        let mut out = [0.0; K];
        generator.fill_uniform(&mut out, from, to);
        out
    }

    /// FNV-1a over the little-endian bytes: a long stream in one number.
    fn fnv(values: &[f32]) -> u64 {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    }

    #[test]
    fn mt19937_gives_the_number_that_the_cpp_standard_asks_for() {
        let mut generator = Generator::seed(5489);
        for _ in 1..10_000 {
            let _ = generator.random_u32();
        }
        assert_eq!(generator.random_u32(), 4_123_659_995);
    }

    #[test]
    fn only_the_low_32_bits_of_the_seed_matter() {
        let first = [0.830_251_9, 0.126_110_91, 0.907_469_7];
        assert_eq!(uniforms(&mut Generator::seed(5), 0.0, 1.0), first);
        assert_eq!(uniforms(&mut Generator::seed((1 << 32) + 5), 0.0, 1.0), first);
        // torch.manual_seed(-1)
        let first = [0.993_799_4, 0.571_306_35, 0.570_008_04];
        assert_eq!(uniforms(&mut Generator::seed(-1_i64 as u64), 0.0, 1.0), first);
    }

    #[test]
    fn uniforms_equal_torch() {
        let first = [0.496_256_6, 0.768_221_8, 0.088_477_43, 0.132_030_49];
        assert_eq!(uniforms(&mut Generator::seed(0), 0.0, 1.0), first);
        // The first row of RNNCell(4, 4).weight_ih.
        let row = [-0.418_084_68, -0.008_862_555, -0.096_706_69, -0.114_080_07];
        assert_eq!(uniforms(&mut Generator::seed(777), -0.5, 0.5), row);
    }

    #[test]
    fn a_uniform_that_rounds_up_to_the_end_becomes_the_start() {
        // Between the two ends there are 15 numbers: one draw in 32 rounds up to the end.
        let (from, to) = (1e6, 1e6 + 1.0);
        let expected = [
            0.0, 0.125, 0.3125, 0.0, 0.5, 0.0625, 0.75, 0.75, 0.625, 0.875, 0.4375, 0.8125, 0.125, 0.375, 0.0625,
            0.4375, 0.1875, 0.9375, 0.875, 0.875, 0.625, 0.1875, 0.9375, 0.0, 0.1875, 0.1875, 0.3125, 0.625, 0.125,
            0.125, 0.25, 0.8125, 0.125, 0.0625, 0.0625, 0.25, 0.375, 0.0, 0.25, 0.5,
        ];
        let drawn: [f32; 40] = uniforms(&mut Generator::seed(3), from, to);
        assert_eq!(drawn.map(|value| value - from), expected);
        assert_eq!(Generator::seed(0).uniform(2.5, 2.5), 2.5);
    }

    #[test]
    fn few_normals_equal_torch() {
        let first = [1.540_996_1, -0.293_428_9, -2.178_789_4, 0.568_431_26];
        assert_eq!(normals(&mut Generator::seed(0)), first);
        // Embedding(3, 4): 12 values in rows.
        let table = [
            [0.044_727_538, 1.911_239, -0.231_030_9, 0.345_928_16],
            [1.318_028_2, 0.369_637, 0.384_111_55, 0.297_038_26],
            [0.747_286_56, 1.087_374_7, -0.771_757_2, -0.294_212_73],
        ];
        let mut rows = [[0.0; 4]; 3];
        Generator::seed(9).fill_normal_rows(&mut rows);
        assert_eq!(rows, table);
    }

    #[test]
    fn many_normals_equal_torch() {
        let twenty = [
            -1.125_839_8,
            -1.152_360_2,
            -0.250_578_58,
            -0.433_878_8,
            0.598_839_46,
            -1.555_095_1,
            -0.341_360_4,
            1.853_006_1,
            0.468_096_4,
            -0.157_712_44,
            1.443_660_1,
            0.266_049_4,
            1.389_366_1,
            1.586_334_2,
            0.946_298_36,
            -0.843_676_75,
            0.931_826_6,
            1.259_009_2,
            2.004_980_6,
            0.053_736_903,
        ];
        assert_eq!(normals(&mut Generator::seed(0)), twenty);
        // Rows shorter than a block are still one tensor.
        let mut rows = [[0.0; 5]; 4];
        Generator::seed(0).fill_normal_rows(&mut rows);
        assert_eq!(rows.as_flattened(), twenty);
    }

    #[test]
    fn the_spare_normal_waits_while_other_numbers_are_drawn() {
        let mut generator = Generator::seed(3);
        assert_eq!(normals(&mut generator), [0.803_276_06, 0.174_833_39, 0.088_978_1]);
        assert_eq!(uniforms(&mut generator, 0.0, 1.0), [0.594_421_2, 0.887_856_66]);
        assert_eq!(normals::<17>(&mut generator)[14..], [-0.271_214_57, 0.141_628_47, 0.129_517_82]);
        assert_eq!(normals(&mut generator), [-0.613_718_03, -0.217_918_26]);
        let end = [
            1.354_428_5,
            0.687_375_4,
            0.187_042_82,
            -0.181_322_81,
            -0.091_362_8,
            -0.734_922_7,
            1.985_876_2,
            0.362_475_9,
            -1.389_811_3,
            -0.159_345_85,
            0.328_966_83,
            0.332_302_33,
            0.302_506_92,
            -0.981_187_46,
            1.103_846,
            -0.012_656_764,
            -0.685_114_86,
            -0.309_389_5,
        ];
        assert_eq!(normals::<33>(&mut generator)[15..], end);
        // A copy goes on like the original, spare normal and all.
        assert_eq!(generator.clone().normal(), generator.normal());
    }

    #[test]
    fn long_streams_equal_torch_to_the_last_bit() {
        let mut out = [0.0; 20_001];
        Generator::seed(12).fill_uniform(&mut out[..20_000], 0.0, 1.0);
        assert_eq!(fnv(&out[..20_000]), 0xCE77_A38B_6D62_1063);
        Generator::seed(12).fill_uniform(&mut out[..20_000], -0.3, 0.7);
        assert_eq!(fnv(&out[..20_000]), 0x8C4D_E769_4656_FE28);
        Generator::seed(12).fill_normal(&mut out);
        assert_eq!(fnv(&out), 0x73C2_AD21_74C8_D9EB);
        // 1001 tensors of 15.
        let mut generator = Generator::seed(12);
        for values in out[..15_015].chunks_mut(15) {
            generator.fill_normal(values);
        }
        assert_eq!(fnv(&out[..15_015]), 0xEC2E_766E_3A10_B315);
    }

    #[test]
    fn the_borders_of_box_muller_stay_finite() {
        // No radius: every normal is +0, as in PyTorch.
        for angle in [0.0, 0.25, 0.5, 0.75] {
            let mut d = [0.0; BLOCK];
            d[HALF..].fill(angle);
            box_muller(&mut d);
            assert_eq!(d.map(f32::to_bits), [0; BLOCK]);
        }
        // The greatest uniform below 1, as radius and as angle.
        let mut d = [1.0 - f32::EPSILON / 2.0; BLOCK];
        box_muller(&mut d);
        assert!(d.iter().all(|value| value.abs() < 5.8));
        assert!((d[0] - 5.768_108).abs() < 1e-5);
    }

    #[test]
    fn an_empty_fill_draws_nothing() {
        let mut generator = Generator::seed(1);
        generator.fill_normal(&mut []);
        generator.fill_uniform(&mut [], 0.0, 1.0);
        generator.fill_normal_rows::<3>(&mut []);
        generator.fill_normal_rows::<0>(&mut [[]; 5]);
        assert_eq!(generator.random_u32(), Generator::seed(1).random_u32());
    }

    /// The parts of a normal of 16 or more, at every word that can be drawn, against `f64`: how far PyTorch's own
    /// arithmetic, which is repeated here bit for bit, is from the truth. `fuzz/src/generator.rs` takes its bound from it.
    #[test]
    fn parts_of_normals_at_every_word() {
        const U: f64 = 1.0 / (1u32 << 24) as f64;
        /// Up to 8 times what the three parts of pi/4 leave out, 8.58e-16: near its zeros a sine is off by that much.
        const REDUCTION: f64 = 6.87e-15;
        let beyond = |given: f32, exact: f64, absolute: f64| {
            let error = (f64::from(given) - exact).abs() - absolute;
            if error <= 0.0 { 0.0 } else { error / (U * exact.abs()) }
        };
        let (mut radius, mut turn) = (0f64, 0f64);
        for word in 0..1u32 << 24 {
            let unit = word as f32 * U as f32;
            let u = 1.0 - unit;
            let exact = libm::sqrt(-2.0 * libm::log(f64::from(u)));
            radius = radius.max(beyond(libm::sqrtf(-2.0 * ln_unit(u)), exact, 0.0));
            let theta = core::f32::consts::TAU * unit;
            let ((sin, cos), (exact_sin, exact_cos)) = (sin_cos_turn(theta), libm::sincos(f64::from(theta)));
            turn = turn.max(beyond(sin, exact_sin, REDUCTION)).max(beyond(cos, exact_cos, REDUCTION));
        }
        assert!(radius <= 1.64, "a radius is {radius} roundings off");
        assert!(turn <= 2.0, "a sine or cosine is {turn} roundings off");
    }
}
