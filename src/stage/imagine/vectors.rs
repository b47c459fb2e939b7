//! The vector that stands in for the class word in each picture, and where it comes from.

use dream_schema::{ClassEmbedding, Outlier, Run, RunId};

use super::params::{Params, Partner, Synthesis, class as find_class};
use crate::rng::{Stream, domain};
use crate::stage::{Role, StageError};
use crate::store::{Readable, Store};

/// What stands in for the class word in one picture.
pub(in crate::stage) struct Vector {
    /// m components.
    pub(in crate::stage) numbers: Vec<f32>,
    /// The index of the outlier that it is.
    pub(in crate::stage) outlier: Option<i64>,
    /// How else it was made, in words for the picture's provenance.
    pub(in crate::stage) synthesis: Option<String>,
    /// The word whose prompt is taken as it is, instead of the class's with the vector.
    pub(in crate::stage) word: Option<String>,
    /// The standard deviation of the noise on the text encoder's output.
    pub(in crate::stage) encoder_noise: Option<f64>,
}

impl Vector {
    /// Whether it is T(y) itself, for a picture of the plain prompt.
    pub(super) fn is_plain(&self) -> bool {
        self.outlier.is_none() && (self.synthesis.is_none() || self.encoder_noise.is_some())
    }

    /// T(y) itself.
    fn plain(class: &ClassEmbedding) -> Self {
        Self {
            numbers: class.vector.clone(),
            outlier: None,
            synthesis: None,
            word: None,
            encoder_noise: None,
        }
    }

    /// A vector that a synthesis made, which says how.
    fn made(class: &ClassEmbedding, numbers: Vec<f32>, synthesis: String) -> Self {
        Self {
            numbers,
            synthesis: Some(synthesis),
            ..Self::plain(class)
        }
    }
}

/// The vectors of a run. Outliers are read a class at a time.
pub(in crate::stage) struct Vectors<'a> {
    store: &'a Store,
    classes: &'a [ClassEmbedding],
    params: &'a Params,
    seed: u64,
    outliers: Option<RunId>,
    kept: Option<(u32, Vec<Outlier>)>,
}

impl<'a> Vectors<'a> {
    pub(in crate::stage) fn new(
        store: &'a Store,
        run: &Run,
        params: &'a Params,
        classes: &'a [ClassEmbedding],
    ) -> Self {
        Self {
            store,
            classes,
            params,
            seed: run.spec.seed,
            outliers: Role::Outliers.input_of(run),
            kept: None,
        }
    }

    /// Returns the vector of a picture.
    pub(in crate::stage) fn of(&mut self, class: &ClassEmbedding, index: u64) -> Result<Vector, StageError> {
        match (&self.params.synthesis, self.outliers) {
            (None, None) => Ok(Vector::plain(class)),
            (None, Some(run)) => self.outlier(run, class, index),
            (Some(Synthesis::Noise { sigma }), _) => Ok(noisy(class, *sigma, self.seed, index)),
            (Some(Synthesis::Interpolation { with, fraction }), _) => {
                let partner = match with {
                    Partner::Class(name) => find_class(self.classes, name)?,
                    Partner::Random => random_partner(self.classes, class, self.seed, index)?,
                };
                Ok(between(class, partner, *fraction))
            }
            (Some(Synthesis::EncoderNoise { sigma }), _) => Ok(Vector {
                synthesis: Some(format!("noise of sigma {sigma} on the text encoder's output")),
                encoder_noise: Some(*sigma),
                ..Vector::plain(class)
            }),
            (Some(Synthesis::Disjoint { words }), _) => {
                let place = self.classes.iter().position(|c| c.class_id == class.class_id);
                let place = place.unwrap_or(0) as u64;
                // Over the classes first, so that few pictures show many words.
                let turn = index * self.classes.len() as u64 + place;
                let word = &words[(turn % words.len() as u64) as usize]; // checked: there is one
                Ok(Vector {
                    synthesis: Some(format!("the word `{word}`, of none of the classes")),
                    word: Some(word.clone()),
                    ..Vector::plain(class)
                })
            }
        }
    }

    fn outlier(&mut self, run: RunId, class: &ClassEmbedding, index: u64) -> Result<Vector, StageError> {
        if self.kept.as_ref().is_none_or(|(id, _)| *id != class.class_id) {
            self.kept = Some((class.class_id, self.store.rows(run, Some(class.class_id))?));
        }
        let outliers = self.kept.as_ref().map_or(&[][..], |(_, rows)| rows.as_slice());
        enough(run, class, outliers.len(), self.params.per_class)?;
        // Evenly over all that were sampled: no more pictures are wanted than there are outliers.
        let place = index as usize * outliers.len() / self.params.per_class.max(1);
        let Some(outlier) = outliers.get(place) else {
            let (name, all) = (&class.class_name, self.params.per_class);
            return Err(StageError::Mismatch(format!(
                "picture {index} of the class `{name}` is none of the run's {all}"
            )));
        };
        check(run, outlier, class.vector.len())?;
        Ok(Vector {
            numbers: outlier.vector.clone(),
            outlier: Some(outlier.index as i64),
            ..Vector::plain(class)
        })
    }
}

/// Refuses a class with fewer outliers than pictures are wanted.
pub(super) fn enough(
    run: RunId,
    class: &ClassEmbedding,
    found: usize,
    wanted: usize,
) -> Result<(), StageError> {
    if found >= wanted {
        return Ok(());
    }
    Err(StageError::Mismatch(format!(
        "run {run} has {found} outliers of the class `{}`, {wanted} pictures are wanted; sample more \
        rounds, or ask for fewer",
        class.class_name
    )))
}

