//! Where a run starts: what it costs to take noise for the state after t = 0.

use crate::support::{F64, device, gaussian, rows};
use mfm_core::interpolant::Linear;
use mfm_core::plan::{Estimator, Plan};
use mfm_core::steer::FIRST_TIME;
use mfm_core::steer::Scheme;
use mfm_core::{Flow, Noise, Result, Tensor};
use mfm_toy2d::QuadraticReward;
use mfm_toy2d::exact::TransportMap;

/// The mean and the deviation that a plan makes of noise, on N(3, 1) under r(x) = `slope` x: an ODE is then an affine map, which two points tell.
fn law(plan: &Plan, slope: f64) -> Result<[f64; 2]> {
    let map = TransportMap::new(&gaussian(&[3.0], 1.0)?, &Linear, 1);
    let noise: F64 = rows(&device(), &[-1.0, 1.0], 1)?;
    let reward = QuadraticReward::linear(&[slope], 0.0)?;
    let ends: Vec<f64> = plan.run(&Flow::new(&map, &Linear), &reward, &noise, &Noise::new(1), &mut |_| Ok(()))?.to_vec()?;
    Ok([0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0])])
}

// Tilted by r(x) = 2 x the law is N(5, 1), and with one Gaussian and a linear reward DPS and MFM-G are exact with any number of draws: all that is left is the
// error of the start, of first order, and from 0 that of second order, of the correction's own time and of 400 steps of Heun.
#[test]
fn an_ode_from_zero_is_exact_and_from_later_off_to_first_order() -> Result<()> {
    for (estimator, slope) in [(Estimator::Unsteered, 0.0), (Estimator::Dps, 2.0), (Estimator::MfmG, 2.0)] {
        let at = |start: f64| law(&Plan { start, scheme: Scheme::Heun, ..Plan::new(estimator, 1, 400) }, slope);
        let (exact, usual, later) = (at(0.0)?, at(FIRST_TIME)?, at(2.0 * FIRST_TIME)?);
        println!("{}: from 0 {exact:.5?}, from 0.01 {usual:.4?}, from 0.02 {later:.4?}", estimator.name());
        let mean = 3.0 + slope;
        assert!((exact[0] - mean).abs() < 5e-4 && (exact[1] - 1.0).abs() < 5e-4, "{exact:?}");
        for (found, start) in [(usual, FIRST_TIME), (later, 2.0 * FIRST_TIME)] {
            // To 5 % of themselves, which is the second order.
            assert!(((found[0] - mean) / (-mean * start) - 1.0).abs() < 0.05 && ((found[1] - 1.0) / start - 1.0).abs() < 0.05, "{found:?}");
        }
    }
    Ok(())
}
