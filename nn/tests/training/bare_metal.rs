//! The numbers that `bare-metal/` holds other machines to are those of this one.

#[path = "../../../tests/bare-metal/src/check.rs"]
mod check;

use check::{TOLERANCE, compute, distance, lent};
use mfm_cpu_ref::CpuDevice;

#[test]
fn expected_numbers_are_the_hosts() {
    let device = CpuDevice::<f32>::new();
    let numbers = compute(&device, |view| lent(&device, view)).unwrap();
    assert_eq!(numbers, compute(&device, |view| view.to_tensor(&device)).unwrap());
    if std::env::var_os("MFM_RENEW").is_some() {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bare-metal/expected.bin"), bytes).unwrap();
        return;
    }
    assert!(distance(&numbers) <= TOLERANCE, "{:e} from expected.bin; MFM_RENEW=1 renews it", distance(&numbers));
    // In f64 they are the same but for rounding.
    let device = CpuDevice::<f64>::new();
    let exact = compute(&device, |view| view.to_tensor(&device)).unwrap();
    assert!(distance(&exact) <= TOLERANCE, "{:e} from f64", distance(&exact));
    // The correction is no zero (of so few draws, its direction is theirs).
    assert!(matches!(exact[..], [.., x, y] if x.abs() > 0.1 && y.abs() > 0.1), "{exact:?}");
    assert!(distance(&exact[1..]).is_infinite());
    let mut wrong = exact;
    wrong[7] += 1e-4;
    assert!(distance(&wrong) > TOLERANCE);
}