fn check(run: RunId, outlier: &Outlier, width: usize) -> Result<(), StageError> {
    let name = format!("outlier {} of the class `{}`", outlier.index, outlier.class_name);
    if outlier.vector.len() != width {
        let found = outlier.vector.len();
        return Err(StageError::Mismatch(format!(
            "{name} in run {run} is {found} wide, the class embeddings are {width}: it was sampled for \
            another model"
        )));
    }
    let Some((place, value)) = outlier.vector.iter().enumerate().find(|(_, v)| !v.is_finite()) else {
        return Ok(());
    };
    Err(StageError::Mismatch(format!(
        "{name} in run {run} holds {value} at component {place}; sample it again, or import a mended file"
    )))
}

/// T(y) + sigma * e, e ~ N(0, I_m) named by (seed, class, index).
fn noisy(class: &ClassEmbedding, sigma: f64, seed: u64, index: u64) -> Vector {
    let noise =
        Stream::new(seed, domain::IMAGINE_TOKEN_NOISE, class.class_id, index).normals(class.vector.len());
    let pairs = class.vector.iter().zip(noise);
    let numbers = pairs.map(|(t, e)| (f64::from(*t) + sigma * f64::from(e)) as f32);
    Vector::made(class, numbers.collect(), format!("noise of sigma {sigma}"))
}

/// Draws one of the other classes, named by (seed, class, index).
fn random_partner<'a>(
    classes: &'a [ClassEmbedding],
    class: &ClassEmbedding,
    seed: u64,
    index: u64,
) -> Result<&'a ClassEmbedding, StageError> {
    let others: Vec<&ClassEmbedding> = classes.iter().filter(|c| c.class_id != class.class_id).collect();
    if others.is_empty() {
        let name = &class.class_name;
        return Err(StageError::Mismatch(format!(
            "there is no class beside `{name}` to interpolate with"
        )));
    }
    let mut stream = Stream::new(seed, domain::IMAGINE_PARTNER, class.class_id, index);
    let place = stream.below(others.len() as u32) as usize;
    Ok(others[place]) // below(n) is less than n
}

/// (1 - fraction) * T(y) + fraction * T(y').
fn between(class: &ClassEmbedding, partner: &ClassEmbedding, fraction: f64) -> Vector {
    let pairs = class.vector.iter().zip(&partner.vector);
    let numbers = pairs.map(|(a, b)| ((1.0 - fraction) * f64::from(*a) + fraction * f64::from(*b)) as f32);
    let with = &partner.class_name;
    let how = format!("interpolation with {with}, fraction {fraction}");
    Vector::made(class, numbers.collect(), how)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(id: u32, vector: Vec<f32>) -> ClassEmbedding {
        ClassEmbedding {
            class_id: id,
            class_name: format!("c{id}"),
            index: 0,
            word: "w".into(),
            token_id: 1,
            model: "m".into(),
            norm: 1.0,
            vector,
        }
    }

    #[test]
    fn noise_has_the_standard_deviation_asked_for() {
        let base = class(3, vec![0.25; 40_000]);
        let made = noisy(&base, 0.01, 7, 5);
        let noise: Vec<f64> = made.numbers.iter().map(|v| f64::from(*v) - 0.25).collect();
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        let deviation = (noise.iter().map(|v| v * v).sum::<f64>() / noise.len() as f64).sqrt();
        assert!(
            mean.abs() < 3e-4 && (deviation - 0.01).abs() < 2e-4,
            "{mean} {deviation}"
        );
        assert_eq!(made.numbers, noisy(&base, 0.01, 7, 5).numbers);
        assert_ne!(made.numbers, noisy(&base, 0.01, 7, 6).numbers);
        assert_ne!(made.numbers, noisy(&base, 0.01, 8, 5).numbers);
        assert_eq!(made.synthesis.unwrap(), "noise of sigma 0.01");
    }

    #[test]
    fn interpolation_is_linear_and_partners_are_others() {
        let classes: Vec<_> = (0..4).map(|i| class(i, vec![i as f32, 2.0 * i as f32])).collect();
        let made = between(&classes[1], &classes[3], 0.25);
        assert_eq!(made.numbers, [1.5, 3.0]);
        assert_eq!(made.synthesis.unwrap(), "interpolation with c3, fraction 0.25");
        assert_eq!(between(&classes[1], &classes[3], 1.0).numbers, classes[3].vector);
        let mut drawn = [0; 4];
        for index in 0..600 {
            let partner = random_partner(&classes, &classes[2], 1, index).unwrap();
            drawn[partner.class_id as usize] += 1;
        }
        assert_eq!(drawn[2], 0);
        assert!([0, 1, 3].iter().all(|i| drawn[*i] > 150), "{drawn:?}");
        assert!(random_partner(&classes[..1], &classes[0], 1, 0).is_err());
    }

    #[test]
    fn vectors_that_cannot_be_used_are_named() {
        let outlier = |vector| Outlier {
            class_id: 1,
            class_name: "bag".into(),
            index: 7,
            kind: dream_schema::OutlierKind::Outlier,
            vector,
            anchor: 0,
            round: 0,
            knn_distance: Some(0.0),
        };
        let run = RunId([1; 16]);
        check(run, &outlier(vec![0.0; 3]), 3).unwrap();
        let said = check(run, &outlier(vec![0.0; 4]), 3).unwrap_err().to_string();
        assert!(
            said.contains("outlier 7") && said.contains("4 wide") && said.contains("are 3"),
            "{said}"
        );
        let said = check(run, &outlier(vec![0.0, f32::NAN, 1.0]), 3)
            .unwrap_err()
            .to_string();
        assert!(said.contains("NaN at component 1"), "{said}");
    }
}
