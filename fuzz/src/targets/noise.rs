//! Noise from any place.

use super::take;
use mfm_core::Noise;

/// A draw that begins later, or is cut in two, has the same numbers, in range.
pub fn any_place(input: &[u8]) {
    let _ = check(input);
}

fn check(mut input: &[u8]) -> Option<()> {
    let input = &mut input;
    let noise = Noise::from_seed(*take(input)?).stream(u64::from_le_bytes(*take(input)?)).skip(u64::from_le_bytes(*take(input)?));
    let [length, cut, bound] = take(input)?.map(usize::from);
    let cut = cut.min(length);
    let later = noise.skip(cut as u64);
    let mut whole = vec![0.0; length];
    let mut tail = vec![0.0; length - cut];
    noise.fill_normal(&mut whole);
    later.fill_normal(&mut tail);
    assert!(whole[cut..] == tail && whole.iter().all(|value| value.abs() < 9.0));
    noise.fill_uniform(&mut whole);
    later.fill_uniform(&mut tail);
    assert!(whole[cut..] == tail && whole.iter().all(|value| (0.0..1.0).contains(value)));
    let mut indices = vec![0; length];
    noise.fill_below(bound, &mut indices);
    assert!(indices.iter().all(|&index| index < bound.max(1)));
    Some(())
}
