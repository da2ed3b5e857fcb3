//! Compiles the kernels and the stand-in for the driver with the C++ compiler (`CXX`, else c++) into one shared library. Without a compiler there is none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let kernels = here.join("../kernels");
    println!("cargo:rerun-if-changed=driver.cc");
    println!("cargo:rerun-if-changed=cublaslt.cc");
    println!("cargo:rerun-if-changed={}", kernels.display());
    println!("cargo:rerun-if-env-changed=CXX");
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    if Command::new(&compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("cargo:warning=no C++ compiler ({compiler}): the CUDA backend is not tested here");
        return;
    }
    let flags = |command: &mut Command| {
        command.args(["-std=c++17", "-O2", "-g1", "-fPIC", "-fno-strict-aliasing", "-Wno-unknown-pragmas", "-fvisibility=hidden"]);
        command.arg("-I").arg(&kernels).arg("-I").arg(kernels.join("host"));
        // Kernels are full of multiply-adds.
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            command.args(["-mavx2", "-mfma"]);
        }
    };
    let mut waiting: Vec<(PathBuf, bool)> =
        vec![(here.join("driver.cc"), false), (here.join("cublaslt.cc"), false), (kernels.join("host/machine.cc"), false)];
    waiting.extend(files(&kernels, "cu").into_iter().map(|path| (path, true)));
    let most = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let (mut objects, mut running): (Vec<PathBuf>, Vec<(PathBuf, Child)>) = (Vec::new(), Vec::new());
    // The largest first, so that none is left over at the end.
    waiting.sort_by_key(|(path, _)| path.metadata().map_or(0, |metadata| metadata.len()));
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < most
            && let Some((source, kernel)) = waiting.pop()
        {
            let object = out.join(source.file_name().unwrap_or_default()).with_extension("o");
            let mut command = Command::new(&compiler);
            flags(&mut command);
            if kernel {
                command.args(["-include", "emulator.hpp", "-x", "c++"]);
            }
            command.arg("-c").arg(&source).arg("-o").arg(&object);
            objects.push(object);
            running.extend(command.spawn().map(|child| (source, child)));
        }
        let (source, mut child) = running.remove(0);
        assert!(child.wait().is_ok_and(|status| status.success()), "{} does not compile", source.display());
    }
    let library = out.join("libcuda-emulated.so");
    link(&compiler, &objects, &library);
    println!("cargo:rustc-env=MFM_EMULATED_LIBCUDA={}", library.display());
}

fn link(compiler: &str, objects: &[PathBuf], library: &Path) {
    let status = Command::new(compiler).args(["-shared", "-o"]).arg(library).args(objects).arg("-pthread").status();
    assert!(status.is_ok_and(|status| status.success()), "{} does not link", library.display());
}

/// The files of a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}
