//! The suite as tests.

use crate::not_tested;
use std::fmt::Display;

/// The device, or a line on the terminal that says that it was not tested. It names the test, by which the harness names its thread.
pub fn available<D, E: Display>(name: &str, device: Result<D, E>) -> Option<D> {
    let thread = std::thread::current();
    let test = thread.name().filter(|test| test.contains("::")).unwrap_or(name);
    device.map_err(|error| not_tested(test, error)).ok()
}

/// One test for each primitive, hook and property, in a module `$name`; `without exacting` at the end leaves that test out, for a backend that is known to fail
/// it. See [`conformance`](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    ($name:ident, try $device:expr, $tolerances:expr) => {
        $crate::conformance!($name, try $device, $tolerances, exacting exacting(tolerances));
    };
    ($name:ident, try $device:expr, $tolerances:expr, without exacting) => {
        $crate::conformance!($name, try $device, $tolerances, );
    };
    ($name:ident, try $device:expr, $tolerances:expr, $($more:ident $check:ident($($argument:tt)*))?) => {
        mod $name {
            use super::*;
            $($crate::conformance_tests!($device, $tolerances; $more $check($($argument)*));)?
            $crate::conformance_groups!(values_of, $device, $tolerances; compare Compare, detach Detach);
            $crate::conformance_groups!(primitive, $device, $tolerances;
                unary Unary, binary Binary, select Select, reduce_sum ReduceSum, reduce_max ReduceMax, broadcast Broadcast,
                reshape Reshape, permute Permute, slice Slice, split Split, concat Concat, matmul MatMul, gather Gather,
                scatter_add ScatterAdd);
            $crate::conformance_groups!(hook, $device, $tolerances;
                linear Linear, layers Layers, activate Activate, linear_combination LinearCombination, softmax Softmax,
                log_mean_exp LogMeanExp, layer_norm LayerNorm, attention Attention, gated_residual GatedResidual,
                square_norm SquareNorm);
            $crate::conformance_tests!($device, $tolerances;
                transfer transfer(tolerances), creation creation(), noise noise(tolerances), optimiser optimiser(tolerances),
                precise precise(),
                special_unary special_unary(tolerances), special_binary special_binary(tolerances),
                special_compare special_compare(tolerances), special_select special_select(tolerances),
                special_reduce special_reduce(tolerances), special_matmul special_matmul(tolerances),
                special_movement special_movement(tolerances), special_hooks special_hooks(tolerances),
                select_without_nan select_without_nan(tolerances), maximum_ties maximum_ties(tolerances),
                saturated_derivatives saturated_derivatives(tolerances),
                errors errors(), room room(), wild_arguments wild_arguments(tolerances),
                devices devices(), tapes tapes(), independence independence(),
                large large(tolerances), sentinels sentinels(), repeatable repeatable(),
                programs programs(tolerances), program_gradients program_gradients(tolerances));

            /// Says which native faces the device has.
            #[test]
            fn support() -> $crate::conformance::Check {
                if let Some(device) = $crate::conformance::available(stringify!($name), $device) {
                    print!("{}:\n{}", stringify!($name), $crate::conformance::check::support(&device)?);
                }
                Ok(())
            }
        }
    };
    ($name:ident, $device:expr, $tolerances:expr) => {
        $crate::conformance!($name, try Ok::<_, ::std::convert::Infallible>($device), $tolerances);
    };
}

/// Tests of one check each: the test's name, and the check with its arguments after the device.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($device:expr, $tolerances:expr; $($test:ident $check:ident($($argument:tt)*)),+) => {
        $(
            #[test]
            fn $test() -> $crate::conformance::Check {
                match $crate::conformance::available(module_path!(), $device) {
                    Some(device) => $crate::conformance_call!($check, device, $tolerances, $($argument)*),
                    None => Ok(()),
                }
            }
        )+
    };
}

/// One call of a check.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_call {
    ($check:ident, $device:ident, $tolerances:expr, ) => {
        $crate::conformance::check::$check(&$device)
    };
    ($check:ident, $device:ident, $tolerances:expr, tolerances) => {
        $crate::conformance::check::$check(&$device, &$tolerances)
    };
    ($check:ident, $device:ident, $tolerances:expr, $group:ident) => {
        $crate::conformance::check::$check(&$device, &$tolerances, $crate::conformance::Group::$group)
    };
}

/// A module of tests for each group.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_groups {
    (values_of, $device:expr, $tolerances:expr; $($module:ident $group:ident),+) => {
        $(mod $module {
            use super::*;
            $crate::conformance_tests!($device, $tolerances; values values($group));
        })+
    };
    (primitive, $device:expr, $tolerances:expr; $($module:ident $group:ident),+) => {
        $(mod $module {
            use super::*;
            $crate::conformance_tests!($device, $tolerances;
                values values($group), derivatives derivatives($group), second_derivatives second($group));
        })+
    };
    (hook, $device:expr, $tolerances:expr; $($module:ident $group:ident),+) => {
        $(mod $module {
            use super::*;
            $crate::conformance_tests!($device, $tolerances;
                values values($group), composed composed_values($group), faces faces($group),
                derivatives derivatives($group), second_derivatives second($group));
        })+
    };
}
