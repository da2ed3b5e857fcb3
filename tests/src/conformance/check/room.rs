//! Tensors for which no memory has room, and tensors of nothing that need none.

use super::errors::{GIANT, SIDE};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Failure, Within, require};
use mfm_core::tensor::{Compare, Reduce, Transpose, Unary};
use mfm_core::{Device, Error, Noise, Operations, Tensor};

/// The length of a row, and of a column, the product of which would be more bytes than a process can address.
const WIDE: usize = 1 << 23;
/// The same of three axes.
const SIXTH: usize = 1 << 16;

/// What no memory has room for is [`Error::OutOfMemory`], where it is asked for or, of a device that stretches one number, where it has to be made; and of
/// nothing, however wide, no time is spent. A test of its own, since a device that does not ask for its memory ends the whole program.
///
/// # Errors
/// The first that is answered otherwise.
pub fn room<D: Device>(device: &D) -> Check {
    let giant = shape(&[GIANT]);
    let one = device.full(1.0, shape(&[1]))?;
    // Operands that memory has room for, on a device that makes them whole too, of results that it has none for.
    let row = one.broadcast(shape(&[1, WIDE]))?;
    let column = one.broadcast(shape(&[WIDE, 1]))?;
    let thin = [[SIXTH, 1, 1], [1, SIXTH, 1], [1, 1, SIXTH]].map(|axes| one.broadcast(shape(&axes)));
    let [mask, yes, no] = thin;
    let (mask, yes, no) = (mask?, yes?, no?);
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
        ("a sum of a row and a column", row.add(&column)),
        ("a comparison of a row and a column", row.compare(Compare::Less, &column)),
        ("a choice along three axes", mask.select(&yes, &no)),
        ("a product of a column and a row", column.matmul(&row, Transpose::NONE)),
        ("one row, gathered again and again", row.gather(0, &vec![0; WIDE])),
        ("one row, again and again", Tensor::concat(&vec![&row; WIDE], 0)),
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
