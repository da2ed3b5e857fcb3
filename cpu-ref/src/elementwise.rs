//! Element-wise functions of one and two operands.

use crate::device::WORTHWHILE;
use crate::float::Float;
use crate::math::double::system;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::{Piece, Pieces, TASK, Walk, stride_along};
use crate::workers::Shareable;
use alloc::borrow::Cow;
use mfm_core::tensor::{Binary, Compare, Tensor, Unary};
use mfm_core::{Result, Shape};

/// A function of one number. `at` must be `#[inline(always)]`.
pub(crate) trait Map1<E>: Copy + Sync {
    fn at<const FMA: bool>(self, x: E) -> E;
}

/// A function of two numbers. `at` must be `#[inline(always)]`.
pub(crate) trait Map2<E>: Copy + Sync {
    fn at<const FMA: bool>(self, a: E, b: E) -> E;
}

/// A zero-sized function: its name, its operands, its value.
macro_rules! function {
    ($trait:ident $name:ident($($x:ident),*) = $value:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl<E: Float> $trait<E> for $name {
            #[inline(always)]
            fn at<const FMA: bool>(self, $($x: E),*) -> E {
                $value
            }
        }
    };
}
pub(crate) use function;

function!(Map1 Neg(x) = -x);
function!(Map1 Abs(x) = x.abs());
function!(Map1 Exp(x) = x.exp::<FMA>());
function!(Map1 Log(x) = x.ln::<FMA>());
function!(Map1 Sqrt(x) = x.sqrt());
function!(Map1 Recip(x) = E::ONE / x);
function!(Map1 Square(x) = x * x);
function!(Map1 Sine(x) = x.sine::<FMA>());
function!(Map1 Cosine(x) = x.cosine::<FMA>());
function!(Map1 Tanh(x) = x.tanh::<FMA>());
function!(Map1 Sigmoid(x) = x.sigmoid::<FMA>());
function!(Map2 Add(a, b) = a + b);
function!(Map2 Sub(a, b) = a - b);
function!(Map2 Mul(a, b) = a * b);
function!(Map2 Div(a, b) = a / b);
function!(Map2 Equal(a, b) = if a == b { E::ONE } else { E::ZERO });
function!(Map2 Less(a, b) = if a < b { E::ONE } else { E::ZERO });
function!(Map2 LessEqual(a, b) = if a <= b { E::ONE } else { E::ZERO });

#[derive(Clone, Copy)]
struct Scale<E>(E);
impl<E: Float> Map1<E> for Scale<E> {
    #[inline(always)]
    fn at<const FMA: bool>(self, x: E) -> E {
        x * self.0
    }
}

#[derive(Clone, Copy)]
struct Shift<E>(E);
impl<E: Float> Map1<E> for Shift<E> {
    #[inline(always)]
    fn at<const FMA: bool>(self, x: E) -> E {
        x + self.0
    }
}

/// out = f(x), element by element.
struct Loop1<'a, E, F> {
    out: &'a mut [E],
    x: &'a [E],
    f: F,
}

impl<E: Float, F: Map1<E>> Kernel for Loop1<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = self.f.at::<FMA>(x);
        }
    }
}

/// The element-wise `f` of a slice.
pub(crate) fn map_slice<E: Float, F: Map1<E>>(out: &mut [E], x: &[E], f: F) {
    vectorise(Loop1 { out, x, f });
}

/// The element-wise `f`; the result keeps the order in which the operand lies in its buffer.
pub(crate) fn map1<E: Float, F: Map1<E>>(op: &'static str, x: &CpuTensor<E>, f: F) -> Result<CpuTensor<E>> {
    along_buffer(op, x, |out, x| map_slice(out, x, f))
}

/// Applies a function of slices to the elements that a tensor stores.
fn along_buffer<E: Float>(op: &'static str, x: &CpuTensor<E>, f: impl Fn(&mut [E], &[E]) + Shareable) -> Result<CpuTensor<E>> {
    let whole;
    let x = if x.layout().is_dense() {
        x
    } else {
        whole = x.contiguous()?;
        &whole
    };
    let range = x.layout().range();
    let source = &x.elements()[range];
    let mut buffer = x.home().buffer(op, source.len())?;
    let parts = buffer.elements_mut().chunks_mut(TASK).zip(source.chunks(TASK));
    x.home().each(source.len() > WORTHWHILE, parts, |(out, x)| {
        f(out, x);
        Ok(())
    })?;
    let mut layout = *x.layout();
    layout.offset = 0;
    Ok(CpuTensor::with_layout(buffer, layout))
}

/// As [`mfm_core::Tensor::unary`].
pub(crate) fn unary<E: Float>(x: &CpuTensor<E>, op: Unary) -> Result<CpuTensor<E>> {
    match op {
        Unary::Neg => map1("neg", x, Neg),
        Unary::Abs => map1("abs", x, Abs),
        Unary::Exp => map1("exp", x, Exp),
        Unary::Log => map1("log", x, Log),
        Unary::Sqrt => map1("sqrt", x, Sqrt),
        Unary::Recip => map1("recip", x, Recip),
        Unary::Square => map1("square", x, Square),
        Unary::Sin => along_buffer("sin", x, |out, x| periodic(out, x, Sine, system::sin)),
        Unary::Cos => along_buffer("cos", x, |out, x| periodic(out, x, Cosine, system::cos)),
        Unary::Tanh => map1("tanh", x, Tanh),
        Unary::Sigmoid => map1("sigmoid", x, Sigmoid),
        Unary::Scale(c) => map1("scale", x, Scale(E::from_f64(c))),
        Unary::Shift(c) => map1("shift", x, Shift(E::from_f64(c))),
    }
}

