//! Every command, tried in the same ways: with a reader that has gone, a full disk, JSON, a name that there
//! is not, an output that is there already, a store that may only be read. A new command needs its line here.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{copy, data, demo, dream, folder, good, written_to};

/// How a command is tried in the folder of a quick demo, whose store has the answer.
struct Trial {
    /// The command, with what it needs to do something.
    args: &'static [&'static str],
    /// Its exit code.
    code: i32,
    /// Whether it prints a result: the others write files, and refuse `--format`.
    prints: bool,
    /// The command with a name that there is not, where it takes one.
    unknown: &'static [&'static str],
    /// What then is said, beside exit code 2.
    near: &'static str,
    /// The option of its output file, and the file's name.
    output: Option<(&'static str, &'static str)>,
}

const ANSWERS: Trial = Trial {
    args: &[],
    code: 0,
    prints: true,
    unknown: &[],
    near: "",
    output: None,
};

/// The line of the table for a command with a misspelt name, and the name that is suggested.
const fn answers(
    args: &'static [&'static str],
    unknown: &'static [&'static str],
    near: &'static str,
) -> Trial {
    Trial {
        args,
        unknown,
        near,
        ..ANSWERS
    }
}

const QUICK: &str = "--preset=quick";

const TRIALS: &[Trial] = &[
    Trial {
        output: Some(("--report", "taken.html")),
        ..answers(&["demo", "--quick"], &[], "")
    },
    Trial {
        output: Some(("--report", "taken.html")),
        ..answers(&["run", "quick"], &["run", "quik"], "quick")
    },
    answers(
        &["submit", "slurm", "quick", "--shards", "2", "--dry-run"],
        &["submit", "slurm", "quik", "--dry-run"],
        "quick",
    ),
    answers(
        &["dataset", "add", "digits", "digits.parquet"],
        &["dataset", "add", "digits", "digit.parquet"],
        "digit.parquet",
    ),
    answers(&["dataset", "ls"], &[], ""),
    answers(
        &["dataset", "show", "digits"],
        &["dataset", "show", "digit"],
        "digits",
    ),
    answers(
        &["dataset", "rename", "digits", "digits"],
        &["dataset", "rename", "digit", "numbers"],
        "digits",
    ),
    Trial {
        code: 1,
        ..answers(
            &["dataset", "rm", "digits"],
            &["dataset", "rm", "digit"],
            "digits",
        )
    },
    answers(&["embed", QUICK], &["embed", "--preset", "quik"], "quick"),
    answers(
        &["encode", QUICK, "--embeddings", "quick-0-embed"],
        &["encode", QUICK, "--embeddings", "quick-0-embd"],
        "quick-0-embed",
    ),
    answers(
        &["sample", QUICK, "--features", "quick-0-encode"],
        &["sample", QUICK, "--features", "quick-0-encod"],
        "quick-0-encode",
    ),
    answers(
        &["imagine", QUICK, "--outliers", "quick-0-sample"],
        &[
            "imagine",
            QUICK,
            "--outliers",
            "quick-0-sample",
            "--class",
            "sandel",
        ],
        "sandal",
    ),
    answers(
        &["select", "quick-0-imagine", "--train-activations", "train"],
        &["select", "quick-0-imagin", "--train-activations", "train"],
        "quick-0-imagine",
    ),
    answers(
        &["detect", QUICK, "--outliers", "quick-0-imagine"],
        &["detect", QUICK, "--outliers", "quick-0-imagin"],
        "quick-0-imagine",
    ),
    answers(
        &["observe", QUICK, "quick-0-detect"],
        &["observe", QUICK, "quick-0-detct"],
        "quick-0-detect",
    ),
    answers(&["scores"], &["scores", "enrgy"], "energy"),
    answers(
        &["evaluate", QUICK, "quick-0-detect"],
        &["evaluate", QUICK, "quick-0-detect", "--ood", "digit"],
        "digits",
    ),
    answers(
        &["compare", "quick-0-evaluate", "quick-0-evaluate-plain"],
        &["compare", "quick-0-evaluat"],
        "quick-0-evaluate",
    ),
    answers(&["ls"], &["ls", "--stage", "encod"], "encode"),
    answers(
        &["show", "quick-0-embed"],
        &["show", "quick-0-embd"],
        "quick-0-embed",
    ),
    answers(
        &["lineage", "quick-0-sample"],
        &["lineage", "quick-0-sampl"],
        "quick-0-sample",
    ),
    Trial {
        code: 1,
        ..answers(
            &["diff", "quick-0-embed", "quick-0-encode"],
            &["diff", "quick-0-embed", "quick-0-encod"],
            "quick-0-encode",
        )
    },
    answers(
        &["query", "metrics"],
        &["query", "outliers", "--run", "quick-0-sampl"],
        "quick-0-sample",
    ),
    answers(
        &["sql", "SELECT stage, count(*) FROM runs GROUP BY 1"],
        &["sql", "SELECT * FROM outlier"],
        "outliers",
    ),
    answers(
        &["nearest", "features", "--to", "outliers:quick-0-sample:sandal:0"],
        &["nearest", "features", "--to", "outliers:quick-0-sampl:sandal:0"],
        "quick-0-sample",
    ),
    Trial {
        prints: false,
        output: Some(("-o", "taken.csv")),
        ..answers(
            &["export", "metrics", "-o", "new.csv", "--force"],
            &["export", "metrics", "--run", "quick-0-detct", "-o", "other.csv"],
            "quick-0-detect",
        )
    },
    answers(
        &[
            "import",
            "features",
            "features.parquet",
            "--embeddings",
            "quick-0-embed",
        ],
        &[
            "import",
            "features",
            "features.parquet",
            "--embeddings",
            "quick-0-embd",
        ],
        "quick-0-embed",
    ),
    Trial {
        output: Some(("-o", "taken")),
        ..answers(
            &["regenerate", "--run", "quick-0-imagine", "--class", "sandal"],
            &["regenerate", "--run", "quick-0-imagine", "--class", "sandel"],
            "sandal",
        )
    },
    answers(
        &["reproduce", "quick-0-sample"],
        &["reproduce", "quick-0-sampl"],
        "quick-0-sample",
    ),
    Trial {
        output: Some(("-o", "taken.html")),
        ..answers(
            &["report", "quick-0-evaluate", "-o", "new.html", "--force"],
            &["report", "quick-0-evaluat", "-o", "other.html"],
            "quick-0-evaluate",
        )
    },
    Trial {
        code: 1,
        ..answers(
            &["rm", "quick-0-evaluate"],
            &["rm", "quick-0-evaluat"],
            "`quick-0-evaluate`",
        )
    },
    answers(
        &["alias", "set", "mine", "quick-0-embed"],
        &["alias", "set", "mine", "quick-0-embd"],
        "`quick-0-embed`",
    ),
    answers(&["alias", "ls"], &[], ""),
    answers(
        &["note", "quick-0-embed", "words"],
        &["note", "quick-0-embd", "words"],
        "`quick-0-embed`",
    ),
    answers(&["verify"], &[], ""),
    answers(&["repair"], &["repair", "--from", "none.redb"], "none.redb"),
    answers(&["gc"], &[], ""),
    answers(&["du"], &[], ""),
    answers(&["merge", "copy.redb"], &["merge", "none.redb"], "none.redb"),
    answers(&["upgrade"], &[], ""),
    Trial {
        prints: false,
        ..answers(&["completions", "bash"], &["completions", "bassh"], "bash")
    },
    Trial {
        prints: false,
        ..answers(&["man", "pages", "--force"], &[], "")
    },
];

