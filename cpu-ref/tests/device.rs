//! Memory and threads.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used)] // a failure is a failed test

use mfm_core::autodiff::Tape;
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};

fn shape(axes: &[usize]) -> Shape {
    Shape::new(axes).unwrap()
}

/// A forward and a backward pass of a small network; the loss and all gradients.
fn step(device: &CpuDevice<f32>, rows: usize) -> Result<Vec<CpuTensor<f32>>> {
    let noise = Noise::new(3);
    let widths = [2, 64, 96, 3];
    let tape = Tape::new();
    let x = tape.variable(device.normal(&noise, shape(&[rows, 2]))?);
    let mut parameters = vec![x.clone()];
    let mut h = x;
    for (i, pair) in widths.windows(2).enumerate() {
        let weight = tape.variable(device.normal(&noise.stream(i as u64 + 1), shape(&[pair[1], pair[0]]))?.scale(0.2)?);
        let bias = tape.variable(device.normal(&noise.stream(i as u64 + 9), shape(&[pair[1]]))?);
        h = h.linear(&weight, Some(&bias), if i == 2 { Activation::Identity } else { Activation::Silu })?;
        parameters.extend([weight, bias]);
    }
    let scale = tape.variable(device.normal(&noise.stream(20), shape(&[3]))?);
    h = h.layer_norm(&scale, &scale, 1e-5)?.gated_residual(&scale, &h)?;
    parameters.push(scale);
    let loss = h.softmax(1)?.square()?.mean_all()?.add(&h.log_mean_exp(1)?.mean_all()?)?;
    let gradients = tape.backward(&loss, device.full(1.0, Shape::SCALAR)?)?;
    let mut all = vec![loss.into_value()];
    for parameter in &parameters {
        all.push(gradients.of(parameter)?);
    }
    Ok(all)
}

#[test]
fn the_same_bits_on_any_number_of_threads() -> Result<()> {
    for rows in [1, 7, 3000, 5000] {
        let one: Vec<Vec<f32>> = step(&CpuDevice::with_threads(1)?, rows)?.iter().map(|x| x.to_vec().unwrap()).collect();
        for threads in [2, 3] {
            let more: Vec<Vec<f32>> = step(&CpuDevice::with_threads(threads)?, rows)?.iter().map(|x| x.to_vec().unwrap()).collect();
            let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&one), bits(&more), "{rows} rows on {threads} threads");
        }
    }
    Ok(())
}

#[test]
fn a_steady_loop_asks_for_no_memory() -> Result<()> {
    let device = CpuDevice::<f32>::with_threads(2)?;
    for _ in 0..2 {
        step(&device, 3000)?;
    }
    let before = device.memory();
    assert!(before.live == 0 && before.pooled > 0, "{before:?}");
    for _ in 0..5 {
        step(&device, 3000)?;
    }
    assert_eq!(device.memory(), before);
    device.trim();
    assert_eq!(device.memory().pooled, 0);
    Ok(())
}

#[test]
fn too_much_memory_is_an_error() -> Result<()> {
    let device = CpuDevice::<f64>::new();
    let huge = device.zeros(shape(&[1 << 59]))?;
    assert!(matches!(
        huge.shift(1.0)?.add(&device.from_slice(&[1.0, 2.0], shape(&[2, 1]))?),
        Err(Error::TooLarge { .. } | Error::OutOfMemory { .. })
    ));
    let wide = device.normal(&Noise::new(1), shape(&[1 << 20, 1]))?.broadcast(shape(&[1 << 20, 1 << 39]))?;
    assert!(matches!(wide.reshape(shape(&[1 << 59])), Err(Error::OutOfMemory { .. })));
    assert!(matches!(wide.to_vec::<f64>(), Err(Error::OutOfMemory { .. })));
    Ok(())
}

#[test]
fn noise_is_the_core_s() -> Result<()> {
    let noise = Noise::new(11).stream(4).skip(3);
    let mut expected = vec![0.0; 20_001];
    noise.fill_normal(&mut expected);
    for threads in [1, 2, 3] {
        let drawn = CpuDevice::<f64>::with_threads(threads)?.normal(&noise, shape(&[20_001]))?;
        assert_eq!(drawn.to_vec::<f64>()?, expected);
    }
    let single = CpuDevice::<f32>::new().normal(&noise, shape(&[20_001]))?;
    assert_eq!(single.to_vec::<f32>()?, expected.iter().map(|&x| x as f32).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn one_device_serves_many_threads() -> Result<()> {
    let device = CpuDevice::<f32>::with_threads(2)?;
    let x = device.normal(&Noise::new(5), shape(&[300, 300]))?;
    let expected = x.matmul_transposed(&x)?.to_vec::<f32>()?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(x.matmul_transposed(&x).unwrap().to_vec::<f32>().unwrap(), expected));
        }
    });
    Ok(())
}

#[test]
fn lent_memory_is_read_in_place_and_given_back() {
    use std::sync::Arc;
    struct Owner(Arc<Vec<f32>>);
    impl AsRef<[f32]> for Owner {
        fn as_ref(&self) -> &[f32] {
            &self.0
        }
    }
    let values = Arc::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let device = CpuDevice::<f32>::new();
    let tensor = device.wrap(Owner(Arc::clone(&values)), Shape::new(&[3, 2]).unwrap()).unwrap();
    assert_eq!(tensor.as_slice().unwrap().as_ptr(), values.as_ptr());
    let rows = tensor.slice(0, 1, 2).unwrap();
    drop(tensor);
    assert_eq!(rows.sum(0).unwrap().to_vec::<f64>().unwrap(), [8.0, 10.0]);
    assert_eq!(device.memory().live, 0);
    assert_eq!(Arc::strong_count(&values), 2);
    drop(rows);
    assert_eq!(Arc::strong_count(&values), 1);
    assert!(device.wrap(Owner(values), Shape::new(&[7]).unwrap()).is_err());
}
