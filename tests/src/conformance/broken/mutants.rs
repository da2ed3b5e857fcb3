//! Which check must catch which fault.

use super::{BrokenDevice, Fault};
use crate::conformance::check;
use crate::conformance::failure::{Check, require};
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;

/// A check of a broken device.
pub type Examination = fn(&BrokenDevice) -> Check;

const T: Tolerances = Tolerances::F64;

/// Every fault, with a check that must fail on it.
#[rustfmt::skip]
pub fn mutants() -> Vec<(Fault, Examination)> {
    use Group::{Activate, Attention, Binary, Broadcast, Compare, Concat, Gather, GatedResidual, LayerNorm, Linear, LinearCombination};
    use Group::{Layers, LogMeanExp, MatMul, Permute, ReduceMax, ReduceSum, Reshape, ScatterAdd, Slice, Softmax, Split, SquareNorm, Unary};
    vec![
        (Fault::TanhApproximate, |d| check::values(d, &T, Unary)),
        (Fault::SigmoidOverflows, |d| check::special_unary(d, &T)),
        (Fault::ScaleInSinglePrecision, |d| check::values(d, &T, Unary)),
        (Fault::SubtractSwapped, |d| check::values(d, &T, Binary)),
        (Fault::LessEqualIsLess, |d| check::values(d, &T, Compare)),
        (Fault::NanEqualsNan, |d| check::special_compare(d, &T)),
        (Fault::SelectMultiplies, |d| check::special_select(d, &T)),
        (Fault::SelectMultiplies, |d| check::select_without_nan(d, &T)),
        (Fault::StridesForgotten, |d| check::values(d, &T, Unary)),
        (Fault::StridesForgotten, |d| check::programs(d, &T)),
        (Fault::TanhClampsBlocks, |d| check::special_unary(d, &T)),
        (Fault::ScaleByZeroIsZero, |d| check::special_unary(d, &T)),
        (Fault::NegSubtracts, |d| check::special_unary(d, &T)),
        (Fault::SelectNanIsNo, |d| check::special_select(d, &T)),
        (Fault::SumDropsLast, |d| check::values(d, &T, ReduceSum)),
        (Fault::SumDropsLast, |d| check::derivatives(d, &T, Binary)),
        (Fault::SumDropsLastOfMany, |d| check::large(d, &T)),
        (Fault::MaxStartsAtZero, |d| check::values(d, &T, ReduceMax)),
        (Fault::MaxIgnoresNan, |d| check::special_reduce(d, &T)),
        (Fault::EmptyMaxIsZero, |d| check::values(d, &T, ReduceMax)),
        (Fault::MaxIgnoresNanInBlocks, |d| check::special_reduce(d, &T)),
        (Fault::SumSkipsNanOfLong, |d| check::special_reduce(d, &T)),
        (Fault::SumInSinglePrecision, |d| check::large(d, &T)),
        (Fault::MaxCutsBlocks, |d| check::special_reduce(d, &T)),
        (Fault::BroadcastTiles, |d| check::values(d, &T, Broadcast)),
        (Fault::BroadcastTiles, |d| check::derivatives(d, &T, ReduceSum)),
        (Fault::ReshapeByColumns, |d| check::values(d, &T, Reshape)),
        (Fault::PermuteInverts, |d| check::values(d, &T, Permute)),
        (Fault::SliceOffByOne, |d| check::values(d, &T, Slice)),
        (Fault::SliceOffByOne, |d| check::derivatives(d, &T, Concat)),
        (Fault::ConcatReverses, |d| check::values(d, &T, Concat)),
        (Fault::ConcatReverses, |d| check::derivatives(d, &T, Slice)),
        (Fault::SliceOffByOne, |d| check::values(d, &T, Split)),
        (Fault::ConcatReverses, |d| check::derivatives(d, &T, Split)),
        (Fault::GatherSorts, |d| check::values(d, &T, Gather)),
        (Fault::ScatterOverwrites, |d| check::values(d, &T, ScatterAdd)),
        (Fault::ScatterOverwrites, |d| check::derivatives(d, &T, Gather)),
        (Fault::BroadcastAddsZero, |d| check::special_movement(d, &T)),
        (Fault::ConcatLosesNan, |d| check::special_movement(d, &T)),
        (Fault::GatherIsProduct, |d| check::special_movement(d, &T)),
        (Fault::ScatterIsProduct, |d| check::special_movement(d, &T)),
        (Fault::ConcatForgetsNinth, |d| check::values(d, &T, Concat)),
        (Fault::ConcatForgetsNinth, |d| check::derivatives(d, &T, Split)),
        (Fault::GatherWraps, |d| check::large(d, &T)),
        (Fault::GatherCutsIndex, |d| check::large(d, &T)),
        (Fault::SumDropsLast, |d| check::second(d, &T, Binary)),
        (Fault::MatMulIgnoresRight, |d| check::values(d, &T, MatMul)),
        (Fault::MatMulIgnoresRight, |d| check::derivatives(d, &T, MatMul)),
        (Fault::MatMulOneItem, |d| check::values(d, &T, MatMul)),
        (Fault::MatMulCutsLong, |d| check::large(d, &T)),
        (Fault::MatMulRoundsOperands, |d| check::values(d, &T, MatMul)),
        (Fault::MatMulSkipsZeros, |d| check::special_matmul(d, &T)),
        (Fault::UnaryInPlace, |d| check::sentinels(d)),
        (Fault::UnaryInPlace, |d| check::programs(d, &T)),
        (Fault::SumInAnyOrder, |d| check::repeatable(d)),
        (Fault::RecomputeIsZero, |d| check::repeatable(d)),
        (Fault::ConcatElsewhere, |d| check::devices(d)),
        (Fault::HostDropsSigns, |d| check::transfer(d, &T)),
        (Fault::HostHalvesPrecision, |d| check::transfer(d, &T)),
        (Fault::PreciseRounds, |d| check::precise(d)),
        (Fault::WorkingLosesSigns, |d| check::precise(d)),
        (Fault::FullIsZero, |d| check::creation(d)),
        (Fault::FullOverflows, |d| check::creation(d)),
        (Fault::FullInSinglePrecision, |d| check::creation(d)),
        (Fault::OptimiserAveragesBefore, |d| check::optimiser(d, &T)),
        (Fault::OptimiserForgetsEpsilon, |d| check::optimiser(d, &T)),
        (Fault::OptimiserWorksWithOld, |d| check::optimiser(d, &T)),
        (Fault::OptimiserSumsOld, |d| check::optimiser(d, &T)),
        (Fault::OptimiserInPlace, |d| check::optimiser(d, &T)),
        (Fault::OptimiserRoundsFactors, |d| check::optimiser(d, &T)),
        (Fault::SliceClamps, |d| check::errors(d)),
        (Fault::SliceClamps, |d| check::wild_arguments(d, &T)),
        (Fault::GatherClamps, |d| check::errors(d)),
        (Fault::ScatterTruncates, |d| check::errors(d)),
        (Fault::BroadcastGrows, |d| check::errors(d)),
        (Fault::ConcatWraps, |d| check::errors(d)),
        (Fault::NoiseIgnoresOffset, |d| check::noise(d, &T)),
        (Fault::NoiseCutsPairs, |d| check::noise(d, &T)),
        (Fault::NoiseIgnoresStream, |d| check::noise(d, &T)),
        (Fault::NoiseForgetsEnd, |d| check::noise(d, &T)),
        (Fault::SoftmaxWithoutMaximum, |d| check::special_hooks(d, &T)),
        (Fault::GeluApproximate, |d| check::values(d, &T, Activate)),
        (Fault::LogMeanExpForgetsMean, |d| check::values(d, &T, LogMeanExp)),
        (Fault::LayerNormAddsEpsilonLater, |d| check::values(d, &T, LayerNorm)),
        (Fault::AttentionUnscaled, |d| check::values(d, &T, Attention)),
        (Fault::LinearForgetsBias, |d| check::values(d, &T, Linear)),
        (Fault::ResidualForgetsGate, |d| check::values(d, &T, GatedResidual)),
        (Fault::SquareNormTakesRoot, |d| check::values(d, &T, SquareNorm)),
        (Fault::CombinationForgetsThird, |d| check::values(d, &T, LinearCombination)),
        (Fault::CombinationReadsAll, |d| check::values(d, &T, LinearCombination)),
        (Fault::LayersForgetFourth, |d| check::values(d, &T, Layers)),
        (Fault::HookBroadcastsBias, |d| check::errors(d)),
        (Fault::JvpDropsTangent, |d| check::faces(d, &T, Attention)),
        (Fault::JvpDropsTangent, |d| check::derivatives(d, &T, Attention)),
        (Fault::JvpDropsTangent, |d| check::program_gradients(d, &T)),
        (Fault::JvpNeedsFirst, |d| check::derivatives(d, &T, LayerNorm)),
        (Fault::JvpForgetsStretch, |d| check::faces(d, &T, Softmax)),
        (Fault::JvpForgetsStretch, |d| check::derivatives(d, &T, LayerNorm)),
        (Fault::VjpForgetsStretch, |d| check::faces(d, &T, Softmax)),
        (Fault::VjpForgetsStretch, |d| check::derivatives(d, &T, Attention)),
        (Fault::VjpDropsCotangent, |d| check::derivatives(d, &T, GatedResidual)),
        (Fault::VjpZeroCotangent, |d| check::derivatives(d, &T, Linear)),
        (Fault::VjpPacksNeeded, |d| check::derivatives(d, &T, Attention)),
        (Fault::VjpForgetsBroadcast, |d| check::derivatives(d, &T, LayerNorm)),
        (Fault::PullbackOnce, |d| check::faces(d, &T, Linear)),
        (Fault::PullbackTwice, |d| check::faces(d, &T, Linear)),
        (Fault::VjpMiddleAlone, |d| check::derivatives(d, &T, Layers)),
        (Fault::VjpMiddleAlone, |d| check::derivatives(d, &T, LinearCombination)),
        (Fault::VjpLosesNan, |d| check::special_hooks(d, &T)),
        (Fault::VjpSaturates, |d| check::special_hooks(d, &T)),
        (Fault::VjpValueWrong, |d| check::derivatives(d, &T, Activate)),
    ]
}

/// Runs every examination on its mutant. That a device without a fault passes them all, the suite itself shows.
///
/// # Errors
/// The mutants that pass.
pub fn every_mutant_is_caught() -> Check {
    let passes = |(i, (fault, examine)): (usize, (Fault, Examination))| {
        examine(&BrokenDevice::new(fault)).is_ok().then(|| format!("{fault:?} by examination {i}"))
    };
    let missed: Vec<String> = mutants().into_iter().enumerate().filter_map(passes).collect();
    require(missed.is_empty(), || format!("not caught: {}", missed.join(", ")))
}
