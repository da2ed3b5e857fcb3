//! DLPack 1.x: tensors that cross without copies.
//!
//! The layouts are those of `dlpack.h` (DLManagedTensorVersioned, major version 1), which does not change within a major version.

use crate::failure::{Code, Failure, Result};
use crate::guard::outside;
use mfm_core::{MAX_RANK, Shape};
use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

/// The version of the layout.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// Layouts of another major version are not understood.
    pub major: u32,
    /// Grows by additions.
    pub minor: u32,
}

/// Where a tensor lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlDevice {
    /// 1 for the CPU, 2 for CUDA.
    pub kind: i32,
    /// Which of them.
    pub index: i32,
}

impl DlDevice {
    /// The CPU.
    pub const CPU: Self = Self { kind: 1, index: 0 };

    /// A GPU.
    pub fn cuda(index: usize) -> Self {
        Self { kind: 2, index: i32::try_from(index).unwrap_or(i32::MAX) }
    }
}

impl fmt::Display for DlDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { kind: 1, .. } => f.write_str("cpu"),
            Self { kind: 2, index } => write!(f, "cuda:{index}"),
            Self { kind, index } => write!(f, "a device of DLPack's type {kind}, number {index}"),
        }
    }
}

/// A number type.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataType {
    /// 2 for IEEE floating point.
    pub code: u8,
    /// The bits of a number.
    pub bits: u8,
    /// Numbers in a vector.
    pub lanes: u16,
}

impl DataType {
    /// f32.
    pub const F32: Self = Self { code: 2, bits: 32, lanes: 1 };
}

/// A view of memory.
#[repr(C)]
#[derive(Debug)]
pub struct DlTensor {
    /// The memory.
    pub data: *mut c_void,
    /// Where it is.
    pub device: DlDevice,
    /// The number of axes.
    pub rank: i32,
    /// The number type.
    pub data_type: DataType,
    /// The length of each axis.
    pub shape: *mut i64,
    /// The elements between neighbours along each axis; null for row-major order.
    pub strides: *mut i64,
    /// Where in the memory the first element is.
    pub byte_offset: u64,
}

/// A view with its owner.
#[repr(C)]
#[derive(Debug)]
pub struct ManagedTensor {
    /// The version of this layout.
    pub version: Version,
    /// The owner's own.
    pub context: *mut c_void,
    /// Gives the tensor back; may be called on any thread, once.
    pub deleter: Option<unsafe extern "C" fn(*mut Self)>,
    /// Bit 0: read-only.
    pub flags: u64,
    /// The view.
    pub tensor: DlTensor,
}

const _: () = assert!(size_of::<DlTensor>() == 48 && size_of::<ManagedTensor>() == 80 && std::mem::offset_of!(ManagedTensor, tensor) == 32);

// SAFETY: the type of this name in dlpack.h has this layout, and C++ only ever holds pointers to it.
unsafe impl cxx::ExternType for ManagedTensor {
    type Id = cxx::type_id!("DLManagedTensorVersioned");
    type Kind = cxx::kind::Opaque;
}

/// A tensor that was handed to us: checked, contiguous f32. Dropping it gives it back.
#[derive(Debug)]
pub struct Imported {
    tensor: NonNull<ManagedTensor>,
    shape: Shape,
}

// SAFETY: DLPack lets the memory be read, and the deleter be called, on any thread; `Imported` is the only owner.
unsafe impl Send for Imported {}
// SAFETY: shared access only reads, and whoever handed the tensor over has promised not to write to it.
unsafe impl Sync for Imported {}

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Failure::new(Code::DlPack, what))
}

/// Deletes a tensor when dropped.
struct Owned(NonNull<ManagedTensor>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the tensor is alive and ours; version and deleter are where every version has them.
        unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                outside(|| deleter(self.0.as_ptr()));
            }
        }
    }
}