/// Commands that can be given once, or in a place of their own: `mend.rs` and `submit.rs` try them.
const ONCE: [&[&str]; 3] = [&["alias", "rm"], &["recover"], &["submit", "task"]];

impl Trial {
    /// Its words before the first name or option: the command.
    fn is_of(&self, command: &[String]) -> bool {
        self.args.len() >= command.len() && self.args.iter().zip(command).all(|(a, b)| a == b)
    }
}

/// A copy of the quick demo, with files that the trials read.
fn place() -> tempfile::TempDir {
    let folder = folder();
    let path = folder.path();
    copy(demo(), path);
    std::fs::copy(path.join("dream.redb"), path.join("copy.redb")).unwrap();
    std::fs::copy(data().join("ood/digits.parquet"), path.join("digits.parquet")).unwrap();
    let observe = [
        "observe",
        "-q",
        "--preset",
        "quick",
        "quick-0-detect",
        "--split",
        "train",
        "--alias",
        "train",
    ];
    good(path, &observe);
    let features = path.join("features.parquet").display().to_string();
    good(
        path,
        &["export", "features", "--run", "quick-0-encode", "-o", &features],
    );
    folder
}

/// The commands that the help of `command` lists.
fn below(command: &[String]) -> Vec<Vec<String>> {
    let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let help = good(demo(), &words);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let own = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = own.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(|name| [command, &[name.to_owned()]].concat()).collect()
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

#[test]
fn every_command_has_its_line() {
    let mut waiting = below(&[]);
    assert!(waiting.len() > 20, "{waiting:?}");
    while let Some(command) = waiting.pop() {
        let inner = below(&command);
        assert!(
            !inner.is_empty()
                || ONCE.contains(&&*words(&command))
                || TRIALS.iter().any(|trial| trial.is_of(&command)),
            "{command:?} has no line in the table"
        );
        waiting.extend(inner);
    }
}

#[test]
fn no_command_trips_over_its_output() {
    let folder = place();
    for trial in TRIALS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = written_to(folder.path(), trial.args, writer.into());
        let gone = if trial.prints { 0 } else { trial.code };
        assert!(
            code == Some(gone) || code == Some(trial.code),
            "{:?}: {said}",
            trial.args
        );
        assert!(!said.contains("error"), "{:?}: {said}", trial.args);
        let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let (code, said) = written_to(folder.path(), trial.args, full());
        if trial.prints && !said.is_empty() && code == Some(1) && trial.code == 0 {
            assert!(said.contains("No space left"), "{:?}: {said}", trial.args);
        }
        let help: Vec<&str> = trial.args.iter().copied().take(1).chain(["--help"]).collect();
        let (code, said) = written_to(folder.path(), &help, full());
        assert_eq!(code, Some(1), "{help:?}: {said}");
    }
}

