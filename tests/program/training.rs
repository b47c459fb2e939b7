//! Sets that have to be read in a special way, and weights from a file, on the command line.

use std::path::Path;

use dream_ood::bitmap::Bitmap;
use dream_ood::exchange::encode_png;

use crate::support::{bad, data, folder, good, json};

/// A folder as ImageNet's, with three WordNet ids of the class table in it and one that is not. As one file
/// of ImageNet itself, these are PNG in truth.
fn imagenet(root: &Path) {
    let table = std::fs::read_to_string(data().join("classes/imagenet100.tsv")).unwrap();
    let listed: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|l| l.split('\t').nth(1))
        .take(3)
        .collect();
    std::fs::write(
        root.join("three.tsv"),
        table
            .lines()
            .take(4)
            .map(|l| format!("{l}\n"))
            .collect::<String>(),
    )
    .unwrap();
    for split in ["train", "val"] {
        for (class, id) in listed.iter().chain(&["n00000001"]).enumerate() {
            let folder = root.join("set").join(split).join(id);
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..12_usize {
                let (width, height) = (20 + 3 * i, 30 - i);
                let color = [60 * class as u8, 200 - 20 * (i % 5) as u8, 90];
                let rgb = color.repeat(width * height);
                let png = encode_png(&Bitmap { width, height, rgb }, &[]).unwrap();
                std::fs::write(folder.join(format!("{id}_{i}.JPEG")), png).unwrap();
            }
        }
    }
}

/// Settings of a network that trains in a moment.
const SMALL: [&str; 12] = [
    "--set",
    "training.width=4",
    "--set",
    "training.size=16",
    "--set",
    "training.batch_size=8",
    "--set",
    "training.channels=rgb",
    "--set",
    "training.test_split=val",
    "--dataset",
    "birds",
];

#[test]
fn a_folder_of_a_class_list_with_a_bad_image() {
    let folder = folder();
    let path = folder.path();
    imagenet(path);
    let add = ["dataset", "add", "birds", "set", "--classes", "three.tsv"];
    let broken = std::fs::read_dir(path.join("set/train"))
        .unwrap()
        .map(|e| e.unwrap().path());
    let broken = broken.filter(|p| !p.ends_with("n00000001")).min().unwrap();
    let name = broken.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::write(broken.join(format!("{name}_3.JPEG")), b"\xff\xd8 cut").unwrap();
    let said = bad(path, 1, &add);
    assert!(said.contains(&format!("{name}_3.JPEG")), "{said}");
    good(path, &[&add[..], &["--skip-bad"]].concat());
    let rows = json(path, &["dataset", "show", "birds"]);
    assert_eq!(
        rows[0]["classes"],
        serde_json::json!(["stingray", "hen", "magpie"])
    );
    assert!(
        rows[0]["splits"].to_string().contains("35"),
        "{}",
        rows[0]["splits"]
    );

    let detect = |extra: &[&str]| {
        let base = ["detect", "-q", "--preset", "quick", "--epochs", "2"];
        good(path, &[&base[..], &SMALL, extra].concat()).trim().to_owned()
    };
    let crop = "training.resized_crop={\"scale\":[0.08,1.0],\"ratio\":[0.75,1.3333333333333333]}";
    let run = detect(&[
        "--set",
        crop,
        "--set",
        "training.crop_padding=0",
        "--set",
        "training.validation.fraction=0.2",
        "--set",
        "training.validation.patience=1",
    ]);
    let metric = |name: &str| {
        json(
            path,
            &[
                "query",
                "metrics",
                "--run",
                &run,
                "--where",
                &format!("name = '{name}'"),
            ],
        )
    };
    assert_eq!(metric("images_left_out")[0]["value"], 1.0);
    let best = metric("best_epochs")[0]["value"].as_f64().unwrap();
    assert!(good(path, &["reproduce", &run]).contains("reproduced"));

    // The best network out, and in again as a start.
    good(path, &["export", "checkpoint", &run, "-o", "best.safetensors"]);
    let epoch = format!("{best:.0}");
    good(
        path,
        &[
            "export",
            "checkpoint",
            &run,
            "--epoch",
            &epoch,
            "-o",
            "same.safetensors",
        ],
    );
    let [a, b] = ["best", "same"].map(|f| std::fs::read(path.join(f).with_extension("safetensors")).unwrap());
    assert!(a == b);
    let started = detect(&["--init", "best.safetensors"]);
    assert_ne!(started, detect(&[]));
    assert_eq!(started, detect(&["--init", "best.safetensors"]));
    let wide = [
        &["detect", "-q", "--preset", "quick", "--init", "best.safetensors"][..],
        &["--set", "training.width=8"],
        &SMALL[2..],
    ];
    let said = bad(path, 2, &wide.concat());
    assert!(
        said.contains("best.safetensors") && said.contains("bn1.bias"),
        "{said}"
    );
    assert!(bad(path, 2, &["detect", "-q", "--init", "nowhere.pth"]).contains("nowhere.pth"));
    assert!(
        bad(
            path,
            2,
            &["dataset", "add", "x", "best.safetensors", "--skip-bad"]
        )
        .contains("--skip-bad")
    );
}
