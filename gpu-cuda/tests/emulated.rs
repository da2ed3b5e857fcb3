//! The adapter on the emulated driver, beyond what the conformance suite asks of every backend.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{alone, shape};
use mfm_core::tensor::{Reduce, Transpose, Unary};
use mfm_core::{Device, Noise, Operations, Result, Shape, Tensor};
use mfm_gpu_cuda::{CallersContext, CudaDevice, CudaTensor, Options, Precision};
use std::sync::MutexGuard;

/// A device on the emulated driver, for one test at a time; `None`, said aloud, where there is none.
fn device(options: Options) -> Option<(MutexGuard<'static, ()>, CudaDevice)> {
    alone().map(|guard| (guard, CudaDevice::with_options(0, options).unwrap()))
}

#[test]
fn a_steady_loop_asks_for_no_memory() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    let x = device.normal(&Noise::new(1), shape(&[64, 32]))?;
    let step = || x.matmul(&x, Transpose::RIGHT)?.softmax(1)?.matmul(&x, Transpose::NONE)?.sum(0)?.to_vec::<f32>();
    let first = step()?;
    let before = device.memory();
    for _ in 0..20 {
        assert_eq!(step()?, first, "the same work gives the same numbers");
    }
    let after = device.memory();
    assert_eq!((before.allocations, before.live, before.peak), (after.allocations, after.live, after.peak));
    assert!(after.pooled > 0);
    device.trim()?;
    assert_eq!(device.memory().pooled, 0);
    Ok(())
}

/// What is current on this thread.
fn current() -> usize {
    let mut context = std::ptr::null_mut();
    // SAFETY: writes a handle.
    assert_eq!(unsafe { cust::sys::cuCtxGetCurrent(&raw mut context) } as u32, 0);
    context.addr()
}

#[test]
fn the_callers_context_comes_back() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    std::thread::spawn(|| -> Result<()> {
        let outer = CallersContext::keep();
        let device = CudaDevice::with_options(0, Options::default()).unwrap();
        let own = current();
        assert_ne!(own, 0, "work needs a context");
        let x = device.normal(&Noise::new(1), shape(&[8]))?;
        {
            // What an inner one finds is the outer one's work's.
            let _inner = CallersContext::keep();
            x.exp()?.to_vec::<f32>()?;
        }
        assert_eq!(current(), own);
        CallersContext::restore();
        assert_eq!(current(), 0, "as in a call back to the caller");
        x.exp()?.to_vec::<f32>()?;
        assert_eq!(current(), own);
        drop(outer);
        assert_eq!(current(), 0);
        // Without one the device's stays, and closing leaves what was there.
        x.exp()?.to_vec::<f32>()?;
        assert_eq!(current(), own);
        {
            let _closing = CallersContext::keep();
            drop((x, device));
        }
        assert_eq!(current(), own);
        Ok(())
    })
    .join()
    .unwrap()
}

#[test]
fn a_steady_loop_of_phases_with_other_sizes_asks_for_no_memory() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    // Each phase needs nearly as much as ever is in tensors, in blocks that do not serve the other; together they are more than the slack.
    let phase = |mebibytes: usize| -> Result<()> {
        let values = vec![1.0f32; mebibytes << 18];
        let make = || device.from_slice(&values, shape(&[values.len()]));
        let _held = [make()?, make()?, make()?];
        Ok(())
    };
    let step = || phase(24).and_then(|()| phase(30));
    step()?;
    let before = device.memory();
    step()?;
    let after = device.memory();
    assert_eq!((before.allocations, before.peak), (after.allocations, after.peak));
    assert!(after.live + after.pooled <= 2 * after.peak, "{after:?}");
    // A size that comes once does not stay for ever.
    for mebibytes in [40, 50, 60, 70] {
        phase(mebibytes)?;
    }
    let grown = device.memory();
    assert!(grown.live + grown.pooled <= 2 * grown.peak, "{grown:?}");
    // And a loop that goes on with another size has all of it after once.
    for mebibytes in [70, 40] {
        phase(mebibytes)?;
        let before = device.memory().allocations;
        phase(mebibytes)?;
        assert_eq!(device.memory().allocations, before, "{mebibytes}");
    }
    Ok(())
}

