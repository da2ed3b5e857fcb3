//! Where a patch lies, as fixed sines and cosines.

use super::config::DitConfig;
use alloc::vec::Vec;
use mfm_core::{Result, memory};

/// The embedding of each patch, [tokens, hidden]: half of it tells the column, half the row; of each half, a half the sines and a half the
/// cosines of the index times 10000^(−i/(hidden/4)), i = 0 … hidden/4 − 1. In single precision, as checkpoints hold it.
///
/// # Errors
/// [`Error::OutOfMemory`](mfm_core::Error::OutOfMemory) if there is no memory for them: a file holds their sizes alone.
pub(super) fn positions(config: &DitConfig) -> Result<Vec<f32>> {
    let quarter = config.hidden / 4;
    let rates: Vec<f64> = (0..quarter).map(|i| 1.0 / libm::pow(10_000.0, i as f64 / quarter as f64)).collect();
    let mut out = memory::room("positions", config.tokens().saturating_mul(config.hidden))?;
    for row in 0..config.grid() {
        for column in 0..config.grid() {
            for index in [column, row] {
                for wave in [libm::sin, libm::cos] {
                    out.extend(rates.iter().map(|rate| wave(index as f64 * rate) as f32));
                }
            }
        }
    }
    Ok(out)
}
