//! Pipelines in tasks: what `submit` plans, and that tasks of processes of their own end at the digests of
//! one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{bad, data, demo, folder, good, json};

/// Puts commands into the folder that stand for Slurm's: `sbatch` numbers what it is given, nothing is ever
/// in the queue.
fn slurm(folder: &Path) {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let sbatch = "#!/bin/sh\necho \"$@\" >> sbatch.txt\nwc -l < sbatch.txt\n";
    for (name, text) in [
        ("sbatch", sbatch),
        ("squeue", "#!/bin/sh\n"),
        ("scancel", "#!/bin/sh\n"),
    ] {
        let path = bin.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs `dream` with these commands on the path.
fn submit(folder: &Path, args: &[&str]) -> Output {
    let path = format!(
        "{}:{}",
        folder.join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(args)
        .current_dir(folder)
        .env("DREAM_DATA", data())
        .env("PATH", path)
        .env_remove("DREAM_STORE")
        .output()
        .unwrap()
}

/// The jobs and their numbers of tasks.
fn jobs(document: &str) -> Vec<(String, u64)> {
    let document: Value = serde_json::from_str(document).unwrap();
    let jobs = document["jobs"].as_array().unwrap().iter();
    jobs.map(|job| {
        (
            job["job"].as_str().unwrap().to_owned(),
            job["tasks"].as_u64().unwrap(),
        )
    })
    .collect()
}

/// Every run with its digest.
fn digests(folder: &Path) -> Vec<Value> {
    json(
        folder,
        &["sql", "SELECT run, digest, status FROM runs ORDER BY run"],
    )
}

#[test]
fn values_with_blanks_are_quoted_in_scripts() {
    let place = folder();
    let asked = [
        "submit",
        "slurm",
        "quick",
        "--dry-run",
        "--folder",
        "a job",
        "--sbatch=--comment=a b",
    ];
    let output = submit(place.path(), &asked);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("#SBATCH --comment=\"a b\"\n"), "{text}");
    let mut logs = text.lines().filter(|line| line.starts_with("#SBATCH --output="));
    assert!(
        logs.all(|line| line.starts_with("#SBATCH --output=\"/") && line.ends_with(".log\"")),
        "{text}"
    );
}

#[test]
fn tasks_of_processes_of_their_own_end_at_the_digests_of_one() {
    let place = folder();
    let path = place.path();
    slurm(path);
    let asked = [
        "--format", "json", "submit", "slurm", "quick", "--shards", "3", "--folder", "job",
    ];
    let dry = submit(path, &[&asked[..], &["--dry-run"]].concat());
    let planned = jobs(&String::from_utf8(dry.stdout).unwrap());
    assert!(!path.join("job").exists(), "a dry run writes nothing");
    let names: Vec<&str> = planned.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "embed",
        "encode",
        "sample",
        "imagine",
        "gather",
        "imagine-plain",
        "detect-plain",
        "select",
        "detect",
        "evaluate-plain",
        "evaluate",
        "merge",
    ];
    assert_eq!(names, expected);
    assert_eq!(planned[3].1, 3);

    let output = submit(path, &asked);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(jobs(&String::from_utf8(output.stdout).unwrap()), planned);
    let calls = std::fs::read_to_string(path.join("sbatch.txt")).unwrap();
    // encode comes after embed, gather after the shards, merge after all.
    let calls: Vec<&str> = calls.lines().collect();
    assert!(calls[0].starts_with("--parsable /"), "{}", calls[0]);
    assert!(calls[1].contains("--dependency=afterok:1 "), "{}", calls[1]);
    assert!(calls[4].contains("--dependency=afterok:4 "), "{}", calls[4]);
    assert!(
        calls[11].contains("afterok:1:2:3:4:5:6:7:8:9:10:11 "),
        "{}",
        calls[11]
    );

    // A task whose inputs are not there says which task has not run.
    let early = bad(path, 1, &["submit", "task", "job", "encode", "0"]);
    assert!(
        early.contains("the task embed-") && early.contains("has not run"),
        "{early}"
    );
    for (name, tasks) in &planned {
        if name == "gather" {
            let last = path.join("job/stores");
            let shard = std::fs::read_dir(&last)
                .unwrap()
                .flatten()
                .map(|entry| entry.path());
            let shard = shard
                .into_iter()
                .find(|path| path.to_string_lossy().contains("2-of-3"))
                .unwrap();
            std::fs::rename(&shard, path.join("away.redb")).unwrap();
            let missing = bad(path, 1, &["submit", "task", "job", "gather", "0"]);
            assert!(missing.contains("2-of-3"), "{missing}");
            std::fs::rename(path.join("away.redb"), &shard).unwrap();
        }
        for task in 0..*tasks {
            let number = task.to_string();
            let mut args = vec!["-q", "submit", "task", "job", name.as_str()];
            if name != "merge" {
                args.push(&number);
            }
            good(path, &args);
        }
        assert_eq!(
            path.join("dream.redb").exists(),
            name == "merge",
            "only the last job writes the store"
        );
    }
    assert_eq!(digests(path), digests(demo()));
    good(path, &["verify"]);
    let again = submit(path, &asked[2..]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("everything is in the store already"));
}

#[test]
fn what_cannot_be_submitted_is_refused_before_anything_is_written() {
    let place = folder();
    let path = place.path();
    slurm(path);
    let refused = |args: &[&str], said: &str| {
        let output = submit(path, &[&["submit", "slurm", "quick"], args].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(1 | 2)) && errors.contains(said),
            "{args:?}: {errors}"
        );
    };
    refused(&["--shards", "0"], "--shards");
    refused(&["--time", "1 day"], "--time");
    refused(&["--sbatch", "partition"], "--sbatch partition");
    refused(&["--report", "page.txt"], "ends in .html");
    refused(&["--device", "cuda"], "without CUDA");
    assert!(!path.join("quick-slurm").exists());
    assert!(submit(path, &["submit", "slurm", "quick"]).status.success());
    // Asked again it is the same job, with other shards or seeds another.
    assert!(submit(path, &["submit", "slurm", "quick"]).status.success());
    refused(&["--shards", "2"], "of 1 shards");
    refused(&["--seeds", "2"], "of other seeds");
    let task = |args: &[&str], code, said: &str| {
        let error = bad(path, code, &[&["submit", "task"], args].concat());
        assert!(error.contains(said), "{args:?}: {error}");
    };
    task(&["quick-slurm", "embed"], 2, "the number of its task is missing");
    task(&["quick-slurm", "embed", "1"], 2, "the job is of 1 runs");
    task(&["quick-slurm", "merge", "0"], 2, "that job has one task");
    task(&["quick-slurm", "merge"], 1, "has not run");
    task(&["bin", "embed", "0"], 1, "no plan.json");
    // Without Slurm.
    let nothing = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(["submit", "slurm", "quick", "--folder", "other"])
        .current_dir(path)
        .env("DREAM_DATA", data())
        .env("PATH", path)
        .env_remove("DREAM_STORE")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&nothing.stderr);
    assert!(
        error.contains("no `sbatch`") && error.contains("--dry-run"),
        "{error}"
    );
}
