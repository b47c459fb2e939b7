//! Writes a report of synthetic data: `cargo run --release --example report -- FILE.html [SHEET.png]`.
//!
//! Nothing in it was measured. It shows what each figure looks like and is a page to judge changes of the
//! style by.

use std::error::Error;

use dream_ood::bitmap::Bitmap;
use dream_ood::ood::Detection;
use dream_ood::report::*;
use dream_ood::rng::Stream;

const CLASSES: [&str; 10] = [
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];
const DIMENSION: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let page = arguments
        .next()
        .ok_or("say where to write: FILE.html [SHEET.png]")?;
    let report = synthetic()?;
    std::fs::write(page, render(&report)?)?;
    if let Some(sheet) = arguments.next() {
        std::fs::write(sheet, comparison_sheet(&report.pictures, 4, 2)?)?;
    }
    Ok(())
}

fn synthetic() -> Result<Report, ReportError> {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Report {
        title: "dream: synthetic example".to_owned(),
        subtitle: "Every figure of a report, drawn from synthetic data. Nothing on this page was measured."
            .to_owned(),
        facts: vec![
            fact("Run", "evaluate 5be14f5a"),
            fact("ID data", "synthetic, 10 classes"),
            fact("Classes", "10"),
            fact("Outliers imagined", "2\u{202F}000"),
            fact("Average FPR95", "38.41 %"),
            fact("Average AUROC", "91.07 %"),
            fact("ID accuracy", "90.12 %"),
            fact("Convention", "OpenOOD v1.5"),
            fact("Seeds", "0, 1, 2"),
            fact("Device", "CPU, 2 threads"),
            fact("Total time", "41 min 10 s"),
            fact("Format", "1"),
        ],
        pictures: pictures(),
        pictures_of: "Imagined outliers are ordered by d_k, the distance of their vector.".to_owned(),
        projection: Some(projection()?),
        detection: vec![table()],
        histograms: vec![histogram("energy", 2.2), histogram("msp", 1.3)],
        distances: vec![ScoreHistogram {
            imagined: Some(series("imagined pictures", "distance", 6, 7.4, 1_000)),
            ..histogram("distance", 2.2)
        }],
        curves: curves(),
        lineage: Some(lineage()),
    })
}

/// A drawing of a class: a figure of two sizes that depend on it, blurred and bent the more the further out
/// it lies.
fn drawing(class: usize, index: u64, bend: f32, caption: String) -> Picture {
    let mut random = Stream::new(1, "example/picture", class as u32, index);
    let side = 28;
    let (tilt, shift) = (random.uniform() * 0.5 - 0.25 + bend, random.uniform() * 3.0 - 1.5);
    let (w, h) = (
        4.0 + (class % 5) as f32 * 1.6 + random.uniform(),
        5.0 + (class / 2) as f32 * 1.1 + random.uniform(),
    );
    let noise = random.normals(side * side);
    let mut rgb = Vec::new();
    for (i, grain) in noise.iter().enumerate() {
        let (x, y) = ((i % side) as f32 - 13.5 - shift, (i / side) as f32 - 13.5);
        let (u, v) = (x * tilt.cos() - y * tilt.sin(), x * tilt.sin() + y * tilt.cos());
        let wave = 1.0 + bend * (v * 0.8).sin();
        let edge = 1.0 - (u / (w * wave)).abs().max((v / h).abs());
        let texture =
            0.8 + 0.2 * ((u * (class % 3) as f32 * 0.9).sin() * (v * (class % 4) as f32 * 0.7).cos());
        let ink = (edge * 3.0).clamp(0.0, 1.0) * texture + grain * 0.02;
        rgb.extend([(255.0 * (0.04 + 0.92 * ink).clamp(0.0, 1.0)) as u8; 3]);
    }
    let bitmap = Bitmap {
        width: side,
        height: side,
        rgb,
    };
    Picture { bitmap, caption }
}

fn pictures() -> Vec<ClassSheet> {
    CLASSES
        .iter()
        .enumerate()
        .map(|(class, name)| ClassSheet {
            class_name: (*name).to_owned(),
            real: (0..8)
                .map(|i| drawing(class, i, 0.0, format!("test {}", 37 * i + class as u64)))
                .collect(),
            inliers: (0..8)
                .map(|i| drawing(class, 100 + i, 0.08, format!("seed {i}")))
                .collect(),
            outliers: (0..8)
                .map(|i| {
                    drawing(
                        class,
                        200 + i,
                        0.5 + 0.06 * i as f32,
                        format!("{}, d_k {:.2}", i * 12, 0.38 + 0.02 * i as f32),
                    )
                })
                .collect(),
        })
        .collect()
}

