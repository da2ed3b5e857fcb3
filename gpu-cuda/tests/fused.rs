//! Hooks that do several things in one pass, on the emulated driver: in how few kernels, and the same numbers as in several.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{alone, shape};
use mfm_core::tensor::{Activation, Fused};
use mfm_core::{Device, Noise, Operations, Result, Tensor};
use mfm_cuda_emulator::{Machine, configure, launches, refuse_epilogue, refuse_epilogues};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, Epilogues, Options, Precision};

fn device(precision: Precision, cublaslt: bool) -> CudaDevice {
    CudaDevice::with_options(0, Options { precision, cublaslt, ..Options::default() }).unwrap()
}

fn normal(device: &CudaDevice, seed: u64, axes: &[usize]) -> CudaTensor {
    device.normal(&Noise::new(seed), shape(axes)).unwrap()
}

/// The same numbers, contiguous too, from an address on that no vector begins at.
fn shifted(x: &CudaTensor) -> Result<CudaTensor> {
    let n = x.shape().elements();
    let room = x.device().zeros(shape(&[1]))?;
    CudaTensor::concat(&[&room, &x.reshape(shape(&[n]))?], 0)?.slice(0, 1, n)?.reshape(x.shape())
}

/// What a hook and its pullback give, and how many kernels each ran.
fn pull(op: &Fused, inputs: &[&CudaTensor], g: &CudaTensor) -> Result<(Vec<Option<CudaTensor>>, [i32; 2])> {
    let device = g.device();
    let count = || device.sync().map(|()| launches());
    let start = count()?;
    let (y, pullback) = CudaTensor::fused_vjp(op, inputs, &vec![true; inputs.len()])?.unwrap();
    let middle = count()?;
    let mut all = pullback(g)?;
    let end = count()?;
    all.insert(0, Some(y));
    Ok((all, [middle - start, end - middle]))
}

/// Checks that two lists of tensors agree to `tolerance` of the largest number of each.
fn agree(a: &[Option<CudaTensor>], b: &[Option<CudaTensor>], tolerance: f64) -> Result<()> {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b).map(|(a, b)| (a.as_ref().unwrap(), b.as_ref().unwrap())) {
        assert_eq!(a.shape(), b.shape());
        let (a, b) = (a.to_vec::<f64>()?, b.to_vec::<f64>()?);
        let scale = b.iter().fold(0.0, |most: f64, b| most.max(b.abs()));
        // NaN is not close to anything.
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * scale;
        let wrong = a.iter().zip(&b).position(|pair| !close(pair));
        assert!(wrong.is_none() && scale > 0.0, "element {wrong:?} of {scale}");
    }
    Ok(())
}

/// In large products in bf16 cuBLASLt adds the bias, applies GELU, keeps what goes into it and sums the gradient of the bias; in others it adds the bias
/// alone, if all sizes are whole vectors.
#[test]
fn the_rest_of_a_linear_layer_goes_with_its_products() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        for (rows, inner, out) in [(512, 8, 128), (512, 8, 132), (8, 8, 16), (6, 8, 16), (8, 8, 5)] {
            let layer = |device: &CudaDevice, activation, biased: bool| {
                let (x, w, b) = (normal(device, 1, &[rows, inner]), normal(device, 2, &[out, inner]), normal(device, 3, &[out]));
                let inputs: &[&CudaTensor] = if biased { &[&x, &w, &b] } else { &[&x, &w] };
                pull(&Fused::Linear { activation }, inputs, &normal(device, 4, &[rows, out]))
            };
            let [with, without] = [true, false].map(|cublaslt| device(precision, cublaslt));
            assert!(with.has_cublaslt());
            let tolerance = if precision == Precision::F32 { 2e-6 } else { 1e-2 };
            // Those of a sum over the rows.
            let before = launches();
            normal(&with, 4, &[rows, out]).sum(0)?.to_vec::<f32>()?;
            let sums = launches() - before - 1;
            for activation in [Activation::Identity, Activation::Gelu, Activation::Silu] {
                if rows * out >= 1 << 16 && activation == Activation::Silu {
                    continue;
                }
                for biased in [true, false] {
                    let (found, kernels) = layer(&with, activation, biased)?;
                    agree(&found, &layer(&without, activation, biased)?.0, tolerance)?;
                    let vector = if precision == Precision::Bf16 { 8 } else { 4 };
                    let fits = [rows, inner, out].iter().all(|size| size % vector == 0);
                    let is_whole = fits && precision == Precision::Bf16 && rows * out >= 1 << 16;
                    let forward = match activation {
                        Activation::Gelu if is_whole => 0,
                        Activation::Identity => i32::from(biased && !fits),
                        _ => 1,
                    };
                    let backward = i32::from(activation != Activation::Identity) + if biased && !is_whole { sums } else { 0 };
                    assert_eq!(kernels, [forward, backward], "{precision:?} {activation:?} {biased} {rows} {out}");
                }
            }
        }
    }
    Ok(())
}

