//! Bad input gives an error of the right kind, never a panic.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use mfm_core::interpolant::Linear;
use mfm_core::{Error, Noise};
use mfm_toy2d::{
    AtTime, Axes, Directions, Draw, Gaussian, GaussianMixture, InverseProblemSpec, QuadraticReward, Transport, ValueAt, mmd_squared,
    sliced_wasserstein, tilt,
};

const NAN: f64 = f64::NAN;
const UNIT: [f64; 4] = [1.0, 0.0, 0.0, 1.0];

macro_rules! assert_error {
    ($kind:ident, $($result:expr),+ $(,)?) => {
        $(match $result {
            Err(Error::$kind { .. }) => {}
            other => panic!("{}: {:?}", stringify!($result), other.map(|_| ())),
        })+
    };
}

#[test]
fn gaussians_and_mixtures() {
    assert_error!(NonFinite, Gaussian::new(&[NAN, 0.0], &UNIT), Gaussian::new(&[0.0, 0.0], &[1.0, 0.0, 0.0, f64::INFINITY]));
    assert_error!(Length, Gaussian::new(&[], &[]), Gaussian::new(&[0.0, 0.0], &[1.0]), Gaussian::isotropic(&[], 1.0));
    assert_error!(Range, Gaussian::new(&[0.0, 0.0], &[1.0, 2.0, 2.0, 1.0]), Gaussian::new(&[0.0, 0.0], &[1.0, 0.5, 0.0, 1.0]));
    assert_error!(Range, Gaussian::new(&[0.0], &[0.0]), Gaussian::isotropic(&[0.0], -1.0), Gaussian::isotropic(&[0.0], NAN));
    let (flat, line) = (Gaussian::isotropic(&[0.0, 0.0], 1.0).unwrap(), Gaussian::isotropic(&[0.0], 1.0).unwrap());
    assert_error!(Length, flat.log_density(&[0.0]));
    assert_error!(NonFinite, flat.log_density(&[0.0, NAN]));
    for weight in [-1.0, 0.0, NAN, f64::INFINITY] {
        assert_error!(Range, GaussianMixture::new(&[1.0, weight], vec![flat.clone(), flat.clone()]));
    }
    assert_error!(Length, GaussianMixture::new(&[], vec![]), GaussianMixture::new(&[1.0], vec![flat.clone(), flat.clone()]));
    assert_error!(Length, GaussianMixture::new(&[1.0, 1.0], vec![flat, line]));
    assert_error!(Length, GaussianMixture::from_parts(2, &[1.0], &[0.0], &UNIT), GaussianMixture::from_parts(2, &[1.0], &[0.0; 2], &[1.0]));
    assert_error!(Range, GaussianMixture::from_parts(0, &[1.0], &[], &[]));
    assert_error!(TooLarge, GaussianMixture::paper().sample(usize::MAX, &Noise::new(0)));
}

#[test]
fn rewards() {
    // Indefinite, of entries whose squares are too large or too small.
    for size in [1e160, 1e-170] {
        assert_error!(Range, QuadraticReward::new(&[0.0, size, size, 0.0], &[0.0; 2], 0.0));
    }
    assert_error!(Range, QuadraticReward::new(&[-1.0], &[0.0], 0.0), QuadraticReward::new(&[1.0, 3.0, 3.0, 1.0], &[0.0; 2], 0.0));
    assert_error!(Range, QuadraticReward::new(&[1.0, 0.1, 0.0, 1.0], &[0.0; 2], 0.0), QuadraticReward::observation(&[1.0], &[1.0], 0.0));
    assert_error!(Length, QuadraticReward::new(&[1.0; 3], &[0.0; 2], 0.0), QuadraticReward::linear(&[], 0.0));
    assert_error!(Length, QuadraticReward::observation(&[1.0; 3], &[1.0; 2], 1.0), QuadraticReward::observation(&[], &[], 1.0));
    assert_error!(Length, QuadraticReward::observation(&[], &[1.0], 1.0), QuadraticReward::paper().value(&[0.0; 3], &mut [0.0]));
    assert_error!(
        NonFinite,
        QuadraticReward::linear(&[NAN], 0.0),
        QuadraticReward::linear(&[1.0], NAN),
        QuadraticReward::new(&[NAN], &[1.0], 0.0)
    );
    assert_error!(NonFinite, QuadraticReward::observation(&[1.0], &[NAN], 1.0), QuadraticReward::observation(&[1e200], &[0.0], 1e-200));
    assert_error!(Length, QuadraticReward::paper().gradient(&[0.0; 2], &mut [0.0]));
}

