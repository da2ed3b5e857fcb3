//! softmax(q kᵀ/√d) v, head by head: what a head needs fits into the cache. A head's weights are stored key by key, so that many queries are
//! normalised side by side.

mod heads;
mod small;

use self::heads::{Heads, Operands, Sizes};
use self::small::{product, slope, softmax, transpose};
use super::{Pulled, Pushed};
use crate::buffer::Buffer;
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::view::{Left, View};
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::{Result, Tensor};

/// The heads of a group, forward.
struct Forward<'a, E: Float> {
    operands: &'a Operands<E>,
    group: usize,
    out: &'a mut [E],
    /// The weights of each head of the group, [keys, queries], or room for one of them.
    weights: &'a mut [E],
    /// Room for the transpose of a head's queries.
    scratch: &'a mut [E],
}

impl<E: Float> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { operands, group, out, weights, scratch } = self;
        let sizes @ Sizes { queries, keys, width, out: out_width, .. } = operands.sizes;
        let all = weights.len() > sizes.scores();
        operands.prefetch(group);
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let weights = &mut weights[if all { index * sizes.scores() } else { 0 }..][..sizes.scores()];
            transpose(scratch, operands.q.head(head), queries, width);
            let (left, right) = (Left::Rows(operands.k.head(head)), View::new(scratch, queries));
            product((&mut *weights, queries), [keys, width, queries], left, right, sizes.factor(), false);
            softmax::<E, FMA>(weights, queries);
            let (rows, left) = (operands.rows(out, index, out_width), Left::Columns(View::new(weights, queries)));
            product(rows, [queries, keys, out_width], left, operands.v.head(head), E::ONE, false);
        }
    }
}

/// The output, and the weights of all heads if `wanted`.
fn forward<E: Float>(operands: &Operands<E>, wanted: bool) -> Result<(CpuTensor<E>, Option<Buffer<E>>)> {
    let (device, sizes) = (operands.device(), operands.sizes);
    let mut out = operands.buffer(sizes.queries, sizes.out)?;
    let mut kept = operands.device().buffer("attention", if wanted { sizes.heads() * sizes.scores() } else { 0 })?;
    let part = sizes.group * sizes.queries * sizes.out;
    let weights = kept.elements_mut().chunks_mut(sizes.group * sizes.scores()).chain(core::iter::repeat_with(|| &mut [][..]));
    let tasks = out.elements_mut().chunks_mut(part).zip(weights).enumerate();
    let scratch = ("attention", sizes.queries * sizes.width + if wanted { 0 } else { sizes.scores() });
    device.each_with_scratch(scratch, sizes.worthwhile(), tasks, |(group, (out, weights)), scratch| {
        let (scratch, own) = scratch.split_at_mut(sizes.queries * sizes.width);
        let weights = if weights.is_empty() { own } else { weights };
        vectorise(Forward { operands, group, out, weights, scratch });
        Ok(())
    })?;
    Ok((operands.tensor(out, sizes.queries, sizes.out)?, wanted.then_some(kept)))
}

/// The attention.
pub(super) fn value<E: Float>(inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let Some(operands) = Operands::new(inputs)? else { return Ok(None) };
    Ok(Some(forward(&operands, false)?.0))
}

/// The heads of a group, backward.
struct Backward<'a, E: Float> {
    operands: &'a Operands<E>,
    group: usize,
    g: &'a Heads<E>,
    weights: &'a [E],
    gq: &'a mut [E],
    gk: &'a mut [E],
    gv: &'a mut [E],
    scratch: &'a mut [E],
}

impl<E: Float> Kernel for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { operands, group, g, weights, gq, gk, gv, scratch } = self;
        let sizes @ Sizes { queries, keys, width, out, .. } = operands.sizes;
        let (slopes, columns) = scratch.split_at_mut(sizes.scores());
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let weights = &weights[head * sizes.scores()..][..sizes.scores()];
            let (q, k, v, g) = (operands.q.head(head), operands.k.head(head), operands.v.head(head), g.head(head));
            let rows = operands.rows(gv, index, out);
            product(rows, [keys, queries, out], Left::Rows(View::new(weights, queries)), g, E::ONE, false);
            transpose(columns, g, queries, out);
            let right = View::new(columns, queries);
            product((&mut *slopes, queries), [keys, out, queries], Left::Rows(v), right, E::ONE, false);
            slope::<E, FMA>(slopes, weights, queries);
            let slopes = View::new(slopes, queries);
            let rows = operands.rows(gq, index, width);
            product(rows, [queries, keys, width], Left::Columns(slopes), k, sizes.factor(), false);
            let rows = operands.rows(gk, index, width);
            product(rows, [keys, queries, width], Left::Rows(slopes), q, sizes.factor(), false);
        }
    }
}

