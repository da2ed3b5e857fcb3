//! softmax(q kᵀ/√d) v, head by head: what a head needs fits into the cache.

use super::{Pulled, Pushed};
use crate::buffer::Buffer;
use crate::device::{CpuDevice, WORTHWHILE};
use crate::float::Float;
use crate::reduce::{Max, Sum, fold_block};
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::layout::Layout;
use mfm_core::{Result, Shape, Tensor};

/// How many rows and columns of a product are summed in registers.
const BLOCK: [usize; 2] = [4, 16];

/// A matrix with any strides.
#[derive(Clone, Copy)]
struct View<'a, E> {
    elements: &'a [E],
    row: usize,
    column: usize,
}

impl<'a, E> View<'a, E> {
    /// Rows whose elements follow one another.
    fn rows(elements: &'a [E], apart: usize) -> Self {
        Self { elements, row: apart, column: 1 }
    }

    /// From row `first` on.
    fn from(self, first: usize) -> Self {
        Self { elements: &self.elements[first * self.row..], ..self }
    }

    fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// out[i, ..n] = factor · Σ_c a[i, c] b[c, ..n] for i < m, c < k; added to `out` if `accumulate`. The rows of `b` and of `out` have no gaps
/// in them.
#[inline(always)]
fn product<E: Float, const FMA: bool>(
    (out, apart): (&mut [E], usize),
    [m, k, n]: [usize; 3],
    a: View<'_, E>,
    b: View<'_, E>,
    factor: E,
    accumulate: bool,
) {
    let mut take = |i: usize, start: usize, sum: &[E]| {
        for (slot, &sum) in out[i * apart + start..].iter_mut().zip(sum) {
            *slot = if accumulate { sum.fma::<FMA>(factor, *slot) } else { sum * factor };
        }
    };
    let [rows, columns] = BLOCK;
    let (whole_rows, whole_columns) = (m / rows * rows, n / columns * columns);
    for i in (0..whole_rows).step_by(rows) {
        for start in (0..whole_columns).step_by(columns) {
            let sums = block::<E, FMA, { BLOCK[0] }>(a.from(i), b, start, k);
            for (r, sum) in sums.iter().enumerate() {
                take(i + r, start, sum);
            }
        }
    }
    for i in whole_rows..m {
        for start in (0..whole_columns).step_by(columns) {
            let [sum] = block::<E, FMA, 1>(a.from(i), b, start, k);
            take(i, start, &sum);
        }
    }
    if whole_columns == n {
        return;
    }
    for i in 0..m {
        let mut sum = [E::ZERO; BLOCK[1]];
        let sum = &mut sum[..n - whole_columns];
        for c in 0..k {
            let weight = a.elements[i * a.row + c * a.column];
            for (sum, &b) in sum.iter_mut().zip(&b.elements[c * b.row + whole_columns..]) {
                *sum = weight.fma::<FMA>(b, *sum);
            }
        }
        take(i, whole_columns, sum);
    }
}

/// Σ_c a[r, c] b[c, start + j] for r < R and the columns j of a block: the same sums, in the same order, whatever R.
#[inline(always)]
fn block<E: Float, const FMA: bool, const R: usize>(a: View<'_, E>, b: View<'_, E>, start: usize, k: usize) -> [[E; BLOCK[1]]; R] {
    let mut sums = [[E::ZERO; BLOCK[1]]; R];
    for c in 0..k {
        let Some(b) = b.elements[c * b.row + start..].first_chunk::<{ BLOCK[1] }>() else { return sums };
        for (r, sum) in sums.iter_mut().enumerate() {
            let weight = a.elements[r * a.row + c * a.column];
            for (sum, &b) in sum.iter_mut().zip(b) {
                *sum = weight.fma::<FMA>(b, *sum);
            }
        }
    }
    sums
}

/// The transpose of `rows` × `columns`, without gaps.
#[inline(always)]
fn transpose<E: Float>(out: &mut [E], x: View<'_, E>, rows: usize, columns: usize) {
    for c in 0..columns {
        for (r, slot) in out[c * rows..][..rows].iter_mut().enumerate() {
            *slot = x.elements[r * x.row + c];
        }
    }
}

/// e^(x − max)/Σ of each row.
#[inline(always)]
fn softmax<E: Float, const FMA: bool>(scores: &mut [E], width: usize) {
    for row in scores.chunks_exact_mut(width) {
        let maximum = fold_block(row, Max);
        let maximum = if maximum == -E::INFINITY { E::ZERO } else { maximum };
        for x in row.iter_mut() {
            *x = (*x - maximum).exp::<FMA>();
        }
        let sum = fold_block(row, Sum);
        for x in row.iter_mut() {
            *x = *x / sum;
        }
    }
}

/// p (g − Σ p g) of each row, in place of g: softmax's derivative in either direction.
#[inline(always)]
fn slope<E: Float>(g: &mut [E], p: &[E], scratch: &mut [E], width: usize) {
    for (g, p) in g.chunks_exact_mut(width).zip(p.chunks_exact(width)) {
        for ((slot, &g), &p) in scratch.iter_mut().zip(g.iter()).zip(p) {
            *slot = g * p;
        }
        let sum = fold_block(&scratch[..width], Sum);
        for (g, &p) in g.iter_mut().zip(p) {
            *g = p * (*g - sum);
        }
    }
}

/// The lengths: of queries, of keys, of q and k, of v; how many heads share a part of a buffer, and how many such parts there are.
#[derive(Clone, Copy)]
struct Sizes {
    queries: usize,
    keys: usize,
    width: usize,
    out: usize,
    group: usize,
    groups: usize,
}

impl Sizes {
    fn heads(&self) -> usize {
        self.group * self.groups
    }

