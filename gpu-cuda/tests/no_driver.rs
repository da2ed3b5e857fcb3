//! A machine without a driver: every call answers, and nothing stops.

use mfm_cuda_dl::DRIVER;
use mfm_gpu_cuda::{CudaDevice, OpenError, devices};

#[test]
fn no_driver() {
    assert!(DRIVER.choose("/nowhere/libcuda.so.1"));
    for error in [CudaDevice::new(0).unwrap_err(), devices().unwrap_err()] {
        assert!(matches!(error, OpenError::NoDriver { .. }), "{error:?}");
        assert!(error.to_string().starts_with("no CUDA driver was found (/nowhere/libcuda.so.1: "), "{error}");
        assert_eq!(mfm_core::Error::from(error).to_string(), "cuda: no CUDA driver was found");
    }
    // What is open stays.
    assert!(!DRIVER.choose("/elsewhere/libcuda.so.1"));
    assert_eq!(cust::init(cust::CudaFlags::empty()), Err(cust::error::CudaError::NoDevice));
}
