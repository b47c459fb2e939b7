//! What is refused of a training before it begins: numbers that cannot be meant, sets that it cannot be done
//! on, networks that do not fit into memory.

use serde::Serialize;

use super::{MixImages, Training, Validation};
use crate::nn::augment::{ColorJitter, Policy, ResizedCrop};
use crate::stage::{ImageSource, Refusals, Role, Source as _};

/// The most passes over a training split.
const EPOCHS: usize = 100_000;
/// The longest side of a training image, in pixels.
const SIDE: u32 = 4096;
/// The most images of a step, and channels of the first stage.
const BATCH: usize = 65_535;
const WIDTH: usize = 4096;

/// Refuses a number of epochs, a size of batches or a learning rate that cannot be meant; `section` is where
/// they stand.
pub(in crate::stage) fn check_pace(
    section: &str,
    (epochs, batch_size, lr): (usize, usize, f64),
    refusals: &mut Refusals,
) {
    for (key, count, most) in [("epochs", epochs, EPOCHS), ("batch_size", batch_size, BATCH)] {
        let key = format!("{section}.{key}");
        refusals.require(count > 0, &key, count, "at least 1");
        refusals.require(count <= most, &key, count, &format!("at most {most}"));
    }
    let key = format!("{section}.lr");
    refusals.require(lr > 0.0, &key, lr, "a positive number");
    refusals.require(lr.is_nan() || lr <= 100.0, &key, lr, "at most 100");
}

/// Refuses a section in which something is wrong, with its values.
fn refuse_fault<T: Serialize>(
    key: &str,
    section: Option<&T>,
    fault: impl Fn(&T) -> Option<&'static str>,
    refusals: &mut Refusals,
) {
    if let Some(section) = section
        && let Some(fault) = fault(section)
    {
        refusals.refuse(key, format!("{}: {fault}", serde_json::json!(section)));
    }
}

impl Training {
    /// Refuses parameters that cannot be meant, and networks that there are not.
    pub(in crate::stage) fn check(&self, refusals: &mut Refusals) {
        check_pace("training", (self.epochs, self.batch_size, self.lr), refusals);
        let every = self.checkpoint_every;
        refusals.require(every > 0, "training.checkpoint_every", every, "at least 1");
        let min_lr = (0.0..=self.lr).contains(&self.min_lr);
        refusals.require(min_lr, "training.min_lr", self.min_lr, "between 0 and lr");
        self.check_descent(refusals);
        self.check_pictures(refusals);
        let width = (1..=WIDTH).contains(&self.width);
        refusals.require(width, "training.width", self.width, &format!("1 to {WIDTH}"));
        if width && let Err(error) = self.config(1).check() {
            refusals.refuse("training", error.to_string());
        }
        refuse_fault(
            "training.validation",
            self.validation.as_ref(),
            Validation::fault,
            refusals,
        );
        self.check_memory(refusals);
    }

    /// Refuses a new head where there are no weights whose head it could replace.
    pub(in crate::stage) fn check_head(&self, has_weights: bool, refusals: &mut Refusals) {
        let (key, found) = ("training.new_head", "true without weights to start from");
        refusals.require(has_weights || !self.new_head, key, found, "false");
    }

    /// Refuses momentum and decay with which SGD cannot converge.
    fn check_descent(&self, refusals: &mut Refusals) {
        let momentum = (0.0..1.0).contains(&self.momentum);
        refusals.require(momentum, "training.momentum", self.momentum, "0 or more, below 1");
        if self.nesterov && self.momentum == 0.0 {
            refusals.refuse(
                "training.nesterov",
                "true without momentum, of which it is a form",
            );
        }
        let decay = (0.0..=1.0).contains(&self.weight_decay);
        refusals.require(
            decay,
            "training.weight_decay",
            self.weight_decay,
            "0 to 1, such as 5e-4",
        );
    }

