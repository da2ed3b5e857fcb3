//! Whether the library of products may be asked. It looks up the sizes of the caches once; where it may not read them it starts a program (`lscpu`, by
//! the path of the environment), and at sizes that it does not expect it panics. A library in somebody's process does neither.

use gemm_common::cache::{CACHE_INFO, CacheInfo};
#[cfg(target_os = "linux")]
use std::{fs, io, path::Path, path::PathBuf, vec::Vec};

/// Whether it can look up the caches of this machine, and can use what it finds.
pub(crate) fn are_known() -> bool {
    static KNOWN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *KNOWN.get_or_init(|| {
        // Miri has no such files, and the library does not look there.
        #[cfg(target_os = "linux")]
        if !cfg!(miri) && !are_listed(Path::new("/sys/devices/system/cpu")).unwrap_or(false) {
            return false;
        }
        #[cfg(target_arch = "x86_64")]
        let tile = if std::is_x86_feature_detected!("avx512f") { 192 } else { 96 };
        #[cfg(not(target_arch = "x86_64"))]
        let tile = 96;
        suit(&CACHE_INFO, tile)
    })
}

/// Whether all that it reads can be read, and says of each cache of data which of three levels it has and who shares it.
#[cfg(target_os = "linux")]
fn are_listed(processors: &Path) -> io::Result<bool> {
    for processor in named(processors, "cpu")? {
        let caches = processor.join("cache");
        if !caches.is_dir() {
            continue;
        }
        for cache in named(&caches, "index")? {
            if !cache.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&cache)? {
                fs::read_to_string(entry?.path())?;
            }
            let entry = |name| fs::read_to_string(cache.join(name));
            let is_of_data = matches!(entry("type")?.trim(), "Data" | "Unified");
            let is_usual = matches!(entry("level")?.trim(), "1" | "2" | "3") && entry("shared_cpu_list")?.trim().split(',').all(is_range);
            if is_of_data && !is_usual {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What is in a folder whose name begins so.
#[cfg(target_os = "linux")]
fn named(folder: &Path, beginning: &str) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let begins = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(beginning));
    Ok(entries.into_iter().filter(begins).collect())
}

/// Whether a part of a list of processors is one, or a range of them.
#[cfg(target_os = "linux")]
fn is_range(part: &str) -> bool {
    let number = |text: &str| text.parse::<usize>().ok();
    match part.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        None => number(part).is_some(),
    }
}

/// Whether the sizes of blocks that gemm-common 0.19 derives from the caches (`kernel_params`) come out above zero: for tiles of up to `tile`
/// bytes by 8 columns, of f32 and f64, and sums of any length.
fn suit([l1, l2, l3]: &[CacheInfo; 3], tile: usize) -> bool {
    const COLUMNS: usize = 8;
    let (line, ways) = (l1.cache_line_bytes.max(64), l1.associativity.max(2));
    let way = line * (l1.cache_bytes.max(32 << 10) / (line * ways));
    let [ways_2, ways_3] = [l2, l3].map(|cache| cache.associativity.max(2));
    let fits = |tile: usize, size: usize| {
        let common = greatest_divisor(tile, way);
        let (depth, left) = (way / common, tile / common);
        let right = COLUMNS * depth * size / way;
        let depth = (depth * (ways / (left + right)).next_power_of_two()).max(512);
        let right = (COLUMNS * depth * size).div_ceil(l2.cache_bytes / ways_2);
        let rows = |ways: usize| ways * l2.cache_bytes / (ways_2 * size * depth);
        right < ways_2
            && rows((ways_2 - 1 - right).max(1)) >= tile / size
            && l2.cache_bytes / (size * 512) >= tile / size
            && (l3.cache_bytes == 0 || (ways_3 - 1) * l3.cache_bytes / (ways_3 * size * depth) >= COLUMNS)
    };
    way > 0 && l2.cache_bytes >= ways_2 && (16..=tile).step_by(16).all(|tile| [4, 8].into_iter().all(|size| fits(tile, size)))
}

fn greatest_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    fn caches(sizes: [(usize, usize); 3]) -> [CacheInfo; 3] {
        sizes.map(|(kilobytes, associativity)| CacheInfo { associativity, cache_bytes: kilobytes * KIB, cache_line_bytes: 64 })
    }

    #[test]
    fn usual_caches_suit() {
        let usual = [
            [(32, 8), (256, 8), (2048, 8)], // what the library assumes
            [(48, 12), (1280, 20), (49152, 12)],
            [(32, 8), (512, 8), (32768, 16)],
            [(48, 12), (2048, 16), (0, 0)],
            [(64, 4), (1024, 8), (0, 0)], // Neoverse
            [(128, 8), (4096, 16), (0, 0)],
        ];
        for sizes in usual {
            assert!(suit(&caches(sizes), 192), "{sizes:?}");
        }
        // Two threads of a core of Skylake, which has no AVX-512.
        assert!(suit(&caches([(32, 8), (128, 4), (8192, 16)]), 96));
    }

    #[test]
    fn caches_at_which_the_library_would_panic_do_not() {
        let odd = [[(32, 8), (0, 0), (0, 0)], [(32, 8), (64, 8), (8192, 16)], [(32, 8), (16, 8), (0, 0)], [(32, 8), (512, 8), (8, 16)]];
        for sizes in odd {
            assert!(!suit(&caches(sizes), 192), "{sizes:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_read_or_is_unusual_is_seen() {
        let folder = std::env::temp_dir().join(std::format!("mfm-caches-{}", std::process::id()));
        let write = |level: &str, shared: &str| {
            let cache = folder.join("cpu0/cache/index0");
            fs::create_dir_all(&cache).unwrap();
            for (name, text) in [("type", "Data\n"), ("level", level), ("shared_cpu_list", shared), ("size", "32K\n")] {
                fs::write(cache.join(name), text).unwrap();
            }
            are_listed(&folder)
        };
        assert!(are_listed(&folder.join("nowhere")).is_err());
        for (level, shared, expected) in
            [("1\n", "0\n", true), ("3\n", "0-3,8-11\n", true), ("4\n", "0\n", false), ("1\n", "\n", false), ("1\n", "3-0\n", false)]
        {
            assert_eq!(write(level, shared).unwrap(), expected, "{level}{shared}");
        }
        fs::remove_file(folder.join("cpu0/cache/index0/shared_cpu_list")).unwrap();
        assert!(are_listed(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
