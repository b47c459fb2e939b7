//! What cannot be done as it was asked: found before any work, and told all at once.

use std::fmt;
use std::sync::Arc;

use super::StageError;
use crate::engine::Processor;
use crate::store::StoreError;
use crate::words::near_names;

/// Something that was asked for and cannot be done.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The stage, or the part of the pipeline.
    pub part: String,
    /// The parameter or role that it is about: `training.split`, `embeddings`.
    pub key: String,
    /// What was found there, and what is wrong with it.
    pub found: String,
    /// What would do, where it can be named.
    pub expected: Option<String>,
    /// Names like the one that was given, the nearest first.
    pub near: Vec<String>,
    /// The error that a check ended with, where one did: what can be done about it is for a front end to say.
    pub cause: Option<Arc<StageError>>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.part, self.key, self.found)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        match self.near.first() {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => Ok(()),
        }
    }
}

/// What there is room for, and on what, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory that are free.
    pub memory: Option<u64>,
    /// Bytes of the store's disk that are free.
    pub disk: Option<u64>,
    /// Pictures that the diffusion model is told to make at once.
    pub pictures: Option<usize>,
    /// The kind of the processor.
    pub processor: Option<Processor>,
}

/// Refusals as they are found.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    part: String,
    room: Room,
    all: Vec<Refusal>,
}

impl Refusals {
    /// Returns an empty list for the checks of a stage or of a part of the pipeline.
    pub fn of(part: &str) -> Self {
        Self {
            part: part.to_owned(),
            ..Self::default()
        }
    }

    /// Refuses also what there is no room for.
    pub fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Returns what there is room for.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Goes on with another part.
    pub fn begin(&mut self, part: &str) {
        part.clone_into(&mut self.part);
    }

    /// Refuses what is found at `key`.
    pub fn refuse(&mut self, key: impl fmt::Display, found: impl Into<String>) {
        self.push(key, found.into(), None, Vec::new());
    }

    /// Refuses the value found at `key` where it does not `hold`.
    pub fn require(&mut self, holds: bool, key: &str, found: impl fmt::Display, expected: &str) {
        if !holds {
            self.push(key, found.to_string(), Some(expected.to_owned()), Vec::new());
        }
    }

    /// Refuses what at `key` needs more memory than there is: at least so many bytes. `lower` says what could
    /// be lowered.
    pub fn require_memory(&mut self, key: &str, needed: f64, lower: &str) {
        self.require_bytes(key, needed, self.room.memory, "memory", lower);
    }

    /// Refuses what at `key` needs more of the disk than there is: at least so many bytes.
    pub fn require_disk(&mut self, key: &str, needed: f64, lower: &str) {
        self.require_bytes(key, needed, self.room.disk, "the store's disk", lower);
    }

    fn require_bytes(&mut self, key: &str, needed: f64, free: Option<u64>, of: &str, lower: &str) {
        let Some(free) = free.filter(|free| needed > *free as f64) else {
            return;
        };
        let in_words = |bytes: f64| match bytes < f64::from(1 << 30) {
            true => format!("{:.1} MiB", bytes / f64::from(1 << 20)),
            false => format!("{:.1} GiB", bytes / f64::from(1 << 30)),
        };
        let (needed, free) = (in_words(needed), in_words(free as f64));
        self.refuse(
            key,
            format!("it takes at least {needed} of {of}, {free} are free; lower {lower}"),
        );
    }

    /// Refuses the name given at `key` unless it is one of those that are `known`. `what` says of what:
    /// `test set`.
    pub fn require_name<'a>(
        &mut self,
        key: &str,
        what: &str,
        given: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        self.require_known(key, &format!("there is no {what} `{given}`"), given, known);
    }

    /// Refuses the name given at `key` unless it is one of those that are `known`: `found` says what is
    /// wrong.
    pub fn require_known<'a>(
        &mut self,
        key: &str,
        found: &str,
        given: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        let known: Vec<String> = known.map(str::to_owned).collect();
        if !known.iter().any(|name| name == given) {
            let expected = known.join(", ");
            let near = near_names(given, known.into_iter());
            self.push(key, found.to_owned(), Some(expected), near);
        }
    }

    /// Returns what a check found, or refuses what is at `key` for its error. Where it is the store that
    /// fails, and not a name that it does not have, that is no fault of the question.
    ///
    /// # Errors
    /// [`StageError::Store`].
    pub fn take<T>(
        &mut self,
        key: impl fmt::Display,
        result: Result<T, impl Into<StageError>>,
    ) -> Result<Option<T>, StageError> {
        match result.map_err(Into::into) {
            Ok(value) => Ok(Some(value)),
            Err(StageError::Store(error)) if !is_of_the_question(&error) => Err(error.into()),
            Err(StageError::Refused(refusals)) => {
                self.all.extend(refusals);
                Ok(None)
            }
            // The part says already which stage it is.
            Err(StageError::Params { message, .. }) => {
                self.refuse(key, message);
                Ok(None)
            }
            Err(error) => {
                let refusal = self.refusal(key, error.to_string());
                self.add(Refusal {
                    cause: Some(Arc::new(error)),
                    ..refusal
                });
                Ok(None)
            }
        }
    }

    /// Returns all that was refused.
    pub fn into_inner(self) -> Vec<Refusal> {
        self.all
    }

    /// Returns an error if anything was refused.
    ///
    /// # Errors
    /// [`StageError::Refused`].
    pub fn finish(self) -> Result<(), StageError> {
        if self.all.is_empty() {
            Ok(())
        } else {
            Err(StageError::Refused(self.all))
        }
    }

    fn push(&mut self, key: impl fmt::Display, found: String, expected: Option<String>, near: Vec<String>) {
        let refusal = self.refusal(key, found);
        self.add(Refusal {
            expected,
            near,
            ..refusal
        });
    }

    fn refusal(&self, key: impl fmt::Display, found: String) -> Refusal {
        Refusal {
            part: self.part.clone(),
            key: key.to_string(),
            found,
            expected: None,
            near: Vec::new(),
            cause: None,
        }
    }

    fn add(&mut self, refusal: Refusal) {
        // Parts of a pipeline share parameters.
        let same = |r: &Refusal| (&r.key, &r.found) == (&refusal.key, &refusal.found);
        if !self.all.iter().any(same) {
            self.all.push(refusal);
        }
    }
}

