//! Softmax and log-mean-exp along any axis: it is brought last, and the rows go one by one.

use super::{Pulled, Pushed, fresh};
use crate::abi::RowsArgs;
use crate::kernels::{Grid, Kernel, LOG_MEAN_EXP, ROW_DOTS, SOFTMAX, SOFTMAX_GRADIENT, Suffix};
use crate::tensor::CudaTensor;
use mfm_core::{MAX_RANK, Operations, Result, Shape, Tensor};

/// The order of axes with `axis` last, and its inverse.
fn orders(rank: usize, axis: usize) -> ([usize; MAX_RANK], [usize; MAX_RANK]) {
    let (mut order, mut inverse) = ([0; MAX_RANK], [0; MAX_RANK]);
    for (place, from) in (0..rank).filter(|&i| i != axis).chain([axis]).enumerate() {
        order[place] = from;
        inverse[from] = place;
    }
    (order, inverse)
}

/// A tensor as contiguous rows along an axis.
struct RowsOf {
    /// Contiguous, the axis last.
    x: CudaTensor,
    rows: usize,
    width: usize,
    /// Back to the axes' own order.
    inverse: [usize; MAX_RANK],
}

impl RowsOf {
    /// `None` for an axis that is not there, or empty.
    fn new(x: &CudaTensor, axis: usize) -> Result<Option<Self>> {
        let rank = x.shape().rank();
        let Some(&width) = x.shape().axes().get(axis).filter(|width| **width > 0) else { return Ok(None) };
        let (order, inverse) = orders(rank, axis);
        let x = x.permute(&order[..rank])?.contiguous()?;
        let rows = x.shape().elements() / width;
        Ok(Some(Self { x, rows, width, inverse }))
    }

    /// Another tensor of the original's shape in the same way.
    fn alike(&self, g: &CudaTensor) -> Result<CudaTensor> {
        let rank = self.x.shape().rank();
        let (order, _) = orders(rank, self.inverse.iter().position(|&i| i + 1 == rank).unwrap_or(0));
        g.permute(&order[..rank])?.contiguous()
    }

    fn back(&self, x: &CudaTensor) -> Result<CudaTensor> {
        x.permute(&self.inverse[..self.x.shape().rank()])
    }

    fn launch(&self, op: &'static str, kernel: Kernel, arguments: RowsArgs) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let arguments = RowsArgs { rows: self.rows as i64, width: self.width as i64, ..arguments };
        self.x.home().launch(op, kernel, Suffix::Of(self.x.home().storage()), Grid::rows(self.rows, self.width), &arguments)
    }

    /// The softmax of the rows.
    fn softmax(&self) -> Result<CudaTensor> {
        let y = fresh(&self.x, "softmax", self.x.shape())?;
        self.launch("softmax", SOFTMAX, RowsArgs { x: self.x.address(), out: y.address(), ..RowsArgs::default() })?;
        Ok(y)
    }

    /// y (g − Σ g y) of rows y and g.
    fn gradient(&self, y: &CudaTensor, g: &CudaTensor) -> Result<CudaTensor> {
        let out = fresh(&self.x, "softmax", self.x.shape())?;
        let addresses = RowsArgs { y: y.address(), g: g.address(), out: out.address(), ..RowsArgs::default() };
        self.launch("softmax", SOFTMAX_GRADIENT, addresses)?;
        Ok(out)
    }

    /// The log-mean-exp of the rows, with the axis last, and the softmax if asked for.
    fn log_mean(&self, weights: bool) -> Result<(CudaTensor, Option<CudaTensor>)> {
        let value = fresh(&self.x, "log_mean_exp", self.reduced()?)?;
        let weights = if weights { Some(fresh(&self.x, "log_mean_exp", self.x.shape())?) } else { None };
        let kept = weights.as_ref().map_or(0, CudaTensor::address);
        let addresses = RowsArgs { x: self.x.address(), value: value.address(), weights: kept, ..RowsArgs::default() };
        self.launch("log_mean_exp", LOG_MEAN_EXP, addresses)?;
        Ok((value, weights))
    }

    fn reduced(&self) -> Result<Shape> {
        self.x.shape().with_axis(self.x.shape().rank() - 1, 1)
    }
}

/// The softmax.
pub(super) fn value(axis: usize, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let &[x] = inputs else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    rows.back(&rows.softmax()?).map(Some)
}

/// The softmax with its pullback.
pub(super) fn vjp(axis: usize, inputs: &[&CudaTensor]) -> Result<Pulled> {
    let &[x] = inputs else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    let y = rows.softmax()?;
    let value = rows.back(&y)?;
    let pull = move |g: &CudaTensor| Ok(vec![Some(rows.back(&rows.gradient(&y, &rows.alike(g)?)?)?)]);
    Ok(Some((value, Box::new(pull))))
}

/// The softmax with its tangent.
pub(super) fn jvp(axis: usize, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (&[x], &[Some(t)]) = (inputs, tangents) else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    let y = rows.softmax()?;
    let tangent = rows.gradient(&y, &rows.alike(t)?)?;
    Ok(Some((rows.back(&y)?, rows.back(&tangent)?)))
}

/// The log-mean-exp.
pub(super) fn log_mean(axis: usize, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let &[x] = inputs else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    rows.back(&rows.log_mean(false)?.0).map(Some)
}

/// The log-mean-exp with its pullback: the softmax times the cotangent.
pub(super) fn log_mean_vjp(axis: usize, inputs: &[&CudaTensor]) -> Result<Pulled> {
    let &[x] = inputs else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    let (value, Some(weights)) = rows.log_mean(true)? else { return Ok(None) };
    let (value, weights) = (rows.back(&value)?, rows.back(&weights)?);
    Ok(Some((value, Box::new(move |g| Ok(vec![Some(weights.mul(g)?)])))))
}

/// The log-mean-exp with its tangent.
pub(super) fn log_mean_jvp(axis: usize, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (&[x], &[Some(t)]) = (inputs, tangents) else { return Ok(None) };
    let Some(rows) = RowsOf::new(x, axis)? else { return Ok(None) };
    let (value, Some(weights)) = rows.log_mean(true)? else { return Ok(None) };
    let t = rows.alike(t)?;
    let tangent = fresh(&rows.x, "log_mean_exp", rows.reduced()?)?;
    let addresses = RowsArgs { x: weights.address(), y: t.address(), value: tangent.address(), ..RowsArgs::default() };
    rows.launch("log_mean_exp", ROW_DOTS, addresses)?;
    Ok(Some((rows.back(&value)?, rows.back(&tangent)?)))
}
