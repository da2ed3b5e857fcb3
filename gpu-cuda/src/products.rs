//! Matrix products by cuBLASLt: a plan for each kind of product, made once by its heuristics and kept.
//!
//! cuBLASLt counts in columns. The rows of our C = A B are the columns of its Cᵀ = Bᵀ Aᵀ, so it is given B first, and writes C as we want it.

use crate::abi::Address;
use crate::cublaslt::{Api, Handle, Library, Proposal, check, number, set, status_of};
use crate::device::{CudaDevice, locked};
use crate::epilogue::Epilogue;
use crate::matmul::Stack;
use crate::options::{Precision, Storage};
use crate::quick::BuildQuick;
use crate::space::Axes;
use crate::stream::Stream;
use crate::work::Piece;
use core::ffi::c_int;
use core::ptr::null_mut;
use mfm_core::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest workspace that a plan may use.
const WORKSPACE: usize = 32 << 20;

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
    /// The error, unless it is a status of the library's that says that there is no such product, so that a simpler one may be asked for. Which epilogues go
    /// with which shapes is not documented in full, nor what is answered to others; that a plain product is not valid would be a fault of ours, but that
    /// some releases count elements in 32 bits.
    fn refused(&self, error: Error) -> Result<()> {
        let is_plain = self.epilogue.0 == number::EPILOGUE_NONE;
        match status_of(&error) {
            Some(number::NOT_SUPPORTED) => Ok(()),
            Some(number::INVALID_VALUE) if self.span() > i32::MAX as usize => Ok(()),
            Some(_) if !is_plain => Ok(()),
            _ => Err(error),
        }
    }

    /// From the first element of an operand, or of the result, to behind its last, at most.
    fn span(&self) -> usize {
        let ([rows, columns, terms], [right, left]) = (self.sizes, self.sides);
        let of = |side: Side, upright: [usize; 2]| {
            let apart = usize::try_from(side.apart.unsigned_abs()).unwrap_or(usize::MAX);
            let lines = upright[usize::from(side.transposed)];
            side.leading.saturating_mul(lines).saturating_add(apart.saturating_mul(self.batch.saturating_sub(1)))
        };
        let out = rows.saturating_mul(columns).saturating_mul(self.batch);
        out.max(of(right, [terms, columns])).max(of(left, [rows, terms]))
    }
}

/// A product, planned.
pub(crate) struct Plan {
    library: Arc<Library>,
    /// Told of the addresses of its epilogue before each use.
    operation: Mutex<Handle>,
    /// Of our right and left operand and of the result.
    layouts: [Handle; 3],
    algorithm: [u64; 8],
    workspace: usize,
}

// SAFETY: any thread may use the handles; what is changed of them is under the lock.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

impl Drop for Plan {
    fn drop(&mut self) {
        let (api, operation) = (&self.library.api, *locked(&self.operation));
        for layout in self.layouts.iter().filter(|layout| !layout.is_null()) {
            // SAFETY: created by `fill`, destroyed once.
            unsafe { (api.layout_destroy)(*layout) };
        }
        if !operation.is_null() {
            // SAFETY: as above.
            unsafe { (api.operation_destroy)(operation) };
        }
    }
}

/// A planned product of operands at some addresses.
#[derive(Clone)]
pub(crate) struct Multiplication {
    plan: Arc<Plan>,
    operands: Operands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Operands {
    left: Address,
    right: Address,
    out: Address,
    workspace: Address,
    epilogue: Epilogue,
}

impl PartialEq for Multiplication {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan) && self.operands == other.operands
    }
}

impl Multiplication {
    /// Of one plan among those that there are.
    pub fn plan_number(&self) -> usize {
        Arc::as_ptr(&self.plan).addr()
    }

    /// Where its operands, its result, its workspace and those of its epilogue are; 0 is none.
    pub fn addresses(&self) -> Vec<Address> {
        let Operands { left, right, out, workspace, epilogue } = self.operands;
        let (_, vector, matrix) = epilogue.parts();
        vec![left, right, out, workspace, vector, matrix]
    }

