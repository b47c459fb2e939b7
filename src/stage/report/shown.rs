//! Which runs the pictures and the projection of a report are of: one of each kind, all of one lineage.

use dream_schema::{Run, RunId, Table};

use super::{giving, of_stage};
use crate::stage::{Role, StageError, detect, embed, encode, imagine, params, sample, select};
use crate::store::{Readable, Store};

/// One run of each kind, where there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// Class embeddings, of the space that the others are in.
    pub space: Option<&'a Run>,
    /// ID features.
    pub encoder: Option<&'a Run>,
    /// Vectors: those that the imagined pictures are of, if they are of any.
    pub sampled: Option<&'a Run>,
    /// Pictures that a classifier was trained with; without one, of sampled vectors.
    pub imagined: Option<&'a Run>,
    /// Pictures of the class prompts.
    pub plain: Option<&'a Run>,
}

impl<'a> Shown<'a> {
    /// Takes from `runs` the first pictures, and what these are of.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn of(store: &Store, runs: &'a [Run]) -> Result<Self, StageError> {
        let find = |id: RunId| runs.iter().find(|run| run.id == id);
        let from = |role: Role| move |run: &Run| role.input_of(run).and_then(find);
        let mut learnt = of_stage(runs, detect::NAME).filter_map(|run| Role::Outliers.input_of(run));
        let learnt = match learnt.next() {
            Some(outliers) => find(select::behind(store, outliers)?.0),
            None => None,
        };
        // Pictures of vectors inside the classes are learnt from as such.
        let inliers = |id| of_stage(runs, detect::NAME).any(|run| Role::Inliers.input_of(run) == Some(id));
        let of_vectors = |run: &&Run| Role::Outliers.input_of(run).is_some() && !inliers(run.id);
        let imagined = learnt.or_else(|| of_stage(runs, imagine::NAME).find(of_vectors));
        let mut vectors = giving(runs, sample::NAME, Table::Outliers);
        let mut features = giving(runs, encode::NAME, Table::Features);
        let first = imagined
            .or_else(|| vectors.clone().next())
            .or_else(|| features.clone().next());
        let space = first
            .and_then(from(Role::Embeddings))
            .or_else(|| giving(runs, embed::NAME, Table::ClassEmbeddings).next());
        let fits = |run: &&Run| space.is_some_and(|space| Role::Embeddings.input_of(run) == Some(space.id));
        let sampled = imagined
            .and_then(from(Role::Outliers))
            .or_else(|| vectors.find(fits));
        let encoder = sampled
            .and_then(from(Role::Features))
            .or_else(|| features.find(fits));
        let mut plain = None;
        for run in of_stage(runs, imagine::NAME).filter(fits) {
            if plain.is_none() && is_plain(run)? && imagined.is_none_or(|other| other.id != run.id) {
                plain = Some(run);
            }
        }
        Ok(Self {
            space,
            encoder,
            sampled,
            imagined,
            plain,
        })
    }

    /// Says which runs the pictures are of, and in which order they stand.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn say_pictures(&self, store: &Store, runs: &[Run]) -> Result<String, StageError> {
        let mut said = Vec::new();
        for (what, run) in [
            ("Real images are those that", self.encoder),
            ("Class prompts are of", self.plain),
            ("Imagined outliers are of", self.imagined),
        ] {
            if let Some(run) = run {
                let end = if what.ends_with("that") {
                    " learnt from, the first of each class"
                } else {
                    ""
                };
                said.push(format!("{what} {}{end}.", named(store, run)?));
            }
        }
        let of_vectors = self.imagined.and_then(|run| Role::Outliers.input_of(run));
        if let Some(sampled) = self.sampled.filter(|run| of_vectors == Some(run.id)) {
            said.push(format!(
                "These are evenly from all, from near to far by the distance in the caption: that of the \
                 picture's vector to the k-th nearest ID feature of its class (`knn_distance` of {}); \
                 pictures without one come last.",
                named(store, sampled)?
            ));
        }
        let shown = [self.plain, self.imagined];
        let is_shown = |run: &&Run| shown.iter().flatten().any(|shown| shown.id == run.id);
        let others = of_stage(runs, imagine::NAME).filter(|run| !is_shown(run)).count();
        if others > 0 {
            said.push(format!("Runs of pictures that are not shown: {others}."));
        }
        Ok(said.join(" "))
    }

    /// Says which runs the vectors of the projection are of.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn say_vectors(&self, store: &Store) -> Result<String, StageError> {
        let mut said = Vec::new();
        for (what, run) in [
            ("ID features", self.encoder),
            ("sampled vectors", self.sampled),
            ("class embeddings", self.space),
        ] {
            if let Some(run) = run {
                said.push(format!("{what} of {}", named(store, run)?));
            }
        }
        Ok(said.join(", "))
    }
}

/// Says whether pictures are of the class prompts and nothing else.
pub(super) fn is_plain(run: &Run) -> Result<bool, StageError> {
    Ok(Role::Outliers.input_of(run).is_none() && params::<imagine::Params>(run)?.synthesis.is_none())
}

/// Returns the alias of a run, or else its stage, and the beginning of its id.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn named(store: &Store, run: &Run) -> Result<String, StageError> {
    let name = store.alias_of(run.id)?.unwrap_or_else(|| run.spec.stage.clone());
    Ok(format!("{name} {:.12}", run.id.to_string()))
}

