//! The scripts that Slurm runs.

use std::fmt::Write as _;
use std::path::Path;

use dream_ood::stage::pipeline::{Plan, Step};

use super::folder::{Folder, Job};

/// A job as it is submitted.
#[derive(Clone, Debug)]
pub struct Script {
    /// The job.
    pub job: Job,
    /// How many tasks its array has; none where it is no array.
    pub tasks: Option<u64>,
    /// The jobs that must have ended well before.
    pub after: Vec<Job>,
    /// Whether it computes with networks.
    pub computes: bool,
}

/// What all scripts have in common.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The name of the preset.
    pub name: &'a str,
    /// The job's folder.
    pub folder: &'a Folder,
    /// Lines behind `#SBATCH`, for all jobs.
    pub options: Vec<String>,
    /// Such lines for jobs that compute with networks.
    pub computing: Vec<String>,
    /// Words behind `dream`, for all jobs.
    pub shared: Vec<String>,
    /// Such words for jobs that compute with networks.
    pub device: Vec<String>,
    /// Words behind `merge`.
    pub merge: Vec<String>,
    /// Seconds before the time limit at which a task is told to stop.
    pub grace: u32,
    /// How many tasks of an array run at once.
    pub at_once: Option<u32>,
}

/// Returns the jobs of a plan, in the order in which they are submitted.
pub fn scripts(plan: &Plan) -> Vec<Script> {
    let sharded = plan.shards > 1;
    let mut scripts: Vec<Script> = Vec::new();
    for (step, before) in plan.steps() {
        let job = |step: Step| match step {
            Step::Imagine if sharded => Job::Gather,
            step => Job::Step(step),
        };
        let after: Vec<Job> = before.into_iter().map(job).collect();
        let tasks = plan.tasks_of(step).len() as u64;
        let divided = sharded && step == Step::Imagine;
        scripts.push(Script {
            job: Job::Step(step),
            tasks: Some(if divided { tasks * plan.shards } else { tasks }),
            after,
            computes: !matches!(step, Step::Embed | Step::Sample),
        });
        if divided {
            scripts.push(Script {
                job: Job::Gather,
                tasks: Some(tasks),
                after: vec![Job::Step(step)],
                computes: false,
            });
        }
    }
    scripts.push(Script {
        job: Job::Merge,
        tasks: None,
        after: scripts.iter().map(|script| script.job).collect(),
        computes: false,
    });
    scripts
}

impl Script {
    /// Returns its text.
    pub fn text(&self, frame: &Frame<'_>, program: &Path) -> String {
        let mut text = String::from("#!/bin/sh\n");
        let job = self.job;
        let mut option = |option: &str| {
            let _ = writeln!(text, "#SBATCH {option}");
        };
        let logs = frame.folder.logs();
        option(&directive(&format!("--job-name={}-{job}", frame.name)));
        let log = match self.tasks {
            Some(tasks) => {
                let at_once = frame.at_once.map_or(String::new(), |n| format!("%{n}"));
                option(&format!("--array=0-{}{at_once}", tasks.saturating_sub(1)));
                "%A_%a"
            }
            None => "%j",
        };
        let log = logs.join(format!("{job}-{log}.log"));
        option(&directive(&format!("--output={}", log.display())));
        option("--open-mode=append");
        option("--requeue");
        option(&format!("--signal=B:USR1@{}", frame.grace));
        option("--kill-on-invalid-dep=yes");
        let computing = frame.computing.iter().filter(|_| self.computes);
        frame
            .options
            .iter()
            .chain(computing)
            .for_each(|line| option(line));
        let mut words = vec![program.display().to_string()];
        words.extend(frame.shared.iter().cloned());
        words.extend(frame.device.iter().filter(|_| self.computes).cloned());
        words.extend([
            "submit".into(),
            "task".into(),
            frame.folder.0.display().to_string(),
        ]);
        words.push(job.to_string());
        if job == Job::Merge {
            words.extend(frame.merge.iter().cloned());
        }
        let mut command = words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ");
        if self.tasks.is_some() {
            command.push_str(" \"$SLURM_ARRAY_TASK_ID\"");
        }
        text.push_str(&BODY.replace("COMMAND", &command));
        text
    }
}

/// What a script does. The shell waits for the program whatever signal comes, so that Slurm does not end the
/// job before it.
const BODY: &str = r#"
# SIGTERM (scancel, preemption) and SIGUSR1 (the time limit is near) have the pictures in hand ended and
# stored. After SIGUSR1 the task is queued again, and goes on from there.
again=
COMMAND &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null' TERM
trap 'again=yes; kill -TERM "$pid" 2>/dev/null' USR1
while wait "$pid"; code=$?; kill -0 "$pid" 2>/dev/null; do :; done
if [ -n "$again" ] && [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"#;

/// Returns an option `--NAME=VALUE` as sbatch takes it in a line of a script, where quotes hold a value with
/// blanks together.
fn directive(option: &str) -> String {
    match option.split_once('=') {
        Some((name, value)) if value.contains(|c: char| c.is_whitespace() || "\"'#\\".contains(c)) => {
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            format!("{name}=\"{value}\"")
        }
        _ => option.to_owned(),
    }
}

/// Returns what --sbatch gives as a line of a script. Quotes of its own, further options and a value behind a
/// blank (`--partition gpu`) are taken as they are.
pub fn given(option: &str) -> String {
    let mut words = option.split_whitespace();
    let has_value = words.next().is_some_and(|first| first.contains('='));
    let is_one = has_value && words.all(|word| !word.starts_with('-'));
    match is_one && !option.contains(['"', '\'', '\\']) {
        true => directive(option),
        false => option.to_owned(),
    }
}

/// Returns a word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_sbatch() {
        assert_eq!(directive("--output=/a/b-%j.log"), "--output=/a/b-%j.log");
        assert_eq!(directive("--output=/a b/%j.log"), "--output=\"/a b/%j.log\"");
        assert_eq!(directive("--output=/it's/\"a\""), r#"--output="/it's/\"a\"""#);
        for (option, expected) in [
            ("--comment=a b", "--comment=\"a b\""),
            ("--comment=\"a b\"", "--comment=\"a b\""),
            ("--partition gpu", "--partition gpu"),
            ("--qos=a --nice=5", "--qos=a --nice=5"),
            ("--exclusive", "--exclusive"),
        ] {
            assert_eq!(given(option), expected);
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("/a/b-1.redb"), "/a/b-1.redb");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
