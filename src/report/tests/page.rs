//! Whole pages: empty, hostile, contradictory and large.

use super::super::*;
use super::grey;
use crate::bitmap::Bitmap;
use crate::ood::Detection;
use crate::rng::Stream;

/// Looks at the page as a browser's tokeniser would: every tag that opens must be one of ours, and tags must
/// balance.
fn check_markup(page: &str) {
    const KNOWN: [&str; 49] = [
        "!doctype",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "h1",
        "h2",
        "h3",
        "p",
        "nav",
        "ul",
        "li",
        "a",
        "section",
        "dl",
        "div",
        "dt",
        "dd",
        "details",
        "summary",
        "img",
        "span",
        "figure",
        "figcaption",
        "svg",
        "rect",
        "g",
        "path",
        "text",
        "use",
        "small",
        "i",
        "b",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "defs",
        "marker",
        "code",
        "br",
        "footer",
    ];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("an open tag ends");
        let tag = &rest[..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(KNOWN.contains(&name), "unknown element <{name}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "wrong closing tag");
        } else if !tag.ends_with('/') && !["!doctype", "meta", "img", "br"].contains(&name) {
            open.push(name);
        }
        let parts: Vec<&str> = tag.split('"').collect();
        assert_eq!(parts.len() % 2, 1, "torn attribute in <{tag}>");
        let outside = parts.iter().step_by(2);
        assert!(
            outside.copied().all(|part| !part.contains('\'')),
            "a single quote parts <{tag}>"
        );
        rest = &rest[end..];
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style").unwrap()..];
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn an_empty_report_says_so_in_each_section() {
    let page = render(&Report::default()).unwrap();
    check_markup(&page);
    assert_eq!(page.matches("<p class=\"none\">").count(), 9);
    assert!(!page.contains("<svg") && !page.contains("<table"));
}

#[test]
fn parts_that_hold_nothing_are_left_out_too() {
    let series = |values: &[f32]| ScoreSeries {
        dataset: "set".to_owned(),
        values: values.to_vec(),
    };
    let page = render(&Report {
        pictures: vec![ClassSheet::default()],
        projection: Some(Projection {
            groups: vec![PointGroup {
                mark: Mark::Outlier,
                class_name: "c".to_owned(),
                points: vec![[f32::NAN, 0.0]],
            }],
            ..Projection::default()
        }),
        detection: vec![DetectionTable {
            convention: "c".to_owned(),
            chosen: Vec::new(),
            shifted: Vec::new(),
            datasets: Vec::new(),
            averages: Vec::new(),
            rows: Vec::new(),
        }],
        histograms: vec![ScoreHistogram {
            score: "s".to_owned(),
            id: series(&[f32::NAN]),
            ood: vec![series(&[1.0])],
            imagined: None,
        }],
        curves: vec![Curve {
            metric: "loss".to_owned(),
            run: "r".to_owned(),
            epochs: vec![0.0],
            values: vec![f64::NAN],
        }],
        lineage: Some(Lineage::default()),
        ..Report::default()
    })
    .unwrap();
    check_markup(&page);
    assert_eq!(page.matches("<p class=\"none\">").count(), 9);
}

#[test]
fn imagined_pictures_are_drawn_beside_every_ood_set() {
    let series = |dataset: &str, values: &[f32]| ScoreSeries {
        dataset: dataset.to_owned(),
        values: values.to_vec(),
    };
    let drawn = |imagined: Option<ScoreSeries>| {
        let distances = vec![ScoreHistogram {
            score: "distance".to_owned(),
            id: series("test images", &[-1.0, -0.5]),
            ood: vec![series("digits", &[-3.0]), series("letters", &[-0.7, -2.0])],
            imagined,
        }];
        let page = render(&Report {
            distances,
            ..Report::default()
        });
        page.unwrap()
    };
    // The axis reaches to the farthest of all, and what passes for ID lies at -1 or above.
    let page = drawn(Some(series("imagined: run 1", &[-9.0, -2.5, -1.5, -0.9])));
    check_markup(&page);
    assert_eq!(page.matches("<path class=\"area imagined\"").count(), 2);
    assert!(page.contains("imagined: run 1 <small>4, 25.0 % taken for ID</small>"));
    assert!(page.contains("digits <small>0.0 % taken for ID</small>"));
    assert!(page.contains("letters <small>50.0 % taken for ID</small>"));
    assert!(page.contains("\u{2212}8"), "the axis ends before -9");
    let page = drawn(None);
    assert!(!page.contains("<path class=\"area imagined\"") && !page.contains("swatch imagined\""));
    assert!(!page.contains("\u{2212}8"));
}

/// A report in which every text is `text`.
fn full(text: &str) -> Report {
    let s = || text.to_owned();
    let picture = || Picture {
        caption: s(),
        ..grey(2, 2, 3)
    };
    let group = |mark| PointGroup {
        mark,
        class_name: s(),
        points: vec![[0.0, 1.0], [2.0, f32::INFINITY], [1.0, 3.0]],
    };
    let other = PointGroup {
        mark: Mark::Feature,
        class_name: "other".to_owned(),
        points: vec![[0.5, 0.5]],
    };
    let series = |shift: f32| ScoreSeries {
        dataset: s(),
        values: vec![shift, shift + 1.0, f32::NAN],
    };
    let result = Detection {
        fpr95: 0.4,
        auroc: 0.9,
        aupr_in: 0.9,
        aupr_out: 0.9,
    };
    let run = |id: &str| RunNode {
        id: format!("{text}{id}"),
        stage: s(),
        alias: Some(s()),
        status: s(),
        parameters: vec![(s(), s())],
        duration_seconds: Some(1.0),
    };
    Report {
        title: s(),
        subtitle: s(),
        facts: vec![(s(), s())],
        pictures: vec![ClassSheet {
            class_name: s(),
            real: vec![picture()],
            inliers: Vec::new(),
            outliers: vec![picture()],
        }],
        pictures_of: s(),
        projection: Some(Projection {
            groups: vec![
                group(Mark::Feature),
                group(Mark::ClassEmbedding),
                group(Mark::Outlier),
                group(Mark::Inlier),
                other,
            ],
            explained: [0.5, 0.25],
            note: s(),
        }),
        detection: vec![DetectionTable {
            convention: s(),
            chosen: vec![s()],
            shifted: vec![s()],
            datasets: vec![s(), s()],
            averages: vec![Average {
                name: s(),
                sets: vec![0, 1],
            }],
            rows: vec![DetectionRow {
                network: s(),
                score: s(),
                id_accuracy: vec![0.9],
                shifted_accuracy: vec![vec![0.5]],
                cells: vec![vec![result], vec![result]],
            }],
        }],
        histograms: vec![ScoreHistogram {
            score: s(),
            id: series(2.0),
            ood: vec![series(1.0)],
            imagined: None,
        }],
        distances: vec![ScoreHistogram {
            score: s(),
            id: series(2.0),
            ood: vec![series(1.0)],
            imagined: Some(series(1.5)),
        }],
        curves: vec![Curve {
            metric: s(),
            run: s(),
            epochs: vec![1.0, 2.0],
            values: vec![3.0, 2.0],
        }],
        lineage: Some(Lineage {
            nodes: vec![run("a"), run("b")],
            edges: vec![RunEdge {
                from: format!("{text}a"),
                to: format!("{text}b"),
                role: s(),
            }],
        }),
    }
}

#[test]
fn text_from_outside_cannot_become_markup() {
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='x",
        "</style></svg><b>",
        "&lt;",
    ] {
        let page = render(&full(hostile)).unwrap();
        check_markup(&page);
        // A single quote ends nothing: attributes are in double ones.
        let harmless = ["&lt;", "' onload='x"].contains(&hostile);
        assert!(
            !page.contains(hostile) || harmless,
            "{hostile} reached the page as it is"
        );
    }
    let page = render(&full("&amp;")).unwrap();
    assert!(page.contains("<h1>&amp;amp;</h1>"));
}

#[test]
fn the_page_asks_for_nothing_outside() {
    let page = render(&full("plain")).unwrap();
    for word in [
        "http:", "https:", "<script", "@import", "url(h", "src=\"/", "<link",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert_eq!(
        page.matches("src=\"").count(),
        page.matches("src=\"data:image/png;base64,").count()
    );
    assert_eq!(
        page,
        render(&full("plain")).unwrap(),
        "the same data gives the same page"
    );
    assert!(page.contains("2 of 4 points") || page.contains("4 points with non-finite coordinates left out"));
}

#[test]
fn data_that_contradicts_itself_is_refused() {
    let broken = |change: &dyn Fn(&mut Report)| {
        let mut report = full("x");
        change(&mut report);
        render(&report).unwrap_err()
    };
    let lineage = |r: &mut Report| -> Lineage { r.lineage.take().unwrap() };
    assert!(matches!(
        broken(&|r| r.detection[0].datasets.push("new".to_owned())),
        ReportError::TableShape {
            expected: 3,
            actual: 2,
            ..
        }
    ));
    assert!(matches!(
        broken(&|r| r.curves[0].epochs.clear()),
        ReportError::CurveLength {
            epochs: 0,
            values: 2,
            ..
        }
    ));
    assert!(matches!(
        broken(&|r| {
            let mut l = lineage(r);
            l.nodes[1].id = "xa".to_owned();
            r.lineage = Some(l)
        }),
        ReportError::DuplicateRun { .. }
    ));
    assert!(matches!(
        broken(&|r| {
            let mut l = lineage(r);
            l.nodes.pop();
            r.lineage = Some(l)
        }),
        ReportError::UnknownRun { .. }
    ));
    let cycle = broken(&|r| {
        let mut l = lineage(r);
        l.edges.push(RunEdge {
            from: "xb".to_owned(),
            to: "xa".to_owned(),
            role: String::new(),
        });
        r.lineage = Some(l);
    });
    assert!(matches!(cycle, ReportError::LineageCycle { .. }));
}

#[test]
fn a_large_run_stays_below_ten_megabytes() {
    let mut random = Stream::new(0, "test/large", 0, 0);
    let mut noise = |n: usize| -> Vec<u8> { (0..n).map(|_| random.next_u32() as u8).collect() };
    let mut pictures = Vec::new();
    for class in 0..100 {
        // Noise: the worst that a PNG can be given.
        let mut several = |n: usize| -> Vec<Picture> {
            (0..n)
                .map(|_| Picture {
                    bitmap: Bitmap {
                        width: 64,
                        height: 64,
                        rgb: noise(64 * 64 * 3),
                    },
                    caption: "outlier 12, d_k 0.41".to_owned(),
                })
                .collect()
        };
        pictures.push(ClassSheet {
            class_name: format!("class {class}"),
            real: several(12),
            inliers: several(12),
            outliers: several(12),
        });
    }
    let points = |class: u32, n: usize| -> Vec<[f32; 2]> {
        Stream::new(1, "test/points", class, n as u64)
            .normals(n * 2)
            .chunks(2)
            .map(|p| [p[0] + class as f32, p[1]])
            .collect()
    };
    let mut groups = Vec::new();
    for class in 0..100 {
        for (mark, n) in [
            (Mark::Feature, 500),
            (Mark::Inlier, 500),
            (Mark::Outlier, 2000),
            (Mark::ClassEmbedding, 1),
        ] {
            groups.push(PointGroup {
                mark,
                class_name: format!("class {class}"),
                points: points(class, n),
            });
        }
    }
    let series = |i: u64| ScoreSeries {
        dataset: format!("set {i}"),
        values: Stream::new(2, "test/score", 0, i).normals(5000),
    };
    let histograms = (0..10).map(|score| ScoreHistogram {
        score: format!("score {score}"),
        id: series(score),
        ood: (20..26).map(series).collect(),
        imagined: None,
    });
    let steps: Vec<f64> = (0..100_000).map(f64::from).collect();
    let page = render(&Report {
        pictures,
        projection: Some(Projection {
            groups,
            explained: [0.2, 0.1],
            note: String::new(),
        }),
        histograms: histograms.collect(),
        curves: vec![Curve {
            metric: "loss".to_owned(),
            run: "r".to_owned(),
            epochs: steps.clone(),
            values: steps,
        }],
        ..Report::default()
    })
    .unwrap();
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    assert!(
        page.len() > 3_000_000,
        "{} bytes: pictures are missing",
        page.len()
    );
    for said in [
        "pictures",
        "points drawn, a random subset",
        "of 100 classes, evenly spaced",
        "drawn through 500 evenly spaced ones",
    ] {
        assert!(page.contains(said), "the page does not say '{said}'");
    }
    check_markup(&page);
}