/// Between two layers the slope of GELU, and the gradient of the bias before it, go with the product that pulls back through the second, in large products in
/// bf16; whatever is needed of the layers, the gradients are those of one layer after another.
#[test]
fn the_slope_between_layers_goes_with_their_product() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    const ROWS: usize = 512;
    for (precision, tolerance, is_whole) in [(Precision::F32, 1e-5, false), (Precision::Bf16, 3e-2, true)] {
        let [device, plain] = [true, false].map(|cublaslt| device(precision, cublaslt));
        let x = normal(&device, 1, &[ROWS, 8]);
        let widths = [8, 128, 16, 8];
        let of = |seed: u64, axes: &[usize]| normal(&device, seed, axes).scale(1.0 / (axes.last().copied().unwrap_or(1) as f64).sqrt());
        let weights = (0..3).map(|i| of(10 + i as u64, &[widths[i + 1], widths[i]])).collect::<Result<Vec<_>>>()?;
        let biases = (0..3).map(|i| of(20 + i as u64, &[widths[i + 1]])).collect::<Result<Vec<_>>>()?;
        for (between, count) in
            [(Activation::Gelu, 2), (Activation::Gelu, 3), (Activation::Silu, 3), (Activation::Identity, 2), (Activation::Gelu, 1)]
        {
            let g = normal(&device, 4, &[ROWS, widths[count]]);
            let parameters: Vec<&CudaTensor> = weights.iter().zip(&biases).take(count).flat_map(|(w, b)| [w, b]).collect();
            let inputs: Vec<&CudaTensor> = core::iter::once(&x).chain(parameters).collect();
            let op = Fused::Layers { between, last: Activation::Tanh };
            let (found, kernels) = pull(&op, &inputs, &g)?;
            // One after another, without cuBLASLt.
            let tape = mfm_core::autodiff::Tape::new();
            let here = |x: &CudaTensor| plain.from_slice(&x.to_vec::<f32>()?, x.shape());
            let variables = inputs.iter().map(|&input| Ok(tape.variable(here(input)?))).collect::<Result<Vec<_>>>()?;
            let mut y = variables[0].clone();
            for (i, layer) in variables[1..].chunks(2).enumerate() {
                let activation = if i + 1 < count { between } else { Activation::Tanh };
                y = y.linear(&layer[0], Some(&layer[1]), activation)?;
            }
            let gradients = tape.backward(&y, here(&g)?)?;
            let mut wanted = vec![Some(y.value().clone())];
            for variable in &variables {
                wanted.push(Some(gradients.of(variable)?));
            }
            agree(&found, &wanted, tolerance)?;
            if is_whole && between == Activation::Gelu && count == 2 {
                // The last activation's slope, and the sum of the last bias in two; the first layer's cost nothing.
                assert_eq!(kernels[1], 3, "{precision:?}");
            }
            if count > 2 || between != Activation::Gelu {
                continue;
            }
            for mask in 0..1 << inputs.len() {
                let needed: Vec<bool> = (0..inputs.len()).map(|k| mask >> k & 1 == 1).collect();
                let some = CudaTensor::fused_vjp(&op, &inputs, &needed)?.unwrap().1(&g)?;
                assert_eq!(some.len(), inputs.len());
                for ((some, all), needed) in some.iter().zip(&found[1..]).zip(&needed) {
                    assert_eq!(some.is_some(), *needed, "{op:?} {mask:b}");
                    if let Some(some) = some {
                        agree(&[Some(some.clone())], core::slice::from_ref(all), tolerance)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What cuBLASLt refuses, whenever it says so, kernels of our own do.
#[test]
fn epilogues_that_are_refused() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    // A plan is kept as long as the GPU is open: each case has rows of its own.
    let layer = |device: &CudaDevice, rows: usize| {
        let (x, w, b) = (normal(device, 1, &[rows, 8]), normal(device, 2, &[128, 8]), normal(device, 3, &[128]));
        pull(&Fused::Linear { activation: Activation::Gelu }, &[&x, &w, &b], &normal(device, 4, &[rows, 128]))
    };
    let both = |device: &CudaDevice, rows: usize| {
        let of = |seed, axes: &[usize]| normal(device, seed, axes);
        let (x, first, second) = (of(1, &[rows, 8]), (of(2, &[128, 8]), of(3, &[128])), (of(5, &[16, 128]), of(6, &[16])));
        let op = Fused::Layers { between: Activation::Gelu, last: Activation::Identity };
        pull(&op, &[&x, &first.0, &first.1, &second.0, &second.1], &of(4, &[rows, 16]))
    };
    for (case, (late, code)) in [false, true].into_iter().flat_map(|late| [7, 8, 13, 14, 15].map(|code| (late, code))).enumerate() {
        let rows = 512 + 8 * case;
        refuse_epilogues(code, late);
        let outcome = layer(&device(Precision::Bf16, true), rows);
        refuse_epilogues(0, false);
        let (found, kernels) = outcome?;
        agree(&found, &layer(&device(Precision::Bf16, false), rows)?.0, 1e-2)?;
        refuse_epilogues(code, late);
        let outcome = both(&device(Precision::Bf16, true), rows);
        refuse_epilogues(0, false);
        agree(&outcome?.0, &both(&device(Precision::Bf16, false), rows)?.0, 1e-2)?;
        assert_eq!(kernels, [1, 3], "the bias and GELU in one, a slope, a sum in two: {code} {late}");
    }
    // The slope with sums is refused, and that without is offered: the sum goes with the gradient of the weights then.
    const SLOPE_WITH_SUMS: u32 = 64 | 128 | 16;
    for (case, late) in [false, true].into_iter().enumerate() {
        let rows = 1024 + 8 * case;
        refuse_epilogue(15, late, SLOPE_WITH_SUMS);
        let outcome = both(&device(Precision::Bf16, true), rows);
        refuse_epilogues(0, false);
        let (found, kernels) = outcome?;
        agree(&found, &both(&device(Precision::Bf16, false), rows)?.0, 1e-2)?;
        assert_eq!(kernels[1], both(&device(Precision::Bf16, true), rows + 256)?.1[1], "{late}");
    }
    Ok(())
}

/// Each can be done without, and before compute capability 9.0 cuBLASLt adds the bias alone.
#[test]
fn epilogues_that_are_not_asked_for() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let kernels = |epilogues: Epilogues| -> Result<_> {
        let device = CudaDevice::with_options(0, Options { precision: Precision::Bf16, epilogues, ..Options::default() }).unwrap();
        let of = |seed, axes: &[usize]| normal(&device, seed, axes);
        let (x, first, second) = (of(1, &[512, 8]), (of(2, &[128, 8]), of(3, &[128])), (of(5, &[128, 128]), of(6, &[128])));
        let op = Fused::Layers { between: Activation::Gelu, last: Activation::Identity };
        Ok(pull(&op, &[&x, &first.0, &first.1, &second.0, &second.1], &of(4, &[512, 128]))?.1)
    };
    let all = Epilogues::ALL;
    assert_eq!(kernels(all)?, [0, 0]);
    assert_eq!(kernels(Epilogues { gelu: false, ..all })?, [1, 0]);
    assert_eq!(kernels(Epilogues { slope: false, ..all })?, [0, 1]);
    assert_eq!(kernels(Epilogues { sums: false, ..all })?, [0, 2]);
    assert_eq!(kernels(Epilogues { bias: false, ..all })?, [1, 0]);
    assert_eq!(kernels(Epilogues::NONE)?, [2, 5]);
    configure(Machine { capability: 89, ..Machine::default() });
    assert_eq!(kernels(all)?, [1, 5]);
    Ok(())
}

/// Scale, shift and gate of a batch entry serve all its tokens: their gradients are summed by the kernel that makes the others, and a second one adds parts.
#[test]
fn the_gradients_of_a_modulation_are_summed_on_the_way() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for precision in [Precision::F32, Precision::Bf16] {
        let device = device(precision, true);
        let tolerance = if precision == Precision::F32 { 2e-6 } else { 1e-2 };
        for (whole, shared) in [
            (&[3, 70, 24][..], &[3, 1, 24][..]),
            (&[2, 9, 1152], &[2, 1, 1152]),
            (&[5, 4, 16], &[16]),
            (&[2, 3, 4, 8], &[2, 1, 1, 8]),
            (&[2, 3, 4, 8], &[2, 3, 1, 8]),
            (&[7, 520], &[1, 520]),
        ] {
            let [x, g, branch] = [1, 2, 3].map(|seed| normal(&device, seed, whole));
            // As parts of a row of parameters, like the modulation of a transformer's block.
            let last = shared.len() - 1;
            let mut wide = shared.to_vec();
            wide[last] *= 3;
            let row = normal(&device, 4, &wide);
            let part = |k: usize| row.slice(last, k * shared[last], shared[last]);
            let (scale, shift, gate) = (part(0)?, part(1)?, part(2)?);

            let norm = Fused::LayerNorm { epsilon: 1e-6 };
            let (found, kernels) = pull(&norm, &[&x, &scale, &shift], &g)?;
            assert_eq!(kernels, [1, 2], "layer norm of {whole:?}");
            let (wanted, more) = pull(&norm, &[&shifted(&x)?, &scale, &shift], &g)?;
            assert!(more[1] > 2);
            agree(&found, &wanted, tolerance)?;

            let (found, kernels) = pull(&Fused::GatedResidual, &[&x, &gate, &branch], &g)?;
            assert_eq!(kernels, [1, 2], "gated residual of {whole:?}");
            let (wanted, more) = pull(&Fused::GatedResidual, &[&x, &gate, &shifted(&branch)?], &g)?;
            assert!(more[1] > 2);
            agree(&found, &wanted, tolerance)?;
        }
    }
    Ok(())
}

/// More parts than are added up at once go by runs.
#[test]
fn many_rows_share_one() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let device = device(Precision::F32, true);
    let (rows, width) = (33_000, 4);
    let (x, g) = (normal(&device, 1, &[rows, width]), normal(&device, 2, &[rows, width]));
    let [scale, shift] = [3, 4].map(|seed| normal(&device, seed, &[width]));
    let (found, kernels) = pull(&Fused::LayerNorm { epsilon: 1e-6 }, &[&x, &scale, &shift], &g)?;
    assert_eq!(kernels, [1, 3]);
    let (found, g) = (found[3].as_ref().unwrap().to_vec::<f64>()?, g.to_vec::<f64>()?);
    for (column, found) in found.iter().enumerate() {
        let all = || g.iter().skip(column).step_by(width);
        let (sum, size) = (all().sum::<f64>(), all().map(|g| g.abs()).sum::<f64>());
        assert!((found - sum).abs() <= 2e-6 * size, "{found} for {sum}");
    }
    Ok(())
}

/// What is not asked for is not made, and what remains is the same.
#[test]
fn gradients_that_are_not_needed_are_missing() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let device = device(Precision::F32, true);
    let (x, g) = (normal(&device, 1, &[2, 5, 8]), normal(&device, 2, &[2, 5, 8]));
    let [scale, shift] = [3, 4].map(|seed| normal(&device, seed, &[2, 1, 8]));
    for op in [Fused::LayerNorm { epsilon: 1e-6 }, Fused::GatedResidual] {
        let inputs = match op {
            Fused::GatedResidual => [&x, &scale, &x],
            _ => [&x, &scale, &shift],
        };
        let all = CudaTensor::fused_vjp(&op, &inputs, &[true; 3])?.unwrap().1(&g)?;
        for mask in 0..7 {
            let needed = [0, 1, 2].map(|k| mask >> k & 1 == 1);
            let some = CudaTensor::fused_vjp(&op, &inputs, &needed)?.unwrap().1(&g)?;
            for ((some, all), needed) in some.iter().zip(&all).zip(needed) {
                assert_eq!(some.is_some(), needed, "{op:?} {needed:?}");
                if let Some(some) = some {
                    assert_eq!(some.to_vec::<f32>()?, all.as_ref().unwrap().to_vec::<f32>()?);
                }
            }
        }
    }
    Ok(())
}

