//! The stage `imagine`: its options, parts of a run, and pictures made again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dream_ood::stage::imagine::initial_noise;
use dream_ood::store::{Readable, Stamp, Store};
use dream_schema::{ClassEmbedding, Image, Latent, Outlier, OutlierKind, RunId, RunInput, RunSpec, Status};

use crate::support::{bad, copy, data, dream, folder, good, json};

/// Returns a store with class embeddings (`emb`) and four outliers a class (`out`), made once.
fn base() -> &'static Path {
    static BASE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BASE.get_or_init(|| {
        let folder = folder();
        let path = folder.path();
        good(path, &["embed", "--preset", "quick", "-q", "--alias", "emb"]);
        let store = Store::open(path.join("dream.redb")).unwrap();
        let classes: Vec<ClassEmbedding> = store.rows(store.resolve("emb").unwrap(), None).unwrap();
        drop(store);
        // Every class embedding four times, each time a little further away from itself.
        let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let shape = format!("({}, 4, 96)", classes.len());
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        npy.extend(format!("{header:<117}\n").bytes());
        for class in &classes {
            for i in 0..4 {
                let far =
                    |(j, v): (usize, &f32)| v + 0.02 * (i as f32 + 1.0) * if j % 2 == 0 { 1.0 } else { -1.0 };
                npy.extend(
                    class
                        .vector
                        .iter()
                        .enumerate()
                        .map(far)
                        .flat_map(f32::to_le_bytes),
                );
            }
        }
        std::fs::write(path.join("outliers.npy"), npy).unwrap();
        good(
            path,
            &[
                "import",
                "outliers",
                "outliers.npy",
                "--embeddings",
                "emb",
                "--alias",
                "out",
            ],
        );
        let path = path.join("dream.redb");
        (folder, path)
    });
    path
}

/// Returns a folder with a copy of it.
fn store() -> tempfile::TempDir {
    let folder = folder();
    std::fs::copy(base(), folder.path().join("dream.redb")).unwrap();
    folder
}

/// A short run of outliers, with more options.
fn imagine<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "imagine",
        "-q",
        "--preset",
        "quick",
        "--outliers",
        "out",
        "--class",
        "bag,sandal",
        "--per-class",
        "4",
        "--steps",
        "3",
    ];
    [&fixed, more].concat()
}

/// A short run of class embeddings, with more options.
fn plain<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "imagine",
        "-q",
        "--preset",
        "quick",
        "--embeddings",
        "emb",
        "--class",
        "bag,sandal",
        "--per-class",
        "2",
        "--steps",
        "3",
    ];
    [&fixed, more].concat()
}

fn run(folder: &Path, args: &[&str]) -> String {
    good(folder, args).trim().to_owned()
}

/// Returns status and digest of a run.
fn state(folder: &Path, store: &str, run: &str) -> (String, Option<String>) {
    let rows = json(folder, &["--store", store, "show", run]);
    let text = |key: &str| rows[0][key].as_str().map(str::to_owned);
    (text("status").unwrap(), text("digest"))
}

/// Returns class, index and BLAKE3 of the pictures of a run.
fn pictures(folder: &Path, store: &str, run: &str) -> BTreeMap<(String, u64), String> {
    let args = [
        "--store", store, "query", "images", "--run", run, "--limit", "1000",
    ];
    json(folder, &args)
        .iter()
        .map(|r| {
            let text = |key: &str| r[key].as_str().unwrap().to_owned();
            ((text("class_name"), r["index"].as_u64().unwrap()), text("blake3"))
        })
        .collect()
}

