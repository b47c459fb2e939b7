//! Which classes pictures are made of, in the names of the embeddings.

use dream_schema::ClassEmbedding;

use super::{Params, Partner, Synthesis, wrong};
use crate::stage::classes::by_word;
use crate::stage::{StageError, did_you_mean};

impl Params {
    /// Brings the names of classes into one form, that of the embeddings and in their order, so that a
    /// question has one id.
    pub(in crate::stage::imagine) fn resolve_classes(
        &mut self,
        known: &[ClassEmbedding],
    ) -> Result<(), StageError> {
        let mut chosen = self
            .classes
            .iter()
            .map(|name| class(known, name))
            .collect::<Result<Vec<_>, _>>()?;
        chosen.sort_by_key(|c| c.class_id);
        chosen.dedup_by_key(|c| c.class_id);
        let all = chosen.len() == known.len();
        self.classes = if all {
            Vec::new()
        } else {
            chosen.iter().map(|c| c.class_name.clone()).collect()
        };
        self.check_disjoint(known)?;
        self.resolve_partner(known)
    }

    /// Refuses words of disjoint prompts that are those of a class.
    fn check_disjoint(&self, known: &[ClassEmbedding]) -> Result<(), StageError> {
        let Some(Synthesis::Disjoint { words }) = &self.synthesis else {
            return Ok(());
        };
        let same = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
        let is_of = |word: &str, c: &ClassEmbedding| same(word, &c.word) || same(word, &c.class_name);
        let of_class = |word: &&String| known.iter().any(|class| is_of(word, class));
        match words.iter().find(of_class) {
            Some(word) => Err(wrong(format!(
                "disjoint prompts: the word `{word}` is one of the classes; take words of others"
            ))),
            None => Ok(()),
        }
    }

    /// The class that an interpolation goes to, by the name that the embeddings have for it.
    fn resolve_partner(&mut self, known: &[ClassEmbedding]) -> Result<(), StageError> {
        let Some(Synthesis::Interpolation { with, .. }) = &mut self.synthesis else {
            return Ok(());
        };
        match with {
            Partner::Random if known.len() < 2 => Err(wrong(
                "interpolation with a random class needs two classes at least",
            )),
            Partner::Random => Ok(()),
            Partner::Class(name) => {
                *name = class(known, name)?.class_name.clone();
                let makes =
                    |c: &&ClassEmbedding| self.classes.is_empty() || self.classes.contains(&c.class_name);
                if known.iter().filter(makes).any(|c| c.class_name == *name) {
                    return Err(wrong(format!(
                        "the class `{name}` cannot be interpolated with itself; choose the other \
                         classes by name"
                    )));
                }
                Ok(())
            }
        }
    }

    /// Returns how many pictures a run has when it is whole.
    pub(in crate::stage::imagine) fn pictures(&self, known: &[ClassEmbedding]) -> u64 {
        self.chosen(known).len() as u64 * self.per_class as u64
    }

    /// Returns those of the classes that pictures are made of.
    pub(in crate::stage::imagine) fn chosen<'a>(
        &self,
        known: &'a [ClassEmbedding],
    ) -> Vec<&'a ClassEmbedding> {
        let wanted = |c: &&ClassEmbedding| self.classes.is_empty() || self.classes.contains(&c.class_name);
        known.iter().filter(wanted).collect()
    }
}

/// Returns the class of that name or, where none has it, of that number.
pub(in crate::stage::imagine) fn class<'a>(
    known: &'a [ClassEmbedding],
    name: &str,
) -> Result<&'a ClassEmbedding, StageError> {
    by_word(known, name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|c| c.class_name.as_str()).collect();
        let near = did_you_mean(name, names.iter().copied());
        wrong(format!(
            "there is no class `{name}`; the embeddings have {}{near}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::params;
    use super::*;

    fn known() -> Vec<ClassEmbedding> {
        ["bag", "7", "coat"]
            .iter()
            .enumerate()
            .map(|(i, name)| ClassEmbedding {
                class_id: i as u32,
                class_name: (*name).into(),
                index: 0,
                word: (*name).into(),
                token_id: 5,
                model: "m".into(),
                vector: vec![1.0],
                norm: 1.0,
            })
            .collect()
    }

    #[test]
    fn a_question_about_classes_has_one_form() {
        let resolved = |classes: &[&str]| {
            let mut params = params();
            params.classes = classes.iter().map(|c| (*c).to_owned()).collect();
            params.resolve_classes(&known()).map(|()| params.classes)
        };
        assert_eq!(resolved(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(resolved(&["coat", "0", "bag"]).unwrap(), ["bag", "coat"]);
        // A name comes before a number.
        assert_eq!(resolved(&["7"]).unwrap(), ["7"]);
        assert_eq!(
            resolved(&["0", "1", "2"]).unwrap(),
            Vec::<String>::new(),
            "all is all"
        );
        let said = resolved(&["hat"]).unwrap_err().to_string();
        assert!(said.contains("`hat`") && said.contains("bag, 7, coat"), "{said}");
    }

    #[test]
    fn no_class_is_interpolated_with_itself() {
        let resolved = |classes: &[&str], with: Partner| {
            let mut params = params();
            params.classes = classes.iter().map(|c| (*c).to_owned()).collect();
            params.synthesis = Some(Synthesis::Interpolation { with, fraction: 0.5 });
            params.resolve_classes(&known())
        };
        let bag = || Partner::Class("bag".into());
        assert!(resolved(&["coat"], bag()).is_ok());
        let said = resolved(&[], bag()).unwrap_err().to_string();
        assert!(said.contains("itself"), "{said}");
        assert!(resolved(&["bag", "coat"], bag()).is_err());
        assert!(resolved(&["coat"], Partner::Class("hat".into())).is_err());
        assert!(resolved(&[], Partner::Random).is_ok());
    }
}
