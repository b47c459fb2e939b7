//! The classes that imported vectors are of.

use std::collections::BTreeMap;
use std::path::Path;

use dream_schema::RunId;

use super::embeddings;
use crate::stage::StageError;
use crate::stage::classes::ClassRow;
use crate::stage::embed::ClassWord;
use crate::store::Store;
use crate::words::near_names;

/// The classes, by number.
pub(super) struct Classes {
    names: BTreeMap<u32, String>,
    ids: BTreeMap<String, u32>,
    /// The words that stand for them, where class embeddings are taken in.
    words: Option<Vec<ClassWord>>,
    /// The width of the vectors, where it is known.
    pub(super) width: Option<usize>,
    /// Whose classes they are, in words.
    whose: &'static str,
}

impl Classes {
    /// The classes of a table, in its order.
    pub(super) fn listed(file: &Path, rows: &[ClassRow]) -> Result<Self, StageError> {
        let word = |row: &ClassRow| ClassWord {
            name: row.name.clone(),
            word: row.word.clone(),
        };
        let words: Vec<ClassWord> = rows.iter().map(word).collect();
        let names: BTreeMap<u32, String> = (0..).zip(words.iter().map(|c| c.name.clone())).collect();
        let ids: BTreeMap<String, u32> = names.iter().map(|(id, name)| (name.clone(), *id)).collect();
        if ids.len() < names.len() {
            return Err(StageError::File {
                path: file.to_owned(),
                message: "the class table for it has a name twice".into(),
            });
        }
        Ok(Self {
            names,
            ids,
            words: (!words.is_empty()).then_some(words),
            width: None,
            whose: "the listed classes",
        })
    }

    /// The classes of a run of class embeddings.
    pub(super) fn of_run(store: &Store, run: RunId) -> Result<Self, StageError> {
        let rows = embeddings(store, run)?;
        Ok(Self {
            width: rows.first().map(|row| row.vector.len()),
            ids: rows
                .iter()
                .map(|row| (row.class_name.clone(), row.class_id))
                .collect(),
            names: rows
                .into_iter()
                .map(|row| (row.class_id, row.class_name))
                .collect(),
            words: None,
            whose: "the embeddings",
        })
    }

    /// The classes in their order, with the words that stand for them.
    pub(super) fn words(&self) -> Option<&[ClassWord]> {
        self.words.as_deref()
    }

    /// The word that stands for a class.
    pub(super) fn word(&self, class: u32) -> Option<&str> {
        let words = self.words.as_ref()?;
        Some(words.get(class as usize)?.word.as_str())
    }

    /// Whether nothing is known of them: then the file says them.
    pub(super) fn are_unknown(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The classes by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// The class of that number, of that name, or of both.
    pub(super) fn find(&self, id: Option<u32>, name: Option<&str>) -> Result<(u32, &str), String> {
        let whose = self.whose;
        let by_id = |id: u32| self.names.get_key_value(&id);
        let found = match (id, name) {
            (None, None) => return Err("it says no class".into()),
            (Some(id), None) => by_id(id),
            (_, Some(name)) => {
                let own = self.ids.get(name).and_then(|own| by_id(*own));
                let Some((own, _)) = own else {
                    let near = near_names(name, self.names.values().cloned());
                    let near = near.first().map(|near| format!("; did you mean `{near}`?"));
                    let near = near.unwrap_or_default();
                    return Err(format!(
                        "it is of the class `{name}`, which {whose} do not have{near}"
                    ));
                };
                match id {
                    Some(id) if id != *own => {
                        return Err(format!(
                            "it is of class {id} `{name}`, but `{name}` is class {own} of {whose}"
                        ));
                    }
                    _ => by_id(*own),
                }
            }
        };
        found.map(|(id, name)| (*id, name.as_str())).ok_or_else(|| {
            format!(
                "it is of class {}, which {whose} do not have",
                id.unwrap_or_default()
            )
        })
    }
}
