//! The non-linearities: value and slope.

use crate::elementwise::{Map1, Map2, map1, map2};
use crate::float::Float;
use crate::fused::{Pulled, Pushed};
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::tensor::Activation;
use mfm_core::{Result, Tensor};

/// A non-linearity. Its functions must be `#[inline(always)]`.
pub(crate) trait Nonlinear<E>: Copy + Sync {
    fn value<const FMA: bool>(self, z: E) -> E;
    fn slope<const FMA: bool>(self, z: E) -> E;
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;
impl<E: Float> Nonlinear<E> for Identity {
    #[inline(always)]
    fn value<const FMA: bool>(self, z: E) -> E {
        z
    }

    #[inline(always)]
    fn slope<const FMA: bool>(self, _: E) -> E {
        E::ONE
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;
impl<E: Float> Nonlinear<E> for Silu {
    #[inline(always)]
    fn value<const FMA: bool>(self, z: E) -> E {
        z / (E::ONE + (-z).exp::<FMA>())
    }

    #[inline(always)]
    fn slope<const FMA: bool>(self, z: E) -> E {
        let s = z.sigmoid::<FMA>();
        s * z.fma::<FMA>(E::ONE - s, E::ONE)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;
impl<E: Float> Nonlinear<E> for Tanh {
    #[inline(always)]
    fn value<const FMA: bool>(self, z: E) -> E {
        z.tanh::<FMA>()
    }

    #[inline(always)]
    fn slope<const FMA: bool>(self, z: E) -> E {
        let t = z.tanh::<FMA>();
        (-t).fma::<FMA>(t, E::ONE)
    }
}

/// z sigmoid(2 u), u = √(2/π)(z + 0.044715 z³).
#[derive(Clone, Copy)]
pub(crate) struct Gelu<E> {
    linear: E,
    cubic: E,
}

impl<E: Float> Gelu<E> {
    fn new() -> Self {
        let linear = 2.0 * libm::sqrt(core::f64::consts::FRAC_2_PI);
        Self { linear: E::from_f64(linear), cubic: E::from_f64(0.044715 * linear) }
    }
}

impl<E: Float> Nonlinear<E> for Gelu<E> {
    #[inline(always)]
    fn value<const FMA: bool>(self, z: E) -> E {
        let twice_u = (z * z).fma::<FMA>(self.cubic, self.linear) * z;
        z * twice_u.sigmoid::<FMA>()
    }

    #[inline(always)]
    fn slope<const FMA: bool>(self, z: E) -> E {
        let square = z * z;
        let s = (square.fma::<FMA>(self.cubic, self.linear) * z).sigmoid::<FMA>();
        let slope = square.fma::<FMA>(self.cubic + self.cubic + self.cubic, self.linear);
        s * (z * slope).fma::<FMA>(E::ONE - s, E::ONE)
    }
}

/// Calls a generic function with the type of an activation.
macro_rules! with_activation {
    ($activation:expr, $name:ident => $body:expr) => {
        match $activation {
            mfm_core::tensor::Activation::Identity => {
                let $name = $crate::fused::activation::Identity;
                $body
            }
            mfm_core::tensor::Activation::Silu => {
                let $name = $crate::fused::activation::Silu;
                $body
            }
            mfm_core::tensor::Activation::Gelu => {
                let $name = $crate::fused::activation::Gelu::<E>::new();
                $body
            }
            mfm_core::tensor::Activation::Tanh => {
                let $name = $crate::fused::activation::Tanh;
                $body
            }
        }
    };
}

/// z = act(z + bias) in rows as long as the bias.
struct Finish<'a, E, A> {
    z: &'a mut [E],
    bias: Option<&'a [E]>,
    activation: A,
}

impl<E: Float, A: Nonlinear<E>> Kernel for Finish<'_, E, A> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match self.bias {
            Some(bias) => {
                for row in self.z.chunks_exact_mut(bias.len()) {
                    for (z, &b) in row.iter_mut().zip(bias) {
                        *z = self.activation.value::<FMA>(*z + b);
                    }
                }
            }
            None => {
                for z in self.z.iter_mut() {
                    *z = self.activation.value::<FMA>(*z);
                }
            }
        }
    }
}

/// z += bias, y = act(z), then z = act′(z), in rows as long as the bias.
struct Keep<'a, E, A> {
    z: &'a mut [E],
    y: &'a mut [E],
    bias: Option<&'a [E]>,
    activation: A,
}