/// Heads are parts of one product's rows, and so are their gradients: what joins these again is a view.
#[test]
fn the_gradients_of_heads_lie_side_by_side() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for precision in [Precision::F32, Precision::Bf16] {
        let device = device(precision, true);
        let (batch, tokens, heads, width) = (2, 5, 3, 16);
        let rows = normal(&device, 1, &[batch, tokens, 3, heads, width]);
        let apart = |x: &CudaTensor| x.reshape(shape(&[batch, tokens, heads, width]))?.permute(&[0, 2, 1, 3]);
        let part = |k: usize| apart(&rows.slice(2, k, 1)?);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let g = apart(&normal(&device, 2, &[batch, tokens, heads, width]))?;
        let (found, kernels) = pull(&Fused::Attention, &[&q, &k, &v], &g)?;
        assert_eq!(kernels, [1, 2]);
        let join = |all: &[Option<CudaTensor>]| -> Result<CudaTensor> {
            let part = |x: &CudaTensor| x.permute(&[0, 2, 1, 3])?.reshape(shape(&[batch, tokens, 1, heads, width]));
            let parts = all[1..].iter().map(|x| part(x.as_ref().unwrap())).collect::<Result<Vec<_>>>()?;
            CudaTensor::concat(&parts.iter().collect::<Vec<_>>(), 2)?.contiguous()
        };
        let before = launches();
        let joined = join(&found)?;
        device.sync()?;
        assert_eq!(launches(), before, "nothing is copied");
        let (wanted, _) = pull(&Fused::Attention, &[&shifted(&q.contiguous()?)?, &k, &v], &g)?;
        let copied = join(&wanted)?;
        assert_eq!(joined.to_vec::<f32>()?, copied.to_vec::<f32>()?);
        agree(&found, &wanted, 0.0)?;
    }
    Ok(())
}

