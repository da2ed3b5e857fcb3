//! Elementary functions in f64: exp and ln vectorise, the rest is the system's. A sine that vectorises serves f32.

/// 1.5 · 2⁵²: adding it rounds to the nearest integer, which then stands in the low bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// ln 2, whose first part leaves room for an exact product with an exponent.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// x a + b
#[inline(always)]
pub fn fma<const FMA: bool>(x: f64, a: f64, b: f64) -> f64 {
    #[cfg(feature = "std")]
    if FMA {
        return x.mul_add(a, b);
    }
    x * a + b
}

/// 2ⁿ for n in −1022..=1023.
#[inline(always)]
fn power(n: i64) -> f64 {
    f64::from_bits(((n + 1023) << 52) as u64)
}

/// eˣ: the Taylor series to degree 13 on |r| ≤ ln 2/2, whose remainder is below 2⁻⁵⁸.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f64) -> f64 {
    let x = if x < -746.0 { -746.0 } else { x };
    let x = if x > 710.0 { 710.0 } else { x };
    let shifted = fma::<FMA>(x, core::f64::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, x));
    let mut q = 1.0 / 6_227_020_800.0;
    for c in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ] {
        q = fma::<FMA>(q, r, c);
    }
    let p = fma::<FMA>(q, r * r, r) + 1.0;
    let n = (shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64).clamp(-1100, 1030);
    let half = n >> 1;
    p * power(half) * power(n - half)
}

/// ln x after fdlibm: 1 ulp; NaN below zero.
#[inline(always)]
pub fn ln<const FMA: bool>(x: f64) -> f64 {
    const ROOT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
    let tiny = x < f64::MIN_POSITIVE;
    let scaled = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let bits = (scaled.to_bits() as i64).wrapping_sub(ROOT_HALF);
    let e = (bits >> 52) as f64 - if tiny { 54.0 } else { 0.0 };
    let f = f64::from_bits(((bits & 0x000f_ffff_ffff_ffff) + ROOT_HALF) as u64) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut q = 1.479_819_860_511_658_6e-1;
    for c in [
        1.531_383_769_920_937_3e-1,
        1.818_357_216_161_805e-1,
        2.222_219_843_214_978_4e-1,
        2.857_142_874_366_239e-1,
        3.999_999_999_940_942e-1,
        6.666_666_666_666_735e-1,
    ] {
        q = fma::<FMA>(q, z, c);
    }
    let half_square = 0.5 * f * f;
    let y = e * LN2_HIGH - ((half_square - (s * (half_square + q * z) + e * LN2_LOW)) - f);
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f64::NAN }
}

/// sin(x + quarter · π/2), to f32 accuracy at least: the argument is reduced by a π/2 of two parts, whose first has 33 bits,
/// so that its product with the multiple is exact up to |x| = 2²⁰.
#[inline(always)]
pub fn sine_reduced<const FMA: bool>(x: f64, quarter: i64) -> f64 {
    let shifted = fma::<FMA>(x, core::f64::consts::FRAC_2_PI, MAGIC);
    let n = shifted - MAGIC;
    let r = fma::<FMA>(n, -1.570_796_326_734_125_6, x);
    let r = fma::<FMA>(n, -6.077_100_506_506_192e-11, r);
    let turn = (shifted.to_bits() as i64).wrapping_add(quarter);
    let z = r * r;
    let mut s = 1.589_690_995_211_55e-10;
    for c in [
        -2.505_076_025_340_686_3e-8,
        2.755_731_370_707_006_8e-6,
        -1.984_126_982_985_795e-4,
        8.333_333_333_322_49e-3,
        -1.666_666_666_666_663e-1,
    ] {
        s = fma::<FMA>(s, z, c);
    }
    let s = fma::<FMA>(s * z, r, r);
    let mut c = -1.135_964_755_778_82e-11;
    for k in [
        2.087_572_321_298_175e-9,
        -2.755_731_435_139_066_3e-7,
        2.480_158_728_947_673e-5,
        -1.388_888_888_887_411e-3,
        4.166_666_666_666_66e-2,
    ] {
        c = fma::<FMA>(c, z, k);
    }
    let c = fma::<FMA>(c * z, z, fma::<FMA>(z, -0.5, 1.0));
    let value = if turn & 1 == 0 { s } else { c };
    if turn & 2 == 0 { value } else { -value }
}

/// The sine.
#[inline(always)]
pub fn sine<const FMA: bool>(x: f64) -> f64 {
    system::sin(x)
}

/// The cosine.
#[inline(always)]
pub fn cosine<const FMA: bool>(x: f64) -> f64 {
    system::cos(x)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f64) -> f64 {
    system::tanh(x)
}

/// The system's functions, which are not vectorised.
pub mod system {
    #[cfg(not(feature = "std"))]
    pub use libm::{cos, sin, tanh};

    #[cfg(feature = "std")]
    pub fn sin(x: f64) -> f64 {
        x.sin()
    }

    #[cfg(feature = "std")]
    pub fn cos(x: f64) -> f64 {
        x.cos()
    }

    #[cfg(feature = "std")]
    pub fn tanh(x: f64) -> f64 {
        x.tanh()
    }
}
