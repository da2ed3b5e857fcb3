//! Matrix products by cuBLASLt: a plan for each kind of product, made once by its heuristics and kept.
//!
//! cuBLASLt counts in columns. The rows of our C = A B are the columns of its Cᵀ = Bᵀ Aᵀ, so it is given B first, and writes C as we want it.

use crate::abi::Address;
use crate::device::{CudaDevice, locked};
use crate::matmul::Stack;
use crate::options::{Precision, Storage};
use crate::quick::BuildQuick;
use crate::space::Axes;
use core::ffi::{c_int, c_void};
use mfm_core::{Error, Result};
use mfm_cuda_dl::CUBLASLT;
use std::collections::HashMap;
use std::sync::Mutex;

/// An opaque handle of the library's.
type Handle = *mut c_void;

/// Numbers of the library's headers.
mod number {
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
    pub const BATCH_COUNT: c_int = 5;
    pub const BATCH_STRIDE: c_int = 6;
    pub const MOST_WORKSPACE: c_int = 1;
    /// Of the first operand; those of the second, of C and of D follow.
    pub const ALIGNMENT: c_int = 5;
    /// An operation as such, its parts not fitting, or nothing for this GPU.
    pub const REFUSALS: [c_int; 3] = [15, 7, 8];
}

/// The largest workspace that a plan may use.
const WORKSPACE: usize = 32 << 20;

/// What the heuristics propose.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Proposal {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

