//! Activations and scores of other programs.

use super::*;

#[test]
fn scores_of_a_table_are_taken_in() {
    let bench = Bench::new();
    let of = ScoresOf {
        dataset: "svhn",
        split: "test",
        score: "msp",
        network: None,
        member: None,
    };
    let import = |text: &str| {
        let file = bench.file("scores.csv", text.as_bytes());
        bench.import(&Question {
            file: &file,
            rows: Rows::Scores(of),
        })
    };
    let run = import("conf,pred,label\n0.5,3,-1\n0.25,1,\n1,0,2\n").unwrap();
    let rows: Vec<dream_schema::Score> = bench.store.rows(run.id, None).unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.value, row.predicted, row.label))
        .collect();
    assert_eq!(shown, [(0.5, 3, None), (0.25, 1, None), (1.0, 0, Some(2))]);
    assert_eq!((rows[1].dataset.as_str(), rows[1].sample), ("svhn", 1));
    assert!(import("pred\n3\n").unwrap_err().contains("`score` or `conf`"));
    assert!(import("conf\nx\n").unwrap_err().contains("`conf` of row 0"));
    assert!(import("conf\nNaN\n").unwrap_err().contains("score 0 is NaN"));
}

#[test]
fn activations_of_any_network_are_taken_in_and_scored() {
    let bench = Bench::new();
    let file = |name: &str, rows: &[[f32; 3]], labels: &[i64]| {
        let features = crate::floats::to_bytes(rows.as_flattened());
        // The last layer passes the features on.
        let weight = crate::floats::to_bytes(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let bias = crate::floats::to_bytes(&[0.0; 3]);
        let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], bytes| {
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
        };
        let floats = safetensors::Dtype::F32;
        let arrays = [
            ("features", view(floats, &[rows.len(), 3], &features)),
            ("logits", view(floats, &[rows.len(), 3], &features)),
            ("labels", view(safetensors::Dtype::I64, &[rows.len()], &labels)),
            ("fc.weight", view(floats, &[3, 3], &weight)),
            ("fc.bias", view(floats, &[3], &bias)),
        ];
        bench.file(name, &safetensors::serialize(arrays, None).unwrap())
    };
    let import = |name: &str, file: &Path| {
        let rows = Rows::Activations(ActivationsOf {
            dataset: name,
            split: "test",
            arrays: None,
            network: None,
        });
        bench.import(&Question { file, rows })
    };
    let known = [[9.0, 1.0, 0.0], [0.0, 8.0, 1.0], [1.0, 0.0, 7.0], [6.0, 5.0, 0.0]];
    let id = import("id", &file("id.safetensors", &known, &[0, 1, 2, 1])).unwrap();
    let far = import("far", &file("far.safetensors", &[[1.0, 1.0, 1.0]; 2], &[-1, -1])).unwrap();
    let train = import("train", &file("train.safetensors", &known, &[0, 1, 2, 1])).unwrap();
    let rows: Vec<dream_schema::Activation> = bench.store.rows(id.id, None).unwrap();
    assert_eq!(rows[1].logits.0, [0.0, 8.0, 1.0]);
    assert_eq!((rows[3].label, rows[3].predicted), (Some(1), Some(0)));
    let rows: Vec<dream_schema::Activation> = bench.store.rows(far.id, None).unwrap();
    assert_eq!(rows[0].label, None);

    let params = serde_json::json!({
        "scores": ["max_logit", { "name": "knn", "values": { "k": 1.0 } }, "ash_p"],
        "convention": "openood",
    });
    let observations = crate::stage::evaluate::Observations {
        id: id.id.into(),
        ood: vec![("far".to_owned(), far.id.into())],
        train: Some(train.id.into()),
        validation: None,
        ood_validation: None,
    };
    let params = serde_json::from_value(params).unwrap();
    let spec = crate::stage::evaluate::ask(&params, &observations)
        .spec(&bench.store)
        .unwrap();
    let run = bench.run(&spec).unwrap();
    let metrics: Vec<dream_schema::Metric> = bench.store.rows(run.id, None).unwrap();
    assert_eq!((metrics[0].name.as_str(), metrics[0].value), ("accuracy", 0.75));
    let perfect = |metric: &&dream_schema::Metric| metric.name == "auroc" && metric.value == 1.0;
    assert_eq!(metrics.iter().filter(perfect).count(), 6);

    let said = import("nan", &file("nan.safetensors", &[[1.0, f32::NAN, 0.0]], &[0])).unwrap_err();
    assert!(said.contains("feature 1 of row 0 is NaN"), "{said}");
    let space = bench.npy("space.npy", "(3, 2)", &SPACE);
    let said = import("space", &space).unwrap_err();
    assert!(said.contains("features") && said.contains("[3, 2]"), "{said}");
}

