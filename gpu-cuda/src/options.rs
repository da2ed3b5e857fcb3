//! What a device is asked to be.

/// The precision in which tensors are kept and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// f32, but that the factors of matrix products are rounded to TF32 (10 bits) where cuBLASLt is there; sums in f32.
    Tf32,
    /// Kept in bf16 (8 bits); arithmetic and sums in f32. What training keeps from step to step is in f32 ([`Device::precise`](mfm_core::Device::precise)).
    Bf16,
}

/// The type of a stored element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Storage {
    F32,
    Bf16,
}

impl Storage {
    /// As kernels' names have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The elements of a vector of 16 bytes.
    pub fn lanes(self) -> usize {
        16 / self.bytes()
    }

    /// The size of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

impl Precision {
    pub(crate) fn storage(self) -> Storage {
        match self {
            Self::F32 | Self::Tf32 => Storage::F32,
            Self::Bf16 => Storage::Bf16,
        }
    }
}

/// Which extra work cuBLASLt does inside a matrix product; kernels of this crate do the rest in passes of their own. All but the bias is asked of large
/// products in bf16 alone, and on compute capability 9.0 or newer: before that the library makes passes of its own of it, which are slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epilogues {
    /// To add a bias.
    pub bias: bool,
    /// To apply GELU, and keep what goes into it.
    pub gelu: bool,
    /// To multiply by GELU's slope, and sum the gradient of the bias before it.
    pub slope: bool,
    /// To sum the gradient of a bias beside that of the weights.
    pub sums: bool,
}

impl Epilogues {
    /// All of it.
    pub const ALL: Self = Self { bias: true, gelu: true, slope: true, sums: true };
    /// Nothing but products.
    pub const NONE: Self = Self { bias: false, gelu: false, slope: false, sums: false };
}

/// The options of a [`CudaDevice`](crate::CudaDevice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The precision.
    pub precision: Precision,
    /// The most bytes that tensors and the pool may hold together.
    pub memory_limit: usize,
    /// Whether matrix products go by cuBLASLt where it is found; by a plain kernel otherwise.
    pub cublaslt: bool,
    /// Which extra work cuBLASLt does inside a matrix product.
    pub epilogues: Epilogues,
    /// Whether work goes to the device as CUDA graphs: all that is asked for between two looks of the host is one launch. The results are the same.
    /// Meant for loops of many small kernels, such as the training and steering of small networks.
    pub graphs: bool,
}

impl Default for Options {
    /// f32, all of the device's memory, cuBLASLt and its epilogues if it is there, no graphs.
    fn default() -> Self {
        Self { precision: Precision::F32, memory_limit: usize::MAX, cublaslt: true, epilogues: Epilogues::ALL, graphs: false }
    }
}
