//! softmax(q kᵀ/√d) v in one pass, with the weights recomputed on the way back.

use super::{Pulled, Pushed, fresh};
use crate::abi::{AttentionArgs, Rows};
use crate::buffer::Buffer;
use crate::kernels::{ATTENTION, ATTENTION_JVP, ATTENTION_VJP_KEY, ATTENTION_VJP_QUERY, Grid, Kernel, Suffix};
use crate::options::Storage;
use crate::space::Axes;
use crate::tensor::CudaTensor;
use mfm_core::tensor::sum_to;
use mfm_core::{Device, Layout, MAX_RANK, Result, Shape, Tensor};

const NAME: &str = "attention";
/// The largest head dimension of the kernels.
const MOST: usize = 128;
/// Queries (or keys) of a block.
const TILE: usize = 64;
/// The largest head dimension in bf16 for which a block takes twice as many queries, for their value and their gradient.
const MOST_TWICE: usize = 80;

/// The steps in which kernels for larger head dimensions come.
fn step(storage: Storage) -> usize {
    match storage {
        Storage::F32 => 32,
        Storage::Bf16 => 16,
    }
}

/// The operands, with unit stride along the head dimension.
struct Heads {
    q: CudaTensor,
    k: CudaTensor,
    v: CudaTensor,
    /// All axes but the last two.
    batch: Shape,
    queries: usize,
    keys: usize,
    width: usize,
}

/// The shape [batch.., rows, width].
fn shape_of(batch: Shape, rows: usize, width: usize) -> Result<Shape> {
    let mut axes = [0; MAX_RANK];
    let rank = batch.rank() + 2;
    axes[..batch.rank()].copy_from_slice(batch.axes());
    (axes[rank - 2], axes[rank - 1]) = (rows, width);
    Shape::new(&axes[..rank])
}

/// `x` stretched over the batch, as the kernels read it: unit stride along the heads' dimension, and rows that go by 16 bytes. What lies otherwise is
/// copied, with zeros after each row up to 16 bytes.
fn rows_of(x: &CudaTensor, batch: Shape) -> Result<CudaTensor> {
    let rank = x.shape().rank();
    let lanes = 16 / x.home().storage().bytes();
    let (rows, width) = (x.shape().axes()[rank - 2], x.shape().axes()[rank - 1]);
    let (apart, unit) = x.layout().strides.split_at(rank - 1);
    let whole = width.is_multiple_of(lanes) && x.address().is_multiple_of(16) && apart.iter().all(|stride| stride.is_multiple_of(lanes));
    let x = if whole && (width == 1 || unit[0] == 1) {
        x.clone()
    } else if width.is_multiple_of(lanes) {
        crate::copy::fresh(NAME, x)?
    } else {
        let columns = width.next_multiple_of(lanes);
        let tail = x.home().zeros(x.shape().with_axis(rank - 1, columns - width)?)?;
        CudaTensor::concat(&[x, &tail], rank - 1)?.slice(rank - 1, 0, width)?
    };
    x.stretched(NAME, shape_of(batch, rows, width)?)
}

/// A new tensor of `shape`, whose axes lie in memory in the order of those of `like`, the last innermost: what follows a permutation of heads then finds
/// rows of tokens as it left them.
fn fresh_like(like: &CudaTensor, shape: Shape) -> Result<CudaTensor> {
    let rank = shape.rank();
    let mut order: [usize; MAX_RANK] = core::array::from_fn(|axis| axis);
    order[..rank - 1].sort_by_key(|axis| core::cmp::Reverse(like.layout().strides[*axis]));
    let mut layout = Layout::contiguous(shape);
    let mut stride = 1;
    for &axis in order[..rank].iter().rev() {
        layout.strides[axis] = stride;
        stride *= shape.axes()[axis];
    }
    Ok(fresh(like, NAME, shape)?.view(layout))
}

