//! Scores that run a network, beside the peers' of the same one (`tools/check/network_scores.py`).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use super::*;
use crate::engine::Engine;
use crate::nn::{self, ResNet, ResNetConfig, Stem};
use crate::ood::score::{Entry, all, find};

const MEAN: [f32; 3] = [0.4, 0.5, 0.6];
const STD: [f32; 3] = [0.3, 0.5, 0.6];
const SIDE: usize = 16;

/// The network, its pictures and the peers' scores.
struct Fixture {
    network: ResNet,
    gradient: Vec<f32>,
    sets: BTreeMap<&'static str, Held>,
    /// By `PEER|SCORE|NAME=VALUE,...`.
    expected: Vec<(String, Vec<f32>)>,
}

/// Pictures in memory.
struct Held {
    x: Tensor,
    labels: Vec<u32>,
}

impl Held {
    fn len(&self) -> usize {
        self.labels.len()
    }

    /// Keeps those of which `keep(label)` is true.
    fn only(&self, keep: impl Fn(u32) -> bool) -> Self {
        let places: Vec<u32> = (0..self.len() as u32)
            .filter(|at| keep(self.labels[*at as usize]))
            .collect();
        let index = Tensor::new(places.as_slice(), &Device::Cpu).unwrap();
        Self {
            x: self.x.index_select(&index, 0).unwrap(),
            labels: places.iter().map(|at| self.labels[*at as usize]).collect(),
        }
    }
}

impl Album for Held {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self) -> Option<&[u32]> {
        Some(&self.labels)
    }

    fn each(&self, pictures: &[u32], take: Take<'_>) -> Result<(), NetworkError> {
        for some in pictures.chunks(7) {
            let index = Tensor::new(some, &Device::Cpu)?;
            take(some, &self.x.index_select(&index, 0)?)?;
        }
        Ok(())
    }
}

impl Fixture {
    fn read() -> Self {
        let bytes = include_bytes!("../../../../tests/fixtures/ood/network.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        let words = |name: &str| -> Vec<[u8; 4]> {
            let data = file.tensor(name).unwrap().data().to_vec();
            data.chunks_exact(4).map(|b| b.try_into().unwrap()).collect()
        };
        let floats = |name: &str| -> Vec<f32> { words(name).into_iter().map(f32::from_le_bytes).collect() };
        let mut state = nn::State::new();
        for name in file.names() {
            if let Some(own) = name.strip_prefix("net.") {
                let shape = file.tensor(name).unwrap().shape().to_vec();
                let tensor = Tensor::from_vec(floats(name), shape, &Device::Cpu).unwrap();
                state.insert(own.to_owned(), tensor);
            }
        }
        let network = network(10, Stem::Cifar, 4, &Engine::default());
        network.tensors().load_state_dict(&state).unwrap();
        let set = |name: &'static str| {
            let pixels = file.tensor(&format!("{name}.pictures")).unwrap().data().to_vec();
            let labels = words(&format!("{name}.labels"));
            let area = SIDE * SIDE;
            let number = |(at, byte): (usize, &u8)| {
                let channel = at / area % 3;
                (f32::from(*byte) / 255.0 - MEAN[channel]) / STD[channel]
            };
            let x: Vec<f32> = pixels.iter().enumerate().map(number).collect();
            let held = Held {
                x: Tensor::from_vec(x, (labels.len(), 3, SIDE, SIDE), &Device::Cpu).unwrap(),
                labels: labels.into_iter().map(u32::from_le_bytes).collect(),
            };
            (name, held)
        };
        let scores = file.names().into_iter().filter(|name| name.contains('|'));
        Self {
            network,
            gradient: floats("gradient"),
            sets: ["train", "validation", "test"].into_iter().map(set).collect(),
            expected: scores.map(|name| (name.to_owned(), floats(name))).collect(),
        }
    }

    fn albums(&self) -> Albums<'_> {
        Albums {
            train: Some(&self.sets["train"]),
            validation: Some(&self.sets["validation"]),
        }
    }

    /// The scores of the test pictures.
    fn scores(&self, name: &str, given: &[(&str, f64)], std: &[f32], albums: &Albums<'_>) -> Vec<f32> {
        let lens = Lens::new(&self.network, std).unwrap();
        let Some(Entry::Network(score)) = find(name) else {
            panic!("{name} is no score that runs the network");
        };
        let values = Entry::Network(score).values(given).unwrap();
        let fitted = score.fit(&values, &lens, albums).unwrap();
        let mut found = Vec::new();
        let test = &self.sets["test"];
        test.each(&everything(test), &mut |_, x| {
            found.extend(fitted.score(&lens, x)?);
            Ok(())
        })
        .unwrap();
        found
    }
}

