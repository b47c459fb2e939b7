//! Running the program, and one quick demo that many tests look at.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A folder of its own for each test, removed at the end.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Returns the folder of what ships.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .canonicalize()
        .unwrap()
}

/// Runs `dream` in `folder`.
pub fn dream(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(args)
        .current_dir(folder)
        .env("DREAM_DATA", data())
        .env_remove("DREAM_STORE")
        .output()
        .unwrap()
}

/// Runs `dream` in `folder` with its output going to `stdout`; returns its exit code and what it says, which
/// is no panic.
pub fn written_to(folder: &Path, args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(args)
        .current_dir(folder)
        .env("DREAM_DATA", data())
        .env("RUST_BACKTRACE", "1")
        .env_remove("DREAM_STORE")
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = program.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    (output.status.code(), said)
}

/// Runs `dream`, which must succeed, and returns what it prints.
pub fn good(folder: &Path, args: &[&str]) -> String {
    let output = dream(folder, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dream {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `dream`, which must fail with `code` and one line of error, and returns that line.
pub fn bad(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = dream(folder, args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "dream {args:?}: {errors}");
    let lines: Vec<&str> = errors.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "dream {args:?}: {errors}");
    lines[0].to_owned()
}

/// Returns the folder of a finished `demo --quick`, run once for all tests that only read it.
pub fn demo() -> &'static Path {
    static DEMO: OnceLock<tempfile::TempDir> = OnceLock::new();
    DEMO.get_or_init(|| {
        let folder = folder();
        good(folder.path(), &["demo", "--quick", "-q"]);
        folder
    })
    .path()
}

/// Returns a folder with a copy of the demo's store, to be changed.
pub fn store() -> tempfile::TempDir {
    let folder = folder();
    std::fs::copy(demo().join("dream.redb"), folder.path().join("dream.redb")).unwrap();
    folder
}

/// Returns the text of the preset of the quick demo, which can be written anywhere.
pub fn quick_preset() -> String {
    let text = std::fs::read_to_string(data().join("presets/quick.toml")).unwrap();
    text.replace("\"../", &format!("\"{}/", data().display()))
}

/// Writes the quick preset with some words changed, as `mine.toml`.
pub fn preset(folder: &Path, changes: &[(&str, &str)]) {
    let change = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let text = changes.iter().fold(quick_preset(), change);
    std::fs::write(folder.join("mine.toml"), text).unwrap();
}

/// Returns the rows of a query as JSON objects.
pub fn json(folder: &Path, args: &[&str]) -> Vec<serde_json::Value> {
    let args = [&["--format", "json"], args].concat();
    good(folder, &args)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Copies a folder of files and folders.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // Contents alone: the copy must be writable even where what ships is not.
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
