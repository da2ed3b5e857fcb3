//! What cuBLASLt may do inside a matrix product, and when it is asked to.

use crate::abi::Address;
use crate::cublaslt::number;
use crate::device::CudaDevice;
use crate::options::Storage;

/// The least elements of what an epilogue goes over, beyond a bias: a small pass of our own costs little, and is exact.
const LARGE: usize = 1 << 16;

/// The least compute capability on which the library does more than a bias within a product.
const IN_ONE_PASS: (i32, i32) = (9, 0);

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
    /// Times the slope of GELU at `pre`; the sum of each column of that goes to `sums`.
    GeluSlope {
        pre: Address,
        sums: Address,
    },
}

impl Epilogue {
    /// Its number, its vector and its matrix.
    pub fn parts(self) -> (u32, Address, Address) {
        match self {
            Self::None => (number::EPILOGUE_NONE, 0, 0),
            Self::Bias(bias) => (number::EPILOGUE_BIAS, bias, 0),
            Self::Gelu { bias, pre } => {
                let (biased, keeps) = (if bias == 0 { 0 } else { number::EPILOGUE_BIAS }, if pre == 0 { 0 } else { number::EPILOGUE_KEEP });
                (number::EPILOGUE_GELU | biased | keeps, bias, pre)
            }
            Self::RowSums(sums) => (number::EPILOGUE_SUMS, sums, 0),
            Self::GeluSlope { pre, sums } => {
                let summed = if sums == 0 { 0 } else { number::EPILOGUE_RESULT_SUMS };
                (number::EPILOGUE_GELU_SLOPE | summed, sums, pre)
            }
        }
    }

    /// What to try where it is not offered.
    pub fn simpler(self) -> Self {
        match self {
            Self::Gelu { bias, .. } if bias != 0 => Self::Bias(bias),
            Self::GeluSlope { pre, sums } if sums != 0 => Self::GeluSlope { pre, sums: 0 },
            _ => Self::None,
        }
    }

    /// Whether the library may be asked for it in a product of these rows, columns and terms on the device: in whole vectors of 16 bytes and, beyond a bias,
    /// in bf16 (how exact its GELU and its sums are in f32 it does not say), where there is enough to gain, on a GPU where it does it in one pass.
    pub fn may_be_asked(self, device: &CudaDevice, sizes: [usize; 3]) -> bool {
        let (_, vector, matrix) = self.parts();
        let storage = device.storage();
        let fits = vector.is_multiple_of(16) && matrix.is_multiple_of(16) && sizes.iter().all(|n| n.is_multiple_of(storage.lanes()));
        let ([rows, columns, terms], wanted) = (sizes, device.options().epilogues);
        let is_worth_it = match self {
            Self::None => return true,
            Self::Bias(_) => return fits && wanted.bias,
            Self::Gelu { .. } => wanted.gelu && rows * columns >= LARGE,
            Self::GeluSlope { .. } => wanted.slope && rows * columns >= LARGE,
            // Which reads the left operand once more, unless much of it is in the cache.
            Self::RowSums(_) => wanted.sums && rows * terms >= LARGE && 4 * rows * terms * storage.bytes() <= 3 * device.properties().cache,
        };
        fits && is_worth_it && storage == Storage::Bf16 && device.properties().capability >= IN_ONE_PASS
    }
}
