//! Reading a file allocates no more than a small multiple of what is there, whatever its header claims.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mfm_core::{Noise, Shape};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::file::{ModelFile, ModelHeader, write_model};
use mfm_nn::{MlpConfig, Model, ModelConfig};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which remembers the largest request.
struct Watch;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCH: Watch = Watch;

#[test]
fn claims_are_not_believed() {
    let device = CpuDevice::<f32>::with_threads(1).unwrap();
    let config = MlpConfig { data: 2, width: 3, depth: 2, frequencies: 1, labels: 1, zero_output: false };
    let model = Model::new(&device, &ModelConfig::mlp(config), &[], &Noise::new(1)).unwrap();
    let header = ModelHeader::new(model.config(), Shape::new(&[2]).unwrap());
    let good = write_model(&model, &header, None).unwrap();
    let length = u32::from_le_bytes([good[12], good[13], good[14], good[15]]) as usize;
    let (mut parsed, mut made) = (0, 0);
    LARGEST.store(0, Ordering::Relaxed);
    // Every byte and every pair of neighbours of the header takes values that end or lengthen numbers, under a right checksum.
    for place in 0..length {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            for next in [None, Some(0), Some(0x7f), Some(0xff)] {
                let mut forged = good.clone();
                forged[32 + place] = value;
                if let (Some(next), true) = (next, place + 1 < length) {
                    forged[33 + place] = next;
                }
                let checksum = crc32fast::hash(&[&forged[..24], &forged[32..32 + length]].concat());
                forged[24..28].copy_from_slice(&checksum.to_le_bytes());
                if let Ok(file) = ModelFile::parse(&forged) {
                    parsed += 1;
                    made += usize::from(file.to_model(&device).is_ok());
                }
            }
        }
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(parsed > made && made > 0, "{parsed} of the forgeries were read, {made} became models");
    assert!(largest <= 8 * good.len(), "{largest} bytes at once, for a file of {}", good.len());
}
