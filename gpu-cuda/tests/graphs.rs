//! Work gathered into graphs, on the emulated driver: the same numbers as without, one launch between two looks, and nothing lost in silence.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{alone, shape};
use cust::stream::{Stream, StreamFlags};
use mfm_core::tensor::{Activation, Transpose, Unary};
use mfm_core::{Device, Error, Noise, Operations, Result, Tensor};
use mfm_cuda_emulator::{Machine, be_strict, broken_captures, configure, fail, graphs, launches};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, ForeignStream, Options, Precision};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn device(precision: Precision, graphs: bool) -> CudaDevice {
    CudaDevice::with_options(0, Options { precision, graphs, ..Options::default() }).unwrap()
}

/// A step of a small network with numbers from the host, noise of its own and a look at the end.
fn step(device: &CudaDevice, weight: &CudaTensor, index: u64, rows: usize) -> Result<(CudaTensor, Vec<f32>)> {
    let times: Vec<f64> = (0..rows).map(|row| (row as f64 + index as f64 / 7.0).sin()).collect();
    let times = device.from_slice(&times, shape(&[rows, 1]))?;
    let x = device.normal(&Noise::new(3).stream(index), shape(&[rows, 8]))?.add(&times)?;
    let y = x.linear(weight, None, Activation::Silu)?.softmax(1)?.gather(0, &[index as usize % rows, 0])?;
    let slope = y.sum(0)?.permute(&[1, 0])?.mul(&x.sum(0)?)?;
    let next = weight.add(&slope.scale(0.01 * (index + 1) as f64)?)?;
    let loss = y.log_mean_exp(1)?.to_vec()?;
    Ok((next, loss))
}

/// The losses of a run, and its last weights.
fn run(device: &CudaDevice, steps: u64) -> Result<Vec<f32>> {
    let mut weight = device.normal(&Noise::new(9), shape(&[8, 8]))?;
    let mut all = Vec::new();
    for index in 0..steps {
        let (next, loss) = step(device, &weight, index, if index % 5 == 3 { 3 } else { 4 })?;
        weight = next;
        all.extend(loss);
    }
    all.extend(weight.to_vec::<f32>()?);
    Ok(all)
}

#[test]
fn the_same_numbers_by_one_launch_between_looks() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for precision in [Precision::F32, Precision::Bf16] {
        let gathered = device(precision, true);
        let before = graphs();
        let found = run(&gathered, 40)?;
        let now = graphs();
        assert_eq!(found, run(&device(precision, false), 40)?, "{precision:?}");
        // At first a graph is cut where memory is asked for or a product planned; after that there is one for each look.
        let (made, launched) = (now.made - before.made, now.launches - before.launches);
        assert!((40..40 + 80).contains(&launched), "{launched} launches");
        assert!(made < launched - 20, "{made} graphs for {launched} launches");
        // The first graph of a run begins elsewhere where there is memory in the pool already, and each form may have a few.
        (0..4).try_for_each(|_| run(&gathered, 40).map(drop))?;
        let (steady, allocations) = (graphs(), gathered.memory().allocations);
        run(&gathered, 40)?;
        let now = graphs();
        assert_eq!(gathered.memory().allocations, allocations, "a steady loop asks for no memory");
        assert_eq!(now.launches - steady.launches, 40, "one launch for each look at a loss");
        assert_eq!(now.made, steady.made, "no graph is made in a steady loop");
        // Of a dozen pieces of work in each step those have other numbers that draw noise and scale by its number.
        assert!(now.changes - steady.changes < 40 * 4, "{} changes", now.changes - steady.changes);
    }
    Ok(())
}

#[test]
fn long_work_is_cut() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let chain = |device: &CudaDevice| -> Result<Vec<f32>> {
        let x = device.normal(&Noise::new(1), shape(&[33]))?;
        // Nobody looks for 6,000 launches, and for 96 MB of numbers from the host.
        let x = (0..6000).try_fold(x, |x, i| x.scale(1.0 + (f64::from(i % 3) - 1.5) * 0.01))?;
        let large = vec![0.25; 4 << 20];
        let sums = (0..6).try_fold(x, |x, _| x.add(&device.from_slice(&large, shape(&[4 << 20]))?.sum(0)?))?;
        sums.to_vec()
    };
    let before = graphs().launches;
    let gathered = device(Precision::F32, true);
    assert_eq!(chain(&gathered)?, chain(&device(Precision::F32, false))?);
    let launches = graphs().launches - before;
    assert!(launches > 6000 / 512, "{launches}");
    Ok(())
}

#[test]
fn threads_share_a_queue() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let alone = run(&gathered, 10)?;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(|| run(&gathered, 10))).collect();
        running.into_iter().try_for_each(|thread| {
            assert_eq!(thread.join().unwrap()?, alone);
            Ok(())
        })
    })
}

