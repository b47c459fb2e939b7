//! Files and stores are what they were, or what they should be: never a part.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{copy, data, dream, folder, good, json, store, written_to};

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_that_cannot_be_written_whole_leaves_the_one_before() {
    let place = store();
    for (file, args) in [
        (
            "report.html",
            &["report", "quick-0-evaluate", "-o", "report.html"][..],
        ),
        (
            "plot.svg",
            &[
                "compare",
                "quick-0-evaluate",
                "--over",
                "sample.sampling.sigma",
                "--plot",
                "plot.svg",
            ][..],
        ),
        ("table.csv", &["export", "outliers", "-o", "table.csv"][..]),
        (
            "table.parquet",
            &["export", "outliers", "-o", "table.parquet"][..],
        ),
    ] {
        let path = place.path().join(file);
        std::fs::write(&path, "before").unwrap();
        // One block of 512 bytes: the process is ended when it writes more.
        let limited = Command::new("sh")
            .args([
                "-c",
                "ulimit -f 1; exec \"$@\"",
                "sh",
                env!("CARGO_BIN_EXE_dream"),
            ])
            .args(args)
            .arg("--force")
            .current_dir(place.path())
            .env("DREAM_DATA", data())
            .output()
            .unwrap();
        assert!(!limited.status.success(), "{args:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before", "{args:?}");
        good(place.path(), &[args, &["--force"]].concat());
        assert_ne!(std::fs::read(&path).unwrap(), b"before", "{args:?}");
    }
}

#[test]
fn a_reproduction_that_is_stopped_leaves_nothing() {
    let (place, aside) = (store(), folder());
    let mut child = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(["reproduce", "quick-0-encode"])
        .current_dir(place.path())
        .env("TMPDIR", aside.path())
        .env("DREAM_DATA", data())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..1200 {
        if !names(aside.path()).is_empty() || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(names(aside.path()).len(), 1);
    let term = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(term.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(names(aside.path()), [""; 0]);
    assert_eq!(names(place.path()), ["dream.redb"]);
    good(place.path(), &["verify"]);
}

#[test]
fn what_is_asked_for_is_done_though_nobody_reads_the_answer() {
    let place = store();
    let path = place.path();
    std::fs::copy(data().join("ood/shirt.parquet"), path.join("other.parquet")).unwrap();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let sets = || {
        json(path, &["dataset", "ls"])
            .iter()
            .map(|row| row["name"].clone())
            .collect::<Vec<_>>()
    };
    for (args, is_there) in [
        (&["dataset", "add", "other", "other.parquet"][..], true),
        (&["dataset", "rename", "other", "one"][..], false),
        (&["dataset", "rename", "one", "other"][..], true),
        (&["dataset", "rm", "other", "--yes"][..], false),
    ] {
        let (code, said) = written_to(path, args, closed());
        assert_eq!(code, Some(0), "{args:?}: {said}");
        assert_eq!(sets().contains(&"other".into()), is_there, "{args:?}");
    }
    let (code, said) = written_to(path, &["rm", "quick-0-evaluate", "--yes"], closed());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(dream(path, &["show", "quick-0-evaluate"]).status.code(), Some(2));
}

#[test]
fn a_model_is_taken_from_the_hugging_face_cache() {
    let place = folder();
    let snapshot = place.path().join("models--tiny--sd/snapshots/0123abc");
    copy(&data().join("tiny-sd"), &snapshot);
    let classes = data().join("classes/fashion-mini.tsv").display().to_string();
    let embed = |model: &str, alias: &str| {
        good(
            place.path(),
            &["embed", "--model", model, "--classes", &classes, "--alias", alias],
        );
        json(place.path(), &["show", alias])[0]["digest"].clone()
    };
    let shipped = data().join("tiny-sd").display().to_string();
    assert_eq!(embed("models--tiny--sd", "cached"), embed(&shipped, "shipped"));
}
