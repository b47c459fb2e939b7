use super::*;
use crate::floats::Format;
use crate::nn::{ResNetConfig, Stem};

fn wanted(depth: usize, outputs: usize) -> Wanted {
    let config = ResNetConfig {
        depth,
        stem: Stem::Cifar,
        width: 4,
        in_channels: 3,
        num_outputs: outputs,
        form: Default::default(),
    };
    config.shapes().unwrap()
}

/// The tensors as some program names them: container and name of each, none where it leaves one out.
fn named(tensors: &Wanted, name: impl Fn(&str) -> Option<(String, String)>) -> Vec<Entry> {
    let entry = |(own, shape): (&String, &Vec<usize>)| {
        let (container, name) = name(own)?;
        Some(self::entry(&container, &name, shape))
    };
    tensors.iter().filter_map(entry).collect()
}

fn entry(container: &str, name: &str, shape: &[usize]) -> Entry {
    Entry {
        container: container.to_owned(),
        name: name.to_owned(),
        shape: shape.to_vec(),
        format: Some(Format::F32),
        integer: None,
        kind: "F32".to_owned(),
    }
}

fn below(container: &str, prefix: &str) -> impl Fn(&str) -> Option<(String, String)> {
    move |name| Some((container.to_owned(), format!("{prefix}{name}")))
}

fn full_names(fit: &Fit<'_>) -> BTreeMap<String, String> {
    let full = fit
        .tensors
        .iter()
        .map(|(name, entry)| (name.clone(), entry.full_name()));
    full.collect()
}

#[test]
fn prefixes_of_all_programs_are_taken_off() {
    let wanted = wanted(18, 7);
    for (container, prefix) in [
        ("", ""),
        ("", "module."),
        ("state_dict", "model."),
        ("state_dict", "net._orig_mod."),
        ("model", "module.encoder_q."),
        ("checkpoint.model", "_orig_mod.module.encoder."),
        ("state_dict", "backbone."),
    ] {
        let entries = named(&wanted, below(container, prefix));
        let fit = fit(&entries, &wanted, false).unwrap();
        assert_eq!(fit.tensors.len(), wanted.len());
        for (name, full) in full_names(&fit) {
            assert!(full.ends_with(&format!("{prefix}{name}")), "{full} as {name}");
        }
        assert_eq!(
            fit.notes.is_empty(),
            container.is_empty() && prefix.is_empty(),
            "{:?}",
            fit.notes
        );
    }
}

#[test]
fn the_public_code_of_dream_ood_is_read() {
    let wanted = wanted(34, 768);
    let upstream = |head: &'static str| {
        move |name: &str| {
            let name = match name.strip_prefix("fc.") {
                Some(part) => format!("{head}.{part}"),
                None => format!("encoder.{}", name.replace("downsample", "shortcut")),
            };
            Some((String::new(), name))
        }
    };
    for head in ["fc", "trans"] {
        let mut entries = named(&wanted, upstream(head));
        entries.push(entry("", "encoder.bn1.num_batches_tracked", &[]));
        let fit = fit(&entries, &wanted, false).unwrap();
        assert_eq!(
            fit.tensors["layer2.0.downsample.0.weight"].name,
            "encoder.layer2.0.shortcut.0.weight"
        );
        assert_eq!(fit.tensors["fc.bias"].name, format!("{head}.bias"));
        assert!(
            fit.notes.iter().any(|note| note.contains("`encoder`")),
            "{:?}",
            fit.notes
        );
        assert!(
            fit.notes.iter().any(|note| note.contains(&format!("`{head}`"))),
            "{:?}",
            fit.notes
        );
    }
    // Both: the one with the outputs that are wanted.
    let mut entries = named(&wanted, upstream("trans"));
    entries.extend([entry("", "fc.weight", &[100, 32]), entry("", "fc.bias", &[100])]);
    assert_eq!(
        fit(&entries, &wanted, false).unwrap().tensors["fc.weight"].name,
        "trans.weight"
    );
}

