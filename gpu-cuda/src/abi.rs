//! The arguments of the kernels, field by field those of `kernels/abi.h`, where their meaning is told.

use core::ffi::{c_int, c_longlong, c_uint, c_ulonglong};
use mfm_core::MAX_RANK;
use mfm_core::tensor::MAX_INPUTS;

/// An address on the device, 0 for none.
pub(crate) type Address = u64;

/// A struct that a kernel takes by value.
///
/// # Safety
/// The type is laid out as its namesake in `abi.h`.
pub(crate) unsafe trait Arguments: Copy {}

macro_rules! arguments {
    ($($(#[$attribute:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        $(
            $(#[$attribute])*
            #[derive(Clone, Copy, Debug, Default)]
            #[repr(C)]
            pub(crate) struct $name { $(pub $field: $kind),* }

            // SAFETY: a C struct whose fields are those of `abi.h`; the test below compares sizes and offsets.
            unsafe impl Arguments for $name {}
        )*

        /// The name, size and offsets of every struct.
        #[cfg(test)]
        fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((stringify!($name), size_of::<$name>(), vec![$((stringify!($field), core::mem::offset_of!($name, $field))),*])),*]
        }
    };
}

arguments! {
    Space { elements: c_longlong, length: [c_longlong; MAX_RANK], rank: c_int, reserved: c_int }
    View { data: Address, stride: [c_longlong; MAX_RANK] }
    UnaryArgs { space: Space, x: View, out: Address, constant: f32, op: c_int }
    BinaryArgs { space: Space, a: View, b: View, out: Address, op: c_int, reserved: c_int }
    SelectArgs { space: Space, mask: View, yes: View, no: View, out: Address }
    CombineArgs { space: Space, x: [View; MAX_INPUTS], out: Address, factor: [f32; MAX_INPUTS], terms: c_int, reserved: c_int }
    GatedResidualArgs {
        space: Space, x: View, gate: View, branch: View, tx: View, tgate: View, tbranch: View, out: Address, tangent: Address,
    }
    ActivateArgs { elements: c_longlong, x: Address, g: Address, out: Address, tangent: Address, op: c_int, reserved: c_int }
    CopyArgs { space: Space, from: View, to: View }
    FillArgs { elements: c_longlong, out: Address, value: f32, reserved: c_int }
    ReduceArgs { space: Space, x: View, length: c_longlong, stride: c_longlong, out: Address, op: c_int, parts: c_int }
    GatherArgs { space: Space, x: View, index: Address, out: Address, axis: c_int, reserved: c_int }
    ScatterAddArgs { space: Space, x: View, start: Address, order: Address, out: Address, axis: c_int, reserved: c_int }
    GemmArgs {
        batch: Space, a: View, b: View, m: c_longlong, n: c_longlong, k: c_longlong, a_row: c_longlong, a_column: c_longlong,
        b_row: c_longlong, b_column: c_longlong, out: Address,
    }
    EpilogueArgs {
        rows: c_longlong, columns: c_longlong, product: Address, bias: Address, pre: Address, out: Address, op: c_int, reserved: c_int,
    }
    LayerNormArgs {
        space: Space, x: Address, scale: View, shift: View, mean: Address, rate: Address, out: Address, g: Address, gx: Address,
        gscale: Address, tx: Address, tscale: View, tshift: View, tangent: Address, epsilon: f32, reserved: c_int,
    }
    RowsArgs { rows: c_longlong, width: c_longlong, x: Address, y: Address, g: Address, out: Address, value: Address, weights: Address }
    Rows { batch: View, row: c_longlong }
    AttentionArgs {
        batch: Space, q: Rows, k: Rows, v: Rows, tq: Rows, tk: Rows, tv: Rows, queries: c_longlong, keys: c_longlong, out: Address,
        logsum: Address, delta: Address, g: Address, gq: Address, gk: Address, gv: Address, tangent: Address, width: c_int, reserved: c_int,
    }
    NoiseArgs { seed: [c_uint; 8], stream: c_ulonglong, offset: c_ulonglong, elements: c_longlong, out: Address }
}
