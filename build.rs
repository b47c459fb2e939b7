//! With the feature `cuda`: compiles the kernels to PTX, for Ampere and later, and what Hopper alone can.

use std::path::PathBuf;
use std::process::Command;

/// Source, name of the PTX file, and the virtual architecture that the kernel needs.
const KERNELS: [(&str, &str, &str); 3] = [
    ("src/engine/cuda/half/kernels.cu", "kernels.ptx", "compute_80"),
    ("src/engine/cuda/half/hopper.cu", "hopper.ptx", "compute_90a"),
    ("src/engine/cuda/residual/kernels.cu", "resnet.ptx", "compute_80"),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NVCC");
    for (source, _, _) in KERNELS {
        println!("cargo:rerun-if-changed={source}");
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let nvcc = std::env::var_os("NVCC").unwrap_or_else(|| "nvcc".into());
    for (source, ptx, architecture) in KERNELS {
        let status = Command::new(&nvcc)
            .args(["-O3", "-std=c++17", "-ptx", "-o"])
            .arg(folder.join(ptx))
            .arg(format!("-arch={architecture}"))
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
