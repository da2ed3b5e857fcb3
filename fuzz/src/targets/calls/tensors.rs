//! DLPack tensors of a host, of every shape, type and place that it can claim.

use super::c::Tensor;
use super::memory::Given;
use std::cell::Cell;
use std::ptr;

/// Lengths and strides that are not.
const WRONG: [i64; 7] = [-1, 0, 1, 7, 1 << 40, i64::MAX, i64::MIN];

/// A tensor that is handed over; `deleted` counts.
///
/// What a tensor claims is there, unless the library must refuse it before it looks.
pub fn states(given: &mut Given<'_>, dimension: usize, deleted: &Cell<usize>) -> *mut Tensor {
    let count = given.count(false);
    let numbers = given.numbers(count * dimension);
    let whole = numbers.length == count * dimension && !numbers.start.is_null();
    let mut shape = vec![count as i64, dimension as i64];
    let mut strides = vec![dimension as i64, 1];
    let mut tensor = Tensor {
        major: 1,
        minor: 1,
        context: ptr::from_ref(deleted).cast_mut().cast(),
        deleter: Some(delete),
        flags: u64::from(given.byte()),
        data: if whole { numbers.start.cast() } else { ptr::null_mut() },
        device: [1, 0],
        rank: 2,
        code: 2,
        bits: 32,
        lanes: 1,
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let has_strides = given.byte() < 128;
    match given.byte() {
        0..=127 => {}
        128..=135 => tensor.major = u32::from(given.byte()),
        136..=143 => (tensor.code, tensor.bits) = (given.byte(), given.byte()),
        144..=147 => tensor.lanes = u16::from(given.byte()),
        148..=155 => tensor.device = [i32::from(given.byte()), i32::from(given.byte())],
        156..=179 => {
            let (axis, length) = (given.below(2), WRONG[given.below(WRONG.len())]);
            // More items of the right size than are there are refused only for want of memory.
            if axis == 0 && length != count as i64 {
                tensor.data = ptr::null_mut();
            }
            shape[axis] = length;
        }
        180..=195 => strides[given.below(2)] = WRONG[given.below(WRONG.len())],
        196..=211 => {
            let rank = given.below(9);
            shape.resize(rank, 1);
            strides.resize(rank, 1);
            tensor.rank = rank as i32;
        }
        212..=219 => tensor.rank = [-1, 7, i32::MAX, i32::MIN][given.below(4)],
        220..=227 => {
            let offset = 4 * u64::from(given.byte());
            (tensor.data, tensor.byte_offset) = (tensor.data.wrapping_byte_sub(offset as usize), offset);
        }
        228..=235 => tensor.byte_offset = [1, 2, u64::MAX, 1 << 63, u64::MAX - 3][given.below(5)],
        236..=243 => tensor.data = ptr::null_mut(),
        244..=247 => tensor.deleter = None,
        _ => return ptr::null_mut(),
    }
    if tensor.data.is_null() {
        tensor.byte_offset = 0;
    }
    tensor.shape = given.memory.list(&shape);
    if has_strides {
        tensor.strides = given.memory.list(&strides);
    }
    // Deleted, or to be counted as if: a tensor may have no deleter.
    if tensor.deleter.is_none() {
        deleted.set(1);
    }
    given.memory.list(&[tensor])
}

unsafe extern "C" fn delete(tensor: *mut Tensor) {
    // SAFETY: the counter outlives the call to which the tensor was handed.
    let deleted = unsafe { &*(*tensor).context.cast::<Cell<usize>>() };
    deleted.set(deleted.get() + 1);
}

/// Takes over a tensor that the library made, if it did: [any number, dimension], finite.
///
/// # Safety
/// The tensor is null, or alive and not used again.
pub unsafe fn consume(tensor: *mut Tensor, dimension: usize) {
    if tensor.is_null() {
        return;
    }
    // SAFETY: as the caller promises; what the tensor claims is there.
    unsafe {
        let view = &*tensor;
        let shape = std::slice::from_raw_parts(view.shape, 2);
        assert!((view.major, view.rank, view.code, view.bits, view.lanes) == (1, 2, 2, 32, 1) && shape[1] == dimension as i64);
        assert!(view.strides.is_null() || std::slice::from_raw_parts(view.strides, 2) == [shape[1], 1]);
        let numbers =
            std::slice::from_raw_parts(view.data.byte_add(view.byte_offset as usize).cast::<f32>(), (shape[0] * shape[1]) as usize);
        assert!(!numbers.is_empty() && numbers.iter().all(|number| number.is_finite()));
        view.deleter.unwrap()(tensor);
    }
}