fn projection() -> Result<Projection, ReportError> {
    let mut features = Vec::new();
    let mut groups = Vec::new();
    for class in 0..CLASSES.len() as u32 {
        let centre = Stream::new(2, "example/centre", class, 0).normals(DIMENSION);
        // An outlier is a feature pushed outwards.
        let cloud = |kind: &str, n: u64, spread: f32, push: f32| -> Vec<f32> {
            (0..n)
                .flat_map(|i| {
                    let noise = Stream::new(2, kind, class, i).normals(DIMENSION);
                    let size = noise.iter().map(|v| v * v).sum::<f32>().sqrt() / 8.0;
                    let scale = spread * (1.0 + push) / if push > 0.0 { size * 0.8 } else { 1.0 };
                    let v: Vec<f32> = centre.iter().zip(&noise).map(|(c, e)| c + scale * e).collect();
                    let norm = v.iter().map(|v| v * v).sum::<f32>().sqrt();
                    v.into_iter().map(move |v| v / norm)
                })
                .collect()
        };
        let own = cloud("example/feature", 500, 0.55, 0.0);
        groups.push((Mark::Feature, class, own.clone()));
        groups.push((Mark::Outlier, class, cloud("example/outlier", 60, 0.8, 0.5)));
        groups.push((
            Mark::ClassEmbedding,
            class,
            cloud("example/embedding", 1, 0.1, 0.0),
        ));
        features.extend(own);
    }
    let basis = pca2(&features, DIMENSION)?;
    let group = |(mark, class, vectors): (Mark, u32, Vec<f32>)| {
        Ok(PointGroup {
            mark,
            class_name: CLASSES[class as usize].to_owned(),
            points: basis.project(&vectors)?,
        })
    };
    Ok(Projection {
        groups: groups
            .into_iter()
            .map(group)
            .collect::<Result<_, ReportError>>()?,
        explained: basis.explained,
        note: "Plane fitted to the ID features; all vectors normalised.".to_owned(),
    })
}

fn table() -> DetectionTable {
    let datasets = ["SVHN", "Places365", "LSUN-C", "iSUN", "Textures"];
    let network = [("cross-entropy", 0.0), ("DREAM-OOD", 0.16)];
    let scores = [("MSP", 0.0), ("energy", 0.05), ("phi(E)", 0.07)];
    let row = |(n, (network, better)): (usize, &(&str, f64)), (s, (score, gain)): (usize, &(&str, f64))| {
        DetectionRow {
            network: (*network).to_owned(),
            score: (*score).to_owned(),
            id_accuracy: (0..3)
                .map(|seed| 0.9012 - 0.004 * n as f64 + 0.001 * seed as f64)
                .collect(),
            shifted_accuracy: Vec::new(),
            cells: (0..datasets.len())
                .map(|d| {
                    (0..3)
                        .map(|seed| {
                            let mut random =
                                Stream::new(3, "example/table", (n * 10 + s) as u32, (d * 10 + seed) as u64);
                            let wobble = f64::from(random.uniform()) * 0.02;
                            let fpr95 = 0.62 - 0.05 * d as f64 - better - gain + wobble;
                            Detection {
                                fpr95,
                                auroc: 0.97 - fpr95 * 0.25,
                                aupr_in: 0.965 - fpr95 * 0.2,
                                aupr_out: 0.955 - fpr95 * 0.2,
                            }
                        })
                        .collect()
                })
                .collect(),
        }
    };
    let rows = network.iter().enumerate().flat_map(|n| {
        let kept = if n.0 == 0 { 2 } else { 3 };
        scores.iter().enumerate().take(kept).map(move |s| row(n, s))
    });
    DetectionTable {
        convention: "OpenOOD v1.5 (OOD positive, first TPR \u{2265} 95 %, trapezoid)".to_owned(),
        chosen: Vec::new(),
        shifted: Vec::new(),
        datasets: datasets.map(str::to_owned).to_vec(),
        averages: vec![Average {
            name: "Average".to_owned(),
            sets: (0..datasets.len()).collect(),
        }],
        rows: rows.collect(),
    }
}

fn series(dataset: &str, score: &str, class: u32, mean: f32, n: usize) -> ScoreSeries {
    ScoreSeries {
        dataset: dataset.to_owned(),
        values: Stream::new(4, score, class, 0)
            .normals(n)
            .into_iter()
            .map(|v| mean + v * (1.0 + 0.1 * class as f32))
            .collect(),
    }
}