macro_rules! api {
    ($($field:ident = $name:literal: fn($($kind:ty),*);)*) => {
        struct Api { $($field: unsafe extern "C" fn($($kind),*) -> c_int),* }

        impl Api {
            fn open() -> Option<Self> {
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

/// What a product may do besides, on its way. Vectors and matrices are contiguous and of the operands' type; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epilogue {
    None,
    /// Adds a vector to each row.
    Bias(Address),
    /// GELU, in its tanh form, of the product plus `bias`, which itself goes to `pre`.
    Gelu {
        bias: Address,
        pre: Address,
    },
    /// Writes the sum of each row of the left operand.
    RowSums(Address),
}

impl Epilogue {
    /// Its number, its vector and its matrix.
    fn parts(self) -> (u32, Address, Address) {
        match self {
            Self::None => (number::EPILOGUE_NONE, 0, 0),
            Self::Bias(bias) => (number::EPILOGUE_BIAS, bias, 0),
            Self::Gelu { bias, pre } => {
                let (biased, keeps) = (if bias == 0 { 0 } else { number::EPILOGUE_BIAS }, if pre == 0 { 0 } else { number::EPILOGUE_KEEP });
                (number::EPILOGUE_GELU | biased | keeps, bias, pre)
            }
            Self::RowSums(sums) => (number::EPILOGUE_SUMS, sums, 0),
        }
    }

    /// What to try where it is not offered.
    fn simpler(self) -> Self {
        match self {
            Self::Gelu { bias, .. } if bias != 0 => Self::Bias(bias),
            _ => Self::None,
        }
    }

    /// Whether the library may be asked for it in a product of `columns`: its vectors read and write 16 bytes, and how exact its GELU and its sums are in f32
    /// it does not say.
    fn may_be_asked(self, storage: Storage, columns: usize) -> bool {
        let (_, vector, matrix) = self.parts();
        let exact = matches!(self, Self::None | Self::Bias(_)) || storage == Storage::Bf16;
        exact && vector.is_multiple_of(16) && matrix.is_multiple_of(16) && (matrix == 0 || columns.is_multiple_of(8))
    }
}

/// The largest power of two, up to 256, that divides an address.
fn alignment(address: Address) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// A matrix as the library sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Side {
    /// Whether its columns, not its rows, lie one after another.
    transposed: bool,
    /// The distance between them.
    leading: usize,
    /// The distance between matrices of the batch.
    apart: i64,
    /// Its address is a multiple of this.
    alignment: u32,
}

impl Side {
    /// `None` for strides that the library cannot express.
    fn new(stack: &Stack, apart: i64, address: u64) -> Option<Self> {
        let Stack { rows, columns, row, column, .. } = *stack;
        let (transposed, leading, least) = if column == 1 || columns == 1 {
            (false, if rows == 1 { columns } else { row }, columns)
        } else if row == 1 || rows == 1 {
            (true, column, rows)
        } else {
            return None;
        };
        (leading >= least).then_some(Self { transposed, leading, apart, alignment: alignment(address) })
    }
}

/// What a plan depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    precision: Precision,
    sides: [Side; 2],
    sizes: [usize; 3],
    batch: usize,
    out_alignment: u32,
    /// Its number, and the alignments of its vector and its matrix.
    epilogue: (u32, [u32; 2]),
}

impl Key {
    /// Whether a status says that there is no such product, so that a simpler one may be asked for. Which epilogues go with which shapes is not documented in
    /// full; that a plain product is not valid would be a fault of ours.
    fn is_refusal(&self, status: c_int) -> bool {
        let refusals = if self.epilogue.0 == number::EPILOGUE_NONE { &number::REFUSALS[..1] } else { &number::REFUSALS[..] };
        refusals.contains(&status)
    }
}

/// A product, planned.
struct Plan {
    operation: Handle,
    /// Of our right and left operand and of the result.
    layouts: [Handle; 3],
    algorithm: [u64; 8],
    workspace: usize,
}

/// cuBLASLt, opened for a GPU, with the plans made so far; `None` for a product that it does not offer.
pub(crate) struct Products {
    api: Api,
    handle: Handle,
    plans: Mutex<HashMap<Key, Option<Plan>, BuildQuick>>,
}

// SAFETY: the library's handles may be used by any thread; plans are changed under the lock.
unsafe impl Send for Products {}
// SAFETY: as above.
unsafe impl Sync for Products {}

/// A status of the library's.
fn check(status: c_int) -> Result<()> {
    match status {
        0 => Ok(()),
        code => Err(Error::Device { op: "matmul", code, message: "of cuBLASLt" }),
    }
}

impl Products {
    /// The library for the current context, if it is there.
    pub fn open() -> Option<Self> {
        let api = Api::open()?;
        let mut handle = core::ptr::null_mut();
        // SAFETY: a context is current.
        let status = unsafe { (api.create)(&raw mut handle) };
        (status == 0).then(|| Self { api, handle, plans: Mutex::default() })
    }

    /// Queues left · right, row-major from `out` on, with the epilogue `wanted` or what the library offers of it. Says which it was; `None` if the library does
    /// not offer this product: nothing is done then.
    pub fn multiply(
        &self,
        device: &CudaDevice,
        left: (Address, &Stack),
        right: (Address, &Stack),
        wanted: Epilogue,
        out: Address,
    ) -> Result<Option<Epilogue>> {
        let mut epilogue = wanted;
        loop {
            if self.attempt(device, left, right, epilogue, out)? {
                return Ok(Some(epilogue));
            }
            if epilogue == Epilogue::None {
                return Ok(None);
            }
            epilogue = epilogue.simpler();
        }
    }

    /// As [`multiply`](Self::multiply), with this epilogue or not at all.
    fn attempt(
        &self,
        device: &CudaDevice,
        (a, left): (Address, &Stack),
        (b, right): (Address, &Stack),
        epilogue: Epilogue,
        out: Address,
    ) -> Result<bool> {
        let batch = left.batch.shape;
        let has_one_matrix = batch.elements() == 1 || epilogue == Epilogue::None;
        if !has_one_matrix || !epilogue.may_be_asked(device.storage(), right.columns) {
            return Ok(false);
        }
        let (axes, _) = Axes::new(batch, [&left.batch, &right.batch], None);
        if axes.space().rank > 1 {
            return Ok(false);
        }
        let sides = [Side::new(right, axes.view(1, b).stride[0], b), Side::new(left, axes.view(0, a).stride[0], a)];
        let [Some(first), Some(second)] = sides else { return Ok(false) };
        let (kind, vector, matrix) = epilogue.parts();
        let key = Key {
            precision: device.precision(),
            sides: [first, second],
            sizes: [left.rows, right.columns, left.columns],
            batch: batch.elements(),
            out_alignment: alignment(out),
            epilogue: (kind, [alignment(vector), alignment(matrix)]),
        };
        let mut plans = locked(&self.plans);
        let (planned, is_new) = match plans.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => (entry.into_mut(), false),
            std::collections::hash_map::Entry::Vacant(entry) => (entry.insert(device.alone("matmul", || self.plan(&key, epilogue))?), true),
        };
        let Some(plan) = planned else { return Ok(false) };
        let workspace = device.buffer("matmul", plan.workspace)?;
        let (one, zero) = (1.0f32, 0.0f32);
        let multiply = || {
            self.point(plan.operation, epilogue)?;
            let [first, second, result] = plan.layouts;
            // SAFETY: the plan is of these operands; C is D, and not read since its factor is zero.
            check(unsafe {
                (self.api.multiply)(
                    self.handle,
                    plan.operation,
                    &raw const one,
                    b,
                    first,
                    a,
                    second,
                    &raw const zero,
                    out,
                    result,
                    out,
                    result,
                    &raw const plan.algorithm,
                    workspace.address(),
                    plan.workspace,
                    device.stream().as_inner().cast(),
                )
            })
        };
        // The library loads its kernels when they are first used, which is not for a graph.
        let outcome = if is_new { device.alone("matmul", multiply) } else { device.queue("matmul", &key, multiply) };
        match outcome {
            // Its heuristics may propose what it then refuses.
            Err(Error::Device { code, .. }) if is_new && key.is_refusal(code) => {
                self.discard(plan);
                *planned = None;
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        }
    }

    fn set<V>(
        &self,
        setter: unsafe extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
        of: Handle,
        which: c_int,
        value: &V,
    ) -> Result<()> {
        // SAFETY: the attribute has the size of `V`, which the library checks.
        check(unsafe { setter(of, which, core::ptr::from_ref(value).cast(), size_of::<V>()) })
    }

    /// Tells an operation where its epilogue's vector and matrix are.
    fn point(&self, operation: Handle, epilogue: Epilogue) -> Result<()> {
        let (_, vector, matrix) = epilogue.parts();
        for (which, address) in [(number::VECTOR, vector), (number::MATRIX, matrix)] {
            if address != 0 {
                self.set(self.api.operation_set, operation, which, &address)?;
            }
        }
        Ok(())
    }

    fn plan(&self, key: &Key, epilogue: Epilogue) -> Result<Option<Plan>> {
        let compute = if key.precision == Precision::Tf32 { number::COMPUTE_TF32 } else { number::COMPUTE_F32 };
        let kind = match key.precision.storage() {
            Storage::F32 => number::TYPE_F32,
            Storage::Bf16 => number::TYPE_BF16,
        };
        let mut plan = Plan { operation: core::ptr::null_mut(), layouts: [core::ptr::null_mut(); 3], algorithm: [0; 8], workspace: 0 };
        let outcome = self.fill(&mut plan, compute, kind, key, epilogue);
        match outcome {
            Ok(true) => Ok(Some(plan)),
            other => {
                self.discard(&plan);
                other.map(|_| None)
            }
        }
    }

    /// Describes the product and asks the heuristics; false if they have nothing to propose.
    fn fill(&self, plan: &mut Plan, compute: c_int, kind: c_int, key: &Key, epilogue: Epilogue) -> Result<bool> {
        let api = &self.api;
        let [m, n, k] = key.sizes.map(|n| n as u64);
        // SAFETY: writes a new handle.
        check(unsafe { (api.operation_create)(&raw mut plan.operation, compute, number::TYPE_F32) })?;
        let [first, second] = key.sides;
        self.set(api.operation_set, plan.operation, number::TRANSPOSE_FIRST, &c_int::from(first.transposed))?;
        self.set(api.operation_set, plan.operation, number::TRANSPOSE_SECOND, &c_int::from(second.transposed))?;
        self.set(api.operation_set, plan.operation, number::EPILOGUE, &key.epilogue.0)?;
        if key.epilogue.0 & number::EPILOGUE_KEEP != 0 {
            self.set(api.operation_set, plan.operation, number::MATRIX_LEADING, &(n as i64))?;
        }
        // The heuristics look at the addresses' alignment.
        self.point(plan.operation, epilogue)?;
        let upright = |rows: u64, columns: u64, side: &Side| if side.transposed { (columns, rows) } else { (rows, columns) };
        let shapes = [upright(n, k, &first), upright(k, m, &second), (n, m)];
        let distances = [(first.leading, first.apart), (second.leading, second.apart), (key.sizes[1], (m * n) as i64)];
        for ((layout, (rows, columns)), (leading, apart)) in plan.layouts.iter_mut().zip(shapes).zip(distances) {
            // SAFETY: writes a new handle.
            check(unsafe { (api.layout_create)(layout, kind, rows, columns, leading as i64) })?;
            self.set(api.layout_set, *layout, number::BATCH_COUNT, &(key.batch as c_int))?;
            self.set(api.layout_set, *layout, number::BATCH_STRIDE, &apart)?;
        }
        let mut preference = core::ptr::null_mut();
        // SAFETY: writes a new handle.
        check(unsafe { (api.preference_create)(&raw mut preference) })?;
        let proposal = self.ask(plan, preference, key);
        // SAFETY: created above.
        check(unsafe { (api.preference_destroy)(preference) })?;
        Ok(match proposal? {
            Some(proposal) => {
                (plan.algorithm, plan.workspace) = (proposal.algorithm, proposal.workspace);
                true
            }
            None => false,
        })
    }

    fn ask(&self, plan: &Plan, preference: Handle, key: &Key) -> Result<Option<Proposal>> {
        self.set(self.api.preference_set, preference, number::MOST_WORKSPACE, &WORKSPACE)?;
        let [first, second] = key.sides;
        for (which, alignment) in (number::ALIGNMENT..).zip([first.alignment, second.alignment, key.out_alignment, key.out_alignment]) {
            self.set(self.api.preference_set, preference, which, &alignment)?;
        }
        let (mut proposal, mut count) = (Proposal::default(), 0);
        let [a, b, d] = plan.layouts;
        // SAFETY: all handles are there; there is room for one proposal.
        let status =
            unsafe { (self.api.propose)(self.handle, plan.operation, a, b, d, d, preference, 1, &raw mut proposal, &raw mut count) };
        if key.is_refusal(status) {
            return Ok(None);
        }
        check(status)?;
        Ok((count > 0 && proposal.state == 0).then_some(proposal))
    }

    fn discard(&self, plan: &Plan) {
        for layout in plan.layouts.iter().filter(|layout| !layout.is_null()) {
            // SAFETY: created by `fill`, destroyed once.
            unsafe { (self.api.layout_destroy)(*layout) };
        }
        if !plan.operation.is_null() {
            // SAFETY: as above.
            unsafe { (self.api.operation_destroy)(plan.operation) };
        }
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        let plans = core::mem::take(&mut *locked(&self.plans));
        plans.values().flatten().for_each(|plan| self.discard(plan));
        // SAFETY: created by `open`, destroyed once.
        unsafe { (self.api.destroy)(self.handle) };
    }
}