#[test]
fn noise_is_that_of_the_host() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    for noise in [
        Noise::new(7),
        Noise::new(3).stream(u64::MAX).skip(17),
        Noise::new(1).fork(2).skip((1 << 40) + 3),
        Noise::new(5).skip(u64::MAX - 5000),
        Noise::new(5).skip(u64::MAX - 500),
    ] {
        let mut words = vec![0; 1000];
        noise.fill_words(&mut words);
        assert_eq!(device.noise_words(&noise, 1000)?, words, "bit for bit");
        let mut exact = vec![0.0; 1000];
        noise.fill_normal(&mut exact);
        let normal = device.normal(&noise, shape(&[10, 100]))?.to_vec::<f64>()?;
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6 * (1.0 + b.abs());
        assert!(normal.iter().zip(&exact).all(close));
    }
    Ok(())
}

#[test]
fn transfers_longer_than_a_chunk() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    let values: Vec<f32> = (0..5_000_000).map(|i| (i % 8191) as f32).collect();
    let x = device.from_slice(&values, shape(&[5, 1_000_000]))?;
    assert!(x.to_vec::<f32>()? == values);
    assert_eq!(x.slice(0, 4, 1)?.slice(1, 999_999, 1)?.to_vec::<f64>()?, [f64::from(values[4_999_999])]);
    Ok(())
}

#[test]
fn bf16_is_kept_in_two_bytes() -> Result<()> {
    let Some((_alone, device)) = device(Options { precision: Precision::Bf16, ..Options::default() }) else { return Ok(()) };
    let x = device.from_slice(&[1.0, 1.0 + 1.0 / 256.0, 3.0e38, -0.1], shape(&[4]))?;
    assert_eq!(x.to_vec::<f64>()?, [1.0, 1.0, f64::from(f32::from_bits(0x7f62 << 16)), f64::from(f32::from_bits(0xbdcd << 16))]);
    // Sums are in f32: 4,096 ones are 4,096, where a running sum in bf16 would stay at 256.
    assert_eq!(device.full(1.0, shape(&[4096]))?.reduce(Reduce::Sum, 0)?.to_vec::<f64>()?, [4096.0]);
    Ok(())
}

#[test]
fn threads_share_a_device() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    let work = |seed: u64| -> Result<Vec<f32>> {
        let x = device.normal(&Noise::new(seed), shape(&[40, 30]))?;
        (0..10).try_fold(x, |x, _| x.unary(Unary::Tanh)?.add(&x.sum(0)?.scale(0.01)?))?.to_vec()
    };
    let alone: Vec<_> = (0..4).map(work).collect::<Result<_>>()?;
    let together: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<_>>()
    })?;
    assert_eq!(alone, together);
    Ok(())
}

/// A device in TF32 keeps what bf16 does not, and its precise numbers are its own.
#[test]
fn tf32_has_one_kind_of_number() -> Result<()> {
    let Some((_alone, device)) = device(Options { precision: Precision::Tf32, ..Options::default() }) else { return Ok(()) };
    let x = device.from_slice(&[1.0 + f32::EPSILON], shape(&[1, 1]))?;
    let precise = device.precise().from_slice(&[1.0 + f32::EPSILON], shape(&[1, 1]))?;
    assert_eq!(x.sub(&precise)?.to_vec::<f64>()?, [0.0]);
    assert_eq!(x.to_precise()?.address(), x.address());
    assert_eq!(precise.matmul(&x, Transpose::NONE)?.to_vec::<f64>()?, [1.0], "factors are rounded");
    Ok(())
}