#[test]
fn times_and_states() {
    let mixture = GaussianMixture::paper();
    for t in [-0.1, 1.1, NAN] {
        assert_error!(Range, AtTime::new(&mixture, &Linear, t));
    }
    let at = AtTime::new(&mixture, &Linear, 0.5).unwrap();
    let posterior = at.posterior(&[0.0, 0.0]).unwrap();
    assert_error!(NonFinite, at.posterior(&[NAN, 0.0]), at.posterior(&[1e200, 0.0]));
    assert_error!(Length, at.posterior(&[0.0]), at.drift(&[0.0; 3], &mut [0.0; 3]), at.drift(&[0.0; 2], &mut [0.0]));
    let last = AtTime::new(&mixture, &Linear, 1.0).unwrap();
    assert_error!(Range, last.posterior_mixture(&posterior));
    let line = QuadraticReward::linear(&[1.0], 0.0).unwrap();
    assert_error!(Length, ValueAt::new(&at, &line), tilt(&mixture, &line));
    let value = ValueAt::new(&at, &QuadraticReward::paper()).unwrap();
    assert_error!(Length, value.values(&[0.0; 2], &mut [0.0; 2]), value.values(&[0.0], &mut [0.0]));
    let other = AtTime::new(&GaussianMixture::from_parts(2, &[1.0], &[0.0; 2], &UNIT).unwrap(), &Linear, 0.5).unwrap();
    assert_error!(Length, value.of_posterior(&other.posterior(&[0.0; 2]).unwrap(), &mut [0.0; 2]));
    // Far out, but within range, all is finite.
    assert!(at.posterior(&[1e100, -1e100]).unwrap().score().iter().all(|s| s.is_finite()));
}

#[test]
fn transports() {
    let mixture = GaussianMixture::paper();
    let at = AtTime::new(&mixture, &Linear, 0.5).unwrap();
    let posterior = at.posterior(&[0.0, 0.0]).unwrap();
    let axes = Axes::principal(&mixture);
    assert_error!(Range, Transport::of_posterior(&at, &posterior, &axes, &Linear, 1.5), Axes::coordinates(0));
    let last = AtTime::new(&mixture, &Linear, 1.0).unwrap();
    assert_error!(Range, Transport::of_posterior(&last, &posterior, &axes, &Linear, 1.0));
    assert_error!(Length, Transport::new(&mixture, &Axes::coordinates(3).unwrap()));
    let mut fixed = Transport::new(&mixture, &axes).unwrap();
    let mut draw = Draw::new(&fixed);
    assert_error!(Length, fixed.from_noise(&[0.0], &mut draw), fixed.noise_jacobian(&mut draw, &mut [0.0]));
    assert_error!(NonFinite, fixed.from_noise(&[NAN, 0.0], &mut draw), fixed.to_noise(&[0.0, f64::INFINITY], &mut draw));
    assert_error!(NonFinite, fixed.to_noise(&[1e200, 0.0], &mut draw), fixed.from_noise(&[1e200, 0.0], &mut draw));
    assert_error!(Independent, fixed.state_jacobian(&mut draw, &mut [0.0; 4]));
    assert_error!(Unsupported, fixed.condition(&posterior));
    let small = GaussianMixture::from_parts(2, &[1.0], &[0.0; 2], &UNIT).unwrap();
    let mut other = Draw::new(&Transport::new(&small, &axes).unwrap());
    assert_error!(Length, fixed.from_noise(&[0.0; 2], &mut other));
}

#[test]
fn metrics_and_problems() {
    let directions = Directions::half_circle(8).unwrap();
    assert_error!(Range, Directions::half_circle(0), Directions::random(0, 3, &Noise::new(0)), Directions::random(3, 0, &Noise::new(0)));
    assert_error!(Range, sliced_wasserstein(&[], &[0.0; 2], &directions), mmd_squared(2, &[0.0; 2], &[0.0; 8]));
    assert_error!(Length, sliced_wasserstein(&[0.0; 3], &[0.0; 2], &directions), mmd_squared(2, &[0.0; 3], &[0.0; 8]));
    assert_error!(Length, mmd_squared(0, &[0.0; 3], &[0.0; 8]));
    assert_error!(NonFinite, sliced_wasserstein(&[NAN; 2], &[0.0; 2], &directions), mmd_squared(1, &[0.0, NAN], &[0.0; 8]));
    let spec = InverseProblemSpec { dimension: 3, observations: 2, sigma: 0.1, components: 1, seed: 0 };
    assert_error!(Range, InverseProblemSpec { dimension: 0, ..spec }.generate(), InverseProblemSpec { observations: 0, ..spec }.generate());
    assert_error!(Range, InverseProblemSpec { components: 0, ..spec }.generate(), InverseProblemSpec { sigma: NAN, ..spec }.generate());
    assert_error!(TooLarge, InverseProblemSpec { dimension: usize::MAX, ..spec }.generate(), Directions::half_circle(usize::MAX));
    assert_error!(TooLarge, InverseProblemSpec { components: usize::MAX, ..spec }.generate(), Axes::coordinates(usize::MAX));
}
