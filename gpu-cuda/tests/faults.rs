//! What fails on the emulated driver: each fault has its own sentence, and the process goes on.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{alone, shape};
use mfm_core::tensor::{Activation, Fused, Transpose};
use mfm_core::{Device, Error, Operations, Result, Shape, Tensor};
use mfm_cuda_emulator::{Machine, configure, fail, refuse_epilogue, refuse_epilogues, used};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, OpenError, Options, Precision, devices};

/// A sum on the device.
fn works(device: &CudaDevice) -> Result<()> {
    let x = device.from_slice(&[1.0, 2.0, 3.0], shape(&[3]))?;
    assert_eq!(x.square()?.sum(0)?.to_vec::<f64>()?, [14.0]);
    Ok(())
}

fn sentence(outcome: Result<impl Sized, OpenError>) -> String {
    outcome.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn devices_that_cannot_be_opened() {
    let Some(_guard) = alone() else { return };
    let with = |machine: Machine| {
        configure(machine);
        sentence(CudaDevice::new(1))
    };
    let good = Machine::default();
    assert_eq!(with(Machine { devices: 0, ..good }), "the CUDA driver finds no device");
    assert_eq!(with(Machine { driver: 11_080, ..good }), "the CUDA driver is too old: it offers CUDA 11.8, and 12.0 is needed");
    assert_eq!(with(good), "there is no CUDA device 1: the driver finds 1, counted from 0");
    let old = with(Machine { devices: 2, capability: 75, ..good });
    assert_eq!(old, "the device emulated device 1 is too old: its compute capability is 7.5, and 8.0 is needed");

    configure(good);
    fail(c"cuDevicePrimaryCtxRetain", 803, 0);
    assert_eq!(sentence(CudaDevice::new(0)), "cuda: the device reported error 803 (an error of the emulated driver)");
    // A code that cust does not know arrives as it is.
    fail(c"cuDevicePrimaryCtxRetain", 812, 0);
    assert_eq!(sentence(CudaDevice::new(0)), "cuda: the device reported error 812 (an error of the emulated driver)");

    let found = devices().unwrap();
    assert_eq!((found.len(), found[0].capability, found[0].memory, found[0].driver), (1, (9, 0), 8 << 30, 13_000));
    works(&CudaDevice::new(0).unwrap()).unwrap();
}

/// Only where cuBLASLt is absent do products go without it.
#[test]
fn cublaslt_that_cannot_be_opened() {
    let Some(_guard) = alone() else { return };
    fail(c"cublasLtCreate", 1, 0);
    assert_eq!(sentence(CudaDevice::new(0)), "cuda: the device reported error 1 (of cuBLASLt)");
    assert!(CudaDevice::new(0).unwrap().has_cublaslt());
    // Where it has too little memory, the pools make room.
    let other = CudaDevice::with_options(0, Options { cublaslt: false, ..Options::default() }).unwrap();
    works(&other).unwrap();
    assert!(other.memory().pooled > 0);
    fail(c"cublasLtCreate", 3, 0);
    assert!(CudaDevice::new(0).unwrap().has_cublaslt());
    assert_eq!((other.memory().pooled, other.has_cublaslt()), (0, false));
    drop(other);
    // The error of a lost device says so.
    fail(c"cublasLtCreate", 719, 0);
    let lost = "cuda: the device reported error 719 (a kernel failed; the device is lost to this process)";
    assert_eq!(sentence(CudaDevice::new(0)), lost);
}

#[test]
fn memory_runs_out_and_comes_back() {
    let Some(_guard) = alone() else { return };
    configure(Machine { bytes: 1 << 20, ..Machine::default() });
    let device = CudaDevice::new(0).unwrap();
    let large = shape(&[100_000]);
    let held = device.zeros(large).unwrap().add(&device.full(1.0, large).unwrap().broadcast(large).unwrap()).unwrap();
    let two = [device.from_slice(&vec![0.5; 100_000], large), device.from_slice(&vec![0.5; 100_000], large)];
    let third = device.from_slice(&vec![0.5; 100_000], large);
    assert!(two[0].is_ok());
    let error = two.iter().chain([&third]).find_map(|x| x.as_ref().err().copied());
    assert!(matches!(error, Some(Error::OutOfMemory { op: "from_slice", bytes }) if bytes >= 400_000), "{error:?}");
    works(&device).unwrap();
    drop((held, two, third));
    // What the pool keeps in other sizes makes room.
    let most = device.from_slice(&vec![0.25; 200_000], shape(&[200_000])).unwrap();
    assert_eq!(most.sum(0).unwrap().to_vec::<f32>().unwrap(), [50_000.0]);
    // And so does what another handle's pool keeps.
    drop(most);
    let other = CudaDevice::new(0).unwrap();
    let most = other.from_slice(&vec![0.25; 200_000], shape(&[200_000])).unwrap();
    assert_eq!(most.sum(0).unwrap().to_vec::<f32>().unwrap(), [50_000.0]);
    assert_eq!(device.memory().pooled, 0);
    drop((most, other));
    let most = device.from_slice(&vec![0.25; 200_000], shape(&[200_000])).unwrap();
    // A constant takes one element, whatever its shape.
    assert!(device.zeros(shape(&[1 << 40])).unwrap().exp().unwrap().add(&most.sum(0).unwrap()).is_ok());
    drop(most);
    drop(device);
    assert_eq!(used(), 0, "a dropped device gives everything back");
}

/// The driver and cuBLASLt need memory for kernels and graphs, which the pools give them.
#[test]
fn memory_runs_out_outside_the_pool() {
    let Some(_guard) = alone() else { return };
    for (function, code) in [
        (c"cuModuleLoadDataEx", 2),
        (c"cuLaunchKernel", 2),
        (c"emulator_submit", 3),
        (c"cuGraphInstantiateWithFlags", 2),
        (c"cuGraphLaunch", 2),
    ] {
        for graphs in [false, true] {
            configure(Machine::default());
            let [device, other] = [(); 2].map(|()| CudaDevice::with_options(0, Options { graphs, ..Options::default() }).unwrap());
            let keep = |device: &CudaDevice| drop(device.from_slice(&[1.0; 1 << 12], shape(&[1 << 12])).unwrap());
            [&device, &other].into_iter().for_each(keep);
            other.sync().unwrap();
            fail(function, code, 0);
            let x = device.full(0.5, shape(&[2, 2])).unwrap();
            let y = (0..8).try_fold(x, |x, _| x.matmul(&x, Transpose::NONE)).unwrap();
            assert_eq!(y.to_vec::<f64>().unwrap(), [0.5; 4], "{function:?} {graphs}");
            if let Some(graphs) = device.graphs() {
                assert_eq!((graphs.refused, graphs.refusal), (0, None));
            }
            let (pooled, is_of_graphs) = (device.memory().pooled, function.to_bytes().starts_with(b"cuGraph"));
            assert_eq!(pooled < 1 << 14, graphs || !is_of_graphs, "{function:?} {graphs}");
            assert!(pooled > 0 || !is_of_graphs, "what the work reaches stays in the pool");
        }
    }
}

#[test]
fn a_limit_is_kept() {
    let Some(_guard) = alone() else { return };
    let device = CudaDevice::with_options(0, Options { memory_limit: 1 << 16, ..Options::default() }).unwrap();
    let x = device.from_slice(&vec![1.0; 8_000], shape(&[8_000])).unwrap();
    assert!(matches!(x.exp().and_then(|y| y.exp().map(|z| (y, z))), Err(Error::OutOfMemory { op: "unary", .. })));
    for _ in 0..100 {
        assert_eq!(x.slice(0, 0, 500).unwrap().exp().unwrap().shape(), shape(&[500]));
        let memory = device.memory();
        assert!(memory.live + memory.pooled <= 1 << 16 && memory.peak <= 1 << 16, "{memory:?}");
    }
    works(&device).unwrap();
}

#[test]
fn a_tensor_of_another_device() {
    let Some(_guard) = alone() else { return };
    configure(Machine { devices: 2, ..Machine::default() });
    let here = CudaDevice::new(0).unwrap();
    let there = CudaDevice::new(1).unwrap();
    let (a, b) = (here.full(1.0, shape(&[2, 2])).unwrap(), there.full(1.0, shape(&[2, 2])).unwrap());
    let mixed = [
        a.add(&b),
        a.matmul(&b, Transpose::NONE),
        a.select(&a, &b),
        CudaDevice::clone(&here).full(0.0, Shape::SCALAR).unwrap().compare(mfm_core::tensor::Compare::Less, &b),
        CudaTensor::concat(&[&a, &b], 0),
        CudaTensor::linear_combination(&[(1.0, &a), (1.0, &b)]),
        a.linear(&b, None, Activation::Silu),
    ];
    for (i, outcome) in mixed.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::DeviceMismatch { .. }), "{i}: {error}");
        assert!(error.to_string().ends_with("the operands live on different devices"));
    }
    // Cotangents, of which kernels take the address as it is.
    for op in [Fused::Softmax { axis: 1 }, Fused::Activate { activation: Activation::Silu }, Fused::LogMeanExp { axis: 0 }] {
        let (value, pull) = CudaTensor::fused_vjp(&op, &[&a], &[true]).unwrap().unwrap();
        assert!(pull(&value).is_ok());
        let elsewhere = there.full(1.0, value.shape()).unwrap();
        assert!(matches!(pull(&elsewhere), Err(Error::DeviceMismatch { .. })), "{op:?}");
        assert!(matches!(pull(&here.full(1.0, shape(&[3, 3])).unwrap()), Err(Error::Shape { .. })), "{op:?}");
    }
    // Nor do the working and the precise numbers of one device mix.
    let rounded = CudaDevice::with_options(0, Options { precision: Precision::Bf16, ..Options::default() }).unwrap();
    let x = rounded.full(1.0, shape(&[2])).unwrap();
    let precise = x.to_precise().unwrap();
    assert!(matches!(x.add(&precise), Err(Error::DeviceMismatch { .. })));
    assert!(x.add(&precise.to_working().unwrap()).is_ok());
    works(&here).unwrap();
    works(&there).unwrap();
}

