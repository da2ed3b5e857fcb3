//! Operands that rows share: the modulation of a group of tokens.

use crate::device::WORTHWHILE;
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::TASK;
use mfm_core::tensor::sum_to;
use mfm_core::{Operations, Result, Shape, Tensor};

/// The most rows whose contributions to a gradient are added one after another.
const MANY: usize = 256;

/// An operand that is stretched to many rows: `run` rows after one another have the same of it.
pub(super) struct Shared<E: Float> {
    rows: CpuTensor<E>,
    width: usize,
    pub run: usize,
}

impl<E: Float> Shared<E> {
    /// `x` stretched to `shape`, which has a last axis.
    pub fn new(x: &CpuTensor<E>, shape: Shape) -> Result<Self> {
        let last = shape.rank() - 1;
        let width = shape.axes()[last];
        let rows = x.stretched(shape)?;
        let rows = if rows.layout().strides[last] == 1 || width == 1 { rows } else { rows.contiguous()? };
        let axes = shape.axes()[..last].iter().zip(&rows.layout().strides).rev();
        let run = axes.take_while(|(length, stride)| **length == 1 || **stride == 0).map(|(length, _)| length).product();
        Ok(Self { rows, width, run })
    }

    /// What row `index` has.
    #[inline(always)]
    pub fn row(&self, index: usize) -> &[E] {
        &self.rows.elements()[self.rows.layout().at(index * self.width)..][..self.width]
    }
}

/// Σ g y over what an operand of `shape` is stretched along: its cotangent, if it is multiplied by y.
pub(super) fn products<E: Float>(g: &CpuTensor<E>, y: &CpuTensor<E>, shape: Shape) -> Result<CpuTensor<E>> {
    let whole = g.shape();
    let Some((&width, lead)) = whole.axes().split_last().filter(|_| whole.elements() > 0 && y.shape() == whole) else {
        return sum_to(&g.mul(y)?, shape);
    };
    // How many rows after one another are added.
    let own = shape.axes().iter().rev().skip(1).chain(core::iter::repeat(&1));
    let run: usize = lead.iter().rev().zip(own).take_while(|(_, own)| **own == 1).map(|(length, _)| length).product();
    if run > MANY || shape.elements() * run != whole.elements() {
        return sum_to(&g.mul(y)?, shape);
    }
    let (g, y) = (g.contiguous()?, y.contiguous()?);
    let device = g.home();
    let mut sums = device.buffer("products", shape.elements())?;
    let (runs, size) = ((TASK / (run * width)).max(1), run * width);
    let [g, y] = [&g, &y].map(|x| x.as_slice().unwrap_or_default().chunks(runs * size));
    let tasks = sums.elements_mut().chunks_mut(runs * width).zip(g.zip(y));
    device.each(whole.elements() > WORTHWHILE, tasks, |(sums, (g, y))| {
        vectorise(Products { sums, g, y, width, size });
        Ok(())
    })?;
    Ok(CpuTensor::new(sums, shape))
}

/// Σ g y over the rows of each run, of `size` elements.
struct Products<'a, E> {
    sums: &'a mut [E],
    g: &'a [E],
    y: &'a [E],
    width: usize,
    size: usize,
}

impl<E: Float> Kernel for Products<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { sums, g, y, width, size } = self;
        for (sum, (g, y)) in sums.chunks_exact_mut(width).zip(g.chunks_exact(size).zip(y.chunks_exact(size))) {
            sum.fill(E::ZERO);
            for (g, y) in g.chunks_exact(width).zip(y.chunks_exact(width)) {
                for ((sum, &g), &y) in sum.iter_mut().zip(g).zip(y) {
                    *sum = g.fma::<FMA>(y, *sum);
                }
            }
        }
    }
}
