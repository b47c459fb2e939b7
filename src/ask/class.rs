//! Which class a word means.

use dream_schema::{ClassEmbedding, RunId};

use super::AskError;
use crate::query::Class;
use crate::stage::classes::by_word;
use crate::stage::{embed, lineage};
use crate::store::{Readable, Store};

/// Where a class is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Among the classes of a run and of what it came from, whose numbers are one list.
    Lineage(RunId),
    /// Among those of any of these runs, or where none is named in the whole store: one name may have several
    /// numbers.
    Runs(&'a [RunId]),
}

/// Returns the class that a word means. A name comes before a number: class 3 may be called `0`. In a lineage
/// a class is known by its number; where the run has come without its class embeddings a number is taken as
/// it is. Of several runs a class is known by its name, where it has one, and a word that is no class is
/// for the question to refuse.
///
/// # Errors
/// [`AskError::UnknownClass`] for a word that is no class of a lineage.
pub fn class(store: &Store, scope: Scope<'_>, word: &str) -> Result<Class, AskError> {
    let number = word.parse().ok();
    let runs = match (scope, number) {
        (Scope::Lineage(run), _) => lineage::ancestors(store, run)?,
        // What is no number can only be a name.
        (Scope::Runs(_), None) => return Ok(Class::Name(word.to_owned())),
        (Scope::Runs([]), Some(_)) => store.legible_runs()?.0,
        (Scope::Runs(runs), Some(_)) => {
            let each = runs.iter().map(|run| lineage::ancestors(store, *run));
            each.collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    let mut known: Vec<ClassEmbedding> = Vec::new();
    for run in runs
        .iter()
        .filter(|run| embed::STAGES.contains(&run.spec.stage.as_str()))
    {
        known.extend(store.rows::<ClassEmbedding>(run.id, None)?);
    }
    let named = by_word(&known, word).filter(|class| class.class_name == word);
    let numbered = |number: u32| known.is_empty() || known.iter().any(|class| class.class_id == number);
    match (scope, named, number) {
        (Scope::Lineage(_), Some(class), _) => Ok(Class::Id(class.class_id)),
        (Scope::Runs(_), Some(class), _) => Ok(Class::Name(class.class_name.clone())),
        (Scope::Runs(_), None, Some(number)) => Ok(Class::Id(number)),
        (Scope::Lineage(_), None, Some(number)) if numbered(number) => Ok(Class::Id(number)),
        (Scope::Runs(_), None, None) => Ok(Class::Name(word.to_owned())),
        (Scope::Lineage(run), None, _) => Err(AskError::UnknownClass {
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
        let of = |word| class(&store, Scope::Runs(&[]), word).unwrap();
        assert_eq!(of("3"), Class::Id(3));
        assert_eq!(of("sandal"), Class::Name("sandal".into()));
        let error = class(&store, Scope::Lineage(RunId([7; 16])), "3").unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
    }
}