fn histogram(score: &str, distance: f32) -> ScoreHistogram {
    ScoreHistogram {
        score: score.to_owned(),
        id: series("synthetic test", score, 0, 9.0, 10_000),
        ood: ["SVHN", "Places365", "LSUN-C", "iSUN", "Textures"]
            .iter()
            .zip(1..)
            .map(|(name, i)| series(name, score, i, 9.0 - distance - 0.4 * i as f32, 4_000))
            .collect(),
        imagined: None,
    }
}

fn curves() -> Vec<Curve> {
    let epochs: Vec<f64> = (1..=40).map(f64::from).collect();
    let mut curves = Vec::new();
    for (run, (name, rate)) in [("cross-entropy", 9.0), ("DREAM-OOD", 12.0)]
        .into_iter()
        .enumerate()
    {
        let noise = Stream::new(5, "example/curve", run as u32, 0).normals(80);
        let mut add = |metric: &str, value: &dyn Fn(usize) -> f64| {
            curves.push(Curve {
                metric: metric.to_owned(),
                run: name.to_owned(),
                epochs: epochs.clone(),
                values: (0..epochs.len()).map(value).collect(),
            })
        };
        add("Training loss", &|e| {
            0.21 + 0.1 * run as f64 + 2.0 * (-(e as f64) / rate).exp() + 0.02 * f64::from(noise[e])
        });
        add("ID accuracy", &|e| {
            0.902 - 0.004 * run as f64 - 0.5 * (-(e as f64) / rate).exp() + 0.004 * f64::from(noise[e + 40])
        });
        add("Learning rate", &|e| {
            1e-6 + 0.05 * (1.0 + (std::f64::consts::PI * e as f64 / 39.0).cos())
        });
    }
    curves
}

fn lineage() -> Lineage {
    let node = |n: u64, stage: &str, alias: &str, seconds: f64, parameters: &[(&str, &str)]| RunNode {
        id: (0..4)
            .map(|i| format!("{:08x}", Stream::new(6, "example/run", 0, n * 4 + i).next_u32()))
            .collect(),
        stage: stage.to_owned(),
        alias: (!alias.is_empty()).then(|| alias.to_owned()),
        status: "finished".to_owned(),
        parameters: parameters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        duration_seconds: Some(seconds),
    };
    let nodes = vec![
        node(
            0,
            "dataset",
            "synthetic",
            0.4,
            &[("kind", "idx"), ("train", "60000"), ("test", "10000")],
        ),
        node(
            1,
            "embed",
            "words",
            0.08,
            &[("model", "tiny-sd"), ("words", "10")],
        ),
        node(
            2,
            "encode",
            "encoder",
            512.0,
            &[
                ("epochs", "40"),
                ("lr", "0.1"),
                ("batch_size", "256"),
                ("weight_decay", "5e-4"),
                ("temperature", "0.1"),
            ],
        ),
        node(
            3,
            "sample",
            "outliers",
            31.0,
            &[
                ("k", "300"),
                ("select", "50"),
                ("noise_std", "0.07"),
                ("rounds", "100"),
                ("per_round", "1500"),
            ],
        ),
        node(
            4,
            "imagine",
            "dreams",
            1250.0,
            &[("guidance_scale", "7.5"), ("steps", "50"), ("scheduler", "plms")],
        ),
        node(
            5,
            "detect",
            "dream-ood",
            640.0,
            &[("epochs", "40"), ("beta", "2.5"), ("phi", "slope held positive")],
        ),
        node(
            6,
            "detect",
            "cross-entropy",
            402.0,
            &[("epochs", "40"), ("beta", "0")],
        ),
        node(
            7,
            "evaluate",
            "",
            12.3,
            &[
                ("ood", "SVHN, Places365, LSUN-C, iSUN, Textures"),
                ("convention", "openood"),
            ],
        ),
    ];
    let edge = |from: usize, to: usize, role: &str| RunEdge {
        from: nodes[from].id.clone(),
        to: nodes[to].id.clone(),
        role: role.to_owned(),
    };
    let edges = vec![
        edge(0, 2, "images"),
        edge(1, 2, "class embeddings"),
        edge(2, 3, "features"),
        edge(1, 3, "class embeddings"),
        edge(3, 4, "outliers"),
        edge(4, 5, "outlier images"),
        edge(0, 5, "ID images"),
        edge(0, 6, "ID images"),
        edge(5, 7, "network"),
        edge(6, 7, "network"),
    ];
    Lineage { nodes, edges }
}