fn network(depth: usize, stem: Stem, width: usize, engine: &Engine) -> ResNet {
    let config = ResNetConfig {
        depth,
        stem,
        width,
        in_channels: 3,
        num_outputs: 4,
        form: crate::nn::Form::Residual,
    };
    ResNet::new(config, 3, engine).unwrap()
}

/// How far a score may lie from a peer's, as a share of 1 + its size; and what share of the pictures may lie
/// farther.
fn tolerance(score: &str) -> (f64, f64) {
    match score {
        // A number whose gradient is all but zero goes one way or the other by its last bit.
        "odin" | "godin" => (1e-5, 0.0),
        "mahalanobis" | "mdsens" => (1e-3, 0.0),
        "adascale_a" | "adascale_l" => (2e-3, 0.0),
        // OpenOOD takes the tenth power of the maps in f32.
        "gram" => (1e-3, 0.0),
        _ => (1e-4, 0.0),
    }
}

#[test]
fn scores_are_those_of_the_peers() {
    let fixture = Fixture::read();
    let mut wrong = Vec::new();
    for (label, expected) in &fixture.expected {
        let parts: Vec<&str> = label.split('|').collect();
        let pairs = parts[2].split(',').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
        let mut given: Vec<(&str, f64)> = pairs.map(|(name, v)| (name, v.parse().unwrap())).collect();
        let own = given.iter().position(|(name, _)| *name == "std");
        let std = own.map_or(STD, |at| [given.remove(at).1 as f32; 3]);
        let found = fixture.scores(parts[1], &given, &std, &fixture.albums());
        assert_eq!(found.len(), expected.len(), "{label}");
        assert!(found.iter().all(|score| score.is_finite()), "{label}");
        let (near, share) = tolerance(parts[1]);
        let pairs = found.iter().zip(expected).filter(|(_, peer)| peer.is_finite());
        let far = pairs.filter(|(own, peer)| {
            let (own, peer) = (f64::from(**own), f64::from(**peer));
            (own - peer).abs() > near * (1.0 + peer.abs())
        });
        let far: Vec<String> = far.map(|(own, peer)| format!("{own} not {peer}")).collect();
        if far.len() as f64 > share * found.len() as f64 {
            wrong.push(format!(
                "{label}: {}: {}",
                far.len(),
                far[..far.len().min(4)].join("; ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(fixture.expected.len() > 15);
}

#[test]
fn gradients_are_pytorchs_and_those_of_differences() {
    let fixture = Fixture::read();
    let lens = Lens::new(&fixture.network, &STD).unwrap();
    let x = fixture.sets["test"].x.narrow(0, 0, 4).unwrap();
    let best = |x: &Tensor| -> Vec<usize> {
        let [_, logits] = lens.shown(x).unwrap();
        let rows = logits.rows("logits").unwrap();
        rows.iter().map(crate::ood::score::softmax::argmax).collect()
    };
    let best = best(&x);
    let weights = |_: &Tensor| {
        Ok(best
            .iter()
            .flat_map(|class| lens.weight(*class))
            .copied()
            .collect())
    };
    let (_, found) = lens.gradient(&x, lens.last_stage(), weights).unwrap();
    for (own, theirs) in found.iter().zip(&fixture.gradient) {
        assert!(
            (own - theirs).abs() < 1e-5 * (1.0 + theirs.abs()),
            "{own} not {theirs}"
        );
    }
    // The largest logits before and after a step along the gradient of one picture.
    let numbers = 3 * SIDE * SIDE;
    for picture in 0..4 {
        let own = &found[picture * numbers..][..numbers];
        let length = own.iter().map(|g| g * g).sum::<f32>().sqrt();
        let logit = |step: f32| {
            let moved = lens.moved(&x, |p, _, at| {
                if p == picture {
                    step * own[at] / length
                } else {
                    0.0
                }
            });
            let [_, logits] = lens.shown(&moved.unwrap()).unwrap();
            logits.rows("logits").unwrap().row(picture)[best[picture]]
        };
        let slope = (logit(1e-2) - logit(-1e-2)) / 2e-2;
        assert!((slope - length).abs() < 0.02 * length, "{slope} not {length}");
    }
}

#[test]
fn the_layers_together_are_the_network() {
    let engines = [Engine::default(), Engine::composed(&Device::Cpu)];
    for (depth, stem, width, side) in [
        (10, Stem::Cifar, 4, 16),
        (18, Stem::ImageNet, 4, 39),
        (50, Stem::ImageNet, 4, 32),
    ] {
        for engine in &engines {
            let network = network(depth, stem, width, engine);
            let x = Tensor::randn(0_f32, 1.0, (3, 3, side, side), &Device::Cpu).unwrap();
            let whole: Vec<f32> = network
                .features(&x, false)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            let inner = network.inner();
            let maps = inner.maps(&x, inner.stages() - 1).unwrap();
            let mut seen = 0;
            let watched = inner.each(&x, &mut |_| {
                seen += 1;
                Ok(())
            });
            let mut others = vec![watched.unwrap()];
            others.extend((0..inner.stages()).map(|stage| inner.after(stage, &maps[stage]).unwrap()));
            for other in others {
                let other: Vec<f32> = other.flatten_all().unwrap().to_vec1().unwrap();
                for (a, b) in whole.iter().zip(&other) {
                    assert!(
                        (a - b).abs() < 1e-4 * (1.0 + a.abs()),
                        "depth {depth}: {a} not {b}"
                    );
                }
            }
            // Every convolution and every ReLU.
            assert_eq!(
                seen,
                if depth == 10 {
                    2 + 4 * 4 + 3
                } else if depth == 18 {
                    2 + 8 * 4 + 3
                } else {
                    2 + 16 * 6 + 4
                }
            );
        }
    }
}

#[test]
fn scores_of_networks_have_cards_and_names_of_their_own() {
    let mut names: Vec<&str> = all().map(|score| score.card().name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for score in NETWORK_SCORES {
        let card = score.card();
        assert!(
            card.needs.network && !card.needs.logits && !card.needs.features,
            "{}",
            card.name
        );
        Entry::Network(*score).values(&[]).unwrap();
    }
}

#[test]
fn classes_without_pictures_and_too_few_pictures_have_rules() {
    let fixture = Fixture::read();
    // No picture of class 3; of the others fewer than ten.
    let mut count = BTreeMap::new();
    let mut few = fixture.sets["train"].only(|label| label != 3);
    let kept: Vec<bool> = few
        .labels
        .iter()
        .map(|label| {
            let count = count.entry(*label).or_insert(0);
            *count += 1;
            *count < 10
        })
        .collect();
    let places: Vec<u32> = (0..kept.len() as u32).filter(|at| kept[*at as usize]).collect();
    let index = Tensor::new(places.as_slice(), &Device::Cpu).unwrap();
    few = Held {
        x: few.x.index_select(&index, 0).unwrap(),
        labels: places.iter().map(|at| few.labels[*at as usize]).collect(),
    };
    let one = fixture.sets["validation"].only(|label| label == 0);
    let albums = Albums {
        train: Some(&few),
        validation: Some(&one),
    };
    for score in NETWORK_SCORES {
        let name = score.card().name;
        let found = fixture.scores(name, &[], &STD, &albums);
        assert!(found.iter().all(|score| score.is_finite()), "{name}");
        let first = found[0];
        assert!(
            found.iter().any(|score| *score != first),
            "{name} is {first} of all"
        );
    }
}

#[test]
fn what_a_network_score_lacks_is_named() {
    let fixture = Fixture::read();
    let lens = Lens::new(&fixture.network, &STD).unwrap();
    let nothing = Albums {
        train: None,
        validation: None,
    };
    for score in NETWORK_SCORES {
        let card = score.card();
        let values = Entry::Network(*score).values(&[]).unwrap();
        let error = score
            .fit(&values, &lens, &nothing)
            .err()
            .map(|error| error.to_string());
        let expected = match (card.needs.train, card.needs.validation) {
            (true, _) => Some("training pictures are needed and were not given"),
            (false, true) => Some("validation pictures are needed and were not given"),
            (false, false) => None,
        };
        assert_eq!(error.as_deref(), expected, "{}", card.name);
    }
    let values = |name: &str, given: &[(&str, f64)]| {
        let Some(Entry::Network(score)) = find(name) else {
            panic!("{name}");
        };
        let values = Entry::Network(score).values(given).unwrap();
        score
            .fit(&values, &lens, &fixture.albums())
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        values("adascale_a", &[("low", 90.0)]),
        "low is 90, expected less than `high`, which is 85"
    );
    let zero = ["stem", "stage1", "stage2", "stage3", "stage4"].map(|name| (name, 0.0));
    assert_eq!(
        values("mdsens", &zero),
        "weights of the stages: all of them are zero"
    );
}
