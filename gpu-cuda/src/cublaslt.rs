//! cuBLASLt, as far as it is used: its functions, opened by name, and the numbers of its headers.

use core::ffi::{c_int, c_void};
use mfm_core::{Error, Result};
use mfm_cuda_dl::CUBLASLT;

/// An opaque handle of the library's.
pub(crate) type Handle = *mut c_void;

/// Numbers of the library's headers.
pub(crate) mod number {
    use core::ffi::c_int;
    pub const COMPUTE_F32: c_int = 68;
    pub const COMPUTE_TF32: c_int = 77;
    pub const TYPE_F32: c_int = 0;
    pub const TYPE_BF16: c_int = 14;
    pub const TRANSPOSE_FIRST: c_int = 3;
    pub const TRANSPOSE_SECOND: c_int = 4;
    pub const EPILOGUE: c_int = 7;
    /// The vector of an epilogue: a bias, or sums.
    pub const VECTOR: c_int = 8;
    /// Its matrix, and the distance between the columns of that.
    pub const MATRIX: c_int = 11;
    pub const MATRIX_LEADING: c_int = 12;
    pub const EPILOGUE_NONE: u32 = 1;
    pub const EPILOGUE_BIAS: u32 = 4;
    pub const EPILOGUE_GELU: u32 = 32;
    /// With what goes into GELU written to the matrix.
    pub const EPILOGUE_KEEP: u32 = 128;
    /// Of the second operand, which is our left one.
    pub const EPILOGUE_SUMS: u32 = 512;
    /// The result times the slope of GELU at the matrix.
    pub const EPILOGUE_GELU_SLOPE: u32 = 64 | 128;
    /// With the sums of that.
    pub const EPILOGUE_RESULT_SUMS: u32 = 16;
    pub const BATCH_COUNT: c_int = 5;
    pub const BATCH_STRIDE: c_int = 6;
    pub const MOST_WORKSPACE: c_int = 1;
    pub const REDUCTIONS: c_int = 3;
    /// Partial sums of a split product are added in the type of the arithmetic, which is f32.
    pub const REDUCE_IN_F32: u32 = 2;
    /// Of the first operand; those of the second, of C and of D follow.
    pub const ALIGNMENT: c_int = 5;
    /// There is too little memory for what the library keeps.
    pub const ALLOC_FAILED: c_int = 3;
    /// Something does not fit.
    pub const INVALID_VALUE: c_int = 7;
    /// There is no such operation.
    pub const NOT_SUPPORTED: c_int = 15;
}

/// What the heuristics propose.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Proposal {
    pub algorithm: [u64; 8],
    pub workspace: usize,
    pub state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

macro_rules! api {
    ($($field:ident = $name:literal: fn($($kind:ty),*);)*) => {
        pub(crate) struct Api { $(pub $field: unsafe extern "C" fn($($kind),*) -> c_int),* }

        impl Api {
            pub fn open() -> Option<Self> {
                // SAFETY: the functions of these names have these types in cuBLASLt 12 and 13.
                Some(Self { $($field: unsafe { CUBLASLT.function($name) }?),* })
            }
        }
    };
}

api! {
    create = "cublasLtCreate": fn(*mut Handle);
    destroy = "cublasLtDestroy": fn(Handle);
    operation_create = "cublasLtMatmulDescCreate": fn(*mut Handle, c_int, c_int);
    operation_set = "cublasLtMatmulDescSetAttribute": fn(Handle, c_int, *const c_void, usize);
    operation_destroy = "cublasLtMatmulDescDestroy": fn(Handle);
    layout_create = "cublasLtMatrixLayoutCreate": fn(*mut Handle, c_int, u64, u64, i64);
    layout_set = "cublasLtMatrixLayoutSetAttribute": fn(Handle, c_int, *const c_void, usize);
    layout_destroy = "cublasLtMatrixLayoutDestroy": fn(Handle);
    preference_create = "cublasLtMatmulPreferenceCreate": fn(*mut Handle);
    preference_set = "cublasLtMatmulPreferenceSetAttribute": fn(Handle, c_int, *const c_void, usize);
    preference_destroy = "cublasLtMatmulPreferenceDestroy": fn(Handle);
    propose = "cublasLtMatmulAlgoGetHeuristic":
        fn(Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut Proposal, *mut c_int);
    multiply = "cublasLtMatmul":
        fn(Handle, Handle, *const f32, u64, Handle, u64, Handle, *const f32, u64, Handle, u64, Handle, *const [u64; 8], u64, usize, *mut c_void);
}

/// The library, opened in a context.
pub(crate) struct Library {
    pub api: Api,
    pub handle: Handle,
}

// SAFETY: any thread may use the handle.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: created by `open`, destroyed once.
        unsafe { (self.api.destroy)(self.handle) };
    }
}

/// Marks its statuses in messages, apart from the codes of the driver.
const MESSAGE: &str = "of cuBLASLt";

/// A status of the library's.
pub(crate) fn check(op: &'static str, status: c_int) -> Result<()> {
    match status {
        0 => Ok(()),
        code => Err(Error::Device { op, code, message: MESSAGE }),
    }
}

/// The status of the library that an error carries, if it does.
pub(crate) fn status_of(error: &Error) -> Option<c_int> {
    match error {
        Error::Device { code, message, .. } if *message == MESSAGE => Some(*code),
        _ => None,
    }
}

/// Sets an attribute of one of its descriptions.
pub(crate) fn set<V>(
    setter: unsafe extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
    of: Handle,
    which: c_int,
    value: &V,
) -> Result<()> {
    // SAFETY: the attribute has the size of `V`, which the library checks.
    check("matmul", unsafe { setter(of, which, core::ptr::from_ref(value).cast(), size_of::<V>()) })
}
