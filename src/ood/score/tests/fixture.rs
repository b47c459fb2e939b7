//! The activations and the peers' scores of `tests/fixtures/ood`.

use crate::ood::Observed;
use crate::ood::score::Reference;
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// One set of activations.
pub(super) struct Set {
    pub(super) logits: Vec<f32>,
    pub(super) features: Vec<f32>,
    pub(super) labels: Vec<u32>,
}

/// The scores that a peer gave to the test set.
pub(super) struct Expected {
    pub(super) peer: String,
    pub(super) score: String,
    pub(super) values: Vec<(String, f64)>,
    pub(super) scores: Vec<f32>,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) classes: usize,
    pub(super) width: usize,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) perturbed: Vec<f32>,
    pub(super) sets: BTreeMap<&'static str, Set>,
    pub(super) expected: Vec<Expected>,
}

impl Case {
    pub(super) fn all() -> [Self; 2] {
        [Self::digits(), Self::awkward()]
    }

    pub(super) fn digits() -> Self {
        let bytes = include_bytes!("../../../../tests/fixtures/ood/digits.safetensors");
        Self::read("digits", bytes)
    }

    pub(super) fn awkward() -> Self {
        let bytes = include_bytes!("../../../../tests/fixtures/ood/awkward.safetensors");
        Self::read("awkward", bytes)
    }

    fn read(name: &'static str, bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let words = |name: &str| -> Vec<[u8; 4]> {
            let data = file.tensor(name).unwrap().data().to_vec();
            data.chunks_exact(4).map(|b| b.try_into().unwrap()).collect()
        };
        let floats = |name: &str| -> Vec<f32> { words(name).into_iter().map(f32::from_le_bytes).collect() };
        let set = |set: &'static str| {
            let labels = words(&format!("{set}.labels"));
            let set_of = Set {
                logits: floats(&format!("{set}.logits")),
                features: floats(&format!("{set}.features")),
                labels: labels.into_iter().map(u32::from_le_bytes).collect(),
            };
            (set, set_of)
        };
        let expected = file
            .names()
            .into_iter()
            .filter(|name| name.contains('|'))
            .map(|name| {
                let parts: Vec<&str> = name.split('|').collect();
                let value = |pair: &str| {
                    let (name, value) = pair.split_once('=').unwrap();
                    (name.to_owned(), value.parse().unwrap())
                };
                Expected {
                    peer: parts[0].to_owned(),
                    score: parts[1].to_owned(),
                    values: parts[2]
                        .split(',')
                        .filter(|pair| !pair.is_empty())
                        .map(value)
                        .collect(),
                    scores: floats(name),
                }
            });
        let bias = floats("head.bias");
        let weight = floats("head.weight");
        Self {
            name,
            classes: bias.len(),
            width: weight.len() / bias.len(),
            perturbed: floats("weiper.weight"),
            sets: ["train", "validation", "test"].into_iter().map(set).collect(),
            expected: expected.collect(),
            weight,
            bias,
        }
    }

    pub(super) fn observed(&self, set: &str) -> Observed<'_> {
        let set = &self.sets[set];
        Observed::of_logits(&set.logits, self.classes)
            .and_then(|o| o.with_features(&set.features, self.width))
            .and_then(|o| o.with_labels(&set.labels))
            .and_then(|o| o.with_head(&self.weight, &self.bias))
            .unwrap()
    }

    pub(super) fn reference(&self) -> Reference<'_> {
        Reference {
            train: Some(self.observed("train")),
            validation: Some(self.observed("validation")),
        }
    }
}
