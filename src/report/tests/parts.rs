//! Escaping, axes, principal components, histograms, tables and the layout of graphs.

mod html_text {
    use super::super::super::html::{clean, count, thin};

    #[test]
    fn what_html_forbids_is_replaced() {
        assert_eq!(clean("\u{0}a\u{1b}b\u{202e}c\n"), "\u{fffd}a\u{fffd}b\u{fffd}c\n");
        assert_eq!(clean("Fréchet 猫 <b>"), "Fréchet 猫 <b>");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202F}234\u{202F}567");
    }

    #[test]
    fn thinning_is_a_fixed_subset_spread_over_the_whole() {
        assert_eq!(thin(3, 5, 0), [0, 1, 2]);
        let kept = thin(100_000, 1000, 3);
        assert_eq!(kept.len(), 1000);
        assert!(kept.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(kept, thin(100_000, 1000, 3));
        assert_ne!(kept, thin(100_000, 1000, 4));
        let low = kept.iter().filter(|i| **i < 50_000).count();
        assert!((430..570).contains(&low), "{low} of 1000 in the first half");
    }
}

mod axes {
    use super::super::super::plot::{figure, range, tick_label, ticks};

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 10.0), 5).0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let (values, step) = ticks((-0.12, 0.31), 4);
        let labels: Vec<String> = values.iter().map(|v| tick_label(*v, step)).collect();
        assert_eq!(labels, ["\u{2212}0.1", "0.0", "0.1", "0.2", "0.3"]);
        for range in [(1e-6, 0.1), (-3e7, 5e8), (0.9951, 0.9953), (1e-30, 2e-30)] {
            let values = ticks(range, 5).0;
            assert!((2..=11).contains(&values.len()), "{range:?}: {values:?}");
            assert!(
                values
                    .iter()
                    .all(|v| *v >= range.0 - 1e-9 && *v <= range.1 + range.1.abs() * 1e-9)
            );
        }
    }

    #[test]
    fn a_range_without_extent_is_widened_and_without_values_absent() {
        let (lo, hi) = range([2.0, f64::NAN, 2.0].into_iter()).unwrap();
        assert!(lo < 2.0 && hi > 2.0);
        assert!(range([0.0].into_iter()).is_some_and(|(lo, hi)| lo < hi));
        assert!(range([f64::NAN, f64::INFINITY].into_iter()).is_none());
    }

    #[test]
    fn figures_have_four_digits() {
        assert_eq!(figure(0.123_456), "0.1235");
        assert_eq!(figure(-12.345_6), "\u{2212}12.35");
        assert_eq!(figure(1e-6), "1.00e\u{2212}6");
        assert_eq!(figure(f64::NAN), "not finite");
    }
}