#[test]
fn the_names_of_transformers_are_read() {
    // As `ResNetForImageClassification("microsoft/resnet-50").state_dict()` has them.
    let theirs = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        let kind = |unit: &str| match unit.strip_prefix("conv") {
            Some(number) => format!("{}.convolution", number.parse::<u32>().unwrap() - 1),
            None => {
                let number = unit.strip_prefix("bn").unwrap();
                format!("{}.normalization", number.parse::<u32>().unwrap() - 1)
            }
        };
        match parts[..] {
            ["conv1", end] => format!("embedder.embedder.convolution.{end}"),
            ["bn1", end] => format!("embedder.embedder.normalization.{end}"),
            [layer, block, "downsample", number, end] => {
                let stage = layer.strip_prefix("layer").unwrap().parse::<u32>().unwrap() - 1;
                let part = ["convolution", "normalization"][number.parse::<usize>().unwrap()];
                format!("encoder.stages.{stage}.layers.{block}.shortcut.{part}.{end}")
            }
            [layer, block, unit, end] => {
                let stage = layer.strip_prefix("layer").unwrap().parse::<u32>().unwrap() - 1;
                format!("encoder.stages.{stage}.layers.{block}.layer.{}.{end}", kind(unit))
            }
            _ => panic!("{name}"),
        }
    };
    for (depth, prefix) in [(18, "resnet."), (50, "resnet."), (50, "module.resnet."), (50, "")] {
        let wanted = wanted(depth, 7);
        let entries = named(&wanted, |name| {
            Some(match name.strip_prefix("fc.") {
                Some(end) => (String::new(), format!("classifier.1.{end}")),
                None => (String::new(), format!("{prefix}{}", theirs(name))),
            })
        });
        let fit = fit(&entries, &wanted, false).unwrap();
        assert_eq!(
            fit.tensors["layer2.0.downsample.1.weight"].name,
            format!("{prefix}encoder.stages.1.layers.0.shortcut.normalization.weight")
        );
        assert_eq!(fit.tensors["fc.weight"].name, "classifier.1.weight");
        assert_eq!(fit.tensors.len(), wanted.len());
        // Another network is told in the words of torchvision, as all are.
        let other = self::wanted(34, 7);
        let said = super::fit(&entries, &other, false).unwrap_err().to_string();
        assert!(said.contains(&format!("ResNet-{depth}")), "{said}");
    }
}

#[test]
fn heads_of_other_names_and_places_are_found_and_told() {
    let wanted = wanted(10, 5);
    for (container, head) in [
        ("state_dict", "head.fc"),
        ("state_dict", "linear"),
        ("classifier", "fc"),
    ] {
        let entries = named(&wanted, |name| {
            Some(match name.strip_prefix("fc.") {
                Some(part) => (container.to_owned(), format!("{head}.{part}")),
                None => ("state_dict".to_owned(), format!("backbone.{name}")),
            })
        });
        let fit = fit(&entries, &wanted, false).unwrap();
        assert_eq!(
            fit.tensors["fc.weight"].full_name(),
            format!("{container}.{head}.weight")
        );
        let told = format!("`{container}.{head}`");
        assert!(
            fit.notes.iter().any(|note| note.contains(&told)),
            "{:?}",
            fit.notes
        );
    }
    // A layer without a bias has one of zeros; one with a bias goes before it.
    let mut entries = named(&wanted, |name| {
        (name != "fc.bias").then(|| (String::new(), name.replace("fc.", "head.")))
    });
    let found = fit(&entries, &wanted, false).unwrap();
    assert_eq!(found.tensors["fc.weight"].name, "head.weight");
    assert_eq!(found.padding, Wanted::from([("fc.bias".to_owned(), vec![5])]));
    assert_eq!(padded("fc.bias", &[5]), [0.0; 5]);
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("`head`, has no bias"))
    );
    let features = wanted["fc.weight"][1];
    let twice = [&entries[..], &[entry("", "prototypes.weight", &[5, features])]].concat();
    let said = fit(&twice, &wanted, false).unwrap_err().to_string();
    assert!(
        said.contains("several could be") && said.contains("`prototypes.weight` [5]"),
        "{said}"
    );
    entries.extend([entry("", "fc.weight", &[5, features]), entry("", "fc.bias", &[5])]);
    let found = fit(&entries, &wanted, false).unwrap();
    assert_eq!(found.tensors["fc.weight"].name, "fc.weight");
    assert!(found.padding.is_empty());
    // A projection is no last layer of these classes.
    let entries = named(&wanted, |name| {
        Some((String::new(), name.replace("fc.", "fc.2.")))
    });
    let other = wanted_with_outputs(&wanted, 9);
    let said = fit(&entries, &other, false).unwrap_err().to_string();
    assert!(
        said.contains("`fc.2.weight` [5]") && said.contains("[9]"),
        "{said}"
    );
    assert_eq!(
        fit(&entries, &other, true).unwrap().tensors.len(),
        wanted.len() - 2
    );
    let none = named(&wanted, |name| {
        (!name.starts_with("fc.")).then(|| (String::new(), name.to_owned()))
    });
    assert!(
        fit(&none, &wanted, false)
            .unwrap_err()
            .to_string()
            .contains("no last layer")
    );
}

