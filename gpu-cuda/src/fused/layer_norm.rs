//! (x − mean)/√(variance + ε) · (1 + scale) + shift over the last axis, a warp or a block a row.

use super::sums::{Groups, Partial, goes_by_vectors, goes_by_vectors_or_repeats};
use super::{Pulled, Pushed, fresh};
use crate::abi::LayerNormArgs;
use crate::buffer::Buffer;
use crate::kernels::{Grid, HELD_COLUMNS, Kernel, LAYER_NORM, LAYER_NORM_JVP, LAYER_NORM_VJP, LAYER_NORM_VJP_SUMS, Suffix};
use crate::options::Storage;
use crate::space::Axes;
use crate::tensor::{ABSENT, CudaTensor};
use mfm_core::tensor::sum_to;
use mfm_core::{Layout, Result, Shape, Tensor};

const NAME: &str = "layer_norm";

/// The operands: x contiguous, scale and shift stretched to its shape.
struct Norm {
    x: CudaTensor,
    scale: CudaTensor,
    shift: CudaTensor,
    epsilon: f64,
    width: usize,
}

impl Norm {
    /// `None` unless scale and shift broadcast to x, which has a last axis.
    fn new(epsilon: f64, inputs: &[&CudaTensor]) -> Result<Option<Self>> {
        let &[x, scale, shift] = inputs else { return Ok(None) };
        let Some(&width) = x.shape().axes().last().filter(|width| **width > 0) else { return Ok(None) };
        match (scale.stretched(NAME, x.shape()), shift.stretched(NAME, x.shape())) {
            (Ok(scale), Ok(shift)) => Ok(Some(Self { x: x.contiguous()?, scale, shift, epsilon, width })),
            _ => Ok(None),
        }
    }

    /// Runs a kernel on blocks that take rows in turns; `moving` are the tangents of scale and shift.
    fn launch(&self, kernel: Kernel, moving: [Option<&CudaTensor>; 2], arguments: LayerNormArgs) -> Result<()> {
        let (shape, device) = (self.x.shape(), self.x.home());
        if shape.elements() == 0 {
            return Ok(());
        }
        let grid = Grid::held_rows(shape.elements() / self.width, self.width, device.storage().bytes());
        device.launch_loop(NAME, kernel, grid, &self.with_operands(moving, arguments))
    }

    /// The arguments with x, scale, shift and their tangents.
    fn with_operands(&self, moving: [Option<&CudaTensor>; 2], arguments: LayerNormArgs) -> LayerNormArgs {
        let shape = self.x.shape();
        let [tscale, tshift] = moving;
        let or = |t: Option<&CudaTensor>, x: &CudaTensor| *t.unwrap_or(x).layout();
        let (third, fourth) = (or(tscale, &self.scale), or(tshift, &self.shift));
        let (axes, _) = Axes::new(shape, [self.scale.layout(), self.shift.layout(), &third, &fourth], Some(shape.rank() - 1));
        LayerNormArgs {
            space: axes.space(),
            x: self.x.address(),
            scale: axes.view(0, self.scale.address()),
            shift: axes.view(1, self.shift.address()),
            tscale: tscale.map_or(ABSENT, |t| axes.view(2, t.address())),
            tshift: tshift.map_or(ABSENT, |t| axes.view(3, t.address())),
            epsilon: self.epsilon as f32,
            ..arguments
        }
    }

    /// The gradients in one pass over x and g, for scale and shift that are one row for each group of rows; `None` for other operands, or if neither is
    /// `needed`.
    fn pull_groups(
        &self,
        g: &CudaTensor,
        (mean, rate): (&Buffer, &Buffer),
        (scale, shift): (Shape, Shape),
        [need_x, need_scale, need_shift]: [bool; 3],
    ) -> Result<Option<Vec<Option<CudaTensor>>>> {
        let shape = self.x.shape();
        let Some(groups) = Groups::of(shape, scale).filter(|groups| groups.rows > 1 && scale == shift) else { return Ok(None) };
        let by_vectors = goes_by_vectors(&self.x) && goes_by_vectors(g) && goes_by_vectors_or_repeats(&self.scale);
        if shape.elements() == 0 || !(need_scale || need_shift) || self.width > HELD_COLUMNS || !by_vectors {
            return Ok(None);
        }
        // 128 threads; as many blocks as the 132 multiprocessors of an H100 have room for: the sums are the same on any GPU.
        let (device, storage) = (g.home(), g.home().storage());
        let room = if storage == Storage::Bf16 { 3 * 132 } else { 2 * 132 };
        let parts = groups.parts(groups.count, room, 4);
        let each = groups.count * self.width;
        let sums = Partial::new(device, NAME, parts, 2, each)?;
        let gx = if need_x { Some(fresh(g, NAME, shape)?) } else { None };
        let addresses = LayerNormArgs {
            mean: mean.address(),
            rate: rate.address(),
            g: g.address(),
            gx: gx.as_ref().map_or(0, CudaTensor::address),
            sums: sums.buffer.address(),
            group: groups.rows as i64,
            ..LayerNormArgs::default()
        };
        let (grid, arguments) = (Grid::new([groups.count, parts, 1], 128), self.with_operands([None, None], addresses));
        device.launch(NAME, LAYER_NORM_VJP_SUMS, Suffix::Of(storage), grid, &arguments)?;
        let both = sums.total(usize::from(!need_scale), usize::from(need_scale) + usize::from(need_shift))?;
        let part = |number: usize, of: Shape| both.view(Layout { offset: number * each, ..Layout::contiguous(of) });
        Ok(Some(vec![gx, need_scale.then(|| part(0, scale)), need_shift.then(|| part(usize::from(need_scale), shift))]))
    }

