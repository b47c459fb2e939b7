//! What becomes of a result that cannot be written: no panic, and a full disk is told from a reader that has
//! gone. What an error advises is a command that there is.

use std::fs::File;

use crate::support::{bad, demo, folder, good, written_to};

/// Commands that print a result, of those that only read: many tests share the store.
const PRINTING: &[&[&str]] = &[
    &["--help"],
    &["completions", "bash"],
    &["dataset", "ls"],
    &["diff", "quick-0-embed", "quick-0-encode"],
    &["du"],
    &["lineage", "quick-0-sample"],
    &["ls"],
    &["query", "metrics"],
    &["show", "quick-0-sample"],
    &["verify"],
];

#[test]
fn a_full_disk_is_an_error() {
    for args in PRINTING {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = written_to(demo(), args, full.into());
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(
            !said.contains("panicked") && said.contains("No space left"),
            "{args:?}: {said}"
        );
    }
}

/// A shell's `ulimit -f` sends a signal whose default is to end the process where it is.
#[cfg(unix)]
#[test]
fn a_file_beyond_its_limit_is_an_error_and_leaves_nothing() {
    let folder = folder();
    let store = demo().join("dream.redb");
    let script = format!(
        "ulimit -f 8; exec '{}' --store '{}' export outliers -o outliers.parquet",
        env!("CARGO_BIN_EXE_dream"),
        store.display()
    );
    let mut shell = std::process::Command::new("sh");
    let output = shell
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{said}");
}

#[test]
fn a_reader_that_has_gone_ends_the_program_in_silence() {
    for args in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = written_to(demo(), args, writer.into());
        let found = i32::from(args[0] == "diff");
        assert_eq!(code, Some(found), "{args:?}: {said}");
        assert!(
            !said.contains("error") && !said.contains("panicked"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn errors_advise_what_there_is() {
    let path = demo();
    let said = bad(path, 2, &["show", "no-such-run"]);
    assert!(said.contains("`dream ls`"), "{said}");
    let said = bad(path, 2, &["dataset", "show", "nothing"]);
    assert!(said.contains("`dream dataset add NAME PATH`"), "{said}");
    good(path, &["export", "scores", "-o", "advice.csv"]);
    let said = bad(path, 2, &["export", "scores", "-o", "advice.csv"]);
    assert!(said.contains("`--force` replaces it"), "{said}");
    bad(path, 2, &["--threads", "0", "ls"]);
    assert!(good(path, &["--help"]).contains("Exit codes: 0 done"));
    assert!(good(path, &["sql", "--help"]).contains("cosine_similarity"));
}
