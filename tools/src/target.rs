//! Files that a command is to write: what can be known of them before any work.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;

use dream_ood::input;

/// What may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A page that this program wrote.
    Report,
    /// Any file.
    AnyFile,
}

/// How a page of ours begins, before its version.
const OURS: &str = "name=\"generator\" content=\"dream-ood ";

/// Says why no file can be written at `path`, if none can: its name must have one of the `endings`, its
/// folder be there and take files, and what is there already be what may be written over.
pub fn fault(path: &Path, endings: &[&str], over: Over) -> Option<String> {
    let shown = path.display();
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if !endings.contains(&ending.as_str()) {
        return Some(format!(
            "{shown}: expected a name that ends in .{}",
            endings.join(" or .")
        ));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Some(format!("{shown}: there is no folder {}", folder.display()));
    }
    if path.is_dir() {
        return Some(format!("{shown} is a folder"));
    }
    let kept = match over {
        Over::Report => path.exists() && !is_report(path),
        Over::AnyFile => false,
    };
    if kept {
        return Some(format!(
            "{shown} is there already, and is no report of this program"
        ));
    }
    writable(path, folder)
        .err()
        .map(|error| format!("{shown} cannot be written: {error}"))
}

/// Tries to open the file, or where there is none, another one beside it.
fn writable(path: &Path, folder: &Path) -> std::io::Result<()> {
    if path.exists() {
        return OpenOptions::new().append(true).open(path).map(|_| ());
    }
    let probe = folder.join(format!(".dream-{}", std::process::id()));
    File::create_new(&probe)?;
    std::fs::remove_file(probe)
}

/// Says whether a file begins as our pages do.
fn is_report(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = input::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.is_ok() && String::from_utf8_lossy(&start).contains(OURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let said = |name: &str, over| fault(&at(name), &["html", "htm"], over).unwrap_or_default();
        assert_eq!(said("new.html", Over::Report), "");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left"
        );
        assert!(said("new.png", Over::AnyFile).contains("ends in .html or .htm"));
        assert!(said("gone/new.html", Over::AnyFile).contains("no folder"));
        std::fs::create_dir(at("dir.html")).unwrap();
        assert!(said("dir.html", Over::AnyFile).contains("is a folder"));
        std::fs::write(at("mine.html"), "my own page").unwrap();
        assert!(said("mine.html", Over::Report).contains("is there already"));
        assert_eq!(said("mine.html", Over::AnyFile), "");
        let page = dream_ood::report::render(&dream_ood::report::Report::default()).unwrap();
        std::fs::write(at("ours.html"), page).unwrap();
        assert_eq!(said("ours.html", Over::Report), "");
    }
}