/// Says whether the store is well, and only does not have what was named.
fn is_of_the_question(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::UnknownDataset { .. }
            | StoreError::UnknownRun { .. }
            | StoreError::BadName { .. }
            | StoreError::DatasetChanged { .. }
            | StoreError::AliasTaken { .. }
    )
}

/// Returns the known name that is most like the one that was given.
pub fn nearest_name(given: &str, known: impl IntoIterator<Item = impl Into<String>>) -> Option<String> {
    near_names(given, known.into_iter().map(Into::into))
        .into_iter()
        .next()
}

/// Returns `; did you mean NAME?` for the known name that is like the one that was given, or nothing.
pub fn did_you_mean(given: &str, known: impl IntoIterator<Item = impl Into<String>>) -> String {
    nearest_name(given, known).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// Returns a message of serde in words that are not Rust's, with a suggestion where it is about a key or a
/// word that there is not.
pub fn with_suggestion(message: &str) -> String {
    let types = [
        ("usize", "a whole number from 0"),
        ("u64", "a whole number from 0"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("f64", "a number"),
        ("f32", "a number"),
        ("a sequence", "a list"),
    ];
    for (name, words) in types {
        // `f32` is a precision too.
        if message.starts_with("invalid ")
            && let Some(before) = message.strip_suffix(&format!("expected {name}"))
        {
            return format!("{before}expected {words}");
        }
    }
    let about = ["unknown field ", "unknown variant "];
    let Some(start) = about.iter().find_map(|words| message.find(words)) else {
        return message.to_owned();
    };
    let mut quoted = message[start..].split('`').skip(1).step_by(2);
    let given = quoted.next().unwrap_or_default();
    format!("{message}{}", did_you_mean(given, quoted))
}

/// All refusals in one line.
pub(super) fn in_words(refusals: &[Refusal]) -> String {
    match refusals {
        [only] => only.to_string(),
        all => {
            let numbered = all.iter().zip(1..).map(|(r, n)| format!("({n}) {r}"));
            format!(
                "{} things are refused: {}",
                all.len(),
                numbered.collect::<Vec<_>>().join("; ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_there_is_not_is_told_with_the_one_like_it() {
        let said = with_suggestion("unknown field `epoch`, expected one of `depth`, `epochs`, `lr`");
        assert!(said.ends_with("`lr`; did you mean `epochs`?"), "{said}");
        let other = "invalid type: string \"1\", expected a boolean";
        assert_eq!(with_suggestion(other), other);
        assert_eq!(
            with_suggestion("invalid type: null, expected f64"),
            "invalid type: null, expected a number"
        );
    }

    #[test]
    fn refusals_say_what_where_and_what_would_do() {
        let mut refusals = Refusals::of("encode");
        refusals.require(false, "training.epochs", 0, "at least 1");
        let found = "`set` has no split `trian`";
        refusals.require_known("training.split", found, "trian", ["test", "train"].into_iter());
        refusals.require_name("training.test_split", "split", "test", ["test"].into_iter());
        let error = refusals.clone().finish().unwrap_err().to_string();
        let first = "encode: training.epochs: 0; expected at least 1";
        let second = "encode: training.split: `set` has no split `trian`; expected test, train; did you mean \
        `train`?";
        assert_eq!(error, format!("2 things are refused: (1) {first}; (2) {second}"));
        // The same parameter in another part of the pipeline is told once.
        refusals.begin("detect");
        refusals.require(false, "training.epochs", 0, "at least 1");
        assert_eq!(refusals.into_inner().len(), 2);
        assert!(Refusals::of("embed").finish().is_ok());
    }
}