mod principal_components {
    use super::super::super::{ReportError, pca2};
    use crate::rng::Stream;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} against {b}");
    }

    /// `tests/fixtures/report/make.py` wrote the expected plane by numpy's singular value decomposition.
    #[test]
    fn the_plane_is_that_of_numpy() {
        let text = include_str!("../../../tests/fixtures/report/pca.json");
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        let numbers = |v: &serde_json::Value| -> Vec<f64> {
            v.as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect()
        };
        let vectors: Vec<f32> = numbers(&expected["vectors"])
            .into_iter()
            .map(|v| v as f32)
            .collect();
        let m = expected["dimension"].as_u64().unwrap() as usize;
        let basis = pca2(&vectors, m).unwrap();
        assert!(basis.residual < 1e-10);
        basis
            .mean
            .iter()
            .zip(numbers(&expected["mean"]))
            .for_each(|(a, b)| close(*a, b, 1e-12));
        for axis in 0..2 {
            close(
                basis.explained[axis],
                numbers(&expected["explained"])[axis],
                1e-12,
            );
            basis.axes[axis]
                .iter()
                .zip(numbers(&expected["axes"][axis]))
                .for_each(|(a, b)| close(*a, b, 1e-9));
        }
        for (point, wanted) in basis
            .project(&vectors)
            .unwrap()
            .iter()
            .zip(expected["projected"].as_array().unwrap())
        {
            let wanted = numbers(wanted);
            close(f64::from(point[0]), wanted[0], 1e-5);
            close(f64::from(point[1]), wanted[1], 1e-5);
        }
    }

    #[test]
    fn an_ellipse_has_its_own_axes() {
        // Along (3, 4)/5 twice as far as across: variances 4 : 1.
        let (u, v) = ([0.6_f32, 0.8], [-0.8_f32, 0.6]);
        let vectors: Vec<f32> = (0..8)
            .flat_map(|i| {
                let angle = i as f32 * std::f32::consts::FRAC_PI_4;
                let (a, b) = (2.0 * angle.cos(), angle.sin());
                [1.0 + a * u[0] + b * v[0], -2.0 + a * u[1] + b * v[1]]
            })
            .collect();
        let basis = pca2(&vectors, 2).unwrap();
        close(basis.explained[0], 0.8, 1e-6);
        close(basis.explained[1], 0.2, 1e-6);
        basis.axes[0]
            .iter()
            .zip(u)
            .for_each(|(a, b)| close(*a, f64::from(b), 1e-6));
        basis.axes[1]
            .iter()
            .zip(v)
            .for_each(|(a, b)| close(*a, -f64::from(b), 1e-6)); // the largest component is positive
        basis
            .mean
            .iter()
            .zip([1.0, -2.0])
            .for_each(|(a, b)| close(*a, b, 1e-6));
    }

    #[test]
    fn the_result_does_not_depend_on_the_threads() {
        let vectors = Stream::new(1, "test/pca", 0, 0).normals(300 * 70);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| pca2(&vectors, 70).unwrap())
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn equal_and_few_vectors_have_a_plane_too() {
        let equal = pca2(&[1.0; 12], 4).unwrap();
        assert_eq!(equal.explained, [0.0, 0.0]);
        assert!(equal.project(&[1.0; 4]).unwrap()[0].iter().all(|v| *v == 0.0));
        // Two vectors span a line: rank one, far below the block of the iteration.
        let line = pca2(
            &[
                0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                0.0, 0.0,
            ],
            10,
        )
        .unwrap();
        close(line.explained[0], 1.0, 1e-12);
        close(line.axes[0][5], 1.0, 1e-9);
        let across: f64 = line.axes[0].iter().zip(&line.axes[1]).map(|(a, b)| a * b).sum();
        close(across, 0.0, 1e-9);
    }

    #[test]
    fn wrong_vectors_are_refused() {
        assert!(matches!(
            pca2(&[0.0; 7], 3),
            Err(ReportError::VectorShape {
                dimension: 3,
                actual: 7,
                ..
            })
        ));
        assert!(matches!(pca2(&[0.0; 3], 3), Err(ReportError::VectorShape { .. })));
        assert!(matches!(pca2(&[], 0), Err(ReportError::VectorShape { .. })));
        assert!(matches!(
            pca2(&[0.0, 1.0, 2.0, f32::NAN], 2),
            Err(ReportError::NonFinite { row: 1, column: 1 })
        ));
        assert!(
            pca2(&[0.0, 1.0, 2.0, 3.0], 2)
                .unwrap()
                .project(&[1.0; 3])
                .is_err()
        );
    }
}

mod histograms {
    use super::super::super::histogram::bin_shares;
    use super::super::super::{accepted_share, threshold_at_95};

    #[test]
    fn values_fall_into_their_bins() {
        let values = [0.0, 0.99, 1.0, 2.5, 4.0, -7.0, 9.0, f32::NAN];
        // Four bins of width one; the ends take what lies beyond; not-a-number counts nowhere.
        assert_eq!(
            bin_shares(&values, (0.0, 4.0), 4),
            [3.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0, 2.0 / 7.0]
        );
        assert_eq!(bin_shares(&[], (0.0, 1.0), 2), [0.0, 0.0]);
    }

