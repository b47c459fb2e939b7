//! `runs` and `run_inputs`: what was executed, from what, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::words;

/// The name of a run: the first 16 bytes of a BLAKE3 over what was asked for, shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("`{s}` is not a run id: expected 32 hex digits");
        // Checked digit by digit: `from_str_radix` would also take a sign.
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

words! {
    /// How far a run has come.
    pub enum Status {
        /// Begun and not finished: in progress, or interrupted and waiting to be resumed.
        Running = "running",
        /// Complete; it never changes again.
        Finished = "finished",
        /// Given up with an error; asking for it again is another attempt.
        Failed = "failed",
        /// What is left after rows of it were lost, anywhere among the others. Its stage cannot go on from
        /// that: asked for again, it is made from the beginning.
        Partial = "partial",
    }
}

impl Status {
    /// Says how far a run has come, after its name. Whether a process works on one that is begun is not on
    /// record.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Running => "is running or was interrupted",
            Self::Finished => "is finished",
            Self::Failed => "has failed",
            Self::Partial => "is partial, because rows of it were lost",
        }
    }
}

/// A run that another one reads from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInput {
    /// What it serves as: `embeddings`, `features`, `outliers`.
    pub role: String,
    /// The run.
    pub run: RunId,
    /// Its digest when it was read, in hex.
    pub digest: String,
}

/// What is asked for: all that decides the result, and so the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Name of the stage.
    pub stage: String,
    /// Version of the stage's algorithm: raised when the same parameters would give another result.
    pub stage_version: u32,
    /// The parameters that decide the result; a JSON object.
    pub params: Value,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The runs read from, in the order of their roles.
    pub inputs: Vec<RunInput>,
    /// Digests (hex) of what is read from outside the store, by role: data sets, the diffusion model.
    pub sources: BTreeMap<String, String>,
    /// The names under which the sources were asked for, by role: of several that are registered with one
    /// digest, the one that is read. They decide nothing of the result, and are no part of the id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_names: BTreeMap<String, String>,
}

impl RunSpec {
    /// Returns the run's id: BLAKE3 over the canonical JSON (keys sorted, no white space) of stage, version,
    /// parameters, seed, and the roles and digests of its inputs and sources.
    pub fn id(&self) -> RunId {
        let mut inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|i| (i.role.as_str(), i.digest.as_str()))
            .collect();
        inputs.sort_unstable();
        let asked = serde_json::json!({
            "stage": self.stage,
            "version": self.stage_version,
            "params": self.params,
            "seed": self.seed,
            "inputs": inputs,
            "sources": self.sources,
        });
        let hash = blake3::hash(canonical(&asked).to_string().as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        RunId(id)
    }
}

/// Returns `value` with the keys of every object in order, whatever map type `serde_json` was built with.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// The process that works on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number on its machine.
    pub pid: u32,
    /// When it was started, in the system's own unit; this tells it from a later process of the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
}

/// What a run was when it was finished, before rows of it were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// BLAKE3 over all its rows, in hex.
    pub digest: String,
    /// What computed it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// A run as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id, which [`RunSpec::id`] gives.
    pub id: RunId,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: RunSpec,
    /// How far it has come.
    pub status: Status,
    /// BLAKE3 over all rows that it wrote, in hex; only of a finished run.
    pub digest: Option<String>,
    /// When it was begun, in microseconds since 1970-01-01 UTC.
    pub started_at: i64,
    /// When it was finished or given up.
    pub finished_at: Option<i64>,
    /// Version of the program.
    pub version: String,
    /// The processor that it ran on: `cpu`, `cuda:0`.
    pub device: String,
    /// What computed there: the engine and the kind of the processor. Programs before this was kept wrote
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The machine that it ran on.
    pub host: String,
    /// The process that works on it, or did when it was interrupted; none of a run that is finished or
    /// failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The error of a failed run, or words of the user.
    pub note: Option<String>,
    /// What it was before rows of it were lost, until it is finished again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

impl Run {
    /// Returns the digest that its rows have when they are all there, where it is known.
    pub fn result(&self) -> Option<&str> {
        let former = || self.former.as_ref().map(|former| &former.digest);
        self.digest.as_ref().or_else(former).map(String::as_str)
    }

    /// Returns the record of what is left of it, after rows of it were lost.
    pub fn into_partial(self) -> Self {
        let engine = self.engine.clone();
        let former = self.digest.map(|digest| Former { digest, engine });
        Self {
            digest: None,
            former: former.or(self.former),
            process: None,
            // That of a failed run is its error.
            note: self.note.filter(|_| self.status != Status::Failed),
            status: Status::Partial,
            ..self
        }
    }

    /// Returns the record of a partial run whose rows turned out to be all there.
    pub fn into_restored(self) -> Self {
        let Some(former) = self.former else { return self };
        Self {
            status: Status::Finished,
            digest: Some(former.digest),
            engine: former.engine,
            former: None,
            process: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(params: Value) -> RunSpec {
        let inputs = vec![RunInput {
            role: "encoder".into(),
            run: RunId([1; 16]),
            digest: "ab".into(),
        }];
        let sources = BTreeMap::from([("train".into(), "cd".into())]);
        RunSpec {
            stage: "sample".into(),
            stage_version: 1,
            params,
            seed: 3,
            inputs,
            sources,
            source_names: Default::default(),
        }
    }

    #[test]
    fn id_depends_on_what_is_asked_and_not_on_the_order_of_keys() {
        let base = spec(serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap());
        let swapped = spec(serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap());
        assert_eq!(base.id(), swapped.id());
        let mut others = vec![base.clone(); 6];
        others[0].stage = "embed".into();
        others[1].stage_version = 2;
        others[2].params["b"]["c"] = 4.into();
        others[3].seed = 4;
        others[4].inputs[0].digest = "ac".into();
        others[5].sources.insert("test".into(), "ef".into());
        assert!(others.iter().all(|o| o.id() != base.id()));
    }

    #[test]
    fn id_is_pinned() {
        // A change here makes every stored run unreachable by its question: raise the stage versions instead.
        let id = spec(serde_json::json!({"k": 300, "sigma": 0.07})).id();
        assert_eq!(id.to_string(), "81df0a9d9b5cbae9a86adc1fd3974548");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn ids_of_another_shape_are_refused() {
        for bad in ["", "abc", &"g".repeat(32), &"é".repeat(16), &"+f".repeat(16)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
