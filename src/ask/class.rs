//! Which class a word means.

use dream_schema::{ClassEmbedding, RunId};

use super::AskError;
use crate::query::Class;
use crate::stage::classes::by_word;
use crate::stage::{embed, lineage};
use crate::store::{Readable, Store};

/// Where a class is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Among the classes of a run and of what it came from, whose numbers are one list.
    Lineage(RunId),
    /// In the whole store, where one name may have several numbers.
    Store,
}

/// Returns the class that a word means. A name comes before a number: class 3 may be called `0`. In a lineage
/// a class is known by its number; a number that none of its classes has is taken as it is, because a run may
/// have come without its class embeddings. In the whole store a class is known by its name, where it has one.
///
/// # Errors
/// [`AskError::UnknownClass`] for a word that is no class of a lineage and no number.
pub fn class(store: &Store, scope: Scope, word: &str) -> Result<Class, AskError> {
    let number = word.parse().ok();
    let runs = match (scope, number) {
        (Scope::Lineage(run), _) => lineage::ancestors(store, run)?,
        // What is no number can only be a name.
        (Scope::Store, None) => return Ok(Class::Name(word.to_owned())),
        (Scope::Store, Some(_)) => store.legible_runs()?.0,
    };
    let mut known: Vec<ClassEmbedding> = Vec::new();
    for run in runs
        .iter()
        .filter(|run| embed::STAGES.contains(&run.spec.stage.as_str()))
    {
        known.extend(store.rows::<ClassEmbedding>(run.id, None)?);
    }
    let named = by_word(&known, word).filter(|class| class.class_name == word);
    match (scope, named, number) {
        (Scope::Lineage(_), Some(class), _) => Ok(Class::Id(class.class_id)),
        (Scope::Store, Some(class), _) => Ok(Class::Name(class.class_name.clone())),
        (_, None, Some(number)) => Ok(Class::Id(number)),
        (Scope::Store, None, None) => Ok(Class::Name(word.to_owned())),
        (Scope::Lineage(run), None, None) => Err(AskError::UnknownClass {
            run,
            word: word.to_owned(),
            known: known.into_iter().map(|class| class.class_name).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{HasKind, Kind};

    #[test]
    fn without_embeddings_a_number_is_a_number_and_any_other_word_a_name() {
        let store = Store::in_memory().unwrap();
        let of = |word| class(&store, Scope::Store, word).unwrap();
        assert_eq!(of("3"), Class::Id(3));
        assert_eq!(of("sandal"), Class::Name("sandal".into()));
        let error = class(&store, Scope::Lineage(RunId([7; 16])), "3").unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
    }
}
