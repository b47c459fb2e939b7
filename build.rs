//! With the feature `cuda`: compiles the kernels, to machine code for the kinds of GPU that there are and to
//! PTX for those to come, so that no first start has to compile.

use std::path::PathBuf;
use std::process::Command;

/// Source, name of the compiled file, the virtual architecture that the kernel needs, and what it is compiled
/// to.
const KERNELS: [(&str, &str, &str, &[&str]); 3] = [
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
];
/// What they include.
const HEADERS: [&str; 3] = [
    "src/engine/cuda/half/common.cuh",
    "src/engine/cuda/half/instructions.cuh",
    "src/engine/cuda/half/warpgroup.cuh",
];
/// A100, RTX 30, RTX 40 and H100; and PTX for what comes after them.
const AMPERE: &[&str] = &["sm_80", "sm_86", "sm_89", "sm_90", "compute_80"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NVCC");
    for file in KERNELS.iter().map(|(source, ..)| source).chain(&HEADERS) {
        println!("cargo:rerun-if-changed={file}");
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let nvcc = std::env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    for (source, compiled, architecture, codes) in KERNELS {
        let generate = codes
            .iter()
            .map(|code| format!("-gencode=arch={architecture},code={code}"));
        let status = Command::new(&nvcc)
            .args(["-O3", "-std=c++17", "-fatbin", "--threads", "0", "-o"])
            .arg(folder.join(compiled))
            .args(generate)
            .arg(source)
            .status()
            .unwrap_or_else(|e| {
                panic!(
                    "{}: {e}: set NVCC or PATH to the CUDA toolkit's nvcc",
                    nvcc.to_string_lossy()
                )
            });
        assert!(status.success(), "nvcc failed on {source}");
    }
}
