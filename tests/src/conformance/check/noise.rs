//! The device draws core's noise, element by element.

use super::host::same_bits;
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Failure, Within, require};
use crate::conformance::reference::Number;
use crate::conformance::tolerances::Tolerances;
use mfm_core::{Device, Noise, Tensor};

/// Every shape, seed, stream and offset gives core's numbers to rounding; a draw in parts is the whole draw, bit for bit.
///
/// # Errors
/// The first difference.
pub fn noise<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let sources = [
        ("seed 0", Noise::new(0)),
        ("seed 7, stream 3", Noise::new(7).stream(3)),
        ("a seed of 0xa5, the last stream, from 1 on", Noise::from_seed([0xa5; 32]).stream(u64::MAX).skip(1)),
        ("a fork, from 63 on", Noise::new(1).fork(5).skip(63)),
        ("seed 2, from 2^40 + 17 on", Noise::new(2).skip((1 << 40) + 17)),
        // The first word follows the last.
        ("seed 3, from 2^64 - 151 on", Noise::new(3).skip(u64::MAX - 150)),
    ];
    let shapes: [&[usize]; 9] = [&[], &[0], &[1], &[3], &[257], &[2051], &[2, 0, 3], &[33, 2, 5], &[1, 2, 1, 3, 1, 7]];
    for (name, source) in &sources {
        for axes in shapes {
            let shape = shape(axes);
            let place = || format!("{name}, shape {shape}");
            let draw = device.normal(source, shape).within(place)?;
            let mut exact = vec![0.0; shape.elements()];
            source.fill_normal(&mut exact);
            // A device may take logarithm, root, sine and cosine in its own precision.
            let close = |(value, exact): (&f64, &f64)| tolerances.near(Number::new(*exact, 1.0 + exact.abs()), *value);
            let values: Vec<f64> = draw.to_vec()?;
            require(draw.shape() == shape, || format!("the shape is {}", draw.shape())).within(place)?;
            require(values.len() == exact.len(), || format!("{} values", values.len())).within(place)?;
            if let Some(i) = values.iter().zip(&exact).position(|pair| !close(pair)) {
                return Err(Failure::new(format!("element {i} is {:e}, but core's is {:e}", values[i], exact[i]))).within(place);
            }
        }
        splits(device, source).within(|| *name)?;
    }
    Ok(())
}

fn splits<D: Device>(device: &D, source: &Noise) -> Check {
    const WHOLE: usize = 300;
    let draw = |noise: Noise, n: usize| device.normal(&noise, shape(&[n]))?.to_vec::<f64>();
    let whole = draw(*source, WHOLE)?;
    for parts in [&[1, 299][..], &[150, 150], &[63, 1, 2, 64, 65, 105], &[7; 42]] {
        let mut joined = Vec::new();
        for &part in parts {
            joined.extend(draw(source.skip(joined.len() as u64), part)?);
        }
        same_bits(&whole[..joined.len()], &joined).within(|| format!("drawn in parts {parts:?}"))?;
    }
    Ok(())
}