/// The sine or cosine `f`, and the system's for arguments beyond its limit.
fn periodic<E: Float, F: Map1<E>>(out: &mut [E], x: &[E], f: F, system: fn(f64) -> f64) {
    map_slice(out, x, f);
    for (out, &x) in out.iter_mut().zip(x) {
        // Also NaN is not below the limit.
        let moderate = x.abs() <= E::SINE_LIMIT;
        if !moderate {
            *out = E::from_f64(system(x.to_f64()));
        }
    }
}

/// What one step along a row finds: the next element, or the same one.
pub(crate) trait Source<E>: Copy {
    fn get(self, index: usize) -> E;
}

/// A row of elements.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a, E>(pub &'a [E]);
impl<E: Float> Source<E> for Row<'_, E> {
    #[inline(always)]
    fn get(self, index: usize) -> E {
        self.0[index]
    }
}

/// One element for the whole row.
#[derive(Clone, Copy)]
pub(crate) struct Same<E>(pub E);
impl<E: Float> Source<E> for Same<E> {
    #[inline(always)]
    fn get(self, _: usize) -> E {
        self.0
    }
}

/// The rows of a piece, of two operands.
struct Loop2<'a, E, F> {
    piece: Piece<'a, E>,
    walk: &'a Walk<2>,
    a: &'a [E],
    b: &'a [E],
    f: F,
}

impl<E: Float, F: Map2<E>> Kernel for Loop2<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { piece, walk, a, b, f } = self;
        let (width, column) = (piece.width, piece.column);
        let steps = walk.steps();
        for (r, out) in piece.out.chunks_exact_mut(width).enumerate() {
            let [i, j] = walk.row(piece.row + r);
            let span = |at: usize| at + column..at + column + width;
            match steps {
                [0, 0] => out.fill(f.at::<FMA>(a[i], b[j])),
                [0, _] => row2::<FMA, E, F>(out, Same(a[i]), Row(&b[span(j)]), f),
                [_, 0] => row2::<FMA, E, F>(out, Row(&a[span(i)]), Same(b[j]), f),
                [_, _] => row2::<FMA, E, F>(out, Row(&a[span(i)]), Row(&b[span(j)]), f),
            }
        }
    }
}

#[inline(always)]
fn row2<const FMA: bool, E: Float, F: Map2<E>>(out: &mut [E], a: impl Source<E>, b: impl Source<E>, f: F) {
    for (index, out) in out.iter_mut().enumerate() {
        *out = f.at::<FMA>(a.get(index), b.get(index));
    }
}

/// `x` as an operand of something of `shape`: itself, or a copy if its elements along a row neither follow one another nor are the same.
pub(crate) fn operand<E: Float>(x: &CpuTensor<E>, shape: Shape) -> Result<Cow<'_, CpuTensor<E>>> {
    let row = shape.axes().iter().rposition(|length| *length != 1);
    let step = row.map_or(0, |axis| stride_along(x.layout(), shape, axis));
    Ok(if step <= 1 { Cow::Borrowed(x) } else { Cow::Owned(x.contiguous()?) })
}

/// The element-wise `f` of two operands that broadcast.
pub(crate) fn map2<E: Float, F: Map2<E>>(op: &'static str, a: &CpuTensor<E>, b: &CpuTensor<E>, f: F) -> Result<CpuTensor<E>> {
    let shape = a.shape().broadcast(&b.shape(), op)?;
    let (a, b) = (operand(a, shape)?, operand(b, shape)?);
    let elements = shape.elements();
    let mut buffer = a.home().buffer(op, elements)?;
    let walk = Walk::new(shape, [a.layout(), b.layout()]);
    let (x, y) = (a.elements(), b.elements());
    let pieces = Pieces::new(buffer.elements_mut(), walk.width());
    a.home().each(elements > WORTHWHILE, pieces, |piece| {
        vectorise(Loop2 { piece, walk: &walk, a: x, b: y, f });
        Ok(())
    })?;
    Ok(CpuTensor::new(buffer, shape))
}

/// As [`mfm_core::Tensor::binary`].
pub(crate) fn binary<E: Float>(a: &CpuTensor<E>, op: Binary, b: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    match op {
        Binary::Add => map2("add", a, b, Add),
        Binary::Sub => map2("sub", a, b, Sub),
        Binary::Mul => map2("mul", a, b, Mul),
        Binary::Div => map2("div", a, b, Div),
    }
}

/// As [`mfm_core::Tensor::compare`].
pub(crate) fn compare<E: Float>(a: &CpuTensor<E>, op: Compare, b: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    match op {
        Compare::Equal => map2("equal", a, b, Equal),
        Compare::Less => map2("less", a, b, Less),
        Compare::LessEqual => map2("less_equal", a, b, LessEqual),
    }
}
