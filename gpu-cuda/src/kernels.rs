//! The kernels: found by name in their subject's module, which is loaded when one of its kernels is first launched.

use crate::device::locked;
use crate::failure::{check, check_raw};
use crate::images;
use crate::options::Storage;
use crate::properties::Properties;
use crate::quick::BuildQuick;
use crate::stream::Stream;
use core::ffi::c_void;
use cust::module::Module;
use mfm_core::{Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

/// A kernel, less its types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// The file that it is in.
    pub subject: &'static str,
    pub name: &'static str,
    /// Its number among the kernels.
    pub slot: usize,
}

macro_rules! kernels {
    ($($subject:literal: $($constant:ident = $name:literal),+;)*) => {
        /// The kernels, numbered.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)] // the constants' names
        enum Slot { $($($constant,)+)* }

        /// How many kernels there are.
        const KERNELS: usize = [$($(Slot::$constant as usize,)+)*].len();

        $($(pub(crate) const $constant: Kernel = Kernel { subject: $subject, name: $name, slot: Slot::$constant as usize };)+)*
    };
}

kernels! {
    "elementwise": UNARY = "unary", BINARY = "binary", SELECT = "select", COMBINE = "combine", ACTIVATE = "activate",
        ACTIVATE_VJP = "activate_vjp", ACTIVATE_JVP = "activate_jvp";
    "residual": GATED_RESIDUAL = "gated_residual", GATED_RESIDUAL_JVP = "gated_residual_jvp", GATED_RESIDUAL_VJP = "gated_residual_vjp";
    "copy": COPY = "copy", CONVERT = "convert", FILL = "fill";
    "reduce": REDUCE_ROWS = "reduce_rows", REDUCE_COLUMNS = "reduce_columns";
    "index": GATHER = "gather", SCATTER_ADD = "scatter_add";
    "gemm": GEMM = "gemm", EPILOGUE = "epilogue";
    "norm": LAYER_NORM = "layer_norm", LAYER_NORM_VJP = "layer_norm_vjp", LAYER_NORM_VJP_SUMS = "layer_norm_vjp_sums",
        LAYER_NORM_JVP = "layer_norm_jvp";
    "softmax": SOFTMAX = "softmax", SOFTMAX_GRADIENT = "softmax_gradient", LOG_MEAN_EXP = "log_mean_exp", ROW_DOTS = "row_dots";
    "attention": ATTENTION = "attention", ATTENTION_JVP = "attention_jvp";
    "attention_vjp": ATTENTION_VJP_QUERY = "attention_vjp_query", ATTENTION_VJP_KEY = "attention_vjp_key";
    "optimiser": OPTIMISER = "optimiser";
    "noise": NOISE_NORMAL = "noise_normal", NOISE_WORDS = "noise_words";
}

/// The end of a kernel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Suffix {
    /// None.
    Plain,
    /// Of the elements.
    Of(Storage),
    /// Of the elements read and of those written.
    FromTo(Storage, Storage),
    /// Of the elements, and the largest head dimension.
    Capacity(Storage, usize),
}

/// How many ends of names there are.
const SUFFIXES: usize = 7 + 2 * 8;

impl Suffix {
    /// Its number among the suffixes.
    fn slot(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Of(storage) => 1 + storage as usize,
            Self::FromTo(from, to) => 3 + 2 * from as usize + to as usize,
            // Multiples of 16 to 128.
            Self::Capacity(storage, capacity) => 7 + 8 * storage as usize + (capacity.div_ceil(16).clamp(1, 8) - 1),
        }
    }
}

/// Blocks and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub blocks: [u32; 3],
    pub threads: u32,
}

/// The largest extent of a grid in y and z; kernels go over the rest by a loop.
pub(crate) const MOST_BLOCKS: usize = 65_535;
/// That in x, where not all kernels loop: the threads of these, and so the rows of any attention, are counted in 32 bits.
const MOST_ALONG_X: usize = 1 << 26;

/// The widest rows that a warp holds in its registers: MOST_COLUMNS of `kernels/warp.cuh`.
pub(crate) const HELD_COLUMNS: usize = 1280;

impl Grid {
    /// So many blocks in each direction, or as many as there may be.
    pub fn new(blocks: [usize; 3], threads: u32) -> Self {
        let [x, y, z] = blocks;
        let blocks = [x.clamp(1, MOST_ALONG_X), y.clamp(1, MOST_BLOCKS), z.clamp(1, MOST_BLOCKS)].map(|n| n as u32);
        Self { blocks, threads }
    }

    /// Threads for a loop over `elements`, a vector of `lanes` each.
    pub fn pointwise(elements: usize, lanes: usize) -> Self {
        Self::new([elements.div_ceil(256 * lanes), 1, 1], 256)
    }

    /// Threads for a loop over `bytes` of results by vectors of 16: four each, or fewer where that would leave multiprocessors idle.
    pub fn vectors(bytes: usize) -> Self {
        let blocks = bytes.div_ceil(16 * 256);
        Self::new([blocks.div_ceil(4).max(blocks.min(1024)), 1, 1], 256)
    }

    /// A block for each row of `width`, about four elements a thread.
    pub fn rows(rows: usize, width: usize) -> Self {
        Self::new([rows, 1, 1], Self::row_threads(width))
    }

    /// For rows that a warp holds in its registers, four to a block; a block for each row that is too wide for that, or not whole vectors.
    pub fn held_rows(rows: usize, width: usize, bytes: usize) -> Self {
        if width <= HELD_COLUMNS && (width * bytes).is_multiple_of(16) {
            Self::new([rows.div_ceil(4), 1, 1], 128)
        } else {
            Self::new([rows, 1, 1], Self::row_threads(width).min(256))
        }
    }

