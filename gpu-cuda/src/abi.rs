//! The arguments of the kernels, field by field those of `kernels/abi.h`, where their meaning is documented.

use core::ffi::{c_int, c_longlong, c_uint, c_ulonglong};
use mfm_core::MAX_RANK;
use mfm_core::tensor::MAX_TERMS;

/// An address on the device, 0 for none.
pub(crate) type Address = u64;

/// A struct that a kernel takes by value.
///
/// # Safety
/// The type is laid out as its namesake in `abi.h`, in whole words without padding.
pub(crate) unsafe trait Arguments: Copy {
    /// Its words, as they lie in memory.
    fn words(&self) -> &[u64] {
        // SAFETY: plain numbers without padding, of a size and alignment of whole words.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>() / size_of::<u64>()) }
    }
}

macro_rules! arguments {
    ($($(#[$attribute:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        $(
            $(#[$attribute])*
            #[derive(Clone, Copy, Debug, Default)]
            #[repr(C)]
            pub(crate) struct $name { $(pub $field: $kind),* }

            const _: () = assert!(align_of::<$name>() == align_of::<u64>() && size_of::<$name>() == 0 $(+ size_of::<$kind>())*);

            // SAFETY: a C struct whose fields are those of `abi.h` and fill it, as was just asserted; the test below compares sizes.
            unsafe impl Arguments for $name {}
        )*
    };
}

arguments! {
    Space { elements: c_longlong, length: [c_longlong; MAX_RANK], rank: c_int, reserved: c_int }
    View { data: Address, stride: [c_longlong; MAX_RANK] }
    UnaryArgs { space: Space, x: View, out: Address, constant: f32, op: c_int }
    BinaryArgs { space: Space, a: View, b: View, out: Address, op: c_int, reserved: c_int }
    SelectArgs { space: Space, mask: View, yes: View, no: View, out: Address }
    CombineArgs { space: Space, x: [View; MAX_TERMS], out: Address, factor: [f32; MAX_TERMS], terms: c_int, reserved: c_int }
    GatedResidualArgs {
        space: Space, x: View, gate: View, branch: View, tx: View, tgate: View, tbranch: View, out: Address, tangent: Address,
    }
    GatedResidualVjpArgs { space: Space, gate: View, g: Address, branch: Address, gbranch: Address, sums: Address, group: c_longlong }
    ActivateArgs { elements: c_longlong, x: Address, g: Address, out: Address, tangent: Address, op: c_int, reserved: c_int }
    CopyArgs { space: Space, from: View, to: View }
    ConvertArgs { elements: c_longlong, from: Address, to: Address }
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
        gscale: Address, sums: Address, group: c_longlong, tx: Address, tscale: View, tshift: View, tangent: Address, epsilon: f32, reserved: c_int,
    }
    RowsArgs { rows: c_longlong, width: c_longlong, x: Address, y: Address, g: Address, out: Address, value: Address, weights: Address }
    Rows { batch: View, row: c_longlong }
    AttentionArgs {
        batch: Space, q: Rows, k: Rows, v: Rows, tq: Rows, tk: Rows, tv: Rows, g: Rows, out: Rows, tangent: Rows, gq: Rows, gk: Rows, gv: Rows,
        queries: c_longlong, keys: c_longlong, logsum: Address, delta: Address, width: c_int, reserved: c_int,
    }
    OptimiserArgs {
        elements: c_longlong, parameters: Address, gradient: Address, first: Address, second: Address, average: Address, new_parameters: Address,
        new_first: Address, new_second: Address, new_average: Address, working: Address, sums: Address, first_decay: f32, first_rest: f32, second_decay: f32, second_rest: f32, average_decay: f32, average_rest: f32,
        epsilon: f32, step: f32, keep: f32, op: c_int,
    }
    NoiseArgs { seed: [c_uint; 8], stream: c_ulonglong, offset: c_ulonglong, elements: c_longlong, out: Address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::{CStr, c_char};
    use std::io::Write;

    /// The sizes as the C++ compiler sees them; that the fields are in their places, the conformance suite finds out.
    #[test]
    fn sizes_are_those_of_the_kernels() {
        if let Err(reason) = mfm_cuda_emulator::install() {
            // Past the test harness, which hides what passing tests print.
            let _ = writeln!(std::io::stderr().lock(), "NOT TESTED: the kernels' arguments: {reason}");
            return;
        }
        type Function = unsafe extern "C" fn(*const c_char) -> usize;
        // SAFETY: the emulated driver has this function, of this type.
        let function = unsafe { mfm_cuda_dl::DRIVER.function::<Function>("mfm_kernel_argument_bytes") }.unwrap();
        // SAFETY: as above; the names end in a zero.
        let bytes = |name: &CStr| unsafe { function(name.as_ptr()) };
        for (name, size) in [
            (c"unary_f32", size_of::<UnaryArgs>()),
            (c"binary_bf16", size_of::<BinaryArgs>()),
            (c"select_f32", size_of::<SelectArgs>()),
            (c"combine_f32", size_of::<CombineArgs>()),
            (c"gated_residual_jvp_f32", size_of::<GatedResidualArgs>()),
            (c"activate_f32", size_of::<ActivateArgs>()),
            (c"copy_f32", size_of::<CopyArgs>()),
            (c"convert_f32_bf16", size_of::<ConvertArgs>()),
            (c"fill_f32", size_of::<FillArgs>()),
            (c"reduce_rows_f32_f32", size_of::<ReduceArgs>()),
            (c"gather_f32", size_of::<GatherArgs>()),
            (c"scatter_add_f32", size_of::<ScatterAddArgs>()),
            (c"gemm_f32", size_of::<GemmArgs>()),
            (c"epilogue_f32", size_of::<EpilogueArgs>()),
            (c"layer_norm_f32", size_of::<LayerNormArgs>()),
            (c"softmax_f32", size_of::<RowsArgs>()),
            (c"attention_f32_64", size_of::<AttentionArgs>()),
            (c"optimiser_f32_f32", size_of::<OptimiserArgs>()),
            (c"noise_normal_f32", size_of::<NoiseArgs>()),
        ] {
            assert_eq!(bytes(name), size, "{name:?}");
        }
    }
}
