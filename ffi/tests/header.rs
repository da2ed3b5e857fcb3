//! The numbers of mfm.h mean what they mean in the library.
#![allow(clippy::unwrap_used)]

use mfm_core::plan::Estimator;
use mfm_ffi::steering::estimator;

/// The constants of an enum of mfm.h, with their numbers.
fn constants(name: &str) -> Vec<(&'static str, u32)> {
    let header = include_str!("../include/mfm/mfm.h");
    let body = header.split(&format!("typedef enum {name} {{")).nth(1).unwrap().split('}').next().unwrap();
    let constant = |line: &'static str| {
        let (name, rest) = line.trim().split_once(" = ").filter(|(name, _)| name.starts_with("MFM_"))?;
        Some((name, rest.split([',', ' ']).next()?.parse().unwrap()))
    };
    body.lines().filter_map(constant).collect()
}

#[test]
fn estimators() {
    let all = constants("mfm_estimator");
    for (name, number) in &all {
        let found = match estimator(*number).unwrap() {
            Estimator::Unsteered => "MFM_UNSTEERED",
            Estimator::Dps => "MFM_DPS",
            Estimator::MfmG => "MFM_GRADIENT",
            Estimator::MfmGf => "MFM_GRADIENT_FREE",
            Estimator::Resampled => "MFM_RESAMPLED",
            Estimator::Mcmc => "MFM_MCMC",
            Estimator::BestOfN => "MFM_BEST_OF_N",
            Estimator::Smc => "MFM_SEQUENTIAL_MONTE_CARLO",
            Estimator::MfmSmc => "MFM_VALUE_SEQUENTIAL_MONTE_CARLO",
            Estimator::Search => "a call of its own",
        };
        assert_eq!(*name, found);
    }
    // All but the search, and no more.
    assert_eq!(all.len(), Estimator::ALL.len() - 1);
    assert!(estimator(all.len() as u32).is_err());
}