    #[test]
    fn the_threshold_keeps_at_least_95_percent_and_no_more_than_needed() {
        for n in [1, 19, 20, 21, 100, 999, 1000] {
            let id: Vec<f32> = (0..n).map(|i| ((i * 7919) % n) as f32).collect();
            let threshold = threshold_at_95(&id).unwrap();
            assert!(accepted_share(&id, threshold).unwrap() >= 0.95, "{n}");
            let above: Vec<_> = id.iter().filter(|v| **v > threshold).collect();
            assert!(
                (above.len() as f64) < 0.95 * f64::from(n),
                "{n}: a larger threshold would do"
            );
        }
        assert_eq!(threshold_at_95(&[f32::NAN]), None);
        assert_eq!(accepted_share(&[], 0.0), None);
        assert_eq!(accepted_share(&[1.0, 2.0, f32::NAN, 3.0], 2.0), Some(2.0 / 3.0));
    }
}

mod tables {
    use super::super::super::table::{best, cells};
    use super::super::super::{Average, DetectionRow, DetectionTable, Report, render};
    use crate::ood::{Detection, Summary};

    fn row(network: &str, accuracy: &[f64], cells: &[&[(f64, f64, f64)]]) -> DetectionRow {
        let detection = |&(fpr95, auroc, aupr_in): &(f64, f64, f64)| Detection {
            fpr95,
            auroc,
            aupr_in,
            aupr_out: f64::NAN, // not shown
        };
        DetectionRow {
            network: network.to_owned(),
            score: "energy".to_owned(),
            id_accuracy: accuracy.to_vec(),
            shifted_accuracy: Vec::new(),
            cells: cells
                .iter()
                .map(|seeds| seeds.iter().map(detection).collect())
                .collect(),
        }
    }

    fn table(rows: Vec<DetectionRow>) -> DetectionTable {
        DetectionTable {
            convention: "sklearn".to_owned(),
            chosen: Vec::new(),
            shifted: Vec::new(),
            datasets: vec!["A".to_owned(), "B".to_owned()],
            averages: vec![Average {
                name: "Average".to_owned(),
                sets: vec![0, 1],
            }],
            rows,
        }
    }

    #[test]
    fn low_fpr95_and_high_everything_else_is_best() {
        let table = table(vec![
            row("one", &[0.9], &[&[(0.2, 0.8, 0.7)], &[(0.5, 0.9, 0.9)]]),
            row("two", &[0.8], &[&[(0.3, 0.9, 0.7)], &[(0.1, 0.9, 0.8)]]),
        ]);
        let marks = best(&cells(&table), 1);
        // accuracy | average: FPR95 .35/.20, AUROC .85/.90, AUPR .80/.75 | A | B
        assert_eq!(
            marks[0],
            [true, false, false, true, true, false, false, false, false, true]
        );
        assert_eq!(
            marks[1],
            [false, true, true, false, false, true, false, true, false, false]
        );
    }

    #[test]
    fn mean_and_spread_are_those_of_the_seeds() {
        let table = table(vec![row(
            "one",
            &[0.5, 0.7],
            &[
                &[(0.1, 0.5, 0.5), (0.3, 0.5, 0.5)],
                &[(0.2, 0.5, 0.5), (0.4, 0.5, 0.5)],
            ],
        )]);
        let cells = cells(&table);
        let near = |cell: Option<Summary>, mean: f64, spread: f64| {
            let cell = cell.unwrap();
            assert!(
                (cell.mean - mean).abs() < 1e-9 && (cell.spread.unwrap() - spread).abs() < 1e-9,
                "{cell:?}"
            );
        };
        near(cells[0][0], 0.6, 0.02_f64.sqrt());
        near(cells[0][1], 0.25, 0.02_f64.sqrt()); // the averages of the seeds are 0.15 and 0.35
        near(cells[0][4], 0.2, 0.02_f64.sqrt());
        near(cells[0][2], 0.5, 0.0);
        assert!(
            best(&cells, 1)[0].iter().all(|mark| !mark),
            "one row is not better than any other"
        );
    }

