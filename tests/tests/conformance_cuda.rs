//! The conformance suite on the CUDA backend: on the first GPU where there is one, else on the emulated driver, which runs the same kernels on the CPU.

use mfm_gpu_cuda::{CudaDevice, Options, Precision};
use mfm_tests::conformance::Tolerances;
use std::io::Write;
use std::sync::Once;

/// The GPU; the emulated one where there is none. Says which.
fn device(options: Options) -> Result<CudaDevice, String> {
    static SAY: Once = Once::new();
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        mfm_cuda_emulator::install()?;
    }
    let device = CudaDevice::with_options(0, options).map_err(|error| error.to_string())?;
    SAY.call_once(|| {
        // Past the test harness, which hides what passing tests print.
        let _ = writeln!(std::io::stderr(), "conformance of the CUDA backend on: {}", device.properties().name);
    });
    Ok(device)
}

mfm_tests::conformance!(f32, try device(Options { cublaslt: false, ..Options::default() }), Tolerances::F32);
// Products go by cuBLASLt, or its stand-in.
mfm_tests::conformance!(bf16, try device(Options { precision: Precision::Bf16, ..Options::default() }), Tolerances::BF16);
mfm_tests::conformance!(graphs, try device(Options { graphs: true, ..Options::default() }), Tolerances::F32);