impl Imported {
    /// Takes a tensor over; it is given back also if it is refused.
    ///
    /// # Errors
    /// [`Code::DlPack`] unless it is a row-major f32 tensor of major version 1, of rank at most six.
    ///
    /// # Safety
    /// `pointer` is null or a live DLPack tensor whose ownership passes here.
    pub unsafe fn take(pointer: *mut ManagedTensor) -> Result<Self> {
        let Some(tensor) = NonNull::new(pointer) else { return refuse("the DLPack tensor is null") };
        let owned = Owned(tensor);
        // SAFETY: alive, as the caller promises.
        let Version { major, minor } = unsafe { tensor.as_ref() }.version;
        if major != 1 {
            return refuse(format!("the tensor is of DLPack {major}.{minor}, but 1.x is needed"));
        }
        // SAFETY: of this version, so laid out like this.
        let view = unsafe { &tensor.as_ref().tensor };
        if view.data_type != DataType::F32 {
            let DataType { code, bits, lanes } = view.data_type;
            return refuse(format!("the tensor's type is (code {code}, {bits} bits, {lanes} lanes), but float32 is needed"));
        }
        let rank = match usize::try_from(view.rank) {
            Ok(rank) if rank <= MAX_RANK && (rank == 0 || !view.shape.is_null()) => rank,
            _ => return refuse(format!("a tensor of rank {} cannot be used here", view.rank)),
        };
        let mut axes = [0; MAX_RANK];
        for (i, axis) in axes[..rank].iter_mut().enumerate() {
            // SAFETY: the shape has `rank` entries.
            let length = unsafe { *view.shape.add(i) };
            match usize::try_from(length) {
                Ok(length) => *axis = length,
                Err(_) => return refuse(format!("the tensor's axis {i} has length {length}")),
            }
        }
        let shape = Shape::new(&axes[..rank])?;
        let mut apart = 1;
        for i in (0..rank).rev() {
            // SAFETY: strides, where there are any, have `rank` entries.
            let stride = if view.strides.is_null() { apart } else { unsafe { *view.strides.add(i) } };
            if axes[i] != 1 && stride != apart && shape.elements() > 0 {
                return refuse("the tensor is not row-major without gaps; make it contiguous first");
            }
            apart *= axes[i] as i64;
        }
        if shape.elements() > 0 && view.data.is_null() {
            return refuse("the tensor's data is null");
        }
        std::mem::forget(owned);
        Ok(Self { tensor, shape })
    }

    fn view(&self) -> &DlTensor {
        // SAFETY: alive until dropped.
        &unsafe { self.tensor.as_ref() }.tensor
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The address of its first element, which is on `device`.
    ///
    /// # Errors
    /// [`Code::DlPack`] if it is elsewhere, or not aligned for f32.
    pub fn address_on(&self, device: DlDevice) -> Result<usize> {
        let found = self.view().device;
        // There is but one host, whatever the number.
        if found != device && !(found.kind == DlDevice::CPU.kind && device == DlDevice::CPU) {
            return refuse(format!("the tensor is on {found}, but the session is on {device}"));
        }
        let (data, offset) = (self.view().data as usize, self.view().byte_offset);
        let start = isize::try_from(offset).ok().and_then(|offset| data.checked_add(offset as usize));
        let Some(start) = start else { return refuse(format!("the tensor's offset of {offset} bytes is beyond what can be addressed")) };
        if self.shape.elements() > 0 && !start.is_multiple_of(align_of::<f32>()) {
            return refuse("the tensor's data is not aligned for float32");
        }
        Ok(start)
    }

    /// Its memory, which is on the host.
    ///
    /// # Errors
    /// As [`address_on`](Self::address_on).
    pub fn into_host(self) -> Result<HostMemory> {
        self.address_on(DlDevice::CPU)?;
        Ok(HostMemory(self))
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        drop(Owned(self.tensor));
    }
}

/// A tensor's memory on the host.
#[derive(Debug)]
pub struct HostMemory(Imported);

impl AsRef<[f32]> for HostMemory {
    fn as_ref(&self) -> &[f32] {
        let (view, elements) = (self.0.view(), self.0.shape.elements());
        if elements == 0 {
            return &[];
        }
        // SAFETY: row-major f32 of this shape, on the host and aligned, as was checked; it lives as long as `self`.
        unsafe { std::slice::from_raw_parts(view.data.cast::<u8>().add(view.byte_offset as usize).cast::<f32>(), elements) }
    }
}

/// What a tensor that we hand out keeps alive.
struct Context {
    shape: Vec<i64>,
    strides: Vec<i64>,
    _owner: Box<dyn Send + Sync>,
}

/// Hands out memory that `owner` keeps: f32 of `shape`, row-major.
///
/// The deleter frees all of it; it may be called on any thread.
pub fn export(owner: impl Send + Sync + 'static, data: *const f32, device: DlDevice, shape: Shape) -> *mut ManagedTensor {
    let axes: Vec<i64> = shape.axes().iter().map(|&axis| axis as i64).collect();
    let mut strides = vec![1; axes.len()];
    for i in (1..axes.len()).rev() {
        strides[i - 1] = strides[i] * axes[i];
    }
    let context = Box::into_raw(Box::new(Context { shape: axes, strides, _owner: Box::new(owner) }));
    // SAFETY: made just now, and freed only by the deleter.
    let Context { shape, strides, .. } = unsafe { &mut *context };
    let tensor = DlTensor {
        data: data.cast_mut().cast(),
        device,
        rank: shape.len() as i32,
        data_type: DataType::F32,
        shape: shape.as_mut_ptr(),
        strides: strides.as_mut_ptr(),
        byte_offset: 0,
    };
    let version = Version { major: 1, minor: 0 };
    Box::into_raw(Box::new(ManagedTensor { version, context: context.cast(), deleter: Some(delete), flags: 0, tensor }))
}

/// # Safety
/// `pointer` is null or what [`export`] gave, and is not used again.
unsafe extern "C" fn delete(pointer: *mut ManagedTensor) {
    if !pointer.is_null() {
        // SAFETY: both were made by `export`, each in a box of its own.
        unsafe { drop(Box::from_raw(Box::from_raw(pointer).context.cast::<Context>())) };
    }
}