    #[test]
    fn an_absent_data_set_leaves_no_average() {
        let table = table(vec![
            row("one", &[], &[&[(0.2, 0.8, 0.7)], &[]]),
            row("two", &[], &[&[(0.2, 0.8, 0.7)], &[(0.1, 0.9, 0.9)]]),
        ]);
        let cells = cells(&table);
        assert_eq!(cells[0][1], None);
        assert_eq!(cells[0][7], None);
        assert!(cells[1][1].is_some());
        let page = render(&Report {
            detection: vec![table],
            ..Report::default()
        })
        .unwrap();
        assert!(page.contains("<b>Convention: sklearn.</b>"));
        assert!(page.contains(">\u{2013}</td>"));
    }

    #[test]
    fn numbers_that_print_alike_are_both_best() {
        let table = table(vec![
            row("one", &[0.900_001], &[&[(0.2, 0.8, 0.7)], &[(0.2, 0.8, 0.7)]]),
            row("two", &[0.900_004], &[&[(0.2, 0.8, 0.7)], &[(0.2, 0.8, 0.7)]]),
            row("three", &[0.8], &[&[(0.2, 0.8, 0.7)], &[(0.2, 0.8, 0.7)]]),
        ]);
        let marks = best(&cells(&table), 1);
        assert_eq!([marks[0][0], marks[1][0], marks[2][0]], [true, true, false]);
        assert!(!marks[0][1], "a column of equal numbers has no best");
    }
}

mod graphs {
    use super::super::super::layers::layout;
    use super::super::super::lineage::duration;

    #[test]
    fn edges_go_down_and_neighbours_stand_apart() {
        // A pipeline with an edge across three layers, and a node that is read late.
        let edges = [
            (0, 2),
            (1, 2),
            (2, 3),
            (3, 4),
            (4, 5),
            (0, 5),
            (0, 6),
            (5, 7),
            (6, 7),
        ];
        let layout = layout(8, &edges, |i| i.to_string()).unwrap();
        assert_eq!(layout.depth, 6);
        for (from, to) in edges {
            assert!(layout.nodes[from].0 < layout.nodes[to].0);
        }
        assert_eq!(
            layout.nodes[6].0, layout.nodes[5].0,
            "6 stands just above its reader"
        );
        for (route, (from, to)) in layout.edges.iter().zip(edges) {
            let layers: Vec<usize> = route.iter().map(|p| p.0).collect();
            assert_eq!(
                layers,
                (layout.nodes[from].0..=layout.nodes[to].0).collect::<Vec<_>>()
            );
        }
        for (i, a) in layout.nodes.iter().enumerate() {
            for b in layout.nodes[..i].iter().filter(|b| b.0 == a.0) {
                assert!((a.1 - b.1).abs() > 1.0 - 1e-9, "boxes overlap");
            }
            for route in &layout.edges {
                for bend in &route[1..route.len() - 1] {
                    assert!(
                        bend.0 != a.0 || (bend.1 - a.1).abs() > 0.6,
                        "an edge runs behind a box"
                    );
                }
            }
            assert!(a.1 >= 0.0 && a.1 <= layout.width);
        }
    }

    #[test]
    fn a_cycle_is_found() {
        assert!(
            layout(3, &[(0, 1), (1, 2), (2, 1)], |i| format!("run{i}"))
                .is_err_and(|e| e.to_string().contains("run1"))
        );
        assert!(layout(1, &[(0, 0)], |i| i.to_string()).is_err());
        assert_eq!(layout(0, &[], |i| i.to_string()).unwrap().depth, 0);
    }

    #[test]
    fn durations_read_well() {
        let shown: Vec<String> = [0.0804, 4.21, 59.96, 200.4, 3720.0, f64::NAN]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(
            shown,
            [
                "80 ms",
                "4.2 s",
                "1 min 00 s",
                "3 min 20 s",
                "1 h 02 min",
                "unknown"
            ]
        );
    }
}