    /// Queues it on the stream, or lets that capture it.
    pub fn multiply(&self, op: &'static str, stream: &Stream) -> Result<()> {
        let Plan { library, operation, layouts: [first, second, result], algorithm, workspace } = &*self.plan;
        let (operation, (one, zero)) = (locked(operation), (1.0f32, 0.0f32));
        let Operands { left, right, out, workspace: address, epilogue } = self.operands;
        point(&library.api, *operation, epilogue)?;
        // SAFETY: the plan is of these operands; C is D, and not read since its factor is zero.
        check(op, unsafe {
            (library.api.multiply)(
                library.handle,
                *operation,
                &raw const one,
                right,
                *first,
                left,
                *second,
                &raw const zero,
                out,
                *result,
                out,
                *result,
                algorithm,
                address,
                *workspace,
                stream.as_inner().cast(),
            )
        })
    }
}

/// cuBLASLt, opened for a GPU, with the plans made so far; `None` for a product that it does not offer.
pub(crate) struct Products {
    library: Arc<Library>,
    plans: Mutex<HashMap<Key, Option<Arc<Plan>>, BuildQuick>>,
}

/// Tells an operation where its epilogue's vector and matrix are.
fn point(api: &Api, operation: Handle, epilogue: Epilogue) -> Result<()> {
    let (_, vector, matrix) = epilogue.parts();
    for (which, address) in [(number::VECTOR, vector), (number::MATRIX, matrix)] {
        if address != 0 {
            set(api.operation_set, operation, which, &address)?;
        }
    }
    Ok(())
}

impl Products {
    /// The library for the current context, if it is there.
    pub fn open() -> Result<Option<Self>> {
        let Some(api) = Api::open() else { return Ok(None) };
        let mut handle = null_mut();
        // SAFETY: a context is current.
        check("cuda", unsafe { (api.create)(&raw mut handle) })?;
        Ok(Some(Self { library: Arc::new(Library { api, handle }), plans: Mutex::default() }))
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
        if !has_one_matrix || !epilogue.may_be_asked(device, [left.rows, right.columns, left.columns]) {
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
            Entry::Occupied(entry) => (entry.into_mut(), false),
            Entry::Vacant(entry) => {
                let plan = device.with_room("matmul", || device.without_captures("matmul", || self.plan(&key, epilogue)));
                (entry.insert(plan.or_else(|error| key.refused(error).map(|()| None))?), true)
            }
        };
        let Some(plan) = planned.clone() else { return Ok(false) };
        let workspace = device.buffer("matmul", plan.workspace)?;
        let operands = Operands { left: a, right: b, out, workspace: workspace.address(), epilogue };
        let multiplication = Multiplication { plan, operands };
        let product = Piece::Product(&multiplication);
        // The library loads its kernels when they are first used, which is not for a graph.
        let outcome = if is_new {
            let outcome = device.at_once("matmul", &product);
            drop(plans);
            outcome
        } else {
            drop(plans);
            device.queue("matmul", &product)
        };
        // What its heuristics propose it may refuse.
        if let Err(error) = outcome {
            key.refused(error)?;
            locked(&self.plans).insert(key, None);
        }
        Ok(outcome.is_ok())
    }

    fn plan(&self, key: &Key, epilogue: Epilogue) -> Result<Option<Arc<Plan>>> {
        let library = Arc::clone(&self.library);
        let mut plan = Plan { library, operation: Mutex::new(null_mut()), layouts: [null_mut(); 3], algorithm: [0; 8], workspace: 0 };
        Ok(self.fill(&mut plan, key, epilogue)?.then(|| Arc::new(plan)))
    }