/// As [`fresh_like`] for three tensors that are the neighbouring parts of one, in one buffer in the same order: what joins them again copies nothing. `None`
/// for others.
fn fresh_side_by_side([q, k, v]: [&CudaTensor; 3]) -> Result<Option<[CudaTensor; 3]>> {
    let (layout, rank) = (*q.layout(), q.shape().rank());
    let apart = k.layout().offset.saturating_sub(layout.offset);
    let are_parts = [k, v].into_iter().zip([1, 2]).all(|(x, place)| {
        let own = x.layout();
        let alike = own.shape == layout.shape && own.strides[..rank] == layout.strides[..rank];
        alike && x.shares_buffer(q) && own.offset == layout.offset + place * apart
    });
    if !are_parts || apart == 0 || rank == MAX_RANK {
        return Ok(None);
    }
    // With the three along an axis of their own.
    let (mut axes, mut strides) = ([3; MAX_RANK], [apart; MAX_RANK]);
    axes[1..=rank].copy_from_slice(layout.shape.axes());
    strides[1..=rank].copy_from_slice(&layout.strides[..rank]);
    let shape = Shape::new(&axes[..=rank])?;
    let whole = fresh_like(&q.view(Layout { shape, strides, offset: layout.offset }), shape)?;
    let part = |place: usize| whole.slice(0, place, 1)?.reshape(layout.shape);
    Ok(Some([part(0)?, part(1)?, part(2)?]))
}