/// Parts that lie side by side are the whole; others are copied.
#[test]
fn parts_of_a_tensor_are_joined_without_a_copy() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let device = device(Precision::F32, true);
    let whole = normal(&device, 1, &[3, 6, 4]);
    let count = || device.sync().map(|()| launches());
    let check = |axis: usize, cuts: &[(usize, usize)], copies: i32| -> Result<()> {
        let parts = cuts.iter().map(|&(start, length)| whole.slice(axis, start, length)).collect::<Result<Vec<_>>>()?;
        let before = count()?;
        let joined = CudaTensor::concat(&parts.iter().collect::<Vec<_>>(), axis)?;
        assert_eq!(count()? - before, copies, "{axis} {cuts:?}");
        let mut wanted = Vec::new();
        // Row by row of the axes before.
        let (lead, inner) = ([1, 3, 18][axis], [24, 4, 1][axis]);
        let (all, length) = (whole.to_vec::<f32>()?, whole.shape().axes()[axis]);
        for row in 0..lead {
            for &(start, own) in cuts {
                wanted.extend_from_slice(&all[(row * length + start) * inner..][..own * inner]);
            }
        }
        assert_eq!(joined.to_vec::<f32>()?, wanted, "{axis} {cuts:?}");
        Ok(())
    };
    check(1, &[(0, 2), (2, 3), (5, 1)], 0)?;
    check(1, &[(1, 1), (2, 1)], 0)?;
    check(0, &[(0, 1), (1, 2)], 0)?;
    check(2, &[(0, 1), (1, 1), (2, 2)], 0)?;
    // Every second one is a stride of its own.
    check(1, &[(0, 1), (2, 1), (4, 1)], 0)?;
    check(1, &[(0, 1), (2, 1), (3, 1)], 3)?;
    check(1, &[(0, 2), (3, 2)], 2)?;
    check(1, &[(2, 2), (0, 2)], 2)?;
    check(1, &[(1, 2), (1, 2)], 2)?;
    // The same row again and again: one that is stretched.
    check(1, &[(3, 1), (3, 1), (3, 1)], 0)?;
    check(1, &[(0, 2), (2, 0), (2, 1)], 2)?;
    // Rows that overlap are copied: what is written with the strides of a view would meet itself.
    let line = whole.reshape(shape(&[72]))?;
    let rows = [0, 1].map(|start| line.slice(0, start, 2).and_then(|row| row.reshape(shape(&[1, 2]))));
    let [first, second] = rows;
    let before = count()?;
    let overlapping = CudaTensor::concat(&[&first?, &second?], 0)?;
    assert_eq!(count()? - before, 2);
    let all = whole.to_vec::<f32>()?;
    assert_eq!(overlapping.to_vec::<f32>()?, [all[0], all[1], all[1], all[2]]);
    Ok(())
}