    /// Room for an f32 a row.
    fn per_row(&self) -> Result<Buffer> {
        self.x.home().buffer(NAME, self.x.shape().elements() / self.width * 4)
    }
}

/// The layer norm.
pub(super) fn value(epsilon: f64, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(norm) = Norm::new(epsilon, inputs)? else { return Ok(None) };
    let out = fresh(&norm.x, NAME, norm.x.shape())?;
    norm.launch(LAYER_NORM, [None, None], LayerNormArgs { out: out.address(), ..LayerNormArgs::default() })?;
    Ok(Some(out))
}

/// The layer norm with its pullback.
pub(super) fn vjp(epsilon: f64, inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let (Some(norm), &[_, scale, shift], &[need_x, need_scale, need_shift]) = (Norm::new(epsilon, inputs)?, inputs, needed) else {
        return Ok(None);
    };
    let (scale_shape, shift_shape) = (scale.shape(), shift.shape());
    let (out, mean, rate) = (fresh(&norm.x, NAME, norm.x.shape())?, norm.per_row()?, norm.per_row()?);
    let addresses = LayerNormArgs { out: out.address(), mean: mean.address(), rate: rate.address(), ..LayerNormArgs::default() };
    norm.launch(LAYER_NORM, [None, None], addresses)?;
    let needed = [need_x, need_scale, need_shift];
    let pull = move |g: &CudaTensor| {
        let g = g.contiguous()?;
        if let Some(all) = norm.pull_groups(&g, (&mean, &rate), (scale_shape, shift_shape), needed)? {
            return Ok(all);
        }
        let room = |needed: bool| needed.then(|| fresh(&norm.x, NAME, norm.x.shape())).transpose();
        let (gx, gscale) = (room(need_x)?, room(need_scale)?);
        if need_x || need_scale {
            let address = |x: &Option<CudaTensor>| x.as_ref().map_or(0, CudaTensor::address);
            let addresses = LayerNormArgs {
                mean: mean.address(),
                rate: rate.address(),
                g: g.address(),
                gx: address(&gx),
                gscale: address(&gscale),
                ..LayerNormArgs::default()
            };
            norm.launch(LAYER_NORM_VJP, [None, None], addresses)?;
        }
        let gscale = gscale.map(|whole| sum_to(&whole, scale_shape)).transpose()?;
        let gshift = if need_shift { Some(sum_to(&g, shift_shape)?) } else { None };
        Ok(vec![gx, gscale, gshift])
    };
    Ok(Some((out, Box::new(pull))))
}

/// The layer norm with its tangent.
pub(super) fn jvp(epsilon: f64, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (Some(norm), &[tx, tscale, tshift]) = (Norm::new(epsilon, inputs)?, tangents) else { return Ok(None) };
    let shape = norm.x.shape();
    let stretched = |t: Option<&CudaTensor>| t.map(|t| t.stretched(NAME, shape)).transpose();
    let (tx, tscale, tshift) = (tx.map(CudaTensor::contiguous).transpose()?, stretched(tscale)?, stretched(tshift)?);
    let (out, tangent) = (fresh(&norm.x, NAME, shape)?, fresh(&norm.x, NAME, shape)?);
    let addresses = LayerNormArgs {
        out: out.address(),
        tx: tx.as_ref().map_or(0, CudaTensor::address),
        tangent: tangent.address(),
        ..LayerNormArgs::default()
    };
    norm.launch(LAYER_NORM_JVP, [tscale.as_ref(), tshift.as_ref()], addresses)?;
    Ok(Some((out, tangent)))
}
