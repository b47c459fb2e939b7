//! Processes: this one, the one that works on a run, the one that holds a store. What this machine is called
//! is for the front end to say.

use std::path::Path;

use dream_schema::{Process, Run, Status, words};

use crate::store::{Readable, Store, StoreError};

/// Returns this process.
pub fn own_process() -> Process {
    let pid = std::process::id();
    Process {
        pid,
        started: started(pid),
    }
}

/// Says of a store that is held by another process, or by this one, which one that is, where it can be seen.
///
/// # Errors
/// The one that opening it failed with.
pub fn with_holder(opened: Result<Store, StoreError>, host: &str) -> Result<Store, StoreError> {
    match opened {
        Err(StoreError::Locked { path, .. }) => {
            let holder = writer_of(&path, host).or_else(|| begun_by(&path, host));
            Err(StoreError::Locked { path, holder })
        }
        opened => opened,
    }
}

/// Returns when a process was started, in the kernel's ticks; none if there is no such process, or the system
/// does not say.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, whatever is in it; when it was started is the 22nd.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

words! {
    /// How far a run has come, and whether a process works on it.
    pub enum State {
        /// Finished.
        Finished = "finished",
        /// Given up with an error.
        Failed = "failed",
        /// A process works on it.
        Running = "running",
        /// Begun, and no process works on it: asked for again, it goes on.
        Interrupted = "interrupted",
        /// Begun, and whether a process works on it cannot be seen from here.
        Unknown = "unknown",
        /// What is left after rows of it were lost: asked for again, it is made from the beginning.
        Partial = "partial",
    }
}

impl State {
    /// Returns the state of a run, as it is seen from this machine, which is called `host`.
    pub fn of(run: &Run, host: &str) -> Self {
        match (run.status, run.process) {
            (Status::Finished, _) => Self::Finished,
            (Status::Failed, _) => Self::Failed,
            (Status::Partial, _) => Self::Partial,
            (Status::Running, Some(process)) if run.host == host => {
                // Where this process cannot see its own beginning, it sees no other's.
                match (process.started, started(std::process::id())) {
                    (Some(_), Some(_)) if started(process.pid) == process.started => Self::Running,
                    (Some(_), Some(_)) => Self::Interrupted,
                    _ => Self::Unknown,
                }
            }
            (Status::Running, _) => Self::Unknown,
        }
    }

    /// Says it at more length, with what follows from it.
    pub fn in_words(self, run: &Run) -> String {
        let pid = run
            .process
            .map_or(String::new(), |process| format!("process {} ", process.pid));
        match self {
            Self::Finished | Self::Failed => self.name().to_owned(),
            Self::Running => format!("running ({pid}works on it)"),
            Self::Interrupted => {
                format!("interrupted ({pid}has ended; the same command goes on from there)")
            }
            Self::Partial => {
                "partial (rows of it were lost; the same command makes it from the beginning)".to_owned()
            }
            Self::Unknown if run.process.is_none() => {
                "running or interrupted (its process is not on record)".to_owned()
            }
            Self::Unknown => format!(
                "running or interrupted ({pid}on {} cannot be seen from here)",
                run.host
            ),
        }
    }

    /// Says of a run that is not finished whether a process works on it, where that can be seen.
    pub fn is_alive(self) -> Option<bool> {
        match self {
            Self::Running => Some(true),
            Self::Interrupted => Some(false),
            Self::Finished | Self::Failed | Self::Unknown | Self::Partial => None,
        }
    }
}

/// Returns which process of this machine has a file open to write to it, in words, where that can be seen.
fn writer_of(file: &Path, host: &str) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let writes = |pid: u32| {
        let opened = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        opened.flatten().find(|entry| {
            let is_it = std::fs::read_link(entry.path()).is_ok_and(|path| path == file);
            is_it && for_writing(pid, &entry.file_name().to_string_lossy())
        })
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let (own, others): (Vec<u32>, Vec<u32>) = pids.partition(|pid| *pid == std::process::id());
    if own.iter().any(|pid| writes(*pid).is_some()) {
        return Some("this process itself".to_owned());
    }
    let pid = others.into_iter().find(|pid| writes(*pid).is_some())?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = command
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    let mut words = words.join(" ");
    if words.chars().count() > 80 {
        words = words.chars().take(77).collect::<String>() + "...";
    }
    Some(format!("process {pid} of {host} ({words})"))
}

/// Returns which process of another machine a store says that works on one of its runs, in words.
fn begun_by(store: &Path, host: &str) -> Option<String> {
    let store = Store::open_read_only(store).ok()?;
    let (runs, _) = store.legible_runs().ok()?;
    let run = runs
        .into_iter()
        .rev()
        .find(|run| State::of(run, host) == State::Unknown)?;
    let pid = run.process.map(|process| format!("process {} ", process.pid));
    let pid = pid.unwrap_or_else(|| "a process ".to_owned());
    Some(format!(
        "another process, perhaps {pid}of {} ({})",
        run.host, run.spec.stage
    ))
}

/// Says whether a process opened a file so that it can write to it.
fn for_writing(pid: u32, descriptor: &str) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    // The last two bits: 0 reads, 1 writes, 2 does both.
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use dream_schema::{RunId, RunSpec};

    use super::*;

    const HERE: &str = "here";

    fn run(host: String, process: Option<Process>) -> Run {
        Run {
            id: RunId([0; 16]),
            spec: RunSpec {
                stage: "sample".into(),
                stage_version: 1,
                params: serde_json::json!({}),
                seed: 0,
                inputs: Vec::new(),
                sources: std::collections::BTreeMap::new(),
                source_names: Default::default(),
            },
            status: Status::Running,
            digest: None,
            started_at: 0,
            finished_at: None,
            version: String::new(),
            device: String::new(),
            engine: None,
            host,
            process,
            note: None,
            former: None,
        }
    }

    #[test]
    fn a_process_that_is_alive_is_told_from_one_that_ended_and_one_elsewhere() {
        let here = own_process();
        assert!(here.started.is_some());
        assert_eq!(State::of(&run(HERE.into(), Some(here)), HERE), State::Running);
        let earlier = Process {
            started: here.started.map(|at| at - 1),
            ..here
        };
        assert_eq!(
            State::of(&run(HERE.into(), Some(earlier)), HERE),
            State::Interrupted
        );
        let none = Process {
            pid: u32::MAX,
            ..here
        };
        assert_eq!(State::of(&run(HERE.into(), Some(none)), HERE), State::Interrupted);
        assert_eq!(
            State::of(&run("elsewhere".into(), Some(here)), HERE),
            State::Unknown
        );
        assert_eq!(State::of(&run(HERE.into(), None), HERE), State::Unknown);
    }

    #[test]
    fn who_writes_to_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "").unwrap();
        assert_eq!(writer_of(&file, HERE), None);
        let held = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        assert!(for_writing(std::process::id(), &format!("{}", fd(&held))));
        assert_eq!(writer_of(&file, HERE).as_deref(), Some("this process itself"));
        let read = std::fs::File::open(&file).unwrap();
        assert!(!for_writing(std::process::id(), &format!("{}", fd(&read))));
    }

    fn fd(file: &std::fs::File) -> i32 {
        use std::os::fd::AsRawFd;
        file.as_raw_fd()
    }
}