/// Products by the stand-in for cuBLASLt against the plain kernel, in every precision; linear layers are in `fused.rs`.
#[test]
fn cublaslt() -> Result<()> {
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let Some((_alone, device)) = device(Options { precision, ..Options::default() }) else { return Ok(()) };
        assert!(device.has_cublaslt());
        let plain = CudaDevice::with_options(0, Options { precision, cublaslt: false, ..Options::default() })?;
        assert!(!plain.has_cublaslt());
        let tolerance = if precision == Precision::F32 { 1e-5 } else { 2e-2 };
        let close = |a: &CudaTensor, b: &CudaTensor| -> Result<()> {
            let (a, b) = (a.to_vec::<f64>()?, b.to_vec::<f64>()?);
            let close = |(a, b): (&f64, &f64)| (a - b).abs() < tolerance * (1.0 + b.abs());
            assert!(a.iter().zip(&b).all(close) && a.len() == b.len(), "{precision:?}");
            Ok(())
        };
        for (left, right, transpose) in [
            (&[5, 7][..], &[7, 3][..], Transpose::NONE),
            (&[7, 5], &[7, 3], Transpose::LEFT),
            (&[4, 5, 7], &[3, 7], Transpose::RIGHT),
            (&[4, 5, 7], &[4, 7, 3], Transpose::NONE),
            (&[4, 7, 5], &[4, 3, 7], Transpose { left: true, right: true }),
            (&[1, 7], &[7, 1], Transpose::NONE),
            (&[5, 1], &[1, 3], Transpose::NONE),
            (&[2, 3, 5, 7], &[2, 1, 7, 4], Transpose::NONE),
        ] {
            let build = |device: &CudaDevice| -> Result<[CudaTensor; 3]> {
                let a = device.normal(&Noise::new(1), shape(left))?;
                let b = device.normal(&Noise::new(2), shape(right))?;
                // Whole, a slice at an odd address, and stretched along the batch.
                let odd = device.normal(&Noise::new(3), shape(&[6, 9]))?.slice(1, 1, 7)?.slice(0, 1, 5)?;
                let few = device.normal(&Noise::new(4), shape(&[9, 4]))?.slice(1, 1, 2)?.slice(0, 1, 7)?;
                let stretched = device.normal(&Noise::new(5), shape(&[2, 3]))?.broadcast(shape(&[5, 2, 3]))?;
                let batch = device.normal(&Noise::new(6), shape(&[5, 4, 2]))?;
                Ok([a.matmul(&b, transpose)?, odd.matmul(&few, Transpose::NONE)?, batch.matmul(&stretched, Transpose::NONE)?])
            };
            for (a, b) in build(&device)?.iter().zip(build(&plain)?.iter()) {
                close(a, b)?;
            }
        }
    }
    Ok(())
}

#[test]
fn constants_are_made_once() -> Result<()> {
    let Some((_alone, device)) = device(Options::default()) else { return Ok(()) };
    let one = device.full(1.5, shape(&[3]))?;
    assert_eq!(device.full(1.5, shape(&[2, 2]))?.address(), one.address());
    let alone = device.full(1.5, shape(&[1]))?;
    assert_ne!(alone.contiguous()?.address(), alone.address(), "what others may write to is not shared");
    // Signs of zero, and values that are one in f32.
    assert_ne!(device.full(0.0, Shape::SCALAR)?.address(), device.full(-0.0, Shape::SCALAR)?.address());
    assert_eq!(device.full(0.1, Shape::SCALAR)?.address(), device.full(f64::from(0.1f32), Shape::SCALAR)?.address());
    // More than are kept: what a tensor has is not given to another.
    let many = (0..200).map(|i| device.full(f64::from(i), shape(&[2]))).collect::<Result<Vec<_>>>()?;
    assert_eq!(one.to_vec::<f64>()?, [1.5; 3]);
    for (i, x) in many.iter().enumerate() {
        assert_eq!(x.to_vec::<f64>()?, [i as f64; 2]);
    }
    let live = device.memory().live;
    drop((one, alone, many));
    assert!(device.memory().live < live);
    device.trim()?;
    assert_eq!((device.memory().live, device.memory().pooled), (0, 0));
    Ok(())
}
