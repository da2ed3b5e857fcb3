//! Work gathered into graphs, on the emulated driver: the same numbers as without, one launch between two looks, and nothing lost in silence.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{alone, shape};
use cust::stream::{Stream, StreamFlags};
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Noise, Operations, Result, Tensor};
use mfm_cuda_emulator::{Machine, be_strict, configure, fail, graphs};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, ForeignStream, Options, Precision, Replay};
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
        let (made, launched) = graphs();
        assert_eq!(found, run(&device(precision, false), 40)?, "{precision:?}");
        // At first a graph is cut where memory is asked for or a kernel loaded; after that there is one for each look.
        let launched = launched - before.1;
        assert!((40..40 + 80).contains(&launched), "{launched} launches");
        assert!(made - before.0 < launched - 25, "{} graphs for {launched} launches", made - before.0);
        // The first graph of a run begins elsewhere where there is memory in the pool already.
        run(&gathered, 40)?;
        let steady = (graphs(), gathered.memory().allocations);
        run(&gathered, 40)?;
        let now = (graphs(), gathered.memory().allocations);
        assert_eq!(now.1, steady.1, "a steady loop asks for no memory");
        assert_eq!(now.0.1 - steady.0.1, 40, "one launch for each look at a loss");
        assert_eq!(now.0.0, steady.0.0, "no graph is made in a steady loop");
    }
    Ok(())
}

#[test]
fn long_work_is_cut() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let chain = |device: &CudaDevice| -> Result<Vec<f32>> {
        let x = device.normal(&Noise::new(1), shape(&[33]))?;
        // Nobody looks for 6,000 launches, and for 96 MB of numbers from the host.
        let x = (0..6000).try_fold(x, |x, i| x.scale(1.0 + f64::from(i % 3 - 1) * 0.01))?;
        let large = vec![0.25; 4 << 20];
        let sums = (0..6).try_fold(x, |x, _| x.add(&device.from_slice(&large, shape(&[4 << 20]))?.sum(0)?))?;
        sums.to_vec()
    };
    let before = graphs().1;
    let gathered = device(Precision::F32, true);
    assert_eq!(chain(&gathered)?, chain(&device(Precision::F32, false))?);
    assert!(graphs().1 - before >= 4, "{}", graphs().1 - before);
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
fn lost_work_is_not_lost_in_silence() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    for (function, code) in
        [(c"cuStreamEndCapture", 901), (c"cuGraphInstantiateWithFlags", 2), (c"cuGraphLaunch", 1), (c"cuGraphLaunch", 700)]
    {
        let gathered = device(Precision::F32, true);
        let x = gathered.normal(&Noise::new(1), shape(&[1000]))?;
        x.to_vec::<f32>()?;
        let (y, z) = (x.add(&x)?, x.exp()?);
        fail(function, code, 0);
        for tensor in [&y, &z, &x] {
            let error = tensor.to_vec::<f32>().unwrap_err();
            assert!(matches!(error, Error::Device { code: found, .. } if found == code), "{function:?}: {error}");
        }
        assert!(gathered.from_slice(&[1.0], shape(&[1])).is_err() && gathered.sync().is_err(), "{function:?}");
        drop((x, y, z, gathered));
        configure(Machine::default());
        run(&device(Precision::F32, true), 2)?;
    }
    // A graph that cannot be adapted is made anew.
    let gathered = device(Precision::F32, true);
    let expected = run(&gathered, 6)?;
    let before = graphs().0;
    fail(c"cuGraphExecUpdate", 910, 3);
    assert_eq!(run(&gathered, 6)?, expected);
    assert!(graphs().0 > before);
    // Work that is not recorded is refused at once, and nothing else is lost.
    let x = gathered.normal(&Noise::new(1), shape(&[1000]))?;
    gathered.sync()?;
    fail(c"cuStreamBeginCapture_v2", 1, 0);
    assert!(matches!(x.exp(), Err(Error::Device { code: 1, .. })));
    assert_eq!(run(&gathered, 6)?, expected);
    drop(x);
    // What nobody looked at is forgotten with the device.
    let x = gathered.normal(&Noise::new(1), shape(&[1000]))?.exp()?;
    drop((x, gathered));
    assert_eq!(mfm_cuda_emulator::used(), 0);
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
    let before = graphs().0;
    (2..=71).try_for_each(chain)?;
    assert_eq!(graphs().0 - before, 70);
    // The last is still there, the first is not.
    chain(71)?;
    assert_eq!(graphs().0 - before, 70);
    chain(2)?;
    assert_eq!(graphs().0 - before, 71);
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
    let _recorded = x.exp()?;
    let before = graphs().1;
    gathered.precede(foreign)?;
    assert_eq!(graphs().1 - before, 1, "the other stream waits for what was recorded");

    let mut replay = Replay::new(&gathered, |inputs: &[CudaTensor]| Ok(vec![inputs[0].exp()?]));
    for scale in [1.0, 1.0, 2.0] {
        let found = replay.call(&[&x.scale(scale)?])?;
        assert_eq!(found[0].to_vec::<f32>()?, x.scale(scale)?.exp()?.to_vec::<f32>()?);
    }
    assert_eq!(replay.recordings(), 1);
    Ok(())
}

#[test]
fn devices_of_one_gpu_come_and_go_while_others_record() -> Result<()> {
    let Some(_guard) = alone() else { return Ok(()) };
    let expected = run(&device(Precision::F32, false), 3)?;
    be_strict(true);
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
        let work = || (0..20).try_for_each(|_| run(&device(Precision::F32, true), 3).map(|found| assert_eq!(found, expected)));
        let running: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap())
    });
    drop(recorder);
    be_strict(false);
    outcome.and(together)
}
