//! Compiles the shim: the C functions of mfm.h over the cxx bridge.

fn main() {
    let mut build = cxx_build::bridge("src/bridge.rs");
    build.file("cpp/shim.cc").include("include").include("cpp").std("c++17").warnings(true);
    build.flag_if_supported("-fstack-protector-strong");
    // Without debug information nobody looks for the files.
    if std::env::var("DEBUG").is_ok_and(|debug| debug == "false") {
        for (variable, name) in [("CARGO_MANIFEST_DIR", "ffi"), ("OUT_DIR", "out")] {
            if let Ok(folder) = std::env::var(variable) {
                build.flag_if_supported(format!("-ffile-prefix-map={folder}={name}"));
            }
        }
    }
    build.define("MFM_CRATE_VERSION", concat!("\"", env!("CARGO_PKG_VERSION"), "\"")).compile("mfm_shim");
    for path in ["src/bridge.rs", "cpp", "include"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
