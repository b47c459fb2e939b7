//! The validation images: a seeded share of every class of the training split, on which no step is taken.

use serde::{Deserialize, Serialize};

use crate::rng::{Stream, domain};
use crate::stage::StageError;

/// Images held out of the training split, and what is done with the accuracy on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Share of every class that is held out, to the nearest image; at least one is, and one is left.
    pub fraction: f64,
    /// Stops after so many epochs without a better accuracy on them; without it, all epochs are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
}

impl Validation {
    /// Says what is wrong with the numbers, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if !(self.fraction > 0.0 && self.fraction < 1.0) {
            Some("fraction must be between 0 and 1")
        } else if self.patience == Some(0) {
            Some("patience must be at least 1")
        } else {
            None
        }
    }

    /// Returns how many of a class's images are held out, of two or more.
    fn held_out(&self, images: usize) -> usize {
        let wanted = (self.fraction * images as f64).round() as usize;
        wanted.clamp(1, images.saturating_sub(1).max(1))
    }

    /// Returns how many of a class's images are trained on.
    pub(super) fn trained(&self, images: usize) -> usize {
        images.saturating_sub(self.held_out(images))
    }

    /// Divides the images of these labels into those trained on and those held out, both ascending.
    ///
    /// # Errors
    /// If a class has one image only.
    pub(super) fn divide(
        &self,
        labels: &[u32],
        classes: &[String],
        seed: u64,
    ) -> Result<[Vec<u32>; 2], StageError> {
        let mut held = vec![false; labels.len()];
        for (class, name) in (0..).zip(classes) {
            let of_class = (0..labels.len() as u32).filter(|sample| labels[*sample as usize] == class);
            let mut of_class: Vec<u32> = of_class.collect();
            if of_class.len() < 2 {
                return Err(StageError::Mismatch(format!(
                    "the class `{name}` has {} training image, none of which can be held out for validation",
                    of_class.len()
                )));
            }
            Stream::new(seed, domain::TRAIN_VALIDATION, class, 0).shuffle(&mut of_class);
            for sample in &of_class[..self.held_out(of_class.len())] {
                held[*sample as usize] = true;
            }
        }
        let of = |wanted: bool| {
            let samples = (0_u32..).zip(&held).filter(|(_, held)| **held == wanted);
            samples.map(|(sample, _)| sample).collect()
        };
        Ok([of(false), of(true)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(fraction: f64) -> Validation {
        Validation {
            fraction,
            patience: None,
        }
    }

    #[test]
    fn every_class_gives_its_share_and_the_seed_decides_which() {
        let labels: Vec<u32> = (0..130).map(|i| if i < 100 { i % 2 } else { 2 }).collect();
        let classes: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let divide = |seed| validation(0.1).divide(&labels, &classes, seed).unwrap();
        let [trained, held] = divide(1);
        let mut all = [trained.clone(), held.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..130).collect::<Vec<u32>>());
        let of_class = |class| held.iter().filter(|s| labels[**s as usize] == class).count();
        assert_eq!([of_class(0), of_class(1), of_class(2)], [5, 5, 3]);
        assert_eq!(divide(1), [trained, held.clone()]);
        assert_ne!(divide(2)[1], held);
        // One at least, and never all.
        assert_eq!(
            validation(0.001).divide(&labels, &classes, 1).unwrap()[1].len(),
            3
        );
        assert_eq!(
            validation(0.999).divide(&labels, &classes, 1).unwrap()[0].len(),
            3
        );
        let error = validation(0.5).divide(&labels[..101], &classes, 1).unwrap_err();
        assert!(error.to_string().contains("`c` has 1"), "{error}");
    }

    #[test]
    fn numbers_that_cannot_be_are_named() {
        assert_eq!(validation(0.5).fault(), None);
        for fraction in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(
                validation(fraction)
                    .fault()
                    .is_some_and(|f| f.contains("fraction"))
            );
        }
        let patience = Validation {
            patience: Some(0),
            ..validation(0.5)
        };
        assert!(patience.fault().is_some_and(|f| f.contains("patience")));
    }
}