    /// As many blocks, all in x, as there is room for, where they would take a few turns; 0 is not known.
    fn cut(self, room: usize) -> Self {
        let blocks = self.blocks[0] as usize;
        if room < blocks && blocks < FEW_TURNS * room { Self::new([room, 1, 1], self.threads) } else { self }
    }

    /// The threads of a row of `width`.
    pub fn row_threads(width: usize) -> u32 {
        (width.div_ceil(4).next_multiple_of(32)).clamp(32, 512) as u32
    }
}

/// A function of a loaded module, which is never unloaded before the device.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Function(cust::sys::CUfunction);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// Grids that take up to this many turns are made whole: of more turns the last, which may be mostly empty, is a small part.
const FEW_TURNS: usize = 8;

/// The kernels of one GPU.
pub(crate) struct Kernels {
    capability: (i32, i32),
    multiprocessors: usize,
    /// How many blocks of a kernel, with this number of threads, a multiprocessor runs at once.
    resident: Mutex<HashMap<(Function, u32), usize, BuildQuick>>,
    /// By the numbers of kernel and suffix.
    functions: [[OnceLock<Function>; SUFFIXES]; KERNELS],
    modules: Mutex<HashMap<&'static str, Module>>,
}

impl Kernels {
    pub fn new(properties: &Properties) -> Self {
        let functions = [const { [const { OnceLock::new() }; SUFFIXES] }; KERNELS];
        let multiprocessors = usize::try_from(properties.multiprocessors).unwrap_or(0).max(1);
        Self { capability: properties.capability, multiprocessors, resident: Mutex::default(), functions, modules: Mutex::default() }
    }

    /// Whether all blocks of any kernel run at once.
    pub fn is_one_turn(&self, grid: Grid) -> bool {
        grid.blocks.iter().map(|n| *n as usize).product::<usize>() <= self.multiprocessors
    }

    /// The grid of a kernel whose blocks go over all by a loop in x: where they would run in a few turns, as many as run at once.
    pub fn whole(&self, function: Function, grid: Grid) -> Grid {
        let resident = *locked(&self.resident).entry((function, grid.threads)).or_insert_with(|| function.resident(grid.threads));
        grid.cut(self.multiprocessors * resident)
    }

    /// A kernel's function, if it was asked for before.
    pub fn loaded(&self, kernel: Kernel, suffix: Suffix) -> Option<Function> {
        self.functions[kernel.slot][suffix.slot()].get().copied()
    }

    /// A kernel's function.
    pub fn function(&self, op: &'static str, kernel: Kernel, suffix: Suffix) -> Result<Function> {
        let mut modules = locked(&self.modules);
        let module = match modules.entry(kernel.subject) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.load(op, kernel.subject)?),
        };
        let name = match suffix {
            Suffix::Plain => kernel.name.to_owned(),
            Suffix::Of(storage) => format!("{}_{}", kernel.name, storage.name()),
            Suffix::FromTo(from, to) => format!("{}_{}_{}", kernel.name, from.name(), to.name()),
            Suffix::Capacity(storage, capacity) => format!("{}_{}_{capacity}", kernel.name, storage.name()),
        };
        let function = Function(check(op, module.get_function(&name))?.to_raw());
        Ok(*self.functions[kernel.slot][suffix.slot()].get_or_init(|| function))
    }

    /// The module of a subject: precompiled, or compiled here where the driver does not take that.
    fn load(&self, op: &'static str, subject: &'static str) -> Result<Module> {
        let image = images::precompiled(subject, self.capability)?;
        // The driver distinguishes PTX from a cubin by itself.
        match check(op, Module::from_cubin(image, &[])) {
            // An image that the driver, or the device, does not take.
            Err(Error::Device { code: 200 | 209 | 218 | 222, .. }) => {
                let image = images::compiled(subject, self.capability)?;
                check(op, Module::from_cubin(image, &[]))
            }
            outcome => outcome,
        }
    }
}

impl Function {
    /// How many blocks with this number of threads a multiprocessor runs at once; 0 where the driver does not say.
    fn resident(self, threads: u32) -> usize {
        let (mut blocks, threads) = (0, i32::try_from(threads).unwrap_or(i32::MAX));
        // SAFETY: the function is loaded, and `blocks` there to be written.
        let outcome = unsafe { cust::sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&raw mut blocks, self.0, threads, 0) };
        check_raw("cuda", outcome).ok().and_then(|()| usize::try_from(blocks).ok()).unwrap_or(0)
    }

    /// The driver's handle.
    pub fn raw(self) -> cust::sys::CUfunction {
        self.0
    }

    /// Queues it on the stream, as a kernel that takes one struct of these words.
    pub fn launch(self, op: &'static str, stream: &Stream, grid: Grid, arguments: &[u64]) -> Result<()> {
        let [x, y, z] = grid.blocks;
        let mut parameters = [arguments.as_ptr().cast::<c_void>().cast_mut()];
        // SAFETY: the kernel takes one parameter, which the driver copies before it returns.
        let outcome = unsafe {
            cust::sys::cuLaunchKernel(
                self.0,
                x,
                y,
                z,
                grid.threads,
                1,
                1,
                0,
                stream.as_inner(),
                parameters.as_mut_ptr(),
                core::ptr::null_mut(),
            )
        };
        check_raw(op, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_turns_are_made_whole() {
        let cut = |blocks: usize, room: usize| Grid::new([blocks, 1, 1], 256).cut(room).blocks[0];
        assert_eq!((cut(1152, 528), cut(2048, 924)), (528, 924));
        // In one turn, in many, and where nothing is known.
        assert_eq!((cut(528, 528), cut(8 * 528, 528), cut(1152, 0)), (528, 8 * 528, 1152));
    }
}