/// What a kernel reads or writes besides q, k and v.
#[derive(Clone, Copy, Default)]
struct Others<'a> {
    tangents: [Option<&'a CudaTensor>; 3],
    g: Option<&'a CudaTensor>,
    out: Option<&'a CudaTensor>,
    tangent: Option<&'a CudaTensor>,
    gradients: [Option<&'a CudaTensor>; 3],
    logsum: u64,
    delta: u64,
}

impl Heads {
    /// `None` for shapes that the kernels do not take.
    fn new(inputs: &[&CudaTensor]) -> Result<Option<Self>> {
        let &[q, k, v] = inputs else { return Ok(None) };
        if inputs.iter().any(|x| x.shape().rank() < 2) {
            return Ok(None);
        }
        let split = |x: &CudaTensor| {
            let shape = x.shape();
            let (lead, last) = shape.axes().split_at(shape.rank() - 2);
            Shape::new(lead).map(|lead| (lead, last[0], last[1]))
        };
        let ((bq, queries, width), (bk, keys, wk), (bv, kv, wv)) = (split(q)?, split(k)?, split(v)?);
        if wk != width || wv != width || kv != keys || !(1..=MOST).contains(&width) || queries == 0 || keys == 0 {
            return Ok(None);
        }
        let Ok(batch) = bq.broadcast(&bk, NAME).and_then(|batch| batch.broadcast(&bv, NAME)) else { return Ok(None) };
        // The kernels count batch entries, queries and keys in 32 bits.
        if batch.elements() == 0 || [batch.elements(), queries, keys].into_iter().any(|n| n > i32::MAX as usize) {
            return Ok(None);
        }
        let [q, k, v] = [rows_of(q, batch)?, rows_of(k, batch)?, rows_of(v, batch)?];
        Ok(Some(Self { q, k, v, batch, queries, keys, width }))
    }

    /// The blocks of the value's kernel, and of that of the queries' gradient.
    fn blocks_of_queries(&self) -> usize {
        let is_twice = self.q.home().storage() == Storage::Bf16 && self.width <= MOST_TWICE;
        self.queries.div_ceil(if is_twice { 2 * TILE } else { TILE })
    }

    /// Runs a kernel with this number of blocks for each batch entry.
    fn launch(&self, kernel: Kernel, blocks: usize, others: Others<'_>) -> Result<()> {
        let Others { tangents: [tq, tk, tv], g, out, tangent, gradients: [gq, gk, gv], logsum, delta } = others;
        let operands = [Some(&self.q), Some(&self.k), Some(&self.v), tq, tk, tv, g, out, tangent, gq, gk, gv];
        let rank = self.batch.rank();
        let layout_of = |x: Option<&CudaTensor>| Layout { shape: self.batch, ..*x.unwrap_or(&self.q).layout() };
        let layouts = operands.map(layout_of);
        let (axes, _) = Axes::new(self.batch, layouts.each_ref(), None);
        let rows = |i: usize| {
            let row = layouts[i].strides[rank] as i64;
            Rows { batch: axes.view(i, operands[i].map_or(0, CudaTensor::address)), row }
        };
        let arguments = AttentionArgs {
            batch: axes.space(),
            q: rows(0),
            k: rows(1),
            v: rows(2),
            tq: rows(3),
            tk: rows(4),
            tv: rows(5),
            g: rows(6),
            out: rows(7),
            tangent: rows(8),
            gq: rows(9),
            gk: rows(10),
            gv: rows(11),
            queries: self.queries as i64,
            keys: self.keys as i64,
            logsum,
            delta,
            width: self.width as i32,
            reserved: 0,
        };
        let device = self.q.home();
        let capacity = self.width.next_multiple_of(step(device.storage()));
        let grid = Grid::new([blocks, self.batch.elements(), 1], 128);
        device.launch(NAME, kernel, Suffix::Capacity(device.storage(), capacity), grid, &arguments)
    }

    /// Room for an f32 a query.
    fn per_query(&self) -> Result<Buffer> {
        self.q.home().buffer(NAME, self.batch.elements() * self.queries * 4)
    }

    /// Tensors for the gradients of q, k and v that are needed.
    fn fresh_gradients(&self, needed: [bool; 3]) -> Result<[Option<CudaTensor>; 3]> {
        if needed == [true; 3]
            && let Some(all) = fresh_side_by_side([&self.q, &self.k, &self.v])?
        {
            return Ok(all.map(Some));
        }
        let room = |needed: bool, like: &CudaTensor| needed.then(|| fresh_like(like, like.shape())).transpose();
        Ok([room(needed[0], &self.q)?, room(needed[1], &self.k)?, room(needed[2], &self.v)?])
    }

    /// A tensor for what has the queries' shape.
    fn fresh_out(&self) -> Result<CudaTensor> {
        fresh_like(&self.q, shape_of(self.batch, self.queries, self.width)?)
    }
}

/// The attention.
pub(super) fn value(inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(heads) = Heads::new(inputs)? else { return Ok(None) };
    let out = heads.fresh_out()?;
    heads.launch(ATTENTION, heads.blocks_of_queries(), Others { out: Some(&out), ..Others::default() })?;
    Ok(Some(out))
}

/// The attention with its pullback.
pub(super) fn vjp(inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let (Some(heads), &[need_q, need_k, need_v]) = (Heads::new(inputs)?, needed) else { return Ok(None) };
    let shapes = [inputs[0].shape(), inputs[1].shape(), inputs[2].shape()];
    let (out, logsum) = (heads.fresh_out()?, heads.per_query()?);
    heads.launch(ATTENTION, heads.blocks_of_queries(), Others { out: Some(&out), logsum: logsum.address(), ..Others::default() })?;
    let value = out.clone();
    let pull = move |g: &CudaTensor| {
        let (g, out, delta) = (rows_of(g, heads.batch)?, rows_of(&out, heads.batch)?, heads.per_query()?);
        let [gq, gk, gv] = heads.fresh_gradients([need_q, need_k, need_v])?;
        let common = Others { g: Some(&g), out: Some(&out), logsum: logsum.address(), delta: delta.address(), ..Others::default() };
        // Also without gq: it leaves `delta`.
        heads.launch(ATTENTION_VJP_QUERY, heads.blocks_of_queries(), Others { gradients: [gq.as_ref(), None, None], ..common })?;
        if need_k || need_v {
            heads.launch(ATTENTION_VJP_KEY, heads.keys.div_ceil(TILE), Others { gradients: [None, gk.as_ref(), gv.as_ref()], ..common })?;
        }
        [gq, gk, gv].into_iter().zip(shapes).map(|(g, shape)| g.map(|g| sum_to(&g, shape)).transpose()).collect()
    };
    Ok(Some((value, Box::new(pull))))
}

/// The attention with its tangent.
pub(super) fn jvp(inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (Some(heads), &[tq, tk, tv]) = (Heads::new(inputs)?, tangents) else { return Ok(None) };
    let rows = |t: Option<&CudaTensor>| t.map(|t| rows_of(t, heads.batch)).transpose();
    let (tq, tk, tv) = (rows(tq)?, rows(tk)?, rows(tv)?);
    let (out, tangent) = (heads.fresh_out()?, heads.fresh_out()?);
    let tangents = [tq.as_ref(), tk.as_ref(), tv.as_ref()];
    heads.launch(
        ATTENTION_JVP,
        heads.queries.div_ceil(TILE),
        Others { tangents, out: Some(&out), tangent: Some(&tangent), ..Others::default() },
    )?;
    Ok(Some((out, tangent)))
}
