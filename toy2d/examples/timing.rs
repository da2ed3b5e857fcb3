//! Times the hot paths, and prints the floors of both metrics: two exact sets of 4,096 samples of the paper's tilted target.
//!
//! `cargo run --release -p mfm-toy2d --example timing`

use mfm_core::{Noise, Result, interpolant::Linear};
use mfm_toy2d::{
    AtTime, Axes, Directions, Draw, GaussianMixture, InverseProblemSpec, QuadraticReward, Transport, ValueAt, mmd_squared,
    sliced_wasserstein, tilt,
};
use std::time::Instant;

fn main() -> Result<()> {
    for t in [0.05, 0.3, 0.6, 0.9] {
        println!("paper's mixture at t = {t}");
        time_at(&GaussianMixture::paper(), &QuadraticReward::paper(), t, 100_000)?;
    }
    for components in [1, 4] {
        println!("64 dimensions, {components} component(s), 32 observations, t = 0.4");
        let spec = InverseProblemSpec { dimension: 64, observations: 32, sigma: 0.1, components, seed: 1 };
        let problem = spec.generate()?;
        time_at(&problem.prior, &problem.reward, 0.4, 1_000)?;
    }
    floors()
}

fn per(label: &str, count: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work()?;
    println!("  {label}: {:.3} µs", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    Ok(())
}

fn time_at(prior: &GaussianMixture, reward: &QuadraticReward, t: f64, n: usize) -> Result<()> {
    let d = prior.dimension();
    let start = Instant::now();
    let at = AtTime::new(prior, &Linear, t)?;
    let value = ValueAt::new(&at, reward)?;
    let axes = Axes::principal(prior);
    println!("  set-up: {:.0} µs", start.elapsed().as_secs_f64() * 1e6);
    let mut noise = vec![0.0; n * d];
    Noise::new(7).fill_normal(&mut noise);
    let clean = prior.sample(n, &Noise::new(8))?;
    let states: Vec<f64> = noise.iter().zip(&clean).map(|(e, x)| (1.0 - t) * e + t * x).collect();
    let (mut rows, mut numbers) = (vec![0.0; n * d], vec![0.0; n]);
    per("drift", n, || at.drift(&states, &mut rows))?;
    per("value and gradient", n, || value.values_and_gradients(&states, &mut numbers, &mut rows))?;

    let mut posterior = at.posterior(&states[..d])?;
    let mut transport = Transport::of_posterior(&at, &posterior, &axes, &Linear, 1.0)?;
    let mut draw = Draw::new(&transport);
    let (mut jacobian, mut total) = (vec![0.0; d * d], 0.0);
    Noise::new(9).fill_normal(&mut noise);
    per("condition the transport", n, || {
        states.chunks_exact(d).try_for_each(|x| at.condition(x, &mut posterior).and_then(|()| transport.condition(&posterior)))
    })?;
    let mut points = vec![0.0; n * d];
    for (label, jacobians) in [("condition, draw", 0), ("condition, draw, one Jacobian", 1), ("condition, draw, both Jacobians", 2)] {
        per(label, n, || {
            for ((x, e), out) in states.chunks_exact(d).zip(noise.chunks_exact(d)).zip(points.chunks_exact_mut(d)) {
                at.condition(x, &mut posterior)?;
                transport.condition(&posterior)?;
                transport.from_noise(e, &mut draw)?;
                out.copy_from_slice(draw.point());
                if jacobians > 0 {
                    transport.state_jacobian(&mut draw, &mut jacobian)?;
                }
                if jacobians > 1 {
                    total += jacobian[0];
                    transport.noise_jacobian(&mut draw, &mut jacobian)?;
                }
                total += jacobian[0];
            }
            Ok(())
        })?;
    }
    per("condition, and back to the noise", n, || {
        for (x, point) in states.chunks_exact(d).zip(points.chunks_exact(d)) {
            at.condition(x, &mut posterior)?;
            transport.condition(&posterior)?;
            transport.to_noise(point, &mut draw)?;
            total += draw.noise()[0];
        }
        Ok(())
    })?;
    println!("  (checksum {total})");
    Ok(())
}

fn floors() -> Result<()> {
    let target = tilt(&GaussianMixture::paper(), &QuadraticReward::paper())?.mixture;
    let directions = Directions::half_circle(256)?;
    let (pairs, size) = (20, 4096);
    let (mut sliced, mut discrepancy) = (Vec::new(), Vec::new());
    let mut seconds = [0.0; 2];
    for pair in 0..pairs {
        let noise = Noise::new(100 + pair);
        let (left, right) = (target.sample(size, &noise.fork(0))?, target.sample(size, &noise.fork(1))?);
        let start = Instant::now();
        sliced.push(sliced_wasserstein(&left, &right, &directions)?);
        seconds[0] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        discrepancy.push(mmd_squared(2, &left, &right)?);
        seconds[1] += start.elapsed().as_secs_f64();
    }
    for (name, values, seconds) in [("sliced Wasserstein-2", sliced, seconds[0]), ("MMD²", discrepancy, seconds[1])] {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (values.len() - 1) as f64).sqrt();
        println!("{name} between two exact sets of {size}: {mean:.3e} ± {deviation:.1e}, {:.0} ms each", 1e3 * seconds / pairs as f64);
    }
    Ok(())
}
