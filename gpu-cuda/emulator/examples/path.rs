//! Prints where the library is; nothing where there was no C++ compiler to build it with.

use std::io::{Result, Write};

fn main() -> Result<()> {
    let path = mfm_cuda_emulator::path().map(|path| path.display().to_string());
    std::io::stdout().write_all(path.unwrap_or_default().as_bytes())
}
