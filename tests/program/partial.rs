//! Runs of which rows were lost: of every stage, asked for again, they become what they were.

use std::path::Path;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use dream_ood::stage::STAGES;
use dream_ood::store::{Projection, Readable as _, Store};
use dream_schema::{RunId, Table};
use serde_json::Value;

use crate::mend::{document, spoil};
use crate::support::{demo, dream, good, json, store};

/// What of each stage's run is damaged in two rounds, and by which column; large bytes by none.
const DAMAGED: [&[(&str, Table, &str)]; 2] = [
    &[
        ("embed", Table::ClassEmbeddings, "vector"),
        ("encode", Table::Features, "vector"),
        ("sample", Table::Outliers, "vector"),
        ("imagine", Table::Latents, "data"),
        ("select", Table::Ratings, "own"),
        ("detect", Table::Metrics, "value"),
        ("observe", Table::Activations, "features"),
        ("evaluate", Table::Scores, "value"),
    ],
    &[
        ("encode", Table::Checkpoints, ""),
        ("imagine", Table::Images, "png"),
        ("detect", Table::Checkpoints, ""),
        ("observe", Table::Metrics, "value"),
        ("evaluate", Table::Metrics, "value"),
    ],
];

/// Returns bytes of a column in the middle of a run's rows, which are found nowhere else.
fn middle(store: &Store, run: RunId, table: Table, column: &str) -> Vec<u8> {
    let blocks = store.blocks(table, Some(run), None, &Projection::All).unwrap();
    let blocks: Vec<_> = blocks.map(|block| block.unwrap().1).collect();
    let rows = &blocks[blocks.len() / 2];
    let row = rows.num_rows() / 2;
    if table == Table::Checkpoints {
        let blob = store.blob(rows["blob"].as_string::<i32>().value(row)).unwrap();
        return blob[blob.len() / 2..][..24].to_vec();
    }
    let column = &rows[column];
    let numbers: Vec<u8> = match column.data_type() {
        DataType::Binary => {
            // Files begin alike.
            let bytes = column.as_binary::<i32>().value(row);
            bytes[bytes.len() / 2..].to_vec()
        }
        DataType::FixedSizeList(..) | DataType::List(_) => {
            let numbers = match column.as_list_opt::<i32>() {
                Some(lists) => lists.value(row),
                None => column.as_fixed_size_list().value(row),
            };
            let numbers = numbers.as_primitive::<Float32Type>().values();
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        }
        DataType::Float64 => {
            let numbers = &column.as_primitive::<Float64Type>().values()[row..];
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        }
        DataType::Float32 => {
            let numbers = &column.as_primitive::<Float32Type>().values()[row..];
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        }
        other => panic!("{other}"),
    };
    let varied = |bytes: &&[u8]| bytes.iter().filter(|byte| **byte != 0).count() >= bytes.len() / 2;
    let mut windows = numbers.chunks(16);
    windows.find(varied).unwrap().to_vec()
}

#[test]
fn a_run_saved_in_part_is_made_from_the_beginning_whatever_its_stage() {
    let sound = demo().join("dream.redb");
    let listed = |folder: &Path, args: &[&str]| json(folder, &[&["ls"], args].concat());
    let facts = |run: &Value| (run["run"].clone(), run["status"].clone(), run["digest"].clone());
    let expected: Vec<_> = listed(demo(), &[]).iter().map(facts).collect();
    let whole = document(demo(), 0, &["verify"]);
    for stage in STAGES {
        let named = DAMAGED
            .iter()
            .copied()
            .flatten()
            .any(|damaged| damaged.0 == *stage);
        assert!(named, "say in DAMAGED which rows of `{stage}` are lost here");
    }
    for damaged in DAMAGED {
        let folder = store();
        let folder = folder.path();
        let store = Store::open_read_only(&sound).unwrap();
        let mut lost = Vec::new();
        for (stage, table, column) in damaged {
            let runs = store.runs().unwrap().into_iter();
            let mut runs = runs.filter(|run| run.spec.stage == *stage);
            let run = runs
                .find(|run| store.count(run.id, *table).unwrap() > 0)
                .unwrap()
                .id;
            spoil(&folder.join("dream.redb"), &middle(&store, run, *table, column));
            lost.push(Value::from(run.to_string()));
        }
        drop(store);
        let new = folder.join("new");
        std::fs::create_dir(&new).unwrap();
        let saved = document(folder, 1, &["recover", "dream.redb", "-o", "new/dream.redb"]);
        let in_part = saved["in_part"].as_array().unwrap().iter();
        let in_part: Vec<_> = in_part.map(|run| run["run"].clone()).collect();
        assert!(lost.iter().all(|run| in_part.contains(run)), "{saved}");
        assert_eq!(in_part.len(), lost.len(), "{saved}");
        // It is told what they are, and that another store has them.
        assert_eq!(listed(&new, &["--status", "partial"]).len(), lost.len());
        assert!(good(&new, &["show", in_part[0].as_str().unwrap()]).contains("rows of it were lost"));
        assert_eq!(document(&new, 1, &["verify"])["sound"], false);
        for way in [
            &["merge", "../../sound.redb"][..],
            &["repair", "--yes", "--from", "../../sound.redb"],
        ] {
            let other = folder.join("new/other");
            std::fs::create_dir(&other).unwrap();
            std::fs::copy(new.join("dream.redb"), other.join("dream.redb")).unwrap();
            std::fs::copy(&sound, folder.join("sound.redb")).unwrap();
            document(&other, 0, way);
            assert_eq!(document(&other, 0, &["verify"])["rows"], whole["rows"], "{way:?}");
            std::fs::remove_dir_all(&other).unwrap();
        }
        let said = dream(&new, &["demo", "--quick"]);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.matches("made again").count(), lost.len(), "{said}");
        let made: Vec<_> = listed(&new, &[]).iter().map(facts).collect();
        assert_eq!(made, expected);
        let found = document(&new, 0, &["verify"]);
        assert_eq!(
            (&found["rows"], &found["blobs"]),
            (&whole["rows"], &whole["blobs"])
        );
    }
}
