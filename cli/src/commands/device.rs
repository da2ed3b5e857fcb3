//! `mfm device`: what there is to compute on.

use crate::context::Context;
use crate::failure::Result;
use crate::table::{Table, things};
use mfm_core::{Device, Operations, Shape, Tensor};
use mfm_gpu_cuda::{CudaDevice, Properties, devices, libraries};
use serde::Serialize;

/// The options of `mfm device`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {}

/// What `--json` gives.
#[derive(Debug, Serialize)]
struct Report {
    threads: usize,
    libraries: Vec<LibraryRow>,
    devices: Vec<DeviceRow>,
    /// Why there is no GPU, if there is none.
    no_gpu: Option<String>,
}

#[derive(Debug, Serialize)]
struct LibraryRow {
    name: &'static str,
    file: Option<String>,
    absent: Option<String>,
    without: &'static str,
}

#[derive(Debug, Serialize)]
struct DeviceRow {
    name: String,
    model: String,
    capability: String,
    memory_bytes: usize,
    available_bytes: Option<usize>,
    multiprocessors: i32,
    driver: String,
    /// Why it cannot be used, if it cannot.
    fault: Option<String>,
}

/// Opens the device and makes it add numbers; the bytes that are free.
fn tried(index: usize) -> Result<usize, String> {
    let device = CudaDevice::new(index).map_err(|error| error.to_string())?;
    let sum = || {
        let x = device.from_slice(&[1.0, 2.0, 3.0], Shape::new(&[3])?)?;
        x.square()?.sum(0)?.to_vec::<f64>()
    };
    match sum() {
        Ok(sum) if sum == [14.0] => device.available().map_err(|error| error.to_string()),
        Ok(sum) => Err(format!("1 + 4 + 9 comes to {sum:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn describe(properties: Properties) -> DeviceRow {
    let (available_bytes, fault) = match tried(properties.index) {
        Ok(bytes) => (Some(bytes), None),
        Err(reason) => (None, Some(reason)),
    };
    DeviceRow {
        name: format!("cuda:{}", properties.index),
        model: properties.name,
        capability: format!("{}.{}", properties.capability.0, properties.capability.1),
        memory_bytes: properties.memory,
        available_bytes,
        multiprocessors: properties.multiprocessors,
        driver: format!("{}.{}", properties.driver / 1000, properties.driver % 1000 / 10),
        fault,
    }
}

fn gibibytes(bytes: usize) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

/// Runs `mfm device`. That there is no GPU is an answer, not a failure.
///
/// # Errors
/// If the answer cannot be written.
pub fn run<T: Tensor>(context: &Context<T>, _: &Arguments) -> Result<()> {
    let threads = context.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let (devices, no_gpu) = match devices() {
        Ok(found) => (found.into_iter().map(describe).collect(), None),
        Err(reason) => (Vec::new(), Some(reason.to_string())),
    };
    let libraries = libraries().into_iter().map(|library| {
        let (file, absent) = match library.file {
            Ok(file) => (Some(file), None),
            Err(reason) => (None, Some(reason)),
        };
        LibraryRow { name: library.name, file, absent, without: library.without }
    });
    let report = Report { threads, libraries: libraries.collect(), devices, no_gpu };

    let mut table = Table::new(["device", "", "memory", "free", "state"]);
    table.row(["cpu", &things(report.threads, "thread"), "", "", "ready"]);
    for device in &report.devices {
        let what = format!("{}, compute capability {}, {} multiprocessors", device.model, device.capability, device.multiprocessors);
        let free = device.available_bytes.map_or_else(String::new, gibibytes);
        table.row([&device.name, &what, &gibibytes(device.memory_bytes), &free, device.fault.as_deref().unwrap_or("ready")]);
    }
    context.table(&table)?;
    if let Some(reason) = &report.no_gpu {
        context.print(format!("\nNo GPU: {reason}."))?;
    }
    let mut table = Table::new(["library", "file", "without it"]);
    for library in &report.libraries {
        table.row([library.name, library.file.as_deref().unwrap_or("absent"), library.without]);
    }
    context.print("")?;
    context.table(&table)?;
    if let Some(device) = report.devices.first() {
        context.print(format!("\nThe driver offers CUDA {}.", device.driver))?;
    }
    context.results(&report)
}