#[cfg(test)]
mod tests {
    use dream_schema::{RunInput, RunSpec};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::stage::import;
    use crate::stage::tests::stamp;

    /// A store and runs without rows.
    struct Runs {
        _folder: TempDir,
        store: Store,
        all: Vec<Run>,
    }

    impl Runs {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::create(folder.path().join("store.redb")).unwrap();
            Self {
                _folder: folder,
                store,
                all: Vec::new(),
            }
        }

        fn add(&mut self, stage: &str, params: Value, inputs: &[(Role, RunId)]) -> RunId {
            let input = |(role, run): &(Role, RunId)| RunInput {
                role: role.to_string(),
                run: *run,
                digest: self.store.run(*run).unwrap().digest.unwrap(),
            };
            let spec = RunSpec {
                stage: stage.to_owned(),
                stage_version: 1,
                params,
                seed: self.all.len() as u64,
                inputs: inputs.iter().map(input).collect(),
                sources: Default::default(),
                source_names: Default::default(),
            };
            let run = self.store.begin(&spec, &stamp()).unwrap().into_run().id;
            self.all.push(self.store.finish(run, 0).unwrap());
            run
        }

        /// An encoder and vectors of its features.
        fn line(&mut self, space: RunId) -> [RunId; 2] {
            let encoder = self.add(encode::NAME, json!({}), &[(Role::Embeddings, space)]);
            let inputs = [(Role::Features, encoder), (Role::Embeddings, space)];
            [encoder, self.add(sample::NAME, json!({}), &inputs)]
        }

        fn shown(&self) -> [Option<RunId>; 5] {
            let shown = Shown::of(&self.store, &self.all).unwrap();
            let all = [
                shown.space,
                shown.encoder,
                shown.sampled,
                shown.imagined,
                shown.plain,
            ];
            all.map(|run| run.map(|run| run.id))
        }

        fn say(&self) -> String {
            let shown = Shown::of(&self.store, &self.all).unwrap();
            shown.say_pictures(&self.store, &self.all).unwrap()
        }
    }

    /// Parameters of pictures.
    fn pictures(synthesis: Value) -> Value {
        json!({
            "per_class": 1, "prompt": "a <class>", "suffixes": {}, "scheduler": "ddim", "steps": 1,
            "guidance_scale": 2.0, "synthesis": synthesis,
        })
    }

    #[test]
    fn what_is_shown_is_of_the_lineage_of_the_pictures_that_were_learnt_from() {
        let mut runs = Runs::new();
        let (other, space) = (
            runs.add(embed::NAME, json!({ "words": 1 }), &[]),
            runs.add(embed::NAME, json!({ "words": 2 }), &[]),
        );
        runs.line(other);
        let [_, first] = runs.line(space);
        let [encoder, sampled] = runs.line(space);
        let of = |sampled, space| [(Role::Outliers, sampled), (Role::Embeddings, space)];
        let others = runs.add(imagine::NAME, pictures(json!(null)), &of(first, space));
        let imagined = runs.add(imagine::NAME, pictures(json!(null)), &of(sampled, space));
        let noise = pictures(json!({ "noise": { "sigma": 0.1 } }));
        let noise = runs.add(imagine::NAME, noise, &[(Role::Embeddings, space)]);
        // Without a classifier, the first pictures of vectors; noise is no class prompt.
        assert_eq!(runs.shown()[2..], [Some(first), Some(others), None]);
        let plain = runs.add(imagine::NAME, pictures(json!(null)), &[(Role::Embeddings, space)]);
        runs.add(detect::NAME, json!({}), &[(Role::Outliers, imagined)]);
        assert_eq!(runs.shown(), [space, encoder, sampled, imagined, plain].map(Some));
        let said = runs.say();
        for (what, run) in [
            ("those that encode", encoder),
            ("Class prompts are of imagine", plain),
            ("Imagined outliers are of imagine", imagined),
            ("`knn_distance` of sample", sampled),
        ] {
            let named = format!("{what} {:.12}", run.to_string());
            assert!(said.contains(&named), "{named}: {said}");
        }
        assert!(
            said.ends_with("Runs of pictures that are not shown: 2."),
            "{said}"
        );
        assert_ne!(noise, plain);
    }

    #[test]
    fn pictures_of_no_vectors_stand_in_no_order_of_distance() {
        let mut runs = Runs::new();
        let space = runs.add(embed::NAME, json!({}), &[]);
        let [encoder, sampled] = runs.line(space);
        // Inliers are no outliers, whatever they are of.
        let inliers = [(Role::Outliers, sampled), (Role::Embeddings, space)];
        let inliers = runs.add(imagine::NAME, pictures(json!(null)), &inliers);
        runs.add(detect::NAME, json!({}), &[(Role::Inliers, inliers)]);
        assert_eq!(runs.shown()[2..], [Some(sampled), None, None]);
        let images = runs.add(
            import::NAME,
            json!({ "table": "images" }),
            &[(Role::Embeddings, space)],
        );
        let chosen = runs.add(select::NAME, json!({ "k": 5 }), &[(Role::Pictures, images)]);
        runs.add(detect::NAME, json!({}), &[(Role::Outliers, chosen)]);
        let expected = [Some(space), Some(encoder), Some(sampled), Some(images), None];
        assert_eq!(runs.shown(), expected);
        let said = runs.say();
        assert!(
            said.contains("Imagined outliers are of import") && !said.contains("distance"),
            "{said}"
        );
    }
}