impl<E: Float, A: Nonlinear<E>> Keep<'_, E, A> {
    /// Both at once, so that they share their exponential.
    #[inline(always)]
    fn at<const FMA: bool>(activation: A, z: &mut E, y: &mut E, bias: E) {
        let x = *z + bias;
        *y = activation.value::<FMA>(x);
        *z = activation.slope::<FMA>(x);
    }
}

impl<E: Float, A: Nonlinear<E>> Kernel for Keep<'_, E, A> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Some(bias) = self.bias else {
            for (z, y) in self.z.iter_mut().zip(self.y) {
                Self::at::<FMA>(self.activation, z, y, E::ZERO);
            }
            return;
        };
        for (row, y) in self.z.chunks_exact_mut(bias.len()).zip(self.y.chunks_exact_mut(bias.len())) {
            for ((z, &b), y) in row.iter_mut().zip(bias).zip(y) {
                Self::at::<FMA>(self.activation, z, y, b);
            }
        }
    }
}

/// out = g slope, and adds its rows to `sum`.
struct Slope<'a, E> {
    out: &'a mut [E],
    g: &'a [E],
    slope: &'a [E],
    sum: Option<&'a mut [E]>,
    width: usize,
}

impl<E: Float> Kernel for Slope<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Some(sum) = self.sum else {
            for ((out, &g), &slope) in self.out.iter_mut().zip(self.g).zip(self.slope) {
                *out = g * slope;
            }
            return;
        };
        let rows = self.out.chunks_exact_mut(self.width).zip(self.g.chunks_exact(self.width)).zip(self.slope.chunks_exact(self.width));
        for ((out, g), slope) in rows {
            for (((out, &g), &slope), sum) in out.iter_mut().zip(g).zip(slope).zip(sum.iter_mut()) {
                *out = g * slope;
                *sum += *out;
            }
        }
    }
}

/// z = act(z + bias) in rows.
pub(crate) fn finish<E: Float>(activation: Activation, z: &mut [E], bias: Option<&[E]>) {
    if z.is_empty() || (activation == Activation::Identity && bias.is_none()) {
        return;
    }
    with_activation!(activation, activation => vectorise(Finish { z, bias, activation }));
}

/// z += bias, y = act(z), then z = act′(z), in rows.
pub(crate) fn keep<E: Float>(activation: Activation, z: &mut [E], y: &mut [E], bias: Option<&[E]>) {
    if !z.is_empty() {
        with_activation!(activation, activation => vectorise(Keep { z, y, bias, activation }));
    }
}

/// out = g slope in rows of `width`, which are added to `sum`.
pub(crate) fn multiply<E: Float>(out: &mut [E], g: &[E], slope: &[E], sum: Option<&mut [E]>, width: usize) {
    if !out.is_empty() {
        vectorise(Slope { out, g, slope, sum, width });
    }
}

/// An activation as a function of one number.
#[derive(Clone, Copy)]
struct Value<A>(A);
impl<E: Float, A: Nonlinear<E>> Map1<E> for Value<A> {
    #[inline(always)]
    fn at<const FMA: bool>(self, x: E) -> E {
        self.0.value::<FMA>(x)
    }
}

/// g act′(x).
#[derive(Clone, Copy)]
struct Pull<A>(A);
impl<E: Float, A: Nonlinear<E>> Map2<E> for Pull<A> {
    #[inline(always)]
    fn at<const FMA: bool>(self, g: E, x: E) -> E {
        g * self.0.slope::<FMA>(x)
    }
}

/// act(x).
pub(crate) fn value<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let [x] = inputs else { return Ok(None) };
    let y = match activation {
        Activation::Identity => (*x).clone(),
        _ => with_activation!(activation, f => map1("activate", x, Value(f))?),
    };
    Ok(Some(y))
}

fn product_with_slope<E: Float>(activation: Activation, g: &CpuTensor<E>, x: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    match activation {
        Activation::Identity => Ok(g.clone()),
        _ => with_activation!(activation, f => map2("activate", g, x, Pull(f))),
    }
}

/// act(x) with its pullback.
pub(crate) fn vjp<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>]) -> Result<Pulled<E>> {
    let (Some(y), [x]) = (value(activation, inputs)?, inputs) else { return Ok(None) };
    let x = (*x).clone();
    Ok(Some((y, Box::new(move |g| Ok(vec![Some(product_with_slope(activation, g, &x)?)])))))
}

/// act(x) with its tangent.
pub(crate) fn jvp<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some(y), [x], [Some(tangent)]) = (value(activation, inputs)?, inputs, tangents) else { return Ok(None) };
    if tangent.shape() != x.shape() {
        return Ok(None);
    }
    Ok(Some((y, product_with_slope(activation, tangent, x)?)))
}
