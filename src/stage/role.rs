//! What a run or a source serves as in the run that reads it.

use std::fmt;

use dream_schema::Run;

/// What a run or a source serves as. As text it stands in every stored run and is part of the run's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An `embed` run: the class embeddings.
    Embeddings,
    /// An `encode` run or an import: ID features.
    Features,
    /// A `sample` run or an import: outlier vectors; of a classifier an `imagine` run: their pictures.
    Outliers,
    /// An `imagine` run: pictures of the classes, for a classifier to learn from.
    Inliers,
    /// An `imagine` run or an import: pictures to choose from.
    Pictures,
    /// What a network starts from: a `detect` run, or weights in a file.
    Initial,
    /// A `detect` run: the classifier.
    Detector,
    /// The image set to train on.
    Images,
    /// The diffusion model.
    Model,
    /// The in-distribution test set.
    Id,
    /// Images that the classifier was trained on.
    Train,
    /// In-distribution images that it was not trained on, for what scores learn.
    Validation,
    /// Out-of-distribution images beside the test sets, for the search of hyperparameters.
    OodValidation,
    /// The out-of-distribution test set of that name.
    Ood(String),
    /// The file of an import.
    File,
    /// The file of one of the arrays of an import.
    Array(&'static str),
}

/// How the role of an out-of-distribution set begins.
const OOD: &str = "ood/";

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embeddings => "embeddings",
            Self::Features => "features",
            Self::Outliers => "outliers",
            Self::Inliers => "inliers",
            Self::Pictures => "pictures",
            Self::Initial => "initial",
            Self::Detector => "detector",
            Self::Images => "images",
            Self::Model => "model",
            Self::Id => "id",
            Self::Train => "train",
            Self::Validation => "validation",
            Self::OodValidation => "ood-validation",
            Self::Ood(name) => return write!(f, "{OOD}{name}"),
            Self::File => "file",
            Self::Array(name) => return write!(f, "file/{name}"),
        })
    }
}

impl Role {
    /// Returns the name of the out-of-distribution set that the text of a role names.
    pub fn ood_name(text: &str) -> Option<&str> {
        text.strip_prefix(OOD)
    }

    /// Returns the name of the out-of-distribution set that this is, where it is one.
    pub fn set_name(&self) -> Option<&str> {
        match self {
            Self::Ood(name) => Some(name),
            _ => None,
        }
    }

    /// Says whether a text is this role's.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Ood(name) => Self::ood_name(text) == Some(name),
            _ => self.to_string() == text,
        }
    }

    /// Returns the run that serves as this in another.
    pub fn input_of(&self, run: &Run) -> Option<dream_schema::RunId> {
        run.spec.inputs.iter().find(|i| self.is(&i.role)).map(|i| i.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_role_is_what_stored_runs_have() {
        let texts = [
            (Role::Embeddings, "embeddings"),
            (Role::Features, "features"),
            (Role::Outliers, "outliers"),
            (Role::Inliers, "inliers"),
            (Role::Initial, "initial"),
            (Role::Detector, "detector"),
            (Role::Images, "images"),
            (Role::Model, "model"),
            (Role::Id, "id"),
            (Role::Train, "train"),
            (Role::Validation, "validation"),
            (Role::OodValidation, "ood-validation"),
            (Role::Ood("a/b".into()), "ood/a/b"),
            (Role::File, "file"),
            (Role::Array("logits"), "file/logits"),
        ];
        for (role, text) in texts {
            assert_eq!(role.to_string(), text);
            assert!(role.is(text) && !role.is("ood/x"), "{text}");
        }
        assert_eq!(Role::ood_name("ood/a/b"), Some("a/b"));
    }
}