#[test]
fn every_command_that_prints_a_result_prints_json() {
    let folder = place();
    const TEXT: [&str; 1] = ["import"];
    let text = |trial: &&Trial| TEXT.contains(&trial.args[0]);
    for trial in TRIALS.iter().filter(|trial| !text(trial)) {
        let args = [&["-q", "--format", "json"], trial.args].concat();
        let output = dream(folder.path(), &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !trial.prints {
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("--format is of no use"), "{args:?}: {said}");
            continue;
        }
        assert_eq!(output.status.code(), Some(trial.code), "{args:?}: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            let value: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(value.is_ok_and(|v| v.is_object()), "{args:?}: {line}");
        }
        assert!(!text.is_empty(), "{args:?} prints nothing");
    }
}

#[test]
fn a_name_that_there_is_not_is_an_error_with_the_one_like_it() {
    let folder = place();
    let known = |trial: &&Trial| trial.unknown.is_empty();
    for trial in TRIALS.iter().filter(|trial| !known(trial)) {
        let args = trial.unknown;
        let (code, said) = written_to(folder.path(), args, Stdio::piped());
        assert_eq!(code, Some(2), "{args:?}: {said}");
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{args:?}: {said}");
        assert!(said.contains(trial.near), "{args:?}: {said}");
    }
}

#[test]
fn what_is_there_is_not_written_over() {
    let folder = place();
    for trial in TRIALS {
        let Some((option, file)) = trial.output else {
            continue;
        };
        std::fs::write(folder.path().join(file), "mine").unwrap();
        let mut args: Vec<&str> = trial
            .args
            .iter()
            .copied()
            .filter(|arg| *arg != "--force")
            .collect();
        if let Some(place) = args.iter().position(|arg| *arg == option) {
            args.drain(place..place + 2);
        }
        args.extend([option, file]);
        let (code, said) = written_to(folder.path(), &args, Stdio::piped());
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(
            said.contains("is there already") || said.contains("--force"),
            "{args:?}: {said}"
        );
        assert_eq!(std::fs::read_to_string(folder.path().join(file)).unwrap(), "mine");
    }
}

#[test]
fn a_store_that_may_only_be_read_is_read_or_refused_in_a_line() {
    let folder = place();
    let store = folder.path().join("dream.redb");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o444)).unwrap();
    for trial in TRIALS {
        let (code, said) = written_to(folder.path(), trial.args, Stdio::piped());
        let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(
            code == Some(trial.code) || (code == Some(1) && errors == 1),
            "{:?}: {code:?} {said}",
            trial.args
        );
    }
}
