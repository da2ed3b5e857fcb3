//! Tensors that cross without copies.
#![allow(clippy::unwrap_used)]

use mfm_core::Shape;
use mfm_ffi::dlpack::{DlDevice, DlTensor, Imported, ManagedTensor, export};
use mfm_ffi::failure::Code;

/// [2, 3] of the numbers from 0.
fn exported() -> *mut ManagedTensor {
    let numbers: Vec<f32> = (0..6u8).map(f32::from).collect();
    let start = numbers.as_ptr();
    export(numbers, start, DlDevice::CPU, Shape::new(&[2, 3]).unwrap())
}

#[test]
fn a_tensor_that_goes_out_comes_back() {
    // SAFETY: exported just now.
    let memory = unsafe { Imported::take(exported()) }.unwrap().into_host().unwrap();
    assert_eq!(memory.as_ref(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn refused_tensors_are_given_back() {
    let changes: [fn(&mut DlTensor); 5] = [
        |view| view.rank = 7,
        |view| view.data_type.bits = 64,
        // SAFETY: the shape and the strides have two entries.
        |view| unsafe { *view.shape = -1 },
        // SAFETY: as above.
        |view| unsafe { *view.strides = 4 },
        |view| view.data = std::ptr::null_mut(),
    ];
    for change in changes {
        let tensor = exported();
        // SAFETY: exported just now, and given away after the change.
        let taken = unsafe {
            change(&mut (*tensor).tensor);
            Imported::take(tensor)
        };
        assert_eq!(taken.unwrap_err().code, Code::DlPack);
    }
    let changes: [fn(&mut DlTensor); 3] = [|view| view.device.kind = 2, |view| view.byte_offset = 1, |view| view.byte_offset = u64::MAX];
    for change in changes {
        let tensor = exported();
        // SAFETY: as above.
        let taken = unsafe {
            change(&mut (*tensor).tensor);
            Imported::take(tensor)
        };
        assert_eq!(taken.unwrap().into_host().unwrap_err().code, Code::DlPack);
    }
}