#[test]
fn without_a_graph_work_goes_by_itself() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let expected = run(&device(Precision::Bf16, false), 6)?;
    for function in [
        c"cuGraphCreate",
        c"cuGraphAddKernelNode",
        c"cuGraphAddMemcpyNode",
        c"cuGraphAddChildGraphNode",
        c"cuGraphInstantiateWithFlags",
        c"cuGraphExecKernelNodeSetParams",
        c"cuGraphExecMemcpyNodeSetParams",
        c"cuGraphLaunch",
        c"cuStreamBeginCapture_v2",
        c"cuStreamEndCapture",
    ] {
        for code in [2, 901] {
            for after in [0, 3] {
                let gathered = device(Precision::Bf16, true);
                fail(function, code, after);
                assert_eq!(run(&gathered, 6)?, expected, "{function:?} {code} {after}");
                configure(Machine::default());
                assert_eq!(run(&gathered, 6)?, expected, "{function:?} {code} {after}");
            }
        }
    }
    Ok(())
}

/// Work whose graphs fail again and again goes without from then on, and other work has graphs all the same.
#[test]
fn a_form_that_fails_twice_has_no_graphs() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let chain = |length: i32, start: f64| -> Result<()> {
        let x = gathered.full(start, shape(&[1]))?;
        let x = (0..length).try_fold(x, |x, _| x.shift(start))?;
        assert_eq!(x.to_vec::<f64>()?, [f64::from(length + 1) * start]);
        Ok(())
    };
    // As many as there may be that differ in much.
    (1..8).try_for_each(|start| chain(20, f64::from(start)))?;
    let counts = || gathered.graphs().unwrap();
    for failures in 1..=2 {
        fail(c"cuGraphExecKernelNodeSetParams", 2, 0);
        chain(20, f64::from(8 + failures))?;
        assert_eq!((counts().unchanged, counts().refused), (failures as u64, failures as u64 / 2));
    }
    chain(20, 11.0)?;
    let (before, memory) = (counts(), gathered.memory());
    chain(20, 12.0)?;
    let after = counts();
    assert_eq!((after.made, after.launched, after.refused), (before.made, before.launched, before.refused + 1));
    assert!(matches!(after.refusal, Some(Error::Device { code: 2, .. })));
    // That there was no room once is no reason to make some each time.
    assert!(memory.pooled > 0 && gathered.memory().pooled == memory.pooled, "{memory:?}, then {:?}", gathered.memory());
    chain(21, 13.0)?;
    assert_eq!((counts().made, counts().refused), (after.made + 1, after.refused));
    Ok(())
}

/// Products are not changed in a graph: where they never come by the same places, there are graphs for a while, and then none.
#[test]
fn products_that_are_elsewhere_each_time() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let weight = gathered.normal(&Noise::new(9), shape(&[8, 8]))?.contiguous()?;
    let step = |x: &CudaTensor| -> Result<CudaTensor> {
        let y = (0..4).try_fold(weight.matmul(x, Transpose::NONE)?, |y, _| y.unary(Unary::Tanh))?;
        y.to_vec::<f32>()?;
        Ok(y)
    };
    let all = || (0..60).map(|_| step(&weight)).collect::<Result<Vec<_>>>();
    drop(all()?);
    let before = gathered.graphs().unwrap();
    let _all = all()?;
    let after = gathered.graphs().unwrap();
    assert!(after.made - before.made <= 20 && after.fleeting - before.fleeting >= 30, "{before:?} {after:?}");
    // Where they come by a few places in turns, each has its graph.
    let steady = |rounds: usize| (0..rounds).try_fold(weight.scale(1.0)?, |x, _| step(&x)).map(drop);
    (0..3).try_for_each(|_| steady(60))?;
    let before = gathered.graphs().unwrap();
    steady(60)?;
    let after = gathered.graphs().unwrap();
    assert_eq!((after.made, after.fleeting), (before.made, before.fleeting));
    Ok(())
}

#[test]
fn lost_work_is_not_lost_in_silence() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let x = gathered.normal(&Noise::new(1), shape(&[1000]))?;
    let work = || -> Result<_> { Ok((x.add(&x)?, x.exp()?)) };
    // Memory is there the second time, and two pieces of work go by themselves.
    drop(work()?);
    x.to_vec::<f32>()?;
    let (y, z) = work()?;
    fail(c"cuLaunchKernel", 1, 1);
    for tensor in [&y, &z, &x] {
        let error = tensor.to_vec::<f32>().unwrap_err();
        assert!(matches!(error, Error::Device { code: 1, .. }), "{error}");
    }
    assert!(gathered.from_slice(&[1.0], shape(&[1])).is_err() && gathered.sync().is_err());
    drop((x, y, z, gathered));
    // A lost device.
    let gathered = device(Precision::F32, true);
    let x = gathered.normal(&Noise::new(1), shape(&[1000]))?;
    let y = (0..10).try_fold(x, |x, _| x.shift(1.0))?;
    fail(c"cuGraphLaunch", 700, 0);
    assert!(matches!(y.to_vec::<f32>(), Err(Error::Device { code: 700, .. })));
    assert!(matches!(gathered.sync(), Err(Error::Device { code: 700, .. })));
    drop((y, gathered));
    configure(Machine::default());
    // What nobody looked at is forgotten with the device.
    let gathered = device(Precision::F32, true);
    let x = gathered.normal(&Noise::new(1), shape(&[1000]))?.exp()?;
    drop((x, gathered));
    assert_eq!(mfm_cuda_emulator::used(), 0);
    Ok(())
}