/// The attention with its pullback.
pub(super) fn vjp<E: Float>(inputs: &[&CpuTensor<E>]) -> Result<Pulled<E>> {
    let Some(operands) = Operands::new(inputs)? else { return Ok(None) };
    let (y, weights) = forward(&operands, true)?;
    let pull = move |g: &CpuTensor<E>| {
        let (device, sizes) = (operands.device(), operands.sizes);
        let weights = weights.as_ref().map(Buffer::elements).unwrap_or_default();
        let g = &Heads::new(g)?;
        let Sizes { queries, keys, width, out, group, .. } = sizes;
        let (mut gq, mut gk, mut gv) = (operands.buffer(queries, width)?, operands.buffer(keys, width)?, operands.buffer(keys, out)?);
        let tasks = gq.elements_mut().chunks_mut(group * queries * width).zip(gk.elements_mut().chunks_mut(group * keys * width));
        let tasks = tasks.zip(gv.elements_mut().chunks_mut(group * keys * out)).enumerate();
        let scratch = ("attention", sizes.scores() + queries * out);
        device.each_with_scratch(scratch, sizes.worthwhile(), tasks, |(group, ((gq, gk), gv)), scratch| {
            vectorise(Backward { operands: &operands, group, g, weights, gq, gk, gv, scratch });
            Ok(())
        })?;
        Ok(vec![Some(operands.tensor(gq, queries, width)?), Some(operands.tensor(gk, keys, width)?), Some(operands.tensor(gv, keys, out)?)])
    };
    Ok(Some((y, Box::new(pull))))
}

/// The heads of a group, with tangents.
struct Tangent<'a, E: Float> {
    operands: &'a Operands<E>,
    group: usize,
    tangents: &'a [Option<Heads<E>>; 3],
    out: &'a mut [E],
    moving: &'a mut [E],
    scratch: &'a mut [E],
}

impl<E: Float> Kernel for Tangent<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { operands, group, tangents: [tq, tk, tv], out, moving, scratch } = self;
        let sizes @ Sizes { queries, keys, width, out: out_width, .. } = operands.sizes;
        let (weights, rest) = scratch.split_at_mut(sizes.scores());
        let (slopes, columns) = rest.split_at_mut(sizes.scores());
        let factor = sizes.factor();
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let (q, k, v) = (operands.q.head(head), operands.k.head(head), operands.v.head(head));
            let scores = [keys, width, queries];
            transpose(columns, q, queries, width);
            product((&mut *weights, queries), scores, Left::Rows(k), View::new(columns, queries), factor, false);
            softmax::<E, FMA>(weights, queries);
            let mut known = false;
            if let Some(tk) = tk {
                let left = Left::Rows(tk.head(head));
                product((&mut *slopes, queries), scores, left, View::new(columns, queries), factor, false);
                known = true;
            }
            if let Some(tq) = tq {
                transpose(columns, tq.head(head), queries, width);
                product((&mut *slopes, queries), scores, Left::Rows(k), View::new(columns, queries), factor, known);
                known = true;
            }
            let (sums, left) = ([queries, keys, out_width], Left::Columns(View::new(weights, queries)));
            product(operands.rows(out, index, out_width), sums, left, v, E::ONE, false);
            if let Some(tv) = tv {
                product(operands.rows(moving, index, out_width), sums, left, tv.head(head), E::ONE, false);
            }
            if known {
                slope::<E, FMA>(slopes, weights, queries);
                let left = Left::Columns(View::new(slopes, queries));
                product(operands.rows(moving, index, out_width), sums, left, v, E::ONE, tv.is_some());
            }
        }
    }
}

/// The attention with its tangent.
pub(super) fn jvp<E: Float>(inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some(operands), &[tq, tk, tv]) = (Operands::new(inputs)?, tangents) else { return Ok(None) };
    let fits = inputs.iter().zip(tangents).all(|(x, t)| t.is_none_or(|t| t.shape() == x.shape()));
    if !fits || tangents.iter().all(Option::is_none) {
        return Ok(None);
    }
    let heads = |t: Option<&CpuTensor<E>>| t.map(Heads::new).transpose();
    let tangents = &[heads(tq)?, heads(tk)?, heads(tv)?];
    let (device, sizes) = (operands.device(), operands.sizes);
    let (mut out, mut moving) = (operands.buffer(sizes.queries, sizes.out)?, operands.buffer(sizes.queries, sizes.out)?);
    let part = sizes.group * sizes.queries * sizes.out;
    let tasks = out.elements_mut().chunks_mut(part).zip(moving.elements_mut().chunks_mut(part)).enumerate();
    let scratch = ("attention", 2 * sizes.scores() + sizes.queries * sizes.width);
    device.each_with_scratch(scratch, sizes.worthwhile(), tasks, |(group, (out, moving)), scratch| {
        vectorise(Tangent { operands: &operands, group, tangents, out, moving, scratch });
        Ok(())
    })?;
    let (queries, width) = (sizes.queries, sizes.out);
    Ok(Some((operands.tensor(out, queries, width)?, operands.tensor(moving, queries, width)?)))
}
