//! What `dream --version` says of the build: the commit (`DREAM_COMMIT`, else what git says), the features,
//! the target.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DREAM_COMMIT");
    let given = std::env::var("DREAM_COMMIT").ok();
    // A commit changes the branch's file, or the list of all branches; another branch changes HEAD.
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!(
        "cargo:rustc-env=DREAM_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    let features = ["sql", "cuda", "cloud"].into_iter();
    let features =
        features.filter(|name| std::env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some());
    let features = match features.collect::<Vec<_>>().join(" ") {
        none if none.is_empty() => "none".to_owned(),
        features => features,
    };
    println!("cargo:rustc-env=DREAM_FEATURES={features}");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=DREAM_TARGET={target}");
}
