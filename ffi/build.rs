//! Compiles the shim: the C functions of mfm.h over the cxx bridge.

fn main() {
    let mut build = cxx_build::bridge("src/bridge.rs");
    build.file("cpp/shim.cc").include("include").include("cpp").std("c++17").warnings(true);
    build.flag_if_supported("-fstack-protector-strong");
    build.define("MFM_CRATE_VERSION", concat!("\"", env!("CARGO_PKG_VERSION"), "\"")).compile("mfm_shim");
    for path in ["src/bridge.rs", "cpp", "include"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
