//! Backends with one fault each: what the suite must catch.
//!
//! They compute as the judge does, with native faces for every hook, apart from the [`Fault`]. Without one the suite passes, which
//! also shows that the faces are called.

mod hooks;
mod mutants;
mod tensor;

pub use mutants::{every_mutant_is_caught, mutants};
pub use tensor::BrokenTensor;

use super::reference::{Reference, ReferenceDevice};
use super::tolerances::Tolerances;
use mfm_core::tensor::Element;
use mfm_core::{Device, Noise, Result, Shape};
use std::cell::Cell;
use std::rc::Rc;

/// What is wrong with a backend. Each is a mistake that somebody has made somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fault {
    /// Nothing.
    None,
    // Element by element.
    TanhApproximate,
    SigmoidOverflows,
    ScaleInSinglePrecision,
    SubtractSwapped,
    LessEqualIsLess,
    NanEqualsNan,
    SelectMultiplies,
    StridesForgotten,
    TanhClampsBlocks,
    ScaleByZeroIsZero,
    NegSubtracts,
    SelectNanIsNo,
    // Reductions.
    SumDropsLast,
    SumDropsLastOfMany,
    MaxStartsAtZero,
    MaxIgnoresNan,
    EmptyMaxIsZero,
    MaxIgnoresNanInBlocks,
    SumSkipsNanOfLong,
    SumInSinglePrecision,
    MaxCutsBlocks,
    // Movement.
    BroadcastTiles,
    ReshapeByColumns,
    PermuteInverts,
    SliceOffByOne,
    ConcatReverses,
    GatherSorts,
    ScatterOverwrites,
    BroadcastAddsZero,
    ConcatLosesNan,
    GatherIsProduct,
    GatherCutsIndex,
    ScatterIsProduct,
    ConcatForgetsNinth,
    GatherWraps,
    // Products.
    MatMulIgnoresRight,
    MatMulOneItem,
    MatMulCutsLong,
    MatMulRoundsOperands,
    MatMulSkipsZeros,
    // Memory and repetition.
    UnaryInPlace,
    SumInAnyOrder,
    RecomputeIsZero,
    // Devices.
    ConcatElsewhere,
    // Host.
    HostDropsSigns,
    HostHalvesPrecision,
    PreciseRounds,
    WorkingLosesSigns,
    FullIsZero,
    FullOverflows,
    FullInSinglePrecision,
    // Errors that are not raised.
    SliceClamps,
    GatherClamps,
    ScatterTruncates,
    BroadcastGrows,
    ConcatWraps,
    // Noise.
    NoiseIgnoresOffset,
    NoiseCutsPairs,
    NoiseIgnoresStream,
    NoiseForgetsEnd,
    // The optimiser.
    OptimiserAveragesBefore,
    OptimiserForgetsEpsilon,
    /// The parameters to work with, and their sum, are those of before.
    OptimiserWorksWithOld,
    OptimiserSumsOld,
    OptimiserInPlace,
    OptimiserRoundsFactors,
    // Hooks, in all faces alike.
    SoftmaxWithoutMaximum,
    GeluApproximate,
    LogMeanExpForgetsMean,
    LayerNormAddsEpsilonLater,
    AttentionUnscaled,
    LinearForgetsBias,
    ResidualForgetsGate,
    SquareNormTakesRoot,
    CombinationForgetsThird,
    HookBroadcastsBias,
    CombinationReadsAll,
    LayersForgetFourth,
    // Hooks, in one face.
    JvpDropsTangent,
    JvpNeedsFirst,
    JvpForgetsStretch,
    VjpDropsCotangent,
    VjpZeroCotangent,
    VjpPacksNeeded,
    VjpForgetsBroadcast,
    VjpForgetsStretch,
    PullbackOnce,
    PullbackTwice,
    VjpMiddleAlone,
    VjpLosesNan,
    VjpSaturates,
    VjpValueWrong,
}

/// A device with a fault.
#[derive(Clone, Debug)]
pub struct BrokenDevice {
    fault: Fault,
    judge: ReferenceDevice,
    /// Whether this is another device than the one that was opened.
    elsewhere: bool,
    /// How many sums have been taken.
    sums: Rc<Cell<u64>>,
}

impl BrokenDevice {
    /// A device with this fault, in f64.
    pub fn new(fault: Fault) -> Self {
        Self { fault, judge: ReferenceDevice { relative: Tolerances::F64.relative }, elsewhere: false, sums: Rc::default() }
    }

    fn own(&self, value: Reference) -> BrokenTensor {
        BrokenTensor::new(self.clone(), value)
    }
}

impl Device for BrokenDevice {
    type Tensor = BrokenTensor;

    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<BrokenTensor> {
        self.judge.from_slice(values, shape).map(|value| self.own(value))
    }

    fn full(&self, value: f64, shape: Shape) -> Result<BrokenTensor> {
        let value = match self.fault {
            Fault::FullIsZero => 0.0,
            Fault::FullInSinglePrecision => f64::from(value as f32),
            Fault::FullOverflows if value.abs() > 1e30 => f64::INFINITY.copysign(value),
            _ => value,
        };
        self.judge.full(value, shape).map(|value| self.own(value))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<BrokenTensor> {
        let source = match self.fault {
            Fault::NoiseIgnoresOffset => Noise::from_seed(noise.seed()).stream(noise.stream_id()),
            Fault::NoiseCutsPairs => Noise::from_seed(noise.seed()).stream(noise.stream_id()).skip(noise.offset() & !1),
            Fault::NoiseForgetsEnd if noise.offset() > u64::MAX - 1000 => Noise::from_seed(noise.seed()).stream(noise.stream_id()),
            Fault::NoiseIgnoresStream => Noise::from_seed(noise.seed()).skip(noise.offset()),
            _ => *noise,
        };
        self.judge.normal(&source, shape).map(|value| self.own(value))
    }
}
