//! Elementary functions in f32, branch-free: polynomials after Cephes, within two units in the last place.

use super::double;

/// 1.5 · 2²³: adding it rounds to the nearest integer, which then stands in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// x a + b
#[inline(always)]
pub fn fma<const FMA: bool>(x: f32, a: f32, b: f32) -> f32 {
    #[cfg(feature = "std")]
    if FMA {
        return x.mul_add(a, b);
    }
    x * a + b
}

/// 2ⁿ for n in −126..=127.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// eˣ: 1 ulp, with gradual underflow.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite; the comparisons keep NaN.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = fma::<FMA>(x, core::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    // The first part of ln 2 has nine bits, so that its product with n is exact.
    let r = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_4, x));
    let q = fma::<FMA>(r, 0.001_381_454_8, 0.008_368_747);
    let q = fma::<FMA>(q, r, 0.041_668_39);
    let q = fma::<FMA>(q, r, 0.166_665_2);
    let q = fma::<FMA>(q, r, 0.499_999_94);
    let p = fma::<FMA>(q, r * r, r) + 1.0;
    // In two steps, since 2ⁿ itself may be out of range.
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32).clamp(-160, 130);
    let half = n >> 1;
    p * power(half) * power(n - half)
}

/// ln x: 1 ulp; NaN below zero.
#[inline(always)]
pub fn ln<const FMA: bool>(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    // x = m 2ᵉ with m in [√½, √2).
    let bits = (scaled.to_bits() as i32).wrapping_sub(0x3f35_04f3);
    let e = (bits >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = f32::from_bits(((bits & 0x007f_ffff) + 0x3f35_04f3) as u32) - 1.0;
    let z = f * f;
    let q = fma::<FMA>(f, 7.037_683_6e-2, -1.151_461e-1);
    let q = fma::<FMA>(q, f, 1.167_699_9e-1);
    let q = fma::<FMA>(q, f, -1.242_014_1e-1);
    let q = fma::<FMA>(q, f, 1.424_932_3e-1);
    let q = fma::<FMA>(q, f, -1.666_805_8e-1);
    let q = fma::<FMA>(q, f, 2.000_071_5e-1);
    let q = fma::<FMA>(q, f, -2.499_999_4e-1);
    let q = fma::<FMA>(q, f, 3.333_333e-1);
    let y = fma::<FMA>(q * f, z, e * -2.121_944_4e-4);
    let y = fma::<FMA>(z, -0.5, y);
    let y = fma::<FMA>(e, 0.693_359_4, f + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// The sine, with the argument reduced in f64.
#[inline(always)]
pub fn sine<const FMA: bool>(x: f32) -> f32 {
    double::sine_reduced::<FMA>(f64::from(x), 0) as f32
}

/// The cosine, with the argument reduced in f64.
#[inline(always)]
pub fn cosine<const FMA: bool>(x: f32) -> f32 {
    double::sine_reduced::<FMA>(f64::from(x), 1) as f32
}

/// The hyperbolic tangent: 2 ulp.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let z = x * x;
    let q = fma::<FMA>(z, -5.704_988_7e-3, 2.063_909e-2);
    let q = fma::<FMA>(q, z, -5.373_971_5e-2);
    let q = fma::<FMA>(q, z, 1.333_144_2e-1);
    let q = fma::<FMA>(q, z, -3.333_328e-1);
    let small = fma::<FMA>(q * z, x, x);
    let size = f32::from_bits(x.to_bits() & 0x7fff_ffff);
    let large = 1.0 - 2.0 / (exp::<FMA>(2.0 * size) + 1.0);
    let signed = f32::from_bits(large.to_bits() | (x.to_bits() & 0x8000_0000));
    if size < 0.625 { small } else { signed }
}
