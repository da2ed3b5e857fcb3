//! The conformance suite on the CUDA backend: on the first GPU where there is one, else on the emulated driver, which runs the same kernels on the CPU.

use mfm_gpu_cuda::{CudaDevice, Options, Precision};
use mfm_tests::conformance::Tolerances;

/// The GPU; the emulated one where there is none.
fn device(precision: Precision) -> Result<CudaDevice, String> {
    let real = std::path::Path::new("/dev/nvidiactl").exists();
    if !real {
        mfm_cuda_emulator::install()?;
    }
    CudaDevice::with_options(0, Options { precision, ..Options::default() }).map_err(|error| error.to_string())
}

mfm_tests::conformance!(f32, try device(Precision::F32), Tolerances::F32);
mfm_tests::conformance!(bf16, try device(Precision::Bf16), Tolerances::BF16);
