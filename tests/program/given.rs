//! What is given is used, or refused before any work: names that mean something else, options that nothing
//! reads, counts beyond bounds.

use std::path::Path;

use crate::support::{data, dream, folder, good, json, preset, quick_preset, store};

/// Runs `dream`, which must refuse, and returns all that it says.
fn refusal(folder: &Path, args: &[&str]) -> String {
    let output = dream(folder, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    said
}

/// Each command is refused with exit code 2, and says each of the words.
fn refused(folder: &Path, trials: &[(&[&str], &[&str])]) {
    for (args, words) in trials {
        let error = refusal(folder, args);
        for word in *words {
            assert!(error.contains(word), "{args:?}: {word}: {error}");
        }
    }
}

#[test]
fn no_set_is_called_as_another_line_of_a_table_or_a_path() {
    let folder = store();
    let folder = folder.path();
    let digits = data().join("ood/digits.parquet");
    let digits = digits.to_str().unwrap();
    std::fs::copy(folder.join("dream.redb"), folder.join("other.redb")).unwrap();
    refused(
        folder,
        &[
            (
                &["dataset", "rename", "digits", "average"],
                &["`average`", "mean"],
            ),
            (&["dataset", "rename", "digits", "a/b"], &["only letters"]),
            (&["dataset", "rename", "digits", ".."], &["another folder"]),
            (&["dataset", "add", "average", digits], &["`average`"]),
            (
                &["dataset", "add", "shirt", digits],
                &["is registered with the digest"],
            ),
            (&["merge", "other.redb", "--rename", "shirt=a b"], &["`a b`"]),
            (
                &["merge", "other.redb", "--rename", "shirt=a\nb"],
                &["cannot be the name"],
            ),
            (
                &["merge", "other.redb", "--rename", "shirt=digits"],
                &["`--rename shirt=NEW`"],
            ),
            (&["alias", "set", "../x", "quick-0-embed"], &["another folder"]),
        ],
    );
    for (from, to, word) in [
        ("name = \"digits\"", "name = \"average\"", "`average`"),
        ("name = \"quick\"", "name = \"../../x\"", "another folder"),
        ("name = \"quick\"", "name = \"x/y\"", "another folder"),
        ("name = \"tiny-sd\"", "name = \"digits\"", "`digits`"),
        (
            "name = \"digits\"",
            "name = \"fashion-mini\"",
            "two image sets are called `fashion-mini`",
        ),
        ("name = \"digits\"", "name = \"a b\"", "`a b`"),
    ] {
        preset(folder, &[(from, to)]);
        let error = refusal(folder, &["run", "mine.toml", "--check"]);
        assert!(error.contains(word), "{to}: {error}");
    }
    // The ID set under another name, before it is registered under either.
    let fresh = crate::support::folder();
    preset(
        fresh.path(),
        &[("name = \"digits\", path = \"", "name = \"again\", path = \"")],
    );
    let text = std::fs::read_to_string(fresh.path().join("mine.toml")).unwrap();
    let text = text.replace("ood/digits.parquet", "fashion-mini");
    let text = text.replace("ood_split = \"all\"", "ood_split = \"test\"");
    std::fs::write(fresh.path().join("mine.toml"), text).unwrap();
    let error = refusal(fresh.path(), &["run", "mine.toml", "--check"]);
    assert!(
        error.contains("these are the images of the ID set once more"),
        "{error}"
    );
}

#[test]
fn a_pipeline_registers_nothing_where_a_name_is_taken() {
    let folder = folder();
    let folder = folder.path();
    let digits = data().join("ood/digits.parquet");
    good(
        folder,
        &["dataset", "add", "textures", digits.to_str().unwrap(), "-q"],
    );
    preset(folder, &[]);
    let error = refusal(folder, &["run", "-q", "mine.toml"]);
    assert!(
        error.contains("`textures` is registered with the digest"),
        "{error}"
    );
    let sets = json(folder, &["dataset", "ls"]);
    assert_eq!(sets.len(), 1, "{sets:?}");
}

#[test]
fn settings_that_nothing_reads_are_refused() {
    let folder = store();
    let folder = folder.path();
    let evaluate = |more: &[&'static str]| -> Vec<&'static str> {
        let base = ["evaluate", "quick-0-detect", "--preset", "quick", "--check"];
        [&base[..], more].concat()
    };
    let stored = |more: &[&'static str]| -> Vec<&'static str> {
        let base = [
            "evaluate",
            "--check",
            "--activations",
            "quick-0-observe-fashion-mini-test",
            "--ood-activations",
            "quick-0-observe-shirt-all",
        ];
        [&base[..], more].concat()
    };
    let unread = "none of the scores learns from validation images";
    for (args, word) in [
        (
            evaluate(&["--validation-split", "test", "--scores", "msp"]),
            unread,
        ),
        (
            evaluate(&["--scores", "msp", "--set", "validation_split=test"]),
            unread,
        ),
        (
            evaluate(&["--set", "ood_validation_split=all"]),
            "no set to search hyperparameters on",
        ),
        (
            evaluate(&["--set", "ood_splits={\"shrit\":\"all\"}"]),
            "did you mean `shirt`?",
        ),
        (evaluate(&["--set", "draws.seed=3"]), "`--draws N`"),
        (evaluate(&["--draws", "1000000000"]), "1..=10000"),
        (
            evaluate(&[
                "--set",
                "draws={\"repeats\":1000000000,\"id_per_ood\":5,\"seed\":0}",
            ]),
            "1 to 10000",
        ),
        (
            evaluate(&["--ood", "fashion-mini:train"]),
            "images that the classifier was trained on",
        ),
        (
            evaluate(&["--set", "split=train"]),
            "id: these are the images that the classifier was trained on",
        ),
        (
            evaluate(&["--scores", "react", "--validation-split", "train"]),
            "`react` learns from ID images held out of training, and these are",
        ),
        (
            evaluate(&["--scores", "gen:top=1000000000000"]),
            "at most 4294967295",
        ),
        (
            evaluate(&["--set", "scores=[{\"name\":\"knn\",\"k\":5}]"]),
            "values = { k = 10 }",
        ),
        (stored(&["--set", "split=train"]), "--set split"),
        (stored(&["--set", "ood_splits.shirt=all"]), "--set ood_splits"),
        (
            stored(&[
                "--scores",
                "msp",
                "--train-activations",
                "quick-0-observe-fashion-mini-test",
            ]),
            "--train-activations: none of the scores",
        ),
    ] {
        let error = refusal(folder, &args);
        assert!(error.contains(word), "{args:?}: {error}");
    }
    let preset_with = |line: &str| {
        preset(
            folder,
            &[("ood_split = \"all\"", &format!("ood_split = \"all\"\n{line}"))],
        );
        refusal(folder, &["run", "mine.toml", "--check"])
    };
    assert!(preset_with("validation_split = \"test\"").contains(unread));
    let text = quick_preset();
    let (before, own) = text.split_at(text.find("[evaluate]").unwrap());
    assert!(own.contains("\nsplit = \"test\"\n"), "{own}");
    let on_train = own.replace("\nsplit = \"test\"\n", "\nsplit = \"train\"\n");
    std::fs::write(folder.join("mine.toml"), format!("{before}{on_train}")).unwrap();
    let error = refusal(folder, &["run", "mine.toml", "--check"]);
    assert!(
        error.contains("images that the classifier was trained on"),
        "{error}"
    );
    assert!(preset_with("ood_splits = { shrit = \"all\" }").contains("did you mean `shirt`?"));
    // What a preset that ships says for its own sets is passed over with others.
    let other = [
        "evaluate",
        "quick-0-detect",
        "--preset",
        "cifar10",
        "--check",
        "--scores",
        "msp",
    ];
    assert_eq!(
        good(folder, &[&other[..], &["--ood", "shirt"]].concat()),
        "all is well\n"
    );
}

#[test]
fn a_draw_that_is_all_of_a_set_is_told_where_its_numbers_are() {
    let folder = store();
    let folder = folder.path();
    // A fifth of the 8,000 ID images is more than the 1,000 of this set, but not than those of the digits.
    let drawn = [
        "evaluate",
        "quick-0-detect",
        "--preset",
        "quick",
        "--scores",
        "msp",
        "--draws",
        "2",
        "--alias",
        "drawn",
        "--ood",
        "shirt",
        "digits",
    ];
    let output = dream(folder, &drawn);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("every draw from `shirt` is all of its 1000 images"),
        "{said}"
    );
    assert!(!said.contains("from `digits`"), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout);
    for told in [&*shown, &good(folder, &["compare", "drawn"])] {
        assert!(told.contains("every draw from shirt is all images"), "{told}");
    }
    let output = dream(folder, &["compare", "drawn", "--format", "csv"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("every draw from shirt is all images"), "{said}");
    good(folder, &["report", "drawn", "-o", "drawn.html"]);
    let page = std::fs::read_to_string(folder.join("drawn.html")).unwrap();
    assert!(page.contains("every draw from shirt is all images"));
}

#[test]
fn words_of_classes_are_of_classes_that_there_are() {
    let folder = store();
    let imagine = [
        "imagine",
        "--embeddings",
        "quick-0-embed",
        "--preset",
        "quick",
        "--check",
        "--set",
    ];
    for (set, word) in [
        ("suffixes={\"bagg\":\"x\"}", "did you mean `bag`?"),
        ("suffixes.bagg=x", "did you mean `bag`?"),
        ("prompts={\"bagg\":\"a <class>\"}", "did you mean `bag`?"),
        ("suffixes.bag= of <class>", "filled in prompts alone"),
    ] {
        let error = refusal(folder.path(), &[&imagine[..], &[set]].concat());
        assert!(error.contains(word), "{set}: {error}");
    }
    good(
        folder.path(),
        &[&imagine[..], &["suffixes={\"bag\":\" of leather\"}"]].concat(),
    );
}

#[test]
fn a_table_says_which_line_is_of_subsets() {
    let folder = store();
    let folder = folder.path();
    let of = [
        "evaluate",
        "quick-0-detect",
        "--preset",
        "quick",
        "-q",
        "--scores",
        "msp",
    ];
    good(folder, &[&of[..], &["--alias", "whole"]].concat());
    good(folder, &[&of[..], &["--draws", "3", "--alias", "drawn"]].concat());
    let mut names: Vec<String> = json(folder, &["compare", "whole", "drawn", "--metric", "auroc"])
        .iter()
        .map(|row| row["network"].as_str().unwrap().to_owned())
        .collect();
    names.dedup();
    assert_eq!(names, ["dream", "dream 3 draws"]);
    // What depends on how many images there are has no best.
    let both = good(folder, &["compare", "whole", "drawn", "--metric", "aupr_in"]);
    assert!(
        both.contains("no best is marked") && !both.contains('*'),
        "{both}"
    );
    good(folder, &["report", "whole", "-o", "both.html"]);
    let page = std::fs::read_to_string(folder.join("both.html")).unwrap();
    assert_eq!(page.matches("<b>Convention: ").count(), 2);
    assert!(page.contains("drawn 3 times over"));
    let latex = [
        "compare",
        "whole",
        "--metric",
        "detection_error",
        "--layout",
        "latex",
    ];
    let latex = good(folder, &latex);
    assert!(latex.contains("{detection\\_error $"), "{latex}");
    // Paired tests are of all images, whatever was drawn.
    let paired = |one, other| {
        let args = [
            "compare", one, other, "--paired", "--scores", "msp", "--draws", "100",
        ];
        String::from_utf8(dream(folder, &args).stderr).unwrap()
    };
    let (said, of_all) = (paired("whole", "drawn"), "over all images of the sets");
    assert!(said.contains(of_all), "{said}");
    let said = paired("quick-0-evaluate", "quick-0-evaluate-plain");
    assert!(!said.contains(of_all), "{said}");
    refused(
        folder,
        &[
            (
                &["compare", "whole", "--layout", "openood", "--spread", "sample"],
                &["leave --spread out"],
            ),
            (
                &["compare", "whole", "drawn", "--paired", "--spread", "sample"],
                &["--spread"],
            ),
        ],
    );
}

#[test]
fn an_alias_that_somebody_put_elsewhere_is_not_moved() {
    let folder = store();
    let folder = folder.path();
    good(
        folder,
        &["alias", "set", "quick-0-embed", "quick-0-sample", "--move"],
    );
    for args in [
        &["run", "-q", "quick"][..],
        &["run", "-q", "quick", "--check"],
        &["demo", "-q", "--quick"],
    ] {
        let error = refusal(folder, args);
        assert!(
            error.contains("the alias `quick-0-embed` names run") && error.contains("dream alias rm"),
            "{error}"
        );
    }
    good(folder, &["alias", "rm", "quick-0-embed"]);
    good(folder, &["run", "-q", "quick"]);
    // Nobody can tell whether `run` or a user gave this one: it is told, also with -q.
    let sample = [
        "sample",
        "--features",
        "quick-0-encode",
        "--preset",
        "quick",
        "-q",
    ];
    good(
        folder,
        &[&sample[..], &["--set", "sampling.sigma=0.3", "--alias", "other"]].concat(),
    );
    good(folder, &["alias", "set", "quick-0-sample", "other", "--move"]);
    let output = dream(folder, &["run", "-q", "quick"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the alias `quick-0-sample` named"), "{said}");
}

#[test]
fn labels_in_another_order_are_not_dropped_without_a_word() {
    let folder = store();
    let folder = folder.path();
    let all = [
        "tshirt", "trouser", "pullover", "dress", "coat", "sandal", "bag", "boot",
    ];
    let png = dream_ood::exchange::encode_png(
        &dream_ood::bitmap::Bitmap {
            width: 4,
            height: 4,
            rgb: vec![7; 48],
        },
        &[],
    )
    .unwrap();
    for (set, classes) in [
        ("some", &all[1..3]),
        ("sorted", &all[..]),
        ("strange", &["moth", "wasp"]),
    ] {
        for class in classes {
            let place = folder.join(set).join("test").join(class);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("a.png"), &png).unwrap();
        }
        good(folder, &["dataset", "add", set, set, "-q"]);
    }
    let observe = |set: &'static str| ["observe", "quick-0-detect", "--check", "--dataset", set];
    let error = refusal(folder, &observe("sorted"));
    assert!(
        error.contains("in another order") && error.contains("`--matched`"),
        "{error}"
    );
    good(folder, &[&observe("sorted")[..], &["--matched"]].concat());
    let said = |set| String::from_utf8(dream(folder, &observe(set)).stderr).unwrap();
    assert_eq!(said("strange"), "");
    let said = said("some");
    assert!(
        said.contains("2 of the classifier's 8 classes") && said.contains("`--matched`"),
        "{said}"
    );
}

#[test]
fn a_report_is_headed_by_the_run_that_was_named() {
    let folder = store();
    let folder = folder.path();
    for alias in ["quick-0-evaluate", "quick-0-evaluate-plain"] {
        let run = json(folder, &["show", alias]);
        let id = run[0]["run"].as_str().unwrap().to_owned();
        good(folder, &["report", alias, "-o", "page.html", "--force", "-q"]);
        let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
        assert!(
            page.contains(&format!("<title>evaluate {:.8}</title>", id)),
            "{alias}"
        );
        assert!(page.contains(&format!("<dt>run</dt><dd>{id}</dd>")), "{alias}");
    }
}

#[test]
fn scores_that_come_with_a_method_of_training_are_listed_as_the_others() {
    let folder = store();
    let folder = folder.path();
    let listed = good(folder, &["scores"]);
    for (name, words) in [
        ("dream", "phi (of the methods"),
        ("extra-class", "class of outliers"),
    ] {
        assert!(listed.contains(&format!("\n{name} ")), "{listed}");
        assert!(good(folder, &["scores", name]).contains(words), "{name}");
        assert!(good(folder, &["evaluate", "--help"]).contains(name), "{name}");
    }
    assert!(refusal(folder, &["scores", "draem"]).contains("did you mean `dream`?"));
    // `all` says which of them it leaves out.
    let of = |run| {
        let args = ["evaluate", run, "--preset", "quick", "--scores", "all", "--check"];
        String::from_utf8(dream(folder, &args).stderr).unwrap()
    };
    let (own, plain) = (of("quick-0-detect"), of("quick-0-detect-plain"));
    let (phi, class) = (
        "left out: `dream` needs phi",
        "left out: `extra-class` needs a class",
    );
    assert!(!own.contains(phi) && own.contains(class), "{own}");
    assert!(plain.contains(phi) && plain.contains(class), "{plain}");
}

#[test]
fn a_score_that_is_named_is_computed_or_refused() {
    let folder = store();
    let folder = folder.path();
    let of = |runs: &[&'static str], scores: &'static str| {
        let more = ["--preset", "quick", "--scores", scores, "--check"];
        [&["evaluate"][..], runs, &more[..]].concat()
    };
    let error = refusal(folder, &of(&["quick-0-detect-plain"], "dream,msp"));
    assert!(error.contains("`dream` needs phi"), "{error}");
    good(folder, &of(&["quick-0-detect"], "dream,msp"));
    // One of two classifiers has it: the other goes without, which is told.
    let both = of(&["quick-0-detect-plain", "quick-0-detect"], "dream,msp");
    let output = dream(folder, &both);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("is evaluated without `dream`"), "{said}");

    // Of activations too; and a score that is mistyped is told before what it would have read.
    let observed = json(
        folder,
        &[
            "sql",
            "SELECT i.input, i.role FROM run_inputs i JOIN run_aliases a ON a.run = i.run
             WHERE a.alias = 'quick-0-evaluate-plain' ORDER BY i.role",
        ],
    );
    let input = |role: &str| {
        let row = observed.iter().find(|row| row["role"] == role).unwrap();
        row["input"].as_str().unwrap().to_owned()
    };
    let (id, ood, train) = (input("id"), input("ood/digits"), input("ood/shirt"));
    let of = |scores: &'static str| {
        refusal(
            folder,
            &[
                "evaluate",
                "--activations",
                &id,
                "--ood-activations",
                &ood,
                "--train-activations",
                &train,
                "--scores",
                scores,
            ],
        )
    };
    assert!(of("dream,knn:k=3").contains("`dream` needs phi"));
    for (scores, words) in [
        ("knnn", "there is no score `knnn`"),
        ("knn:kk=3", "knn has no \"kk\""),
        ("knn:k=1.5", "k is 1.5, expected a whole number"),
    ] {
        let error = of(scores);
        assert!(error.contains(words), "{scores}: {error}");
        assert!(!error.contains("none of the scores learns"), "{scores}: {error}");
    }
}

#[test]
fn the_example_of_every_stage_is_a_parameter_that_it_has() {
    let folder = store();
    let folder = folder.path();
    for args in [
        &["embed"][..],
        &["encode", "--embeddings", "quick-0-embed"],
        &["sample", "--features", "quick-0-encode"],
        &["imagine", "--outliers", "quick-0-sample"],
        &[
            "select",
            "quick-0-imagine",
            "--train-activations",
            "quick-0-embed",
        ],
        &["detect", "--outliers", "quick-0-imagine"],
        &["observe", "quick-0-detect"],
        &["evaluate", "quick-0-detect"],
    ] {
        let help = good(folder, &[args[0], "--help"]);
        let example = help.split("as in `--set ").nth(1).expect(args[0]);
        let example = example.split('`').next().unwrap().to_owned();
        let output = dream(
            folder,
            &[args, &["--preset", "quick", "--check", "--set", &example]].concat(),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let key = example.split(['.', '=']).next().unwrap();
        assert!(!said.contains("unknown field"), "{args:?} {example}: {said}");
        assert!(!said.contains(&format!("unexpected argument '{key}")), "{said}");
    }
}

#[test]
fn settings_that_differ_beside_the_axis_are_lines_of_their_own() {
    let folder = store();
    let folder = folder.path();
    let mut runs = Vec::new();
    for (draws, seed) in [("2", "0"), ("2", "1"), ("3", "0"), ("3", "1")] {
        let (alias, seed) = (format!("d{draws}-{seed}"), format!("draws.seed={seed}"));
        let args = [
            "evaluate",
            "quick-0-detect",
            "--preset",
            "quick",
            "-q",
            "--scores",
            "msp",
        ];
        let more = ["--draws", draws, "--set", &seed, "--alias", &alias];
        good(folder, &[&args[..], &more].concat());
        runs.push(alias);
    }
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let over = [
        "--over",
        "evaluate.draws.seed",
        "--metric",
        "auroc",
        "--plot",
        "a.svg",
    ];
    let rows = json(folder, &[&["compare"][..], &runs[..], &over].concat());
    let averages = rows
        .iter()
        .filter(|row| row["dataset"].is_null() && row["group"].is_null());
    let settings: Vec<String> = averages.map(|row| row["setting"].to_string()).collect();
    let wanted = [(0, 2), (1, 2), (0, 3), (1, 3)];
    let wanted = wanted.map(|(seed, repeats)| {
        format!("{{\"evaluate.draws.repeats\":{repeats},\"evaluate.draws.seed\":{seed}}}")
    });
    assert_eq!(settings, wanted);
    let svg = std::fs::read_to_string(folder.join("a.svg")).unwrap();
    for repeats in [2, 3] {
        let line = format!(">dream, msp, evaluate.draws.repeats={repeats}</text>");
        assert_eq!(svg.matches(&line).count(), 1, "{line}: {svg}");
    }
}
