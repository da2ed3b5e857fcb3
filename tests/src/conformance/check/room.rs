//! Tensors for which no memory has room, and tensors of nothing that need none.

use super::errors::{GIANT, SIDE};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Failure, Within, require};
use mfm_core::tensor::{Reduce, Transpose, Unary};
use mfm_core::{Device, Error, Noise, Tensor};

/// What no memory has room for is [`Error::OutOfMemory`], where it is asked for or, of a device that stretches one number, where it has to be made; and of
/// nothing, however wide, no time is spent. A test of its own, since a device that does not ask for its memory ends the whole program.
///
/// # Errors
/// The first that is answered otherwise.
pub fn room<D: Device>(device: &D) -> Check {
    let giant = shape(&[GIANT]);
    let one = device.full(1.0, shape(&[1]))?;
    let nothing = |axes: &[usize]| device.from_slice::<f64>(&[], shape(axes));
    // The square of this length is a shape.
    let side = SIDE / 4;
    let tensors = [
        ("full", device.full(1.0, giant)),
        ("zeros", device.zeros(giant)),
        ("normal", device.normal(&Noise::new(0), giant)),
        ("broadcast", one.broadcast(giant)),
        ("scatter_add", one.scatter_add(0, &[0], GIANT)),
        ("a sum over nothing", nothing(&[GIANT, 0])?.reduce(Reduce::Sum, 1)),
        ("a product of nothing", nothing(&[side, 0])?.matmul(&nothing(&[0, side])?, Transpose::NONE)),
    ];
    for (name, tensor) in tensors {
        let place = || format!("{name}, too large for any memory");
        match tensor.and_then(|tensor| tensor.unary(Unary::Exp)).and_then(|tensor| tensor.to_vec::<f32>()) {
            Err(Error::OutOfMemory { .. }) => {}
            Err(error) => return Err(Failure::new(format!("{error:?} instead of OutOfMemory"))).within(place),
            Ok(values) => return Err(Failure::new(format!("{} values instead of an error", values.len()))).within(place),
        }
    }
    let nothing = nothing(&[GIANT, 0])?;
    let place = || format!("an empty tensor of shape {}", nothing.shape());
    let results =
        [nothing.permute(&[1, 0]), nothing.unary(Unary::Exp), nothing.reduce(Reduce::Max, 0), Tensor::concat(&[&nothing, &nothing], 1)];
    for result in results {
        let values: Vec<f64> = result.within(place)?.to_vec().within(place)?;
        require(values.is_empty(), || format!("{} values", values.len())).within(place)?;
    }
    Ok(())
}
