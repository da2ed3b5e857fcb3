//! softmax(q kᵀ/√d) v in one pass, with the weights recomputed on the way back.

use super::{Pulled, Pushed, fresh};
use crate::abi::{AttentionArgs, Rows};
use crate::buffer::Buffer;
use crate::kernels::{ATTENTION, ATTENTION_JVP, ATTENTION_VJP_KEY, ATTENTION_VJP_QUERY, Grid, Kernel, Suffix};
use crate::options::Storage;
use crate::space::Axes;
use crate::tensor::CudaTensor;
use mfm_core::tensor::sum_to;
use mfm_core::{Layout, MAX_RANK, Result, Shape, Tensor};

const NAME: &str = "attention";
/// The largest head dimension of the kernels.
const MOST: usize = 128;
/// Queries (or keys) of a block.
const TILE: usize = 64;

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

/// `x` stretched over the batch, with its rows contiguous in themselves.
fn rows_of(x: &CudaTensor, batch: Shape) -> Result<CudaTensor> {
    let rank = x.shape().rank();
    let unit = x.shape().axes()[rank - 1] == 1 || x.layout().strides[rank - 1] == 1;
    let x = if unit { x.clone() } else { crate::copy::fresh(NAME, x)? };
    let axes = x.shape();
    x.stretched(NAME, shape_of(batch, axes.axes()[rank - 2], axes.axes()[rank - 1])?)
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
        if batch.elements() == 0 {
            return Ok(None);
        }
        let [q, k, v] = [rows_of(q, batch)?, rows_of(k, batch)?, rows_of(v, batch)?];
        Ok(Some(Self { q, k, v, batch, queries, keys, width }))
    }

    /// Runs a kernel over `tiled` rows of each batch entry.
    fn launch(&self, kernel: Kernel, tiled: usize, tangents: [Option<&CudaTensor>; 3], arguments: AttentionArgs) -> Result<()> {
        let operands = [&self.q, &self.k, &self.v];
        let (mut layouts, mut rows) = ([*self.q.layout(); 6], [Rows::default(); 6]);
        let rank = self.batch.rank();
        for i in 0..6 {
            let x = if i < 3 { operands[i] } else { tangents[i - 3].unwrap_or(operands[i - 3]) };
            layouts[i] = Layout { shape: self.batch, ..*x.layout() };
            rows[i].row = x.layout().strides[rank] as i64;
            rows[i].batch.data = if i < 3 || tangents[i - 3].is_some() { x.address() } else { 0 };
        }
        let (axes, _) = Axes::new(self.batch, core::array::from_fn::<_, 6, _>(|i| &layouts[i]), None);
        for (i, rows) in rows.iter_mut().enumerate() {
            rows.batch = axes.view(i, rows.batch.data);
        }
        let [q, k, v, tq, tk, tv] = rows;
        let (queries, keys, width) = (self.queries as i64, self.keys as i64, self.width as i32);
        let arguments = AttentionArgs { batch: axes.space(), q, k, v, tq, tk, tv, queries, keys, width, ..arguments };
        let device = self.q.home();
        let capacity = self.width.next_multiple_of(step(device.storage()));
        let grid = Grid::new([tiled.div_ceil(TILE), self.batch.elements(), 1], 128);
        device.launch(NAME, kernel, Suffix::Capacity(device.storage(), capacity), grid, &arguments)
    }

    /// Room for an f32 a query.
    fn per_query(&self) -> Result<Buffer> {
        self.q.home().buffer(NAME, self.batch.elements() * self.queries * 4)
    }

    fn out_shape(&self) -> Result<Shape> {
        shape_of(self.batch, self.queries, self.width)
    }
}

/// The attention.
pub(super) fn value(inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(heads) = Heads::new(inputs)? else { return Ok(None) };
    let out = fresh(&heads.q, NAME, heads.out_shape()?)?;
    let addresses = AttentionArgs { out: out.address(), ..AttentionArgs::default() };
    heads.launch(ATTENTION, heads.queries, [None; 3], addresses)?;
    Ok(Some(out))
}

/// The attention with its pullback.
pub(super) fn vjp(inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let (Some(heads), &[need_q, need_k, need_v]) = (Heads::new(inputs)?, needed) else { return Ok(None) };
    let shapes = [inputs[0].shape(), inputs[1].shape(), inputs[2].shape()];
    let (out, logsum) = (fresh(&heads.q, NAME, heads.out_shape()?)?, heads.per_query()?);
    let addresses = AttentionArgs { out: out.address(), logsum: logsum.address(), ..AttentionArgs::default() };
    heads.launch(ATTENTION, heads.queries, [None; 3], addresses)?;
    let value = out.clone();
    let pull = move |g: &CudaTensor| {
        let (g, delta) = (g.contiguous()?, heads.per_query()?);
        let common = AttentionArgs {
            out: out.address(),
            logsum: logsum.address(),
            delta: delta.address(),
            g: g.address(),
            ..AttentionArgs::default()
        };
        let room = |needed: bool, rows| needed.then(|| fresh(&heads.q, NAME, shape_of(heads.batch, rows, heads.width)?)).transpose();
        let (gq, gk, gv) = (room(need_q, heads.queries)?, room(need_k, heads.keys)?, room(need_v, heads.keys)?);
        let address = |x: &Option<CudaTensor>| x.as_ref().map_or(0, CudaTensor::address);
        // Also without gq: it leaves `delta`.
        heads.launch(ATTENTION_VJP_QUERY, heads.queries, [None; 3], AttentionArgs { gq: address(&gq), ..common })?;
        if need_k || need_v {
            let addresses = AttentionArgs { gk: address(&gk), gv: address(&gv), ..common };
            heads.launch(ATTENTION_VJP_KEY, heads.keys, [None; 3], addresses)?;
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
    let (out, tangent) = (fresh(&heads.q, NAME, heads.out_shape()?)?, fresh(&heads.q, NAME, heads.out_shape()?)?);
    let addresses = AttentionArgs { out: out.address(), tangent: tangent.address(), ..AttentionArgs::default() };
    heads.launch(ATTENTION_JVP, heads.queries, [tq.as_ref(), tk.as_ref(), tv.as_ref()], addresses)?;
    Ok(Some((out, tangent)))
}
