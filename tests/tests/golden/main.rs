//! Parity with the reference model: every tensor of a file that it wrote, in f64 and f32. `MFM_GOLDEN` names another file of the same kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod file;
mod fine_tuning;
mod network;
mod objectives;
mod steering;
mod teacher;

use file::{Bench, Golden, Real};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Inputs to which no output belongs.
const IDLE: [&str; 1] = ["in.eps"];
const TOLERANCE_F64: f64 = 1e-9;
const TOLERANCE_F32: f64 = 2e-4;

/// The file and its bytes. One that is named must be there; the usual one is not everywhere.
fn reference() -> Option<(PathBuf, Vec<u8>)> {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden/mfm_dit_a.safetensors");
    let named = std::env::var_os("MFM_GOLDEN").map(PathBuf::from);
    let (is_named, path) = (named.is_some(), named.unwrap_or_else(|| usual.into()));
    match std::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) if is_named => panic!("MFM_GOLDEN: {}: {error}", path.display()),
        Err(error) => {
            mfm_tests::not_tested("parity with the reference model", format!("{}: {error}", path.display()));
            None
        }
    }
}

type Check<E> = fn(&Bench<'_, E>) -> mfm_core::Result<()>;

/// The worst error of each tensor.
fn errors<E: Real>(golden: &Golden<'_>) -> BTreeMap<String, f64> {
    let bench = Bench::<E>::new(golden);
    let checks: [(&str, Check<E>); 5] = [
        ("network", network::check),
        ("teacher", teacher::check),
        ("objectives", objectives::check),
        ("steering", steering::check),
        ("fine-tuning", fine_tuning::check),
    ];
    for (name, check) in checks {
        check(&bench).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut worst = BTreeMap::new();
    for row in bench.rows.into_inner() {
        let slot: &mut f64 = worst.entry(row.name).or_default();
        *slot = slot.max(row.error);
    }
    worst
}

/// The row of the table to which a tensor belongs: gradients by many parameters are one.
fn group(name: &str) -> String {
    match name.split_once("model.dit.") {
        Some((before, _)) => format!("{before}*"),
        None => name.into(),
    }
}

#[test]
fn every_tensor_of_the_reference() {
    let Some((path, bytes)) = reference() else { return };
    let golden = Golden::parse(&bytes);
    let (double, single) = (errors::<f64>(&golden), errors::<f32>(&golden));
    let mut table: BTreeMap<String, (usize, f64, f64)> = BTreeMap::new();
    for (name, error) in &double {
        let row = table.entry(group(name)).or_default();
        *row = (row.0 + 1, row.1.max(*error), row.2.max(single[name]));
    }
    println!("{:<44} {:>7} {:>10} {:>10}", "worst relative error", "tensors", "f64", "f32");
    for (name, (count, double, single)) in &table {
        println!("{name:<44} {count:>7} {double:>10.1e} {single:>10.1e}");
    }
    println!("{} tensors compared, of {} in {}", double.len(), golden.names().len(), path.display());
    let unused: Vec<String> = golden.unused().into_iter().filter(|name| !IDLE.contains(&name.as_str())).collect();
    assert!(unused.is_empty(), "not compared: {unused:?}");
    let worse = |errors: &BTreeMap<String, f64>, tolerance: f64| -> Vec<String> {
        errors.iter().filter(|(_, error)| **error > tolerance).map(|(name, error)| format!("{name}: {error:.1e}")).collect()
    };
    let (double, single) = (worse(&double, TOLERANCE_F64), worse(&single, TOLERANCE_F32));
    assert!(double.is_empty() && single.is_empty(), "f64: {double:#?}\nf32: {single:#?}");
}
