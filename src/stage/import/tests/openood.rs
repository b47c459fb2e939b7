//! The scores of all sets of an evaluation in one pickle. `saved_scores.pkl` is laid out as OpenOOD saves it,
//! `saved_scores.json` what scikit-learn says of it (`tests/fixtures/ood/saved_scores.py`).

use serde_json::{Value, json};

use super::scores::{evaluated, metric};
use super::*;

const SAVED: &[u8] = include_bytes!("../../../../tests/fixtures/ood/saved_scores.pkl");
const SAID: &str = include_str!("../../../../tests/fixtures/ood/saved_scores.json");

fn question<'a>(file: &'a Path, dataset: &'a str, member: &'a str) -> Question<'a> {
    let (split, score, network, member) = ("test", "msp", None, Some(member));
    let rows = Rows::Scores(ScoresOf {
        dataset,
        split,
        score,
        network,
        member,
    });
    Question { file, rows }
}

/// What is said of a pickle that is refused.
fn said(bench: &Bench, pickle: &[u8]) -> String {
    let file = bench.file("said.pkl", pickle);
    saved_sets(&file).unwrap_err().to_string()
}

#[test]
fn metrics_of_what_openood_saves_are_those_of_scikit_learn() {
    let bench = Bench::new();
    let file = bench.file("msp.pkl", SAVED);
    let saved = saved_sets(&file).unwrap().unwrap();
    let members: Vec<&str> = saved.sets.iter().map(|set| set.member.as_str()).collect();
    let near = ["id.test", "ood.near.cifar100", "ood.near.tin"];
    let beside = ["ood.far.mnist", "ood.far.svhn", "csid.cifar10c"];
    assert_eq!(members, [&near[..], &beside[..]].concat());
    let told = saved.told.join("\n");
    for place in ["csid.cinic10", "id.train", "id.val", "ood.val"] {
        assert!(saved.told[0].contains(place), "{told}");
    }
    assert!(
        saved.told[1].contains("\"id_preds\"") && saved.told.len() == 2,
        "{told}"
    );

    let (mut runs, mut groups) = (Vec::new(), serde_json::Map::new());
    for set in &saved.sets {
        let name = set.name.as_deref().unwrap_or("cifar10");
        let run = bench.import(&question(&file, name, &set.member)).unwrap().id;
        if let Some(group) = set.group {
            groups.insert(name.to_owned(), group.name().into());
        }
        runs.push((name, run));
    }
    let said: Value = serde_json::from_str(SAID).unwrap();
    for (spectrum, is_full) in [("id", false), ("full_spectrum", true)] {
        let changes = json!({ "groups": groups, "full_spectrum": is_full });
        let run = evaluated(&bench, runs[0].1, &runs[1..], changes);
        for group in ["near", "far"] {
            for (set, numbers) in said[spectrum][group].as_object().unwrap() {
                let (set, mean) = match set.as_str() {
                    "mean" => (None, Some(group)),
                    set => (Some(set), None),
                };
                for (name, expected) in numbers.as_object().unwrap() {
                    let rows: Vec<dream_schema::Metric> = bench.store.rows(run, None).unwrap();
                    let is_it = |row: &&dream_schema::Metric| {
                        row.name == *name
                            && row.dataset.as_deref() == set
                            && (set.is_some() || row.ood_group.as_deref() == mean)
                    };
                    let found = rows.iter().find(is_it).unwrap().value;
                    let off = (found - expected.as_f64().unwrap()).abs();
                    assert!(
                        off < 1e-12,
                        "{spectrum} {group} {set:?} {name}: {found} {expected}"
                    );
                }
            }
        }
        let id = Some("cifar10").filter(|_| !is_full);
        let found = metric(&bench, run, "accuracy", id, None);
        assert_eq!(found, said[spectrum]["accuracy"].as_f64(), "{spectrum}");
    }
}

#[test]
fn files_that_are_not_what_openood_saves_are_told_apart_or_refused() {
    let bench = Bench::new();
    // Arrays of one set, as in files that are read otherwise.
    let other = bench.file("other.pkl", b"\x80\x02}X\x04\x00\x00\x00confNs.");
    assert_eq!(saved_sets(&other).unwrap(), None);
    let missing = bench.folder.path().join("nowhere.pkl");
    let missing = saved_sets(&missing).unwrap_err().to_string();
    assert!(missing.contains("nowhere.pkl"), "{missing}");
    let cut = said(&bench, &SAVED[..SAVED.len() / 2]);
    assert!(cut.contains("whole pickle"), "{cut}");

    // In words: {'id': {'test': None}, 'ood': {'near': {}}}.
    let none = said(&bench, b"\x80\x02(dVid\n(dVtest\nNssVood\n(dVnear\n(dss.");
    assert!(none.contains("`id.test` is None"), "{none}");
    let numbers = said(
        &bench,
        b"\x80\x02(dVid\n(dVtest\n(lI1\naI2\naI3\nassVood\n(dVnear\n(dss.",
    );
    assert!(
        numbers.contains("id.test") && numbers.contains("pred is a value that is no array"),
        "{numbers}"
    );
    let two = said(&bench, b"\x80\x02(dVid\n(dVtest\n(lI1\nassVood\n(dVnear\n(dss.");
    assert!(two.contains("it has 1 items"), "{two}");
}

#[test]
fn a_set_that_is_not_there_is_an_error() {
    let bench = Bench::new();
    let file = bench.file("msp.pkl", SAVED);
    let said = bench
        .import(&question(&file, "lsun", "ood.far.lsun"))
        .unwrap_err();
    assert!(said.contains("there is no set \"ood.far.lsun\""), "{said}");
}

#[test]
fn sets_that_share_their_scores_are_no_more_than_the_file_has() {
    let bench = Bench::new();
    // An array of 60 scores, in a list three times, which is the value of `id.test` and of each near set.
    let array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01K\x3c\x85\
        cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff\
        K\x00tb\x89C\xf0";
    let shared = |sets: usize| {
        let mut pickle = b"\x80\x02}(U\x02id}(U\x04test](".to_vec();
        pickle.extend(
            [
                &array[..],
                &[0; 240],
                b"tbq\x01h\x01h\x01eq\x02uU\x03ood}(U\x04near}(",
            ]
            .concat(),
        );
        (0..sets).for_each(|set| pickle.extend(format!("U\x03{set:03}h\x02").bytes()));
        pickle.extend(b"uuu.");
        saved_sets(&bench.file("shared.pkl", &pickle))
    };
    assert_eq!(shared(0).unwrap().unwrap().sets.len(), 1);
    let said = shared(200).unwrap_err().to_string();
    assert!(said.contains("more scores than the file has bytes"), "{said}");
}