#[test]
fn parts_of_a_run_make_up_the_whole() {
    let folder = store();
    let path = folder.path();
    let [a, b] = ["a.redb", "b.redb"];
    for part in [a, b] {
        std::fs::copy(base(), path.join(part)).unwrap();
    }
    // Some noise, so that it would show if any of it depended on the part.
    let noisy = ["--scheduler", "ddim", "--eta", "0.7", "--resize", "40"];
    let id = run(path, &imagine(&noisy));
    let (status, digest) = state(path, "dream.redb", &id);
    assert_eq!(status, "finished");
    let whole = pictures(path, "dream.redb", &id);
    assert_eq!(whole.len(), 8);

    let part = |store: &'static str, shard: &'static str| {
        let args = [
            &["--store", store],
            imagine(&noisy).as_slice(),
            &["--shard", shard],
        ]
        .concat();
        assert_eq!(run(path, &args), id, "a part has the id of the whole");
        assert_eq!(state(path, store, &id), ("running".to_owned(), None));
        pictures(path, store, &id)
    };
    let (first, second) = (part(a, "1/2"), part(b, "2/2"));
    assert_eq!((first.len(), second.len()), (4, 4));
    let together: BTreeMap<_, _> = first.into_iter().chain(second).collect();
    assert_eq!(together, whole, "byte for byte");
    // Asking for the same part again does nothing, and a picture of it finds its row.
    assert_eq!(part(a, "1/2").len(), 4);
    good(
        path,
        &["--store", a, "export", "images", "--run", &id, "-o", "part"],
    );
    let said = good(path, &["--store", a, "show", "part/bag/000001.png"]);
    assert!(
        said.contains("this very file") && said.contains("40x40"),
        "{said}"
    );
    let said = good(path, &["--store", b, "show", "part/bag/000001.png"]);
    assert!(said.contains("none here: the run is running"), "{said}");

    good(path, &["--store", a, "merge", b]);
    assert_eq!(state(path, a, &id).0, "running");
    let args = [&["--store", a], imagine(&noisy).as_slice()].concat();
    assert_eq!(run(path, &args), id);
    assert_eq!(state(path, a, &id), ("finished".to_owned(), digest));
    assert!(good(path, &["--store", a, "verify"]).starts_with("3 runs, "));

    // In one store, the last part finishes the run.
    let c = "c.redb";
    std::fs::copy(base(), path.join(c)).unwrap();
    for shard in ["3/3", "1/3", "2/3"] {
        let args = [&["--store", c], imagine(&noisy).as_slice(), &["--shard", shard]].concat();
        run(path, &args);
    }
    assert_eq!(state(path, c, &id), state(path, a, &id));
}

#[test]
fn pictures_do_not_depend_on_batches_or_threads() {
    let folder = store();
    let path = folder.path();
    for (i, options) in [
        imagine(&["--scheduler", "ddim", "--eta", "1"]),
        plain(&["--noise", "0.02"]),
        plain(&["--interpolate", "random", "--scheduler", "dpm-solver"]),
        plain(&["--encoder-noise", "0.3"]),
        plain(&["--disjoint", "guitar, harbour,steam train", "--fixed-noise"]),
    ]
    .iter()
    .enumerate()
    {
        let mut seen = Vec::new();
        for speed in [
            &["--batch-size", "3", "--threads", "1"][..],
            &["--memory", "64K", "--threads", "2"],
            &[],
        ] {
            let other = format!("{i}{}.redb", seen.len());
            std::fs::copy(base(), path.join(&other)).unwrap();
            let args = [&["--store", other.as_str()], options.as_slice(), speed].concat();
            let id = run(path, &args);
            seen.push((state(path, &other, &id), id));
        }
        assert!(seen.iter().all(|s| *s == seen[0]), "{seen:?}");
        assert_eq!(seen[0].0.0, "finished");
    }
}