    /// Refuses sizes and variations that leave nothing of the pictures.
    fn check_pictures(&self, refusals: &mut Refusals) {
        let size = (1..=SIDE).contains(&self.size);
        refusals.require(size, "training.size", self.size, &format!("1 to {SIDE}"));
        let mean = self.mean.iter().all(|m| (0.0..=1.0).contains(m));
        let expected = "0 to 1: values are divided by 255";
        refusals.require(mean, "training.mean", format!("{:?}", self.mean), expected);
        let std = self.std.iter().all(|s| *s > 0.0 && *s <= 1.0);
        let expected = "positive numbers up to 1: values are divided by 255";
        refusals.require(std, "training.std", format!("{:?}", self.std), expected);
        let key = "training.crop_padding";
        if self.resized_crop.is_some() && self.crop_padding > 0 {
            let found = format!("{} beside resized_crop, which takes its place", self.crop_padding);
            refusals.require(false, key, found, "0");
        }
        let most = self.size as usize / 2;
        let expected = format!("at most {most}, half of size: more of a crop would be padding");
        refusals.require(self.crop_padding <= most, key, self.crop_padding, &expected);
        if let Some(side) = self.resize {
            let (key, expected) = ("training.resize", "as long as size, or longer");
            refusals.require(side >= self.size, key, side, expected);
            refusals.require(side <= SIDE, key, side, &format!("at most {SIDE}"));
        }
        let (crop, jitter) = (self.resized_crop.as_ref(), self.color_jitter.as_ref());
        refuse_fault("training.resized_crop", crop, ResizedCrop::fault, refusals);
        refuse_fault("training.color_jitter", jitter, ColorJitter::fault, refusals);
        let (augment, mix) = (self.augment.as_ref(), self.mix.as_ref());
        refuse_fault("training.augment", augment, Policy::fault, refusals);
        refuse_fault("training.mix", mix, MixImages::fault, refusals);
        if mix.is_some() && self.batch_size == 1 {
            let found = "set with one image a step, which there is nothing to mix with";
            refusals.require(false, "training.mix", found, "left out");
        }
    }

    /// Refuses steps that do not fit into memory. The outputs of the network are the least of it.
    fn check_memory(&self, refusals: &mut Refusals) {
        if self.width <= WIDTH
            && let Ok(needed) = self.config(1).training_bytes(self.batch_size, self.size as usize)
        {
            refusals.require_memory("training", needed, "batch_size, width or size");
        }
    }

    /// Refuses a set that the network cannot be trained on, as far as its registration tells, and its labels:
    /// these are read where the training is still `to_do`.
    pub(in crate::stage) fn check_set(&self, images: &ImageSource, to_do: bool, refusals: &mut Refusals) {
        images.require_labels(&Role::Images, refusals);
        images.require_split("training.split", &self.split, refusals);
        images.require_split("training.test_split", &self.test_split, refusals);
        let count = match (&self.validation, to_do) {
            (Some(validation), true) => {
                let sizes = images.class_sizes(&self.split);
                let trained =
                    |sizes: Vec<usize>| sizes.iter().map(|size| validation.trained(*size) as u64).sum();
                sizes.filter(|sizes| !sizes.is_empty()).map(trained)
            }
            _ => images.count(&self.split),
        };
        let count = count.unwrap_or(u64::MAX);
        if self.batch_size > 0 && count < self.batch_size as u64 {
            let found = format!(
                "{count} training images do not fill one batch of {}",
                self.batch_size
            );
            refusals.refuse("training.batch_size", found);
        }
        if to_do {
            self.check_labels(images, refusals);
            let area = self.config(1).last_area(self.size as usize);
            if self.batch_size == 1 && area.is_ok_and(|area| area == 1) {
                let found = "1: the norms of the last stage would see one number a channel of such pictures";
                refusals.require(false, "training.batch_size", found, "at least 2");
            }
        }
    }

    /// Refuses a training split with a class of fewer images to train on than a method needs.
    pub(in crate::stage) fn check_least(&self, images: &ImageSource, least: usize, refusals: &mut Refusals) {
        let trained = |size: usize| match &self.validation {
            Some(validation) => validation.trained(size),
            None => size,
        };
        let sizes = images.class_sizes(&self.split).unwrap_or_default();
        let mut classes = images.classes().iter().zip(sizes);
        if let Some((class, size)) = classes.find(|(_, size)| trained(*size) < least) {
            let (split, name) = (&self.split, images.name());
            let found = format!(
                "`{split}` of `{name}`, which has {} images of `{class}` to train on, where the method \
                 needs {least} of every class",
                trained(size)
            );
            refusals.refuse("training.split", found);
        }
    }