#[test]
fn a_last_layer_that_is_one_of_several_is_refused() {
    let wanted = wanted(10, 5);
    let features = wanted["fc.weight"][1];
    let with = |head: &str, others: &[(&str, &[usize])]| {
        let mut entries = named(&wanted, |name| {
            Some((
                String::new(),
                format!("model.{}", name.replace("fc.", &format!("{head}."))),
            ))
        });
        entries.extend(
            others
                .iter()
                .map(|(name, shape)| entry("", &format!("model.{name}"), shape)),
        );
        fit(&entries, &wanted, false)
            .map(|fit| fit.notes)
            .map_err(|misfit| misfit.to_string())
    };
    for (head, others) in [
        (
            "fc.2",
            &[
                ("fc.0.weight", &[features, features][..]),
                ("fc.0.bias", &[features]),
            ][..],
        ),
        ("fc.1", &[("fc.0.running_mean", &[features])]),
        ("head.0", &[("head.2.weight", &[5, 5])]),
        ("fc", &[("fc.lora_A", &[2, features])]),
    ] {
        let said = with(head, others).unwrap_err();
        assert!(
            said.contains(&format!("`model.{head}`, is not the only one")),
            "{said}"
        );
        assert!(said.contains(&format!("`model.{}`", others[0].0)), "{said}");
    }
    // Dropout before it has no numbers, and a counter is none.
    let counter = entry("", "model.fc.1.num_batches_tracked", &[]);
    assert!(
        !with("fc.1", &[("fc.1.num_batches_tracked", &counter.shape)])
            .unwrap()
            .is_empty()
    );
    // What may stand behind the features or not is named.
    let notes = with(
        "classifier",
        &[("bn.weight", &[features]), ("heads.aux.weight", &[9, features])],
    )
    .unwrap();
    let told = notes
        .iter()
        .any(|note| note == "not used: `model.bn.weight`, `model.heads.aux.weight`");
    assert!(told, "{notes:?}");
}

#[test]
fn pictures_that_a_network_normalises_itself_are_told() {
    let wanted = wanted(10, 5);
    for (prefix, names) in [
        ("model.", ["mean", "std"]),
        ("1.", ["0.mean", "0.std"]),
        ("", ["normalizer.mu", "normalizer.sigma"]),
    ] {
        let mut entries = named(&wanted, below("", prefix));
        entries.extend(names.map(|name| entry("", name, &[1, 3, 1, 1])));
        let notes = fit(&entries, &wanted, false).unwrap().notes;
        let told = format!("normalises its pictures by `{}`, `{}`", names[0], names[1]);
        assert!(notes.iter().any(|note| note.contains(&told)), "{notes:?}");
        // A training that starts from it has pictures and a last layer of its own.
        let notes = fit(&entries, &wanted, true).unwrap().notes;
        assert!(notes.iter().all(|note| !note.contains("normalises")), "{notes:?}");
    }
}

fn wanted_with_outputs(wanted: &Wanted, outputs: usize) -> Wanted {
    let mut other = wanted.clone();
    other.get_mut("fc.weight").unwrap()[0] = outputs;
    other.get_mut("fc.bias").unwrap()[0] = outputs;
    other
}