    fn scores(&self) -> usize {
        self.queries * self.keys
    }

    fn worthwhile(&self) -> bool {
        self.heads() * self.scores() * (self.width + self.out) > WORTHWHILE
    }

    fn factor<E: Float>(&self) -> E {
        E::ONE / E::from_f64(self.width as f64).sqrt()
    }
}

/// An operand as heads.
#[derive(Clone)]
struct Heads<E: Float>(CpuTensor<E>);

impl<E: Float> Heads<E> {
    fn new(x: &CpuTensor<E>) -> Result<Self> {
        let layout = x.layout();
        let last = layout.shape.rank() - 1;
        let dense = layout.strides[last] == 1 || layout.shape.axes()[last] == 1;
        Ok(Self(if dense { x.clone() } else { x.contiguous()? }))
    }

    /// Whether the tokens of the heads alternate.
    fn interleaved(&self) -> bool {
        let Layout { shape, strides, .. } = self.0.layout();
        let rank = shape.rank();
        rank >= 3
            && shape.axes()[rank - 3] > 1
            && shape.axes()[rank - 2] > 1
            && strides[rank - 3] < strides[rank - 2]
            && strides[rank - 3] > 0
    }

    fn head(&self, index: usize) -> View<'_, E> {
        let layout = self.0.layout();
        let lead = layout.shape.rank() - 2;
        let at = layout.at(index * layout.shape.axes()[lead..].iter().product::<usize>());
        View::rows(&self.0.elements()[at..], layout.strides[lead])
    }
}

/// q, k and v of one shape but for the last two axes.
#[derive(Clone)]
struct Operands<E: Float> {
    q: Heads<E>,
    k: Heads<E>,
    v: Heads<E>,
    sizes: Sizes,
    lead: Shape,
}

impl<E: Float> Operands<E> {
    /// `None` for operands that broadcast, or have nothing in them, or do not fit.
    fn new(inputs: &[&CpuTensor<E>]) -> Result<Option<Self>> {
        let &[q, k, v] = inputs else { return Ok(None) };
        let (q_axes, k_axes, v_axes) = (q.shape(), k.shape(), v.shape());
        let (&[ref lead @ .., queries, width], &[ref k_lead @ .., keys, k_width], &[ref v_lead @ .., v_keys, out]) =
            (q_axes.axes(), k_axes.axes(), v_axes.axes())
        else {
            return Ok(None);
        };
        let fits = lead == k_lead && lead == v_lead && width == k_width && keys == v_keys;
        if !fits || q_axes.elements() == 0 || k_axes.elements() == 0 || v_axes.elements() == 0 {
            return Ok(None);
        }
        let (q, k, v) = (Heads::new(q)?, Heads::new(k)?, Heads::new(v)?);
        let heads: usize = lead.iter().product();
        let group = match lead.last() {
            Some(&group) if q.interleaved() && k.interleaved() && v.interleaved() => group,
            _ => 1,
        };
        let sizes = Sizes { queries, keys, width, out, group, groups: heads / group };
        let lead = Shape::new(lead)?;
        Ok(Some(Self { q, k, v, sizes, lead }))
    }

    fn device(&self) -> &CpuDevice<E> {
        self.q.0.home()
    }

    fn buffer(&self, tokens: usize, width: usize) -> Result<Buffer<E>> {
        self.device().buffer("attention", self.sizes.heads() * tokens * width)
    }

    /// A buffer whose heads alternate, as the operands' do, or follow one another.
    fn tensor(&self, buffer: Buffer<E>, tokens: usize, width: usize) -> Result<CpuTensor<E>> {
        let (lead, rank) = (self.lead.axes(), self.lead.rank());
        let mut axes = [1; mfm_core::MAX_RANK];
        axes[..rank].copy_from_slice(lead);
        axes[rank] = tokens;
        axes[rank + 1] = width;
        if self.sizes.group == 1 {
            return Ok(CpuTensor::new(buffer, Shape::new(&axes[..rank + 2])?));
        }
        axes.swap(rank - 1, rank);
        let mut order: [usize; mfm_core::MAX_RANK] = core::array::from_fn(|i| i);
        order.swap(rank - 1, rank);
        CpuTensor::new(buffer, Shape::new(&axes[..rank + 2])?).permute(&order[..rank + 2])
    }