    /// Refuses a training split without labels, or with none of a class. What cannot be read is told by the
    /// run.
    fn check_labels(&self, images: &ImageSource, refusals: &mut Refusals) {
        let name = images.name();
        if images.classes().is_empty() {
            return; // That has been refused.
        }
        match images.class_sizes(&self.split) {
            Some(sizes) if sizes.is_empty() => {
                let found = format!("`{}` of `{name}`, whose images have no labels", self.split);
                refusals.refuse("training.split", found);
            }
            Some(sizes) => {
                let mut classes = images.classes().iter().zip(&sizes);
                if let Some((class, _)) = classes.find(|(_, size)| **size == 0) {
                    let found = format!("`{}` of `{name}`, which has no image of `{class}`", self.split);
                    refusals.refuse("training.split", found);
                }
                let mut classes = images.classes().iter().zip(&sizes);
                if self.validation.is_some()
                    && let Some((class, _)) = classes.find(|(_, size)| **size == 1)
                {
                    let found = format!("of the one image of `{class}` in `{}` of `{name}`", self.split);
                    refusals.require(false, "training.validation", found, "two images of every class");
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Room;

    fn training(changes: serde_json::Value) -> Training {
        let mut value = serde_json::json!({
            "depth": 10, "width": 8, "stem": "cifar", "size": 32, "channels": "rgb",
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "epochs": 2, "batch_size": 16, "lr": 0.1,
            "min_lr": 1e-6, "momentum": 0.9, "nesterov": true, "weight_decay": 5e-4, "flip": true,
            "crop_padding": 4, "split": "train", "test_split": "test", "checkpoint_every": 1,
        });
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    fn refused(training: &Training, room: Room) -> Vec<String> {
        let mut refusals = Refusals::of("encode").within(room);
        training.check(&mut refusals);
        refusals.into_inner().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_that_cannot_be_meant_are_refused_with_their_range() {
        let none = refused(&training(serde_json::json!({})), Room::default());
        assert_eq!(none, Vec::<String>::new());
        for (key, values) in [
            ("momentum", serde_json::json!([2, 1, -0.1])),
            ("weight_decay", serde_json::json!([1e9, -5e-4])),
            ("lr", serde_json::json!([0, -1, 1e6])),
            ("min_lr", serde_json::json!([-1, 0.2])),
            ("crop_padding", serde_json::json!([1000, 17])),
            ("epochs", serde_json::json!([0, 1_000_000_000_u64])),
            ("batch_size", serde_json::json!([0, 1_000_000_000_u64])),
            ("size", serde_json::json!([0, 100_000])),
            ("width", serde_json::json!([0, u64::MAX])),
            ("depth", serde_json::json!([11])),
            ("mean", serde_json::json!([[123.7, 116.3, 103.5]])),
            ("std", serde_json::json!([[58.4, 57.1, 57.4], [0.0, 0.5, 0.5]])),
            ("resize", serde_json::json!([16, 100_000])),
            ("checkpoint_every", serde_json::json!([0])),
        ] {
            for value in values.as_array().unwrap() {
                let said = refused(&training(serde_json::json!({ key: value })), Room::default());
                assert!(
                    said.iter().any(|line| line.contains(key)),
                    "{key} {value}: {said:?}"
                );
            }
        }
        for (key, change) in [
            (
                "lr",
                Training {
                    lr: f64::NAN,
                    ..training(serde_json::json!({}))
                },
            ),
            (
                "momentum",
                Training {
                    momentum: f64::NAN,
                    ..training(serde_json::json!({}))
                },
            ),
            (
                "mean",
                Training {
                    mean: [f64::NAN; 3],
                    ..training(serde_json::json!({}))
                },
            ),
            ("nesterov", training(serde_json::json!({ "momentum": 0 }))),
        ] {
            let said = refused(&change, Room::default());
            assert!(said.iter().any(|line| line.contains(key)), "{key}: {said:?}");
        }
    }

    #[test]
    fn a_step_that_does_not_fit_into_memory_is_refused() {
        let room = Room {
            memory: Some(4 << 30),
            ..Room::default()
        };
        let large = serde_json::json!({ "depth": 50, "width": 64, "size": 224, "batch_size": 1024 });
        let said = refused(&training(large), room);
        assert!(
            said[0].contains("GiB of memory, 4.0 GiB are free; lower batch_size"),
            "{said:?}"
        );
        assert_eq!(
            refused(&training(serde_json::json!({})), room),
            Vec::<String>::new()
        );
    }
}