#[test]
fn every_option_is_part_of_the_question() {
    let folder = store();
    let path = folder.path();
    let id = run(path, &imagine(&[]));
    // What says nothing new has the same id, and so the answer at once.
    for same in [
        &["--size", "32"][..],
        &["--resize", "32x32"],
        &["--negative", ""],
        &["--class", "sandal", "--class", "bag"],
        &["--shard", "1/1"],
    ] {
        assert_eq!(run(path, &imagine(same)), id, "{same:?}");
    }
    let pixels = |id: &str| {
        let store = Store::open_read_only(path.join("dream.redb")).unwrap();
        let images: Vec<Image> = store.rows(store.resolve(id).unwrap(), None).unwrap();
        let rgb = |i: Image| dream_ood::exchange::decode_png(&i.png).unwrap().bitmap.rgb;
        images
            .into_iter()
            .map(|i| ((i.class_id, i.index), rgb(i)))
            .collect::<BTreeMap<_, _>>()
    };
    let mut seen = BTreeMap::from([(id.clone(), pixels(&id))]);
    for other in [
        imagine(&["--seed", "1"]),
        imagine(&["--guidance", "1.5"]),
        imagine(&["--scheduler", "ddim"]),
        imagine(&["--scheduler", "ddim", "--eta", "0.5"]),
        imagine(&["--negative", "the coat"]),
        imagine(&["--size", "48x32"]),
        imagine(&["--resize", "64"]),
        imagine(&["--resize", "64", "--set", "resize_by=bilinear"]),
        imagine(&["--prompt", "the <class>"]),
        plain(&["--plain"]),
        plain(&["--noise", "0.05"]),
        plain(&["--interpolate", "coat"]),
        plain(&["--interpolate", "coat", "--fraction", "0.25"]),
        plain(&["--interpolate", "random"]),
        plain(&["--encoder-noise", "0.3"]),
        plain(&["--disjoint", "guitar,harbour,steam train"]),
        imagine(&["--fixed-noise"]),
    ] {
        let id = run(path, &other);
        let made = pixels(&id);
        assert!(!made.is_empty());
        for old in seen.values() {
            let same = old.iter().find(|(key, rgb)| made.get(key) == Some(rgb));
            assert!(same.is_none(), "{other:?}: {:?}", same.map(|s| s.0));
        }
        assert!(seen.insert(id, made).is_none(), "{other:?}");
    }
    let show = |id: &str| {
        json(path, &["show", id])[0]["params"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // A run that uses none of the newer options has none of their keys.
    for key in [
        "classes",
        "negative",
        "size",
        "resize",
        "resize_by",
        "synthesis",
        "fixed_noise",
    ] {
        assert_eq!(
            show(&id).contains(&format!("\"{key}\"")),
            key == "classes",
            "{key}"
        );
    }

    let size = |folder: &str| {
        let bytes = std::fs::read(path.join(folder).join("bag/000000.png")).unwrap();
        let picture = dream_ood::exchange::decode_png(&bytes).unwrap().bitmap;
        (picture.width, picture.height)
    };
    let sized = run(path, &imagine(&["--size", "48x32"]));
    good(path, &["export", "images", "--run", &sized, "-o", "sized"]);
    assert_eq!(size("sized"), (48, 32));
    let resized = run(path, &imagine(&["--resize", "64"]));
    good(path, &["export", "images", "--run", &resized, "-o", "resized"]);
    assert_eq!(size("resized"), (64, 64));
    // The latents are those of the run that does not resize.
    let latents = |id: &str| {
        let store = Store::open_read_only(path.join("dream.redb")).unwrap();
        store.rows::<Latent>(store.resolve(id).unwrap(), None).unwrap()
    };
    assert_eq!(latents(&resized), latents(&id));
    assert_eq!(latents(&sized)[0].shape, [4, 8, 12]);
    // Cut off to bytes, at the model's own size: each is the rounded one, or one less.
    let cut = pixels(&run(
        path,
        &imagine(&["--resize", "32", "--set", "resize_by=bilinear"]),
    ));
    let rounded = pixels(&id);
    let bytes = |pictures: &BTreeMap<_, Vec<u8>>| pictures.values().flatten().copied().collect::<Vec<u8>>();
    let less: Vec<u8> = bytes(&rounded)
        .iter()
        .zip(bytes(&cut))
        .map(|(r, c)| r - c)
        .collect();
    assert!(less.contains(&1) && less.iter().all(|less| *less <= 1));

    // Each picture says how it was made.
    for (options, words) in [
        (imagine(&[]), "outlier 0"),
        (plain(&["--plain"]), "plain class prompt"),
        (plain(&["--noise", "0.05"]), "noise of sigma 0.05"),
        (
            plain(&["--interpolate", "coat"]),
            "interpolation with coat, fraction 0.5",
        ),
        (imagine(&["--negative", "the coat"]), "negative"),
        (imagine(&["--resize", "64"]), "64x64"),
    ] {
        let id = run(path, &options);
        let out = format!("of-{id}");
        good(path, &["export", "images", "--run", &id, "-o", &out]);
        let said = good(path, &["show", &format!("{out}/bag/000000.png")]);
        assert!(
            said.contains(words) && said.contains("this very file") && said.contains(&id),
            "{words}: {said}"
        );
    }
}

#[test]
fn pictures_are_made_again_from_latents_and_from_noise() {
    let folder = store();
    let path = folder.path();
    for options in [
        imagine(&[
            "--scheduler",
            "ddim",
            "--eta",
            "0.5",
            "--resize",
            "50x40",
            "--negative",
            "the coat",
        ]),
        plain(&["--noise", "0.03", "--size", "40"]),
        plain(&["--interpolate", "random"]),
    ] {
        let id = run(path, &options);
        let n = pictures(path, "dream.redb", &id).len();
        let said = good(path, &["regenerate", "--run", &id, "--from-noise", "-o", &id]);
        for what in ["pictures", "latents"] {
            let line = format!("{n} of {n} {what} are the stored ones, bit for bit");
            assert!(said.contains(&line), "{said}");
        }
        // The file made again is the stored one, text and all.
        let shown = good(path, &["show", &format!("{id}/sandal/00001.png")]);
        assert!(shown.contains("this very file"), "{shown}");
        let one = [
            "regenerate",
            "--run",
            &id,
            "--from-noise",
            "--class",
            "sandal",
            "--index",
            "1",
        ];
        let said = good(path, &one);
        assert!(said.contains("1 of 1 latents"), "{said}");
        assert!(good(path, &["reproduce", &id]).contains("reproduced"));
    }
    let id = run(path, &imagine(&[]));
    let none = ["regenerate", "--run", &id, "--index", "4"];
    assert!(bad(path, 2, &none).contains("no latent of that class and index"));
}

/// Replaces the run by one of the same name whose latent `bag` 2 is `change`d.
fn forge(store: &Path, run: &str, change: impl Fn(&mut Latent)) {
    let store = Store::open(store).unwrap();
    let run = store.resolve(run).unwrap();
    let spec = store.run(run).unwrap().spec;
    let mut latents: Vec<Latent> = store.rows(run, None).unwrap();
    let images: Vec<Image> = store.rows(run, None).unwrap();
    change(
        latents
            .iter_mut()
            .find(|l| l.class_name == "bag" && l.index == 2)
            .unwrap(),
    );
    store.remove(&[run]).unwrap();
    store.begin(&spec, &stamp()).unwrap();
    store
        .batch(run)
        .add(&latents)
        .unwrap()
        .add(&images)
        .unwrap()
        .commit()
        .unwrap();
    store.finish(run, 1).unwrap();
}

fn stamp() -> Stamp {
    Stamp {
        time_micros: 0,
        version: "0".into(),
        device: "cpu".into(),
        engine: None,
        host: "test".into(),
        process: None,
    }
}

#[test]
fn what_is_not_as_stored_is_found() {
    let folder = store();
    let path = folder.path();
    let id = run(path, &imagine(&[]));
    // One number is a little off: the picture hardly changes, the latent shows it.
    forge(&path.join("dream.redb"), &id, |latent| {
        let number = f32::from_le_bytes(latent.data[..4].try_into().unwrap()) + 1.0;
        latent.data[..4].copy_from_slice(&number.to_le_bytes());
    });
    let output = dream(path, &["regenerate", "--run", &id, "--from-noise"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("7 of 8 latents are the stored ones"), "{said}");
    let row = said.lines().find(|l| l.starts_with("latents")).unwrap();
    assert!(row.contains("1.000e0") && row.ends_with("dB"), "{said}");
    good(
        path,
        &["regenerate", "--run", &id, "--from-noise", "--class", "sandal"],
    );
    // A latent of another shape is refused before anything is decoded from it.
    forge(&path.join("dream.redb"), &id, |latent| {
        latent.shape = vec![4, 4, 16]
    });
    let said = bad(path, 2, &["regenerate", "--run", &id]);
    assert!(said.contains("bag 2") && said.contains("[4, 4, 16]"), "{said}");
}

#[test]
fn latents_and_their_noise_are_exported() {
    let folder = store();
    let path = folder.path();
    let id = run(path, &imagine(&["--seed", "3", "--size", "48x32"]));
    let export = |stage: &str, file: &str| {
        good(
            path,
            &["export", "latents", "--run", &id, "--stage", stage, "-o", file],
        );
        std::fs::read(path.join(file)).unwrap()
    };
    for file in ["first.parquet", "first.safetensors"] {
        assert!(export("initial", file).len() > 8 * 4 * 4 * 8 * 12, "{file}");
    }
    let (first, last) = (export("initial", "first.npy"), export("final", "last.npy"));
    for file in [&first, &last] {
        let header = String::from_utf8_lossy(&file[..192]).into_owned();
        assert!(header.contains("'shape': (8, 4, 8, 12,)"), "{header}");
    }
    let store = Store::open_read_only(path.join("dream.redb")).unwrap();
    let latents: Vec<Latent> = store.rows(store.resolve(&id).unwrap(), None).unwrap();
    let stored: Vec<u8> = latents.iter().flat_map(|l| l.data.clone()).collect();
    assert_eq!(last[192..], stored);
    let noise: Vec<u8> = latents
        .iter()
        .flat_map(|l| initial_noise(3, l.class_id, l.index, 4 * 8 * 12))
        .flat_map(f32::to_le_bytes)
        .collect();
    assert_eq!(first[192..], noise);
    let rows = std::fs::read_to_string(path.join("first.rows.csv")).unwrap();
    assert_eq!(rows.lines().count(), 9);
    // One noise for all, and words in turn over the classes.
    let other = plain(&[
        "--disjoint",
        "guitar,harbour,steam train",
        "--fixed-noise",
        "--seed",
        "3",
    ]);
    let other = run(path, &other);
    let args = [
        "export", "latents", "--run", &other, "--stage", "initial", "-o", "one.npy",
    ];
    good(path, &args);
    let noise = std::fs::read(path.join("one.npy")).unwrap();
    let all: Vec<&[u8]> = noise.rchunks_exact(4 * 4 * 8 * 8).take(4).collect();
    assert!(all.iter().all(|one| *one == all[0]));
    let store = Store::open_read_only(path.join("dream.redb")).unwrap();
    let latents: Vec<Latent> = store.rows(store.resolve(&other).unwrap(), None).unwrap();
    let mut prompts: Vec<&str> = latents
        .iter()
        .map(|l| l.prompt.rsplit(" of the ").next().unwrap())
        .collect();
    prompts.sort_unstable();
    prompts.dedup();
    assert!(prompts.len() > 1, "{prompts:?}");
    drop(store);
    let both = ["export", "latents", "--stage", "initial", "-o", "both.npy"];
    assert!(bad(path, 2, &both).contains("one fixed noise"));
    let wrong = ["export", "images", "--run", &id, "--stage", "initial", "-o", "x"];
    assert!(bad(path, 2, &wrong).contains("latents"));
}

#[test]
fn questions_that_cannot_be_answered() {
    let folder = store();
    let path = folder.path();
    let runs = good(path, &["ls"]);
    let of = |old: &str, new| {
        let args = imagine(&[]).into_iter();
        args.map(|arg| if arg == old { new } else { arg }).collect()
    };
    for (args, code, words) in [
        (
            imagine(&["--class", "hat"]),
            2,
            "no class `hat`; the embeddings have tshirt",
        ),
        (
            imagine(&["--set", "per_class=5"]),
            2,
            "`per_class` is given twice",
        ),
        (of("4", "5"), 2, "4 outliers of the class"),
        (imagine(&["--size", "500x300"]), 2, "multiples of 8"),
        (imagine(&["--size", "0"]), 2, "WIDTHxHEIGHT"),
        (imagine(&["--resize", "big"]), 2, "WIDTHxHEIGHT"),
        (imagine(&["--eta", "0.5"]), 2, "only ddim"),
        (
            imagine(&["--encoder-noise", "0.5"]),
            2,
            "a synthesis starts from class embeddings",
        ),
        (plain(&["--encoder-noise", "0"]), 2, "sigma must be above 0"),
        (
            plain(&["--disjoint", "guitar,Coat"]),
            2,
            "the word `Coat` is one of the classes",
        ),
        (plain(&["--disjoint", "guitar,,harbour"]), 2, "is empty"),
        (plain(&["--disjoint", "guitar,guitar"]), 2, "stands twice"),
        (
            plain(&["--disjoint", "guitar", "--plain"]),
            2,
            "cannot be used with",
        ),
        (imagine(&["--scheduler", "ddim", "--eta", "1.5"]), 2, "eta 1.5"),
        (imagine(&["--scheduler", "euler"]), 2, "dpm-solver"),
        (of("3", "0"), 2, "steps 0"),
        (imagine(&["--guidance", "nan"]), 2, "guidance"),
        (imagine(&["--prompt", "a bag"]), 2, "<class>"),
        (imagine(&["--prompt", "two <class>s"]), 2, "two sandals"),
        (of("3", "1000"), 2, "1000 of 1000"),
        (of("3", "1001"), 2, "1 to 1000"),
        (imagine(&["--interpolate", "coat"]), 2, "give its embeddings"),
        (imagine(&["--noise", "0.1"]), 2, "give its embeddings"),
        (imagine(&["--plain"]), 2, "give --embeddings"),
        (plain(&["--noise", "-1"]), 2, "sigma"),
        (plain(&["--interpolate", "bag"]), 2, "itself"),
        (plain(&["--interpolate", "hat"]), 2, "no class `hat`"),
        (
            plain(&["--interpolate", "coat", "--fraction", "2"]),
            2,
            "fraction 2",
        ),
        (plain(&["--fraction", "0.5"]), 2, "required"),
        (plain(&["--plain", "--noise", "1"]), 2, "cannot be used with"),
        (imagine(&["--shard", "0/2"]), 2, "counted from 1 to 2"),
        (imagine(&["--shard", "3/2"]), 2, "counted from 1 to 2"),
        (imagine(&["--shard", "half"]), 2, "I/N"),
        (imagine(&["--memory", "lots"]), 2, "8G"),
        (imagine(&["--batch-size", "0"]), 2, "batch-size"),
        (vec!["imagine", "-q"], 2, "required"),
        (
            vec!["imagine", "-q", "--embeddings", "out", "--preset", "quick"],
            2,
            "--embeddings takes class embeddings",
        ),
    ] {
        let said = bad(path, code, &args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    // Nothing was begun.
    assert_eq!(good(path, &["ls"]), runs);
}

/// Enters a finished run of outliers that no import would let through.
fn outliers(path: &Path, alias: &str, vector: impl Fn(&ClassEmbedding) -> Vec<f32>) {
    let store = Store::open(path.join("dream.redb")).unwrap();
    let embeddings = store.run(store.resolve("emb").unwrap()).unwrap();
    let classes: Vec<ClassEmbedding> = store.rows(embeddings.id, None).unwrap();
    let spec = RunSpec {
        stage: "import".into(),
        stage_version: 1,
        params: serde_json::json!({ "made": alias, "table": "outliers" }),
        seed: 0,
        inputs: vec![RunInput {
            role: "embeddings".into(),
            run: embeddings.id,
            digest: embeddings.digest.unwrap(),
        }],
        sources: BTreeMap::new(),
        source_names: Default::default(),
    };
    let run: RunId = store.begin(&spec, &stamp()).unwrap().into_run().id;
    let rows: Vec<Outlier> = classes
        .iter()
        .map(|class| Outlier {
            class_id: class.class_id,
            class_name: class.class_name.clone(),
            index: 0,
            kind: OutlierKind::Outlier,
            vector: vector(class),
            anchor: 0,
            round: 0,
            knn_distance: Some(0.0),
        })
        .collect();
    store.put(run, &rows).unwrap();
    store.finish(run, 1).unwrap();
    store.set_alias(alias, run).unwrap();
}

#[test]
fn vectors_and_models_that_do_not_fit() {
    let folder = store();
    let path = folder.path();
    outliers(path, "wide", |class| [class.vector.clone(), vec![0.0]].concat());
    outliers(path, "nan", |class| {
        let mut vector = class.vector.clone();
        vector[7] = f32::NAN;
        vector
    });
    let of = |run: &'static str| {
        let rest = ["--class", "bag", "--per-class", "1", "--steps", "2"];
        [
            &["imagine", "-q", "--preset", "quick", "--outliers", run],
            &rest[..],
        ]
        .concat()
    };
    let said = bad(path, 2, &of("wide"));
    assert!(said.contains("97 wide") && said.contains("96"), "{said}");
    let said = bad(path, 1, &of("nan"));
    assert!(
        said.contains("outlier 0 of the class `bag`") && said.contains("NaN at component 7"),
        "{said}"
    );

    // A model that has changed since, and one that is not the embeddings'.
    let model = path.join("model");
    copy(&data().join("tiny-sd"), &model);
    let config = model.join("scheduler/scheduler_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("0.012", "0.011")).unwrap();
    good(path, &["dataset", "add", "other", "model"]);
    let other = [imagine(&[]).as_slice(), &["--model", "other"]].concat();
    let said = bad(path, 2, &other);
    assert!(said.contains("comes from the model"), "{said}");
    good(
        path,
        &[
            "embed", "--preset", "quick", "-q", "--model", "other", "--alias", "emb2",
        ],
    );
    let mine = plain(&[])
        .into_iter()
        .map(|word| if word == "emb" { "emb2" } else { word })
        .chain(["--model", "other"])
        .collect::<Vec<_>>();
    let id = run(path, &mine);
    good(path, &["regenerate", "--run", &id, "--from-noise"]);
    std::fs::write(&config, text.replace("0.012", "0.013")).unwrap();
    let said = bad(path, 1, &["regenerate", "--run", &id]);
    assert!(
        said.contains("has changed since it was registered as `other`"),
        "{said}"
    );
    // All of it is still there and whole.
    assert!(good(path, &["verify"]).contains("rows"));
    let store = Store::open_read_only(path.join("dream.redb")).unwrap();
    let run = store.run(store.resolve(&id).unwrap()).unwrap();
    assert_eq!(run.status, Status::Finished);
}

#[test]
fn a_class_is_chosen_by_name_before_number() {
    let folder = folder();
    let path = folder.path();
    let table = "name\ttoken_word\n0\tshirt\nbag, red\tbag\nbag__red\tcoat\n1\tdress\n";
    std::fs::write(path.join("classes.tsv"), table).unwrap();
    good(
        path,
        &["embed", "-q", "--classes", "classes.tsv", "--alias", "emb"],
    );
    let pictures = [
        "imagine",
        "-q",
        "--embeddings",
        "emb",
        "--plain",
        "--per-class",
        "2",
        "--steps",
        "2",
    ];
    good(path, &[&pictures[..], &["--alias", "pics"]].concat());
    let named = |class: &str, more: &[&str]| {
        let rows = json(
            path,
            &[&["query", "images", "--run", "pics", "--class", class], more].concat(),
        );
        rows.iter()
            .map(|row| row["class_name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for more in [&[][..], &["--where", "index >= 0"]] {
        assert_eq!(named("1", more), ["1", "1"]); // class 1 is another
        assert_eq!(named("2", more), ["bag__red", "bag__red"]);
        assert_eq!(named("bag, red", more), ["bag, red", "bag, red"]);
    }
    let one = good(
        path,
        &["regenerate", "--run", "pics", "--class", "1", "-o", "one"],
    );
    assert!(
        one.contains("2 of 2") && path.join("one/1/00001.png").is_file(),
        "{one}"
    );
    // Names that would share a folder do not.
    let all = good(path, &["regenerate", "--run", "pics", "-o", "all"]);
    let folders = std::fs::read_dir(path.join("all")).unwrap().count();
    assert!(all.contains("8 of 8") && folders == 4, "{all} {folders}");
}

/// It made another run of the same pictures.
#[test]
fn a_batch_is_no_parameter_on_the_cpu() {
    let folder = folder();
    let path = folder.path();
    std::fs::copy(base(), path.join("dream.redb")).unwrap();
    let imagine = "imagine --preset quick -q --outliers out --per-class 2 --set";
    let imagine: Vec<&str> = imagine.split(' ').collect();
    for extra in [&["--check"][..], &[]] {
        let said = bad(path, 2, &[imagine.as_slice(), &["batch=3"], extra].concat());
        assert!(said.contains("imagine: batch: 3: it is for GPUs"), "{said}");
        let none = [imagine.as_slice(), &["batch=0"], extra].concat();
        assert!(bad(path, 2, &none).contains("1 to 1024"));
    }
}