    /// The rows of head `index` of a group in its part of a buffer, and how far they are apart.
    fn rows<'a>(&self, part: &'a mut [E], index: usize, width: usize) -> (&'a mut [E], usize) {
        (&mut part[index * width..], self.sizes.group * width)
    }
}

/// The heads of a group, forward.
struct Forward<'a, E: Float> {
    operands: &'a Operands<E>,
    group: usize,
    out: &'a mut [E],
    /// softmax(q kᵀ/√d) of each head of the group, or room for one of them.
    weights: &'a mut [E],
    /// Room for the transpose of a head's keys.
    scratch: &'a mut [E],
}

impl<E: Float> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { operands, group, out, weights, scratch } = self;
        let sizes @ Sizes { queries, keys, width, out: out_width, .. } = operands.sizes;
        let all = weights.len() > sizes.scores();
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let weights = &mut weights[if all { index * sizes.scores() } else { 0 }..][..sizes.scores()];
            transpose(scratch, operands.k.head(head), keys, width);
            product::<E, FMA>(
                (weights, keys),
                [queries, width, keys],
                operands.q.head(head),
                View::rows(scratch, keys),
                sizes.factor(),
                false,
            );
            softmax::<E, FMA>(weights, keys);
            let rows = operands.rows(out, index, out_width);
            product::<E, FMA>(rows, [queries, keys, out_width], View::rows(weights, keys), operands.v.head(head), E::ONE, false);
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
    let scratch = ("attention", sizes.keys * sizes.width + if wanted { 0 } else { sizes.scores() });
    device.each_with_scratch(scratch, sizes.worthwhile(), tasks, |(group, (out, weights)), scratch| {
        let (scratch, own) = scratch.split_at_mut(sizes.keys * sizes.width);
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
        let (slopes, rest) = scratch.split_at_mut(sizes.scores());
        let (columns, row) = rest.split_at_mut(keys * out);
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let weights = &weights[head * sizes.scores()..][..sizes.scores()];
            let (q, k, v, g) = (operands.q.head(head), operands.k.head(head), operands.v.head(head), g.head(head));
            let rows = operands.rows(gv, index, out);
            product::<E, FMA>(rows, [keys, queries, out], View::rows(weights, keys).transposed(), g, E::ONE, false);
            transpose(columns, v, keys, out);
            product::<E, FMA>((&mut *slopes, keys), [queries, out, keys], g, View::rows(columns, keys), E::ONE, false);
            slope(slopes, weights, row, keys);
            let slopes = View::rows(slopes, keys);
            product::<E, FMA>(operands.rows(gq, index, width), [queries, keys, width], slopes, k, sizes.factor(), false);
            product::<E, FMA>(operands.rows(gk, index, width), [keys, queries, width], slopes.transposed(), q, sizes.factor(), false);
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
        let scratch = ("attention", sizes.scores() + keys * out + keys);
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
        let (slopes, rest) = rest.split_at_mut(sizes.scores());
        let (columns, row) = rest.split_at_mut(keys * width);
        let factor = sizes.factor();
        for index in 0..sizes.group {
            let head = group * sizes.group + index;
            let (q, k, v) = (operands.q.head(head), operands.k.head(head), operands.v.head(head));
            transpose(columns, k, keys, width);
            product::<E, FMA>((&mut *weights, keys), [queries, width, keys], q, View::rows(columns, keys), factor, false);
            softmax::<E, FMA>(weights, keys);
            let mut known = false;
            if let Some(tq) = tq {
                product::<E, FMA>((&mut *slopes, keys), [queries, width, keys], tq.head(head), View::rows(columns, keys), factor, false);
                known = true;
            }
            if let Some(tk) = tk {
                transpose(columns, tk.head(head), keys, width);
                product::<E, FMA>((&mut *slopes, keys), [queries, width, keys], q, View::rows(columns, keys), factor, known);
                known = true;
            }
            let sums = [queries, keys, out_width];
            product::<E, FMA>(operands.rows(out, index, out_width), sums, View::rows(weights, keys), v, E::ONE, false);
            if known {
                slope(slopes, weights, row, keys);
                product::<E, FMA>(operands.rows(moving, index, out_width), sums, View::rows(slopes, keys), v, E::ONE, false);
            }
            if let Some(tv) = tv {
                let rows = operands.rows(moving, index, out_width);
                product::<E, FMA>(rows, sums, View::rows(weights, keys), tv.head(head), E::ONE, known);
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
    let scratch = ("attention", 2 * sizes.scores() + sizes.keys * (sizes.width + 1));
    device.each_with_scratch(scratch, sizes.worthwhile(), tasks, |(group, (out, moving)), scratch| {
        vectorise(Tangent { operands: &operands, group, tangents, out, moving, scratch });
        Ok(())
    })?;
    let (queries, width) = (sizes.queries, sizes.out);
    Ok(Some((operands.tensor(out, queries, width)?, operands.tensor(moving, queries, width)?)))
}
