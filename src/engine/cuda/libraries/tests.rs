//! Functions of libraries that are found, or not, when they are first called.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::engine::cuda::tested;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FILES: [&str; 4] = [
    "libcuda.so.1",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
];

fn compile(arguments: &[&str], sources: &[&str], out: &Path) -> Result<(), String> {
    let sources = sources.iter().map(|source| Path::new(ROOT).join(source));
    let done = Command::new("cc")
        .args(arguments)
        .args(sources)
        .arg("-o")
        .arg(out)
        .output();
    let done = done.map_err(|e| format!("there is no C compiler (cc: {e})"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    Ok(())
}

/// The program of `tests/kernels/libraries.c`, and a folder with libraries.
fn compiled(folder: &Path) -> Result<PathBuf, String> {
    if tested() {
        return Err("a GPU is tested".to_owned());
    }
    if !cfg!(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )) {
        return Err("CUDA's libraries are not loaded here".to_owned());
    }
    let program = folder.join("program");
    let shim = "src/engine/cuda/libraries/shim.c";
    compile(
        &["-O2", "-fPIC", "-D__CUDACC_VER_MAJOR__=13"],
        &["tests/kernels/libraries.c", shim],
        &program,
    )?;
    for file in FILES {
        let out = folder.join(file);
        compile(
            &["-shared", "-fPIC", "-DLIBRARY"],
            &["tests/kernels/libraries.c"],
            &out,
        )?;
    }
    Ok(program)
}

fn run(program: &Path, word: &str, libraries: &Path) -> Output {
    let mut command = Command::new(program);
    command
        .arg(word)
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .unwrap()
}

#[test]
fn functions_are_found_at_their_first_call() {
    let folder = tempfile::tempdir().unwrap();
    let program = match compiled(folder.path()) {
        Ok(program) => program,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "how CUDA is loaded is not tested: {reason}");
            return;
        }
    };
    let nowhere = folder.path().join("nowhere");
    let told = |libraries: &Path| {
        let done = run(&program, "missing", libraries);
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let all = |state: &str| FILES.map(|file| format!("{file} {state}\n")).concat();
    assert_eq!(told(&nowhere), all("missing"));
    assert_eq!(told(folder.path()), all("there"));
    let called = run(&program, "call", folder.path());
    assert!(called.status.success(), "{called:?}");

    // In vain: it ends, and says which function was called.
    for (word, libraries, function) in [
        ("call", &*nowhere, "cuInit"),
        ("none", folder.path(), "cuCtxSynchronize"),
    ] {
        let ended = run(&program, word, libraries);
        assert_eq!(ended.status.code(), None, "{ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.starts_with(&format!("{function} was called in vain: ")),
            "{said}"
        );
    }
}