/// The driver may lose a capture because another part of the process waits for the whole GPU.
#[test]
fn a_broken_capture_is_tried_again() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let expected = run(&device(Precision::Bf16, false), 6)?;
    let launches = |after: Option<i32>| -> Result<i32> {
        let before = graphs().launches;
        if let Some(after) = after {
            fail(c"cuStreamEndCapture", 901, after);
        }
        assert_eq!(run(&device(Precision::Bf16, true), 6)?, expected);
        Ok(graphs().launches - before)
    };
    let whole = launches(None)?;
    for after in 0..4 {
        assert_eq!(launches(Some(after))?, whole, "all work goes as graphs");
    }
    Ok(())
}

#[test]
fn lent_memory_is_read_before_it_is_given_back() -> Result<()> {
    struct Owner(Arc<AtomicBool>, CudaTensor);
    impl Drop for Owner {
        fn drop(&mut self) {
            // SAFETY: on the emulated driver device memory is the host's; these are the four numbers of the tensor beside.
            unsafe { std::ptr::with_exposed_provenance_mut::<[f32; 4]>(self.1.address() as usize).write([f32::NAN; 4]) };
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let theirs = gathered.from_slice(&[1.0, 2.0, 3.0, 4.0], shape(&[4]))?;
    gathered.sync()?;
    let (is_dropped, address) = (Arc::new(AtomicBool::new(false)), theirs.address());
    // SAFETY: four numbers, kept by the owner.
    let lent = unsafe { gathered.wrap(address, Owner(Arc::clone(&is_dropped), theirs), shape(&[4])) }?;
    let sum = lent.sum(0)?;
    drop(lent);
    assert!(is_dropped.load(Ordering::Relaxed));
    assert_eq!(sum.to_vec::<f32>()?, [10.0]);
    Ok(())
}

#[test]
fn more_forms_than_are_kept() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let chain = |length: i32| -> Result<()> {
        let x = gathered.full(1.0, shape(&[1]))?;
        let x = (0..length).try_fold(x, |x, _| x.shift(1.0))?;
        assert_eq!(x.to_vec::<f64>()?, [f64::from(length) + 1.0]);
        Ok(())
    };
    chain(100)?;
    let before = graphs().made;
    (4..=73).try_for_each(chain)?;
    assert_eq!(graphs().made - before, 70);
    // The last is still there, the first is not.
    chain(73)?;
    assert_eq!(graphs().made - before, 70);
    chain(4)?;
    assert_eq!(graphs().made - before, 71);
    Ok(())
}

#[test]
fn other_users_of_the_stream() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let gathered = device(Precision::F32, true);
    let x = gathered.normal(&Noise::new(1), shape(&[10]))?;
    gathered.sync()?;
    let theirs = Stream::new(StreamFlags::NON_BLOCKING, None).unwrap();
    // SAFETY: alive until the end of the test.
    let foreign = unsafe { ForeignStream::from_raw(theirs.as_inner().cast()) };
    gathered.follow(foreign)?;
    let before = launches();
    let _gathered = x.exp()?;
    assert_eq!(launches() - before, 0, "it is written down");
    gathered.precede(foreign)?;
    assert_eq!(launches() - before, 1, "the other stream waits for what was written down");
    Ok(())
}

#[test]
fn devices_of_one_gpu_come_and_go_while_others_capture() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let expected = run(&device(Precision::F32, false), 3)?;
    be_strict(true);
    let broken = broken_captures();
    let recorder = device(Precision::F32, true);
    // Between any two of these steps another device loads kernels, plans products, and goes.
    let outcome = (0..4).try_for_each(|round| {
        let x = recorder.normal(&Noise::new(round), shape(&[4, 8]))?.exp()?;
        let precision = if round % 2 == 0 { Precision::F32 } else { Precision::Bf16 };
        let other = std::thread::scope(|scope| scope.spawn(|| run(&device(precision, round >= 2), 3)).join().unwrap())?;
        assert!(precision != Precision::F32 || other == expected);
        assert!(x.add(&x)?.to_vec::<f32>()?.iter().all(|x| x.is_finite()));
        Ok(())
    });
    // Many at once, each for itself.
    let together = std::thread::scope(|scope| {
        let expected = &expected;
        let once = move || {
            let other = device(Precision::F32, true);
            assert_eq!(run(&other, 3)?, *expected);
            // It goes with numbers that still wait for a graph.
            other.from_slice(&[1.0], shape(&[1])).map(drop)
        };
        let work = move || (0..20).try_for_each(|_| once());
        let running: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap())
    });
    drop(recorder);
    be_strict(false);
    assert_eq!(broken_captures(), broken, "nobody waits for the whole GPU while another captures");
    outcome.and(together)
}