/// Of no rows the sums are zeros, and nothing is launched on nothing.
#[test]
fn gradients_of_nothing() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for precision in [Precision::F32, Precision::Bf16] {
        let device = device(precision, true);
        let one = |axes: &[usize]| normal(&device, 1, axes);
        let (rows, row) = (one(&[2, 0, 8]), one(&[2, 1, 8]));
        let check = |op: &Fused, inputs: &[&CudaTensor]| -> Result<()> {
            let (all, _) = pull(op, inputs, &rows)?;
            for (gradient, input) in all[1..].iter().zip(inputs) {
                let gradient = gradient.as_ref().unwrap();
                assert_eq!(gradient.shape(), input.shape(), "{op:?}");
                assert!(gradient.to_vec::<f32>()?.iter().all(|x| *x == 0.0), "{op:?}");
            }
            Ok(())
        };
        check(&Fused::LayerNorm { epsilon: 1e-6 }, &[&rows, &row, &row])?;
        check(&Fused::GatedResidual, &[&rows, &row, &rows])?;
        for activation in [Activation::Identity, Activation::Gelu] {
            check(&Fused::Linear { activation }, &[&rows, &one(&[8, 8]), &one(&[8])])?;
        }
        let empty = CudaTensor::concat(&[&rows, &rows.slice(1, 0, 0)?], 1)?;
        assert_eq!(empty.shape(), rows.shape());
    }
    Ok(())
}
