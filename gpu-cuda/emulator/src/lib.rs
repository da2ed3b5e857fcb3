//! A stand-in for the CUDA driver and cuBLASLt: one shared library with the functions that the backend calls, and the kernels, compiled for the CPU.
//! Tests open it in libcuda's place, so the whole backend runs through cust on a machine without a GPU.

use mfm_cuda_dl::{CUBLASLT, DRIVER};
use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::path::Path;

/// The library, if there was a C++ compiler to build it with.
pub fn path() -> Option<&'static Path> {
    option_env!("MFM_EMULATED_LIBCUDA").map(Path::new)
}

/// Puts the library in the place of the driver and of cuBLASLt, for this process.
///
/// # Errors
/// There was no C++ compiler to build it with, so there is nothing to test on.
///
/// # Panics
/// If it is there, but another driver is open already or it cannot be opened: tests are not to pass because of that.
pub fn install() -> Result<(), String> {
    let path = path().ok_or("there was no C++ compiler to build the emulated driver with")?;
    DRIVER.choose(path);
    CUBLASLT.choose(path);
    for library in [&DRIVER, &CUBLASLT] {
        let name = library.name();
        assert!(name.as_ref().is_ok_and(|name| Path::new(name) == path), "not the emulated driver: {name:?}");
    }
    Ok(())
}

/// What the emulated driver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How many devices.
    pub devices: i32,
    /// The driver's CUDA version, 1000 major + 10 minor.
    pub driver: i32,
    /// The devices' compute capability, 10 major + minor.
    pub capability: i32,
    /// The devices' memory.
    pub bytes: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self { devices: 1, driver: 13_000, capability: 90, bytes: 8 << 30 }
    }
}

/// Configures the emulated driver, takes back faults, and heals a lost device.
pub fn configure(machine: Machine) {
    // SAFETY: the library's function of this name has this type.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn(c_int, c_int, c_int, usize)>("emulator_configure") };
    if let Some(function) = function {
        // SAFETY: plain numbers.
        unsafe { function(machine.devices, machine.driver, machine.capability, machine.bytes) };
    }
}

/// Call number `after` (0: the next one) of a function of the driver fails with `code`.
pub fn fail(function: &CStr, code: i32, after: i32) {
    // SAFETY: the library's function of this name has this type.
    let emulator = unsafe { DRIVER.function::<unsafe extern "C" fn(*const c_char, c_int, c_int)>("emulator_fail") };
    if let Some(emulator) = emulator {
        let name: CString = function.into();
        // SAFETY: the library copies the name.
        unsafe { emulator(name.as_ptr(), code, after) };
    }
}

/// Whether loading a module, pinning memory and letting go of it wait for the whole context, which breaks what is captured in it.
pub fn be_strict(whether: bool) {
    // SAFETY: the library's function of this name has this type.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn(c_int)>("emulator_be_strict") };
    if let Some(function) = function {
        // SAFETY: a plain number.
        unsafe { function(whether.into()) };
    }
}

/// From now on the stand-in for cuBLASLt answers `code` to products with an epilogue, 0 for no refusal: when it proposes how to make them, or, if `late`, when
/// it is to make them.
pub fn refuse_epilogues(code: i32, late: bool) {
    refuse_epilogue(code, late, 0);
}

/// As [`refuse_epilogues`], for the one epilogue of this number alone, of which 1 is none.
pub fn refuse_epilogue(code: i32, late: bool, which: u32) {
    // SAFETY: the library's function of this name has this type.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn(c_int, c_int, c_uint)>("emulator_refuse_epilogues") };
    if let Some(function) = function {
        // SAFETY: plain numbers.
        unsafe { function(code, late.into(), which) };
    }
}

fn count(name: &str) -> i32 {
    // SAFETY: the library's functions that are asked for here have this type.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn() -> c_int>(name) };
    // SAFETY: takes nothing.
    function.map_or(0, |function| unsafe { function() })
}

/// How many kernels were run.
pub fn launches() -> i32 {
    count("emulator_launches")
}

/// What was done with graphs so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graphs {
    /// How many were made.
    pub made: i32,
    /// How many nodes of them were changed.
    pub changes: i32,
    /// How many launches there were.
    pub launches: i32,
}

/// What was done with graphs so far.
pub fn graphs() -> Graphs {
    Graphs { made: count("emulator_instantiations"), changes: count("emulator_changes"), launches: count("emulator_graph_launches") }
}

/// How many captures were broken by what waited for the whole context.
pub fn broken_captures() -> i32 {
    count("emulator_broken")
}

/// The bytes of device memory in use.
pub fn used() -> usize {
    // SAFETY: the library's function of this name has this type.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn() -> usize>("emulator_used") };
    // SAFETY: takes nothing.
    function.map_or(0, |function| unsafe { function() })
}