#[test]
fn averaged_and_momentum_copies_come_last() {
    let wanted = wanted(10, 5);
    for (first, last) in [
        (("state_dict_ema", ""), ("state_dict", "module.")),
        (("model_ema", "module."), ("model", "")),
        (("", "encoder_k."), ("", "encoder_q.")),
        (("", "teacher.backbone."), ("", "student.backbone.")),
    ] {
        let mut entries = named(&wanted, below(first.0, first.1));
        entries.extend(named(&wanted, below(last.0, last.1)));
        let fit = fit(&entries, &wanted, false).unwrap();
        let of_last =
            |entry: &&Entry| (entry.container.as_str(), true) == (last.0, entry.name.starts_with(last.1));
        assert!(fit.tensors.values().all(of_last), "{last:?}");
        assert!(
            fit.notes.iter().any(|note| note.contains("left aside")),
            "{:?}",
            fit.notes
        );
    }
    // Beside the network itself.
    let mut entries = named(&wanted, below("", ""));
    entries.extend(named(&wanted, below("", "ema.")));
    entries.push(entry("", "logistic_regression.weight", &[1, 1]));
    assert_eq!(
        fit(&entries, &wanted, false).unwrap().tensors["fc.bias"].name,
        "fc.bias"
    );
}

#[test]
fn other_networks_are_named_beside_the_one_that_is_wanted() {
    let said = |entries: &[Entry], wanted: &Wanted| fit(entries, wanted, false).unwrap_err().to_string();
    // A deeper one is not cut down, a shallower one not filled up.
    let (deep, shallow) = (wanted(34, 5), wanted(18, 5));
    let text = said(&named(&deep, below("", "module.")), &shallow);
    for word in ["ResNet-34", "`module`", "ResNet-18", "besides", "layer1.2"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = said(&named(&shallow, below("", "")), &deep);
    assert!(text.contains("without") && text.contains("layer1.2"), "{text}");
    let mut wide = shallow.clone();
    wide.insert("conv1.weight".into(), vec![4, 3, 7, 7]);
    let text = said(&named(&wide, below("", "")), &shallow);
    assert!(
        text.contains("stem of 7x7") && text.contains("stem of 3x3"),
        "{text}"
    );
    assert!(
        text.contains("`conv1.weight` [4, 3, 7, 7] for [4, 3, 3, 3]"),
        "{text}"
    );
    let mut gray = shallow.clone();
    gray.insert("conv1.weight".into(), vec![4, 1, 3, 3]);
    let text = said(&named(&gray, below("", "")), &shallow);
    assert!(
        text.contains("stem of 3x3 for pictures of 1 channel, wanted is") && text.contains("of 3 channels:"),
        "{text}"
    );
    let vgg: Vec<Entry> = (0..20)
        .map(|i| entry("", &format!("features.{i}.weight"), &[4, 4, 3, 3]))
        .collect();
    let text = said(&vgg, &shallow);
    assert!(
        text.contains("features.0.weight") && text.contains("conv1.weight"),
        "{text}"
    );
    assert!(text.contains("20 tensors"), "{text}");
    assert!(said(&[], &shallow).contains("no tensor"));
}

#[test]
fn shortcuts_that_pad_have_no_tensors() {
    let wanted = wanted(20, 5);
    let padding = |name: &str| {
        let name = name.replace("fc.", "linear.");
        (!name.contains("downsample")).then(|| ("state_dict".to_owned(), format!("module.{name}")))
    };
    let entries = named(&wanted, padding);
    let fit = fit(&entries, &wanted, false).unwrap();
    assert_eq!(fit.tensors.len() + fit.padding.len(), wanted.len());
    assert_eq!(fit.padding["layer2.0.downsample.0.weight"], [8, 4, 1, 1]);
    assert!(
        fit.notes.iter().any(|note| note.contains("option A")),
        "{:?}",
        fit.notes
    );
    let weight = padded("layer2.0.downsample.0.weight", &[4, 2, 1, 1]);
    assert_eq!(weight, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    // With some of them, or with four stages, something is missing.
    let some = |name: &str| (!name.contains("layer3.0.downsample")).then(|| (String::new(), name.to_owned()));
    let said = super::fit(&named(&wanted, some), &wanted, false)
        .unwrap_err()
        .to_string();
    assert!(said.contains("without `layer3.0.downsample"), "{said}");
    let four = super::tests::wanted(18, 5);
    let said = super::fit(&named(&four, padding), &four, false)
        .unwrap_err()
        .to_string();
    assert!(said.contains("without `layer2.0.downsample"), "{said}");
}