    /// Describes the product and asks the heuristics; false if they have nothing to propose.
    fn fill(&self, plan: &mut Plan, key: &Key, epilogue: Epilogue) -> Result<bool> {
        let api = &self.library.api;
        let compute = if key.precision == Precision::Tf32 { number::COMPUTE_TF32 } else { number::COMPUTE_F32 };
        let kind = match key.precision.storage() {
            Storage::F32 => number::TYPE_F32,
            Storage::Bf16 => number::TYPE_BF16,
        };
        let [m, n, k] = key.sizes.map(|n| n as u64);
        let operation = plan.operation.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: writes a new handle.
        check("matmul", unsafe { (api.operation_create)(&raw mut *operation, compute, number::TYPE_F32) })?;
        let operation = *operation;
        let [first, second] = key.sides;
        set(api.operation_set, operation, number::TRANSPOSE_FIRST, &c_int::from(first.transposed))?;
        set(api.operation_set, operation, number::TRANSPOSE_SECOND, &c_int::from(second.transposed))?;
        set(api.operation_set, operation, number::EPILOGUE, &key.epilogue.0)?;
        if epilogue.parts().2 != 0 {
            set(api.operation_set, operation, number::MATRIX_LEADING, &(n as i64))?;
        }
        // The heuristics look at the addresses' alignment.
        point(api, operation, epilogue)?;
        let upright = |rows: u64, columns: u64, side: &Side| if side.transposed { (columns, rows) } else { (rows, columns) };
        let shapes = [upright(n, k, &first), upright(k, m, &second), (n, m)];
        let distances = [(first.leading, first.apart), (second.leading, second.apart), (key.sizes[1], (m * n) as i64)];
        for ((layout, (rows, columns)), (leading, apart)) in plan.layouts.iter_mut().zip(shapes).zip(distances) {
            // SAFETY: writes a new handle.
            check("matmul", unsafe { (api.layout_create)(layout, kind, rows, columns, leading as i64) })?;
            set(api.layout_set, *layout, number::BATCH_COUNT, &(key.batch as c_int))?;
            set(api.layout_set, *layout, number::BATCH_STRIDE, &apart)?;
        }
        let mut preference = null_mut();
        // SAFETY: writes a new handle.
        check("matmul", unsafe { (api.preference_create)(&raw mut preference) })?;
        let proposal = self.ask(operation, plan.layouts, preference, key);
        // SAFETY: created above.
        check("matmul", unsafe { (api.preference_destroy)(preference) })?;
        let proposal = proposal?;
        if let Some(proposal) = proposal {
            (plan.algorithm, plan.workspace) = (proposal.algorithm, proposal.workspace);
        }
        Ok(proposal.is_some())
    }

    fn ask(&self, operation: Handle, [a, b, d]: [Handle; 3], preference: Handle, key: &Key) -> Result<Option<Proposal>> {
        let Library { api, handle } = &*self.library;
        set(api.preference_set, preference, number::MOST_WORKSPACE, &WORKSPACE)?;
        set(api.preference_set, preference, number::REDUCTIONS, &number::REDUCE_IN_F32)?;
        let [first, second] = key.sides;
        for (which, alignment) in (number::ALIGNMENT..).zip([first.alignment, second.alignment, key.out_alignment, key.out_alignment]) {
            set(api.preference_set, preference, which, &alignment)?;
        }
        let (mut proposal, mut count) = (Proposal::default(), 0);
        // SAFETY: all handles are there; there is room for one proposal.
        check("matmul", unsafe { (api.propose)(*handle, operation, a, b, d, d, preference, 1, &raw mut proposal, &raw mut count) })?;
        Ok((count > 0 && proposal.state == 0).then_some(proposal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_refusal() {
        let side = |leading| Side { transposed: false, leading, apart: 0, alignment: 16 };
        let of = |rows: usize, kind: u32| Key {
            precision: Precision::F32,
            sides: [side(64), side(64)],
            sizes: [rows, 64, 64],
            batch: 1,
            out_alignment: 16,
            epilogue: (kind, [256; 2]),
        };
        let refused = |key: Key, status| check("matmul", status).map_err(|error| key.refused(error).is_ok()).unwrap_err();
        let (small, large) = (1 << 10, 1 << 25);
        for status in [1, 3, 7, 8, 11, 13, 14, 15, 16] {
            assert!(refused(of(small, number::EPILOGUE_BIAS), status), "{status}");
            assert_eq!(refused(of(small, number::EPILOGUE_NONE), status), status == 15);
            assert_eq!(refused(of(large, number::EPILOGUE_NONE), status), status == 15 || status == 7);
        }
        assert!(of(large - 1, number::EPILOGUE_NONE).span() < 1 << 31);
        let code_of_the_driver = crate::failure::failure("matmul", 15);
        assert!(of(large, number::EPILOGUE_BIAS).refused(code_of_the_driver).is_err());
    }
}
