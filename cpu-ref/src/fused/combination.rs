//! Σ cᵢ xᵢ in one pass.

use super::{Pulled, Pushed};
use crate::device::WORTHWHILE;
use crate::elementwise::operand;
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::{Piece, Pieces, Walk};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mfm_core::tensor::{MAX_TERMS, sum_to};
use mfm_core::{Operations, Result, Shape, Tensor};

/// The rows of a piece: each is finished, while it is in the cache, before the next begins.
struct Combine<'a, E> {
    piece: Piece<'a, E>,
    walk: &'a Walk<MAX_TERMS>,
    terms: &'a [(E, &'a [E])],
}

impl<E: Float> Kernel for Combine<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { piece, walk, terms } = self;
        let steps = walk.steps();
        for (r, out) in piece.out.chunks_exact_mut(piece.width).enumerate() {
            let at = walk.row(piece.row + r);
            for (k, &(factor, x)) in terms.iter().enumerate() {
                if steps[k] == 0 {
                    // One rounding, as where it is not stretched.
                    let x = x[at[k]];
                    for out in out.iter_mut() {
                        *out = if k == 0 { factor * x } else { factor.fma::<FMA>(x, *out) };
                    }
                    continue;
                }
                for (out, &x) in out.iter_mut().zip(&x[at[k] + piece.column..]) {
                    *out = if k == 0 { factor * x } else { factor.fma::<FMA>(x, *out) };
                }
            }
        }
    }
}

/// The shape of the sum; `None` if the operands do not broadcast, or if there are too few or too many.
fn shape_of<E: Float>(inputs: &[&CpuTensor<E>]) -> Option<Shape> {
    let (first, rest) = inputs.split_first().filter(|(_, rest)| rest.len() < MAX_TERMS)?;
    rest.iter().try_fold(first.shape(), |shape, x| shape.broadcast(&x.shape(), "linear_combination").ok())
}

fn combine<E: Float>(terms: &[(f64, &CpuTensor<E>)], shape: Shape) -> Result<Option<CpuTensor<E>>> {
    let Some((_, first)) = terms.first() else { return Ok(None) };
    let operands = terms.iter().map(|(_, x)| operand(x, shape)).collect::<Result<Vec<_>>>()?;
    let layouts = core::array::from_fn(|k| operands.get(k).unwrap_or(&operands[0]).layout());
    let walk = Walk::new(shape, layouts);
    let slices: Vec<(E, &[E])> = terms.iter().zip(&operands).map(|((factor, _), x)| (E::from_f64(*factor), x.elements())).collect();
    let elements = shape.elements();
    let mut out = first.home().buffer("linear_combination", elements)?;
    let pieces = Pieces::new(out.elements_mut(), walk.width());
    first.home().each(elements > WORTHWHILE, pieces, |piece| {
        vectorise(Combine { piece, walk: &walk, terms: &slices });
        Ok(())
    })?;
    Ok(Some(CpuTensor::new(out, shape)))
}

/// Σ cᵢ xᵢ.
pub(super) fn value<E: Float>(factors: &[f64; MAX_TERMS], inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let Some(shape) = shape_of(inputs) else { return Ok(None) };
    let terms: Vec<(f64, &CpuTensor<E>)> = factors.iter().copied().zip(inputs.iter().copied()).collect();
    combine(&terms, shape)
}

/// Σ cᵢ xᵢ with its pullback.
pub(super) fn vjp<E: Float>(factors: &[f64; MAX_TERMS], inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let Some(y) = value(factors, inputs)? else { return Ok(None) };
    let wanted: Vec<(f64, Option<Shape>)> =
        factors.iter().zip(inputs).zip(needed).map(|((c, x), needed)| (*c, needed.then(|| x.shape()))).collect();
    let pull = move |g: &CpuTensor<E>| {
        let part = |&(factor, shape): &(f64, Option<Shape>)| shape.map(|shape| sum_to(g, shape)?.scale(factor)).transpose();
        wanted.iter().map(part).collect::<Result<Vec<_>>>()
    };
    Ok(Some((y, Box::new(pull))))
}

/// Σ cᵢ xᵢ with its tangent.
pub(super) fn jvp<E: Float>(factors: &[f64; MAX_TERMS], inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let Some(y) = value(factors, inputs)? else { return Ok(None) };
    let moving: Vec<(f64, &CpuTensor<E>)> = factors.iter().zip(tangents).filter_map(|(c, t)| t.map(|t| (*c, t))).collect();
    Ok(combine(&moving, y.shape())?.map(|tangent| (y, tangent)))
}