#[test]
fn a_lost_device() {
    let Some(_guard) = alone() else { return };
    for (function, code, message) in [
        (c"cuLaunchKernel", 719, "a kernel failed; the device is lost to this process"),
        (c"cuMemcpyHtoDAsync_v2", 700, "a kernel reached outside its memory; the device is lost to this process"),
        (c"cuEventSynchronize", 999, "the device is lost to this process"),
        (c"cuMemAllocAsync", 46, "the device is lost to this process"),
    ] {
        configure(Machine::default());
        let device = CudaDevice::new(0).unwrap();
        let before = device.from_slice(&[1.0, 2.0], shape(&[2])).unwrap();
        fail(function, code, 0);
        let first = works(&device).unwrap_err();
        assert!(matches!(first, Error::Device { code: found, message: said, .. } if found == code && said == message), "{first}");
        // Everything that follows says so too, and nothing panics, also where memory is given back.
        for error in
            [before.exp().unwrap_err(), before.to_vec::<f64>().unwrap_err(), device.sync().unwrap_err(), device.trim().unwrap_err()]
        {
            assert!(matches!(error, Error::Device { code: found, .. } if found == code), "{error}");
        }
        drop(before);
        drop(device);
    }
    // The process goes on; once the machine is well, so does the GPU.
    configure(Machine::default());
    works(&CudaDevice::new(0).unwrap()).unwrap();
}

