//! The operands of attention as heads.

use crate::buffer::Buffer;
use crate::device::{CpuDevice, WORTHWHILE};
use crate::float::Float;
use crate::prefetch::prefetch;
use crate::tensor::CpuTensor;
use crate::view::View;
use mfm_core::layout::Layout;
use mfm_core::{Result, Shape, Tensor};

/// The lengths: of queries, of keys, of q and k, of v; how many heads share a part of a buffer, and how many such parts there are.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    pub out: usize,
    pub group: usize,
    groups: usize,
}

impl Sizes {
    pub fn heads(&self) -> usize {
        self.group * self.groups
    }

    pub fn scores(&self) -> usize {
        self.queries * self.keys
    }

    pub fn worthwhile(&self) -> bool {
        self.heads() * self.scores() * (self.width + self.out) > WORTHWHILE
    }

    pub fn factor<E: Float>(&self) -> E {
        E::ONE / E::from_f64(self.width as f64).sqrt()
    }
}

/// An operand as heads.
#[derive(Clone)]
pub(super) struct Heads<E: Float>(CpuTensor<E>);

impl<E: Float> Heads<E> {
    pub fn new(x: &CpuTensor<E>) -> Result<Self> {
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

    /// Asks for the memory of head `index`.
    pub fn prefetch(&self, index: usize) {
        let Layout { shape, strides, .. } = self.0.layout();
        let &[.., tokens, width] = shape.axes() else { return };
        let lead = shape.rank() - 2;
        let at = self.0.layout().at(index * tokens * width);
        for token in 0..tokens {
            for column in (0..width).step_by(64 / size_of::<E>()) {
                prefetch(self.0.elements(), at + token * strides[lead] + column);
            }
        }
    }

    pub fn head(&self, index: usize) -> View<'_, E> {
        let layout = self.0.layout();
        let lead = layout.shape.rank() - 2;
        let at = layout.at(index * layout.shape.axes()[lead..].iter().product::<usize>());
        View::new(&self.0.elements()[at..], layout.strides[lead])
    }
}

/// q, k and v, whose shapes agree in all but the last two axes.
#[derive(Clone)]
pub(super) struct Operands<E: Float> {
    pub q: Heads<E>,
    pub k: Heads<E>,
    pub v: Heads<E>,
    pub sizes: Sizes,
    lead: Shape,
}

impl<E: Float> Operands<E> {
    /// `None` for operands that broadcast, or have nothing in them, or do not fit.
    pub fn new(inputs: &[&CpuTensor<E>]) -> Result<Option<Self>> {
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

    /// Asks for what the heads of a group need: their rows lie so far apart that the processor does not foresee them.
    pub fn prefetch(&self, group: usize) {
        for index in group * self.sizes.group..(group + 1) * self.sizes.group {
            for heads in [&self.q, &self.k, &self.v] {
                heads.prefetch(index);
            }
        }
    }

    pub fn device(&self) -> &CpuDevice<E> {
        self.q.0.home()
    }

    pub fn buffer(&self, tokens: usize, width: usize) -> Result<Buffer<E>> {
        self.device().buffer("attention", self.sizes.heads() * tokens * width)
    }

    /// A buffer whose heads alternate, as the operands' do, or follow one another.
    pub fn tensor(&self, buffer: Buffer<E>, tokens: usize, width: usize) -> Result<CpuTensor<E>> {
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
    pub fn rows<'a>(&self, part: &'a mut [E], index: usize, width: usize) -> (&'a mut [E], usize) {
        (&mut part[index * width..], self.sizes.group * width)
    }
}
