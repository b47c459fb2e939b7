//! With the feature `cuda`: compiles the kernels, to machine code for the kinds of GPU that there are and to
//! PTX for those to come, so that no first start has to compile; and what loads CUDA's libraries when they
//! are first called.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Source, name of the compiled file, the virtual architecture that the kernel needs, and what it is compiled
/// to.
const KERNELS: [(&str, &str, &str, &[&str]); 4] = [
    (
        "src/engine/cuda/half/kernels.cu",
        "diffusion.fatbin",
        "compute_80",
        AMPERE,
    ),
    (
        "src/engine/cuda/half/hopper.cu",
        "hopper.fatbin",
        "compute_90a",
        &["sm_90a"],
    ),
    (
        "src/engine/cuda/residual/kernels.cu",
        "residual.fatbin",
        "compute_80",
        AMPERE,
    ),
    (
        "src/engine/cuda/sampling/kernels.cu",
        "sampling.fatbin",
        "compute_80",
        AMPERE,
    ),
];
/// What they include.
const HEADERS: [&str; 3] = [
    "src/engine/cuda/half/common.cuh",
    "src/engine/cuda/half/instructions.cuh",
    "src/engine/cuda/half/warpgroup.cuh",
];
/// Loads CUDA's libraries, and the functions that it has of them.
const SHIM: [&str; 2] = [
    "src/engine/cuda/libraries/shim.c",
    "src/engine/cuda/libraries/functions.h",
];
/// The libraries that cudarc and candle's kernels ask the linker for.
const LIBRARIES: [&str; 6] = ["cuda", "cublas", "cublasLt", "curand", "nvrtc", "cudart"];
/// A100, RTX 30, RTX 40 and H100; and PTX for what comes after them.
const AMPERE: &[&str] = &["sm_80", "sm_86", "sm_89", "sm_90", "compute_80"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NVCC");
    let sources = KERNELS.iter().map(|(source, ..)| source);
    for file in sources.chain(&HEADERS).chain(&SHIM) {
        println!("cargo:rerun-if-changed={file}");
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (source, compiled, architecture, codes) in KERNELS {
        let mut nvcc = nvcc();
        nvcc.args(["-O3", "-std=c++17", "-fatbin", "--threads", "0"]);
        nvcc.args(
            codes
                .iter()
                .map(|code| format!("-gencode=arch={architecture},code={code}")),
        );
        run(&mut nvcc, source, &folder.join(compiled));
    }
    link_libraries(&folder);
}

/// Has every program link what loads CUDA's libraries, in place of the libraries.
fn link_libraries(folder: &Path) {
    let mut nvcc = nvcc();
    nvcc.args(["-lib", "-O2", "-Xcompiler", "-fPIC"]);
    run(&mut nvcc, SHIM[0], &folder.join("libdream_cuda.a"));
    println!("cargo:rustc-link-search=native={}", folder.display());
    // Whole, and so in front of whatever has functions of the same names.
    println!("cargo:rustc-link-lib=static:+whole-archive=dream_cuda");
    // cudarc still asks for the libraries. An empty archive under the name of each, found before the real
    // one, lets the program be linked where they are not, and keeps linkers from noting them down that do so
    // for calls of functions that nothing reaches.
    for library in LIBRARIES {
        let empty = folder.join(format!("lib{library}.a"));
        std::fs::write(&empty, b"!<arch>\n").unwrap_or_else(|e| panic!("{}: {e}", empty.display()));
    }
}

fn nvcc() -> Command {
    Command::new(std::env::var_os("NVCC").unwrap_or_else(|| "nvcc".into()))
}

fn run(nvcc: &mut Command, source: &str, compiled: &Path) {
    let program = nvcc.get_program().to_string_lossy().into_owned();
    let status = nvcc
        .arg("-o")
        .arg(compiled)
        .arg(source)
        .status()
        .unwrap_or_else(|e| panic!("{program}: {e}: set NVCC or PATH to the CUDA toolkit's nvcc"));
    assert!(status.success(), "nvcc failed on {source}");
}