/// The library's own answer to a product when the device is lost is not what is reported.
#[test]
fn a_lost_device_behind_a_status_of_the_library() {
    let Some(_guard) = alone() else { return };
    const PLAIN: u32 = 1;
    for case in 0..8 {
        let [graphs, lost, known] = [1, 2, 4].map(|bit| case & bit != 0);
        for (status, late) in [(13, true), (14, true), (14, false)] {
            configure(Machine::default());
            let device = CudaDevice::with_options(0, Options { graphs, ..Options::default() }).unwrap();
            let square = || {
                let x = device.full(1.0, shape(&[4, 4]))?.contiguous()?;
                x.matmul(&x, Transpose::NONE)?.to_vec::<f64>()
            };
            if known && late {
                square().unwrap();
            }
            refuse_epilogue(status, late, PLAIN);
            if lost {
                fail(c"cuStreamSynchronize", 719, 0);
            }
            let error = square().unwrap_err();
            refuse_epilogues(0, false);
            assert!(matches!(error, Error::Device { code, .. } if code == if lost { 719 } else { status }), "{error}");
            // Work that was gathered and lost is an error ever after.
            assert_eq!(device.sync().is_err(), lost || graphs && known && late, "{case} {status} {late}");
        }
    }
}

#[test]
fn a_failure_that_passes() {
    let Some(_guard) = alone() else { return };
    let device = CudaDevice::new(0).unwrap();
    works(&device).unwrap();
    fail(c"cuLaunchKernel", 701, 0);
    let error = works(&device).unwrap_err();
    assert!(matches!(error, Error::Device { code: 701, .. }), "{error}");
    works(&device).unwrap();
    // More than the pinned memory that there is holds.
    let large = || device.from_slice(&[1.0; 1 << 16], shape(&[1 << 16]));
    fail(c"cuMemAllocHost_v2", 2, 0);
    assert!(matches!(large(), Err(Error::Device { code: 2, .. })));
    works(&device).unwrap();
    assert_eq!(large().unwrap().sum(0).unwrap().to_vec::<f64>().unwrap(), [65_536.0]);
}
