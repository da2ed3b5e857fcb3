//! Numbers as the device keeps them.

use crate::options::Storage;
use mfm_core::tensor::Element;

/// `value` as bf16, rounded to nearest even from f32.
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return ((bits >> 16) as u16) | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Writes values in the device's form; `out` has room for them.
pub(crate) fn encode<E: Element>(storage: Storage, values: &[E], out: &mut [u8]) {
    match storage {
        Storage::F32 => {
            for (out, value) in out.chunks_exact_mut(4).zip(values) {
                out.copy_from_slice(&(value.to_f64() as f32).to_ne_bytes());
            }
        }
        Storage::Bf16 => {
            for (out, value) in out.chunks_exact_mut(2).zip(values) {
                out.copy_from_slice(&to_bf16(value.to_f64() as f32).to_ne_bytes());
            }
        }
    }
}

/// Reads values in the device's form.
pub(crate) fn decode<E: Element>(storage: Storage, bytes: &[u8], out: &mut Vec<E>) {
    match storage {
        Storage::F32 => out.extend(bytes.chunks_exact(4).map(|b| E::from_f64(f64::from(f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))))),
        Storage::Bf16 => out.extend(bytes.chunks_exact(2).map(|b| E::from_f64(f64::from(from_bf16(u16::from_ne_bytes([b[0], b[1]])))))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for (value, bits) in [(1.0, 0x3f80), (1.0 + 1.0 / 256.0, 0x3f80), (1.0 + 3.0 / 256.0, 0x3f82), (-0.0, 0x8000), (f32::MAX, 0x7f80)] {
            assert_eq!(to_bf16(value), bits, "{value}");
        }
        assert_eq!(to_bf16(f32::INFINITY), 0x7f80);
        assert!(from_bf16(to_bf16(f32::NAN)).is_nan() && from_bf16(to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
        for bits in (0..=u16::MAX).filter(|bits| !from_bf16(*bits).is_nan()) {
            assert_eq!(to_bf16(from_bf16(bits)), bits);
        }
    }
}