#[test]
fn activations_in_a_file_an_array_are_those_of_one_file() {
    let bench = Bench::new();
    let npy = |name: &str, dtype: &str, shape: &str, bytes: &[u8]| {
        let mut head = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        head.push_str(&" ".repeat(63 - (10 + head.len()) % 64));
        head.push('\n');
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((head.len() as u16).to_le_bytes());
        file.extend(head.as_bytes());
        file.extend(bytes);
        bench.file(name, &file)
    };
    let floats =
        |name: &str, shape: &str, numbers: &[f32]| npy(name, "<f4", shape, &crate::floats::to_bytes(numbers));
    let integers = |name: &str, numbers: &[i64]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        npy(name, "<i8", &format!("({},)", numbers.len()), &bytes)
    };
    let features = floats("feats.npy", "(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // The last layer leaves the features as they are.
    let logits = floats("out.npy", "(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let labels = integers("y.npy", &[1, 0, -1]);
    let (weight, bias) = (
        floats("w.npy", "(2, 2)", &[1.0, 0.0, 0.0, 1.0]),
        floats("b.npy", "(2,)", &[0.0, 0.0]),
    );
    let all = Arrays {
        features: Some(&features),
        logits: Some(&logits),
        labels: Some(&labels),
        weight: Some(&weight),
        bias: Some(&bias),
    };
    let import = |arrays: Arrays<'_>| {
        let rows = Rows::Activations(ActivationsOf {
            dataset: "set",
            split: "test",
            arrays: Some(arrays),
            network: None,
        });
        let file = arrays.given().next().unwrap().1;
        bench.import(&Question { file, rows })
    };
    let run = import(all).unwrap();
    let rows: Vec<dream_schema::Activation> = bench.store.rows(run.id, None).unwrap();
    assert_eq!(
        (rows[1].features.0.as_slice(), rows[1].logits.0.as_slice()),
        (&[3.0, 4.0][..], &[3.0, 4.0][..])
    );
    let labels_of: Vec<Option<i32>> = rows.iter().map(|row| row.label).collect();
    assert_eq!(labels_of, [Some(1), Some(0), None]);
    assert_eq!(run.spec.sources.len(), 5);
    assert_eq!(import(all).unwrap().id, run.id);

    let said = |arrays| import(arrays).unwrap_err();
    let short = integers("short.npy", &[1, 0]);
    let error = said(Arrays {
        labels: Some(&short),
        ..all
    });
    assert!(error.contains("3 features, 3 logits, 2 labels"), "{error}");
    let error = said(Arrays {
        labels: Some(&logits),
        ..all
    });
    assert!(
        error.contains("out.npy") && error.contains("is not a class number"),
        "{error}"
    );
    let error = said(Arrays {
        features: Some(&bias),
        ..all
    });
    assert!(error.contains("is not [images, numbers]"), "{error}");
    let wide = floats("wide.npy", "(3, 3)", &[1.0; 9]);
    let error = said(Arrays {
        features: Some(&wide),
        ..all
    });
    assert!(
        error.contains("an image has 3 features, but the last layer takes 2"),
        "{error}"
    );
    let error = said(Arrays {
        logits: Some(&wide),
        ..all
    });
    assert!(
        error.contains("an image has 3 logits, but the last layer gives 2"),
        "{error}"
    );
    let error = said(Arrays { bias: None, ..all });
    assert!(error.contains("weight and bias"), "{error}");
    let odd = floats("odd.npy", "(3, 2)", &[1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0]);
    let error = said(Arrays {
        logits: Some(&odd),
        ..all
    });
    assert!(error.contains("odd.npy: logit 0 of row 1 is inf"), "{error}");
}

#[test]
fn names_that_tables_cannot_hold_and_classes_of_one_name_are_refused() {
    let bench = Bench::new();
    let file = bench.file("scores.csv", b"value\n1\n2\n");
    let import = |dataset, split, score| {
        let rows = Rows::Scores(ScoresOf {
            member: None,
            dataset,
            split,
            score,
            network: None,
        });
        bench.import(&Question { file: &file, rows }).map(|_| ())
    };
    assert_eq!(import("svhn", "test", "knn:k=50"), Ok(()));
    for (dataset, split, score) in [
        ("", "test", "msp"),
        ("x\ny", "test", "msp"),
        ("average", "test", "msp"),
        ("svhn", " ", "msp"),
        ("svhn", "test", ""),
        ("svhn", "test", "a\tb"),
    ] {
        assert!(
            import(dataset, split, score).is_err(),
            "{dataset:?} {split:?} {score:?}"
        );
    }

    let twice = bench.file("twice.csv", b"class_name,v_0,v_1\nhen,1,0\nhen,0,1\n");
    let said = bench.space(&twice, &[]).unwrap_err();
    assert!(said.contains("two rows are of the class `hen`"), "{said}");
    let forms = "class_name,v_0,v_1\ncaf\u{e9},1,0\ncafe\u{301},0,1\n";
    let said = bench
        .space(&bench.file("forms.csv", forms.as_bytes()), &[])
        .unwrap_err();
    assert!(said.contains("Unicode's normal form"), "{said}");
    let negative = bench.file("negative.csv", b"class_id,class_name,v_0,v_1\n-1,hen,1,0\n");
    assert!(bench.space(&negative, &[]).is_err());
}
