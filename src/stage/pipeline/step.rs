//! The steps of the pipeline: what can be made apart from the rest, by another process.

use dream_schema::words;

words! {
    /// A step of the pipeline. Each makes the runs of one part, an evaluation those of what it observes too.
    pub enum Step {
        /// Class embeddings.
        Embed = "embed",
        /// Encoder and ID features.
        Encode = "encode",
        /// Outlier embeddings.
        Sample = "sample",
        /// Pictures imagined from them.
        Imagine = "imagine",
        /// Pictures of the plain class prompt.
        ImaginePlain = "imagine-plain",
        /// The classifier without outliers.
        DetectPlain = "detect-plain",
        /// The rating of the imagined pictures and the choice among them, where the preset has one.
        Select = "select",
        /// The classifier with outliers.
        Detect = "detect",
        /// The evaluation of the classifier without outliers.
        EvaluatePlain = "evaluate-plain",
        /// The evaluation of the classifier with outliers.
        Evaluate = "evaluate",
    }
}

impl Step {
    /// Says whether it reads the diffusion model itself.
    pub(super) fn reads_model(self) -> bool {
        matches!(self, Self::Embed | Self::Imagine | Self::ImaginePlain)
    }

    /// Says whether it reads images of the in-distribution set itself.
    pub(super) fn reads_images(self) -> bool {
        let trained = matches!(self, Self::Encode | Self::DetectPlain | Self::Detect);
        trained || self == Self::Select || self.reads_ood()
    }

    /// Says whether it reads images of OOD sets.
    pub(super) fn reads_ood(self) -> bool {
        matches!(self, Self::EvaluatePlain | Self::Evaluate)
    }

    /// Returns the step that the part of that name is of.
    pub fn of_part(part: &str) -> Option<Self> {
        match part {
            "select-train" => Some(Self::Select),
            _ if part.starts_with("observe-plain-") => Some(Self::EvaluatePlain),
            _ if part.starts_with("observe-") => Some(Self::Evaluate),
            _ => Self::from_name(part),
        }
    }

    /// Says whether a key of a preset decides what the step makes.
    pub(super) fn depends_on(self, key: &str) -> bool {
        let section = key.split('.').next().unwrap_or_default();
        let plain = [Self::ImaginePlain, Self::DetectPlain, Self::EvaluatePlain].contains(&self);
        match section {
            "class_tokens" | "model" => ![Self::DetectPlain, Self::EvaluatePlain].contains(&self),
            "encode" => !plain && self != Self::Embed,
            "sample" => !plain && ![Self::Embed, Self::Encode].contains(&self),
            "imagine" => {
                let before = [Self::Embed, Self::Encode, Self::Sample];
                !before.contains(&self) && ![Self::DetectPlain, Self::EvaluatePlain].contains(&self)
            }
            "plain_per_class" => self == Self::ImaginePlain,
            "detect" if key.starts_with("detect.outlier") => [Self::Detect, Self::Evaluate].contains(&self),
            "select" => [Self::Select, Self::Detect, Self::Evaluate].contains(&self),
            "detect" => {
                let trained = [Self::DetectPlain, Self::Select, Self::Detect];
                trained.contains(&self) || self.reads_ood()
            }
            "evaluate" => self.reads_ood(),
            // The data.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reaches_what_comes_after_it() {
        let reached = |key: &str| {
            let all = Step::ALL.into_iter().filter(|step| step.depends_on(key));
            all.map(Step::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            reached("sample.sampling.sigma"),
            "sample imagine select detect evaluate"
        );
        assert_eq!(reached("select.knn.max"), "select detect evaluate");
        assert_eq!(reached("detect.outlier.beta"), "detect evaluate");
        assert_eq!(
            reached("detect.training.lr"),
            "detect-plain select detect evaluate-plain evaluate"
        );
        assert_eq!(
            reached("imagine.steps"),
            "imagine imagine-plain select detect evaluate"
        );
        assert_eq!(reached("plain_per_class"), "imagine-plain");
        assert_eq!(reached("data.id"), Step::ALL.map(Step::name).join(" "));
    }

    #[test]
    fn every_part_is_of_a_step() {
        assert_eq!(Step::of_part("imagine-plain"), Some(Step::ImaginePlain));
        assert_eq!(
            Step::of_part("observe-plain-digits-test"),
            Some(Step::EvaluatePlain)
        );
        assert_eq!(Step::of_part("observe-digits-test"), Some(Step::Evaluate));
        assert_eq!(Step::of_part("select-train"), Some(Step::Select));
    }
}
