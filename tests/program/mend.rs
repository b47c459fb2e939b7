//! What is stored, mended and removed: as a user does it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{bad, data, dream, folder, good, store};

/// Runs a command whose answer is one JSON document, with an exit code.
pub fn document(folder: &Path, code: i32, args: &[&str]) -> Value {
    let output = dream(folder, &[&["--format", "json"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// Overwrites every place of the file that has `needle`.
pub fn spoil(file: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let mut places: Vec<usize> = (0..bytes.len() - needle.len()).collect();
    places.retain(|place| bytes[*place] == needle[0] && bytes[*place..].starts_with(needle));
    assert!(!places.is_empty());
    for place in places {
        bytes[place] ^= 0x55;
    }
    std::fs::write(file, bytes).unwrap();
}

/// Returns bytes of a stored outlier of a class.
fn vector(folder: &Path, class: &str) -> Vec<u8> {
    let query = ["query", "outliers", "--class", class, "--limit", "1"];
    let row = document(folder, 0, &query);
    let numbers = row["vector"].as_array().unwrap().iter().take(6);
    numbers
        .flat_map(|number| (number.as_f64().unwrap() as f32).to_le_bytes())
        .collect()
}

#[test]
fn a_run_is_removed_only_with_those_made_from_it_and_only_with_yes() {
    let folder = store();
    let folder = folder.path();
    let refused = bad(folder, 2, &["rm", "quick-0-encode"]);
    for word in [
        "nothing was removed",
        "quick-0-sample",
        "quick-0-evaluate",
        "--cascade",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    let shown = document(folder, 1, &["rm", "quick-0-encode", "--cascade"]);
    assert_eq!(shown["removed"], false);
    assert!(shown["runs"].as_array().unwrap().len() >= 5, "{shown}");
    assert_eq!(shown["runs"][0]["rows"], 4_810);
    let words = dream(folder, &["rm", "quick-0-evaluate"]);
    assert_eq!(words.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&words.stdout).contains("nothing was removed"));
    assert!(
        good(folder, &["ls"]).contains("quick-0-evaluate\n"),
        "it is still there"
    );
    let done = document(folder, 0, &["rm", "quick-0-encode", "--cascade", "--yes"]);
    assert_eq!(done["runs"], shown["runs"]);
    let left = good(folder, &["ls"]);
    assert!(
        !left.contains("quick-0-encode") && left.contains("quick-0-embed"),
        "{left}"
    );
    let before = std::fs::metadata(folder.join("dream.redb")).unwrap().len();
    let freed = document(folder, 0, &["gc", "--yes"]);
    assert!(freed["bytes"].as_u64().unwrap() > 100_000, "{freed}");
    assert!(freed["file_bytes"].as_u64().unwrap() < before, "{freed}");
    assert_eq!(document(folder, 0, &["verify"])["sound"], true);
    bad(folder, 2, &["rm", "quick-0-encode"]);
}

#[test]
fn names_and_notes_are_set_moved_and_taken_away() {
    let folder = store();
    let folder = folder.path();
    good(folder, &["alias", "set", "best", "quick-0-sample"]);
    let taken = bad(folder, 2, &["alias", "set", "best", "quick-0-encode"]);
    assert!(
        taken.contains("nothing was changed") && taken.contains("--move"),
        "{taken}"
    );
    bad(folder, 2, &["alias", "set", "a b", "quick-0-encode"]);
    let moved = document(folder, 0, &["alias", "set", "best", "quick-0-encode", "--move"]);
    assert!(moved["before"].is_string(), "{moved}");
    assert!(good(folder, &["show", "best"]).contains("encode"));
    assert!(good(folder, &["alias", "ls"]).contains("best"));
    good(folder, &["alias", "rm", "best"]);
    assert!(bad(folder, 2, &["alias", "rm", "best"]).contains("dream alias ls"));
    good(folder, &["note", "quick-0-encode", "too few epochs"]);
    assert_eq!(good(folder, &["note", "quick-0-encode"]), "too few epochs\n");
    assert!(good(folder, &["show", "quick-0-encode"]).contains("too few epochs"));
    good(folder, &["note", "quick-0-encode", "--remove"]);
    assert_eq!(
        document(folder, 0, &["note", "quick-0-encode"])["note"],
        Value::Null
    );
}

#[test]
fn damage_is_named_and_the_rest_is_read_and_it_is_mended_in_two_ways() {
    let folder = store();
    let folder = folder.path();
    let store = folder.join("dream.redb");
    std::fs::copy(&store, folder.join("backup.redb")).unwrap();
    spoil(&store, &vector(folder, "sandal"));
    let damaged = std::fs::read(&store).unwrap();
    let found = document(folder, 1, &["verify"]);
    let problem = &found["problems"][0];
    let (table, class) = (&problem["table"], &problem["class_name"]);
    assert_eq!(
        (table.as_str(), class.as_str()),
        (Some("outliers"), Some("sandal")),
        "{found}"
    );
    assert_eq!(
        (problem["kind"].as_str(), problem["rows"].as_u64()),
        (Some("damaged"), Some(100))
    );
    // Other classes, and what needs no vectors, can be read.
    bad(
        folder,
        1,
        &["query", "outliers", "--class", "sandal", "--limit", "200"],
    );
    good(folder, &["query", "outliers", "--class", "bag", "--limit", "200"]);
    let count = "SELECT count(*) AS n FROM outliers WHERE knn_distance > 0";
    assert_eq!(document(folder, 0, &["sql", count])["n"], 800);
    let alone = document(folder, 1, &["repair", "--yes"]);
    assert_eq!(alone["fixes"].as_array().unwrap().len(), 0, "{alone}");
    assert!(std::fs::read(&store).unwrap().len() >= damaged.len());
    let planned = document(folder, 1, &["repair", "--from", "backup.redb"]);
    assert_eq!(
        (&planned["repaired"], planned["left"].as_array().unwrap().len()),
        (&Value::Bool(false), 0)
    );
    document(folder, 1, &["verify"]);
    document(folder, 0, &["repair", "--from", "backup.redb", "--yes"]);
    assert_eq!(document(folder, 0, &["verify"])["sound"], true);
    std::fs::write(&store, damaged).unwrap();
    let made = document(folder, 0, &["reproduce", "quick-0-sample", "--repair"]);
    assert_eq!(made["same"], true, "{made}");
    assert_eq!(document(folder, 0, &["verify"])["sound"], true);
    let nothing = good(folder, &["reproduce", "quick-0-sample", "--repair"]);
    assert!(nothing.contains("nothing is damaged"), "{nothing}");
}

#[test]
fn a_store_that_is_cut_says_so_and_its_whole_runs_are_saved() {
    let folder = store();
    let folder = folder.path();
    let bytes = std::fs::read(folder.join("dream.redb")).unwrap();
    std::fs::write(folder.join("cut.redb"), &bytes[..bytes.len() / 2]).unwrap();
    for args in [&["ls"][..], &["verify"], &["rm", "x", "--yes"], &["embed"]] {
        let error = bad(folder, 1, &[&["--store", "cut.redb"], args].concat());
        assert!(
            error.contains("is cut short") && error.contains("dream recover"),
            "{error}"
        );
    }
    let saved = dream(
        folder,
        &["recover", "cut.redb", "-o", "new.redb", "--format", "json"],
    );
    let saved: Value = serde_json::from_slice(&saved.stdout).unwrap();
    assert!(!saved["whole"].as_array().unwrap().is_empty(), "{saved}");
    assert!(std::fs::read(folder.join("cut.redb")).unwrap() == bytes[..bytes.len() / 2]);
    bad(folder, 2, &["recover", "cut.redb", "-o", "new.redb"]);
    let all = document(folder, 0, &["recover", "dream.redb", "-o", "all.redb"]);
    assert_eq!(all["whole"].as_array().unwrap().len(), 25, "{all}");
    let list = |store| good(folder, &["--store", store, "ls"]);
    assert_eq!(list("all.redb"), list("dream.redb"));
    std::fs::write(folder.join("words.redb"), "words").unwrap();
    bad(folder, 1, &["recover", "words.redb", "-o", "none.redb"]);
    assert!(!folder.join("none.redb").exists());
}

#[test]
fn a_name_that_means_two_things_is_taken_in_under_another() {
    let (here, there) = (store(), store());
    let (here, there) = (here.path(), there.path());
    good(here, &["alias", "set", "best", "quick-0-encode"]);
    good(there, &["alias", "set", "best", "quick-0-sample"]);
    let other = there.join("dream.redb");
    let other = other.to_str().unwrap();
    let merged = good(here, &["merge", other]);
    assert!(merged.contains("--rename best=NEW"), "{merged}");
    bad(here, 2, &["merge", other, "--rename", "nothing=x"]);
    bad(here, 2, &["merge", other, "--rename", "best=quick-0-encode"]);
    let merged = document(here, 0, &["merge", other, "--rename", "best=theirs"]);
    assert_eq!(merged["merged"][0]["kept_aliases"], serde_json::json!([]));
    assert!(good(here, &["show", "theirs"]).contains("sample"));
    assert!(good(here, &["show", "best"]).contains("encode"));
}

/// A process that is ended when it goes out of scope.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_run_whose_process_is_alive_is_told_from_one_whose_process_ended() {
    let folder = folder();
    let folder = folder.path();
    let child = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(["demo", "--quick", "-q", "--threads", "1"])
        .current_dir(folder)
        .env("DREAM_DATA", data())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let running = |state: &str| {
        let listed = dream(folder, &["ls", "--status", state, "--format", "json"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed
            .lines()
            .next()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
    };
    let mut alive = None;
    for _ in 0..2400 {
        // One that goes on for seconds, and not one that ends before it is looked at.
        alive = running("running").filter(|run| run["stage"] == "encode");
        if alive.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let alive = alive.expect("no encoder was seen in training");
    assert_eq!(
        (&alive["alive"], &alive["status"]),
        (&Value::Bool(true), &Value::from("running"))
    );
    let held = bad(folder, 1, &["gc", "--yes"]);
    let pid = format!("process {} of", child.0.id());
    assert!(
        held.contains(&pid) && held.contains("can be read meanwhile"),
        "{held}"
    );
    // Those that only look answer beside it.
    good(folder, &["upgrade", "--check"]);
    assert!(good(folder, &["repair"]).contains("nothing is wrong"));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let ended = running("interrupted").expect("no run is interrupted");
    assert_eq!(ended["alive"], Value::Bool(false));
    assert!(running("running").is_none());
    let shown = good(folder, &["show", ended["run"].as_str().unwrap()]);
    assert!(shown.contains("interrupted"), "{shown}");
}
