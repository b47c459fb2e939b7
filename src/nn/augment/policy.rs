//! Policies that choose operations for a picture: torchvision's `RandAugment`, `AutoAugment` and `AugMix`.

use serde::{Deserialize, Serialize};

use super::operation::Operation;
use crate::rng::Stream;

/// Which operations a training picture goes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Policy {
    /// Some operations, each drawn alike, of one magnitude: Cubuk et al., "RandAugment", 2020.
    RandAugment {
        /// How many, one after the other: 2 in torchvision.
        operations: usize,
        /// The magnitude, a place among the 31 of each operation: 9 in torchvision, 30 at most.
        magnitude: usize,
    },
    /// One of the 25 pairs of operations that were found for CIFAR-10: Cubuk et al., "AutoAugment", 2019.
    AutoAugment {},
    /// The picture mixed with chains of operations on it: Hendrycks et al., "AugMix", ICLR 2020, without its
    /// loss of consistency. Operations take nearest neighbours, where torchvision's default is bilinear.
    AugMix {
        /// The greatest magnitude, a place among 10: 3 in torchvision, 10 at most.
        severity: usize,
        /// Chains: 3 in torchvision.
        chains: usize,
        /// Operations of a chain; without it 1 to 3 of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        depth: Option<usize>,
        /// The parameter of the distributions that weights are drawn from: 1 in torchvision.
        alpha: f64,
    },
}

/// Magnitudes of every operation of [`Policy::RandAugment`].
const RAND_BINS: usize = 31;
/// Magnitudes of the others.
const BINS: usize = 10;

/// The operations of `RandAugment`, in torchvision's order.
const RAND: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

/// The pairs of the policy that was found for CIFAR-10: operation, probability, magnitude.
const CIFAR10: [[(Operation, f64, usize); 2]; 25] = {
    use Operation::{
        AutoContrast, Brightness, Color, Contrast, Equalize, Invert, Posterize, Rotate, Sharpness, ShearY,
        Solarize, TranslateX, TranslateY,
    };
    [
        [(Invert, 0.1, 0), (Contrast, 0.2, 6)],
        [(Rotate, 0.7, 2), (TranslateX, 0.3, 9)],
        [(Sharpness, 0.8, 1), (Sharpness, 0.9, 3)],
        [(ShearY, 0.5, 8), (TranslateY, 0.7, 9)],
        [(AutoContrast, 0.5, 0), (Equalize, 0.9, 0)],
        [(ShearY, 0.2, 7), (Posterize, 0.3, 7)],
        [(Color, 0.4, 3), (Brightness, 0.6, 7)],
        [(Sharpness, 0.3, 9), (Brightness, 0.7, 9)],
        [(Equalize, 0.6, 0), (Equalize, 0.5, 0)],
        [(Contrast, 0.6, 7), (Sharpness, 0.6, 5)],
        [(Color, 0.7, 7), (TranslateX, 0.5, 8)],
        [(Equalize, 0.3, 0), (AutoContrast, 0.4, 0)],
        [(TranslateY, 0.4, 3), (Sharpness, 0.2, 6)],
        [(Brightness, 0.9, 6), (Color, 0.2, 8)],
        [(Solarize, 0.5, 2), (Invert, 0.0, 0)],
        [(Equalize, 0.2, 0), (AutoContrast, 0.6, 0)],
        [(Equalize, 0.2, 0), (Equalize, 0.6, 0)],
        [(Color, 0.9, 9), (Equalize, 0.6, 0)],
        [(AutoContrast, 0.8, 0), (Solarize, 0.2, 8)],
        [(Brightness, 0.1, 3), (Color, 0.7, 0)],
        [(Solarize, 0.4, 5), (AutoContrast, 0.9, 0)],
        [(TranslateY, 0.9, 9), (TranslateY, 0.7, 9)],
        [(AutoContrast, 0.9, 0), (Solarize, 0.8, 3)],
        [(Equalize, 0.8, 0), (Invert, 0.1, 0)],
        [(TranslateY, 0.7, 9), (AutoContrast, 0.9, 0)],
    ]
};

impl Policy {
    /// Their names.
    pub const NAMES: [&'static str; 3] = ["randaugment", "autoaugment", "augmix"];

    /// Returns the policy of that name with torchvision's defaults.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "randaugment" => Self::RandAugment {
                operations: 2,
                magnitude: 9,
            },
            "autoaugment" => Self::AutoAugment {},
            "augmix" => Self::AugMix {
                severity: 3,
                chains: 3,
                depth: None,
                alpha: 1.0,
            },
            _ => return None,
        })
    }

    /// Says what is wrong with the numbers, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::RandAugment {
                operations,
                magnitude,
            } => {
                if !(1..=100).contains(operations) {
                    Some("operations must be 1 to 100, such as 2")
                } else if *magnitude >= RAND_BINS {
                    Some("magnitude must be 0 to 30, such as 9")
                } else {
                    None
                }
            }
            Self::AutoAugment {} => None,
            Self::AugMix {
                severity,
                chains,
                depth,
                alpha,
            } => {
                if !(1..=BINS).contains(severity) {
                    Some("severity must be 1 to 10, such as 3")
                } else if !(1..=100).contains(chains) {
                    Some("chains must be 1 to 100, such as 3")
                } else if depth.is_some_and(|depth| !(1..=100).contains(&depth)) {
                    Some("depth must be 1 to 100, or left out for 1 to 3")
                } else if !(*alpha >= 1e-3 && *alpha <= 1000.0) {
                    Some("alpha must be 0.001 to 1000, such as 1")
                } else {
                    None
                }
            }
        }
    }

    /// Varies a picture `[height, width, 3]`.
    pub fn vary(&self, rgb: &mut Vec<u8>, size: [usize; 2], stream: &mut Stream) {
        match self {
            Self::RandAugment {
                operations,
                magnitude,
            } => {
                for _ in 0..*operations {
                    let operation = RAND[stream.below(RAND.len() as u32) as usize];
                    let strength = strength(operation, *magnitude, RAND_BINS, size);
                    operation.apply(rgb, size, signed(operation, strength, stream));
                }
            }
            Self::AutoAugment {} => {
                let pair = CIFAR10[stream.below(CIFAR10.len() as u32) as usize];
                for (operation, probability, magnitude) in pair {
                    let chosen = f64::from(stream.uniform()) < probability;
                    let strength = strength(operation, magnitude, BINS, size);
                    let strength = signed(operation, strength, stream);
                    if chosen {
                        operation.apply(rgb, size, strength);
                    }
                }
            }
            Self::AugMix {
                severity,
                chains,
                depth,
                alpha,
            } => *rgb = augmix(rgb, size, (*severity, *chains, *depth, *alpha), stream),
        }
    }
}

/// Returns m * picture + (1 - m) * (w_1 * chain_1 + ..): m of Beta(alpha, alpha), w of Dirichlet(alpha, ..).
fn augmix(
    rgb: &[u8],
    size: [usize; 2],
    (severity, chains, depth, alpha): (usize, usize, Option<usize>, f64),
    stream: &mut Stream,
) -> Vec<u8> {
    let own = stream.beta(alpha, alpha) as f32;
    let weights = stream.dirichlet(alpha, chains);
    let mut mixed: Vec<f32> = rgb.iter().map(|v| own * f32::from(*v)).collect();
    for weight in weights {
        let weight = (1.0 - own) * weight as f32;
        let mut chain = rgb.to_vec();
        for _ in 0..depth.unwrap_or_else(|| 1 + stream.below(3) as usize) {
            // All but `Identity`, which is no operation of AugMix.
            let operation = RAND[1 + stream.below(RAND.len() as u32 - 1) as usize];
            let magnitude = stream.below(severity as u32) as usize;
            let strength = match operation {
                Operation::TranslateX => linspace(0.0, size[1] as f32 / 3.0, BINS, magnitude),
                Operation::TranslateY => linspace(0.0, size[0] as f32 / 3.0, BINS, magnitude),
                Operation::Posterize => 4.0 - bits(magnitude, BINS),
                other => strength(other, magnitude, BINS, size),
            };
            operation.apply(&mut chain, size, signed(operation, strength, stream));
        }
        mixed
            .iter_mut()
            .zip(chain)
            .for_each(|(sum, v)| *sum += weight * f32::from(v));
    }
    mixed.into_iter().map(|v| v as u8).collect()
}

/// Turns the sign of a magnitude with probability one half, where it may be negative.
fn signed(operation: Operation, strength: f64, stream: &mut Stream) -> f64 {
    // Drawn even if it is not used, so that the draws after it stay.
    match stream.next_u32() & 1 == 1 && operation.is_signed() {
        true => -strength,
        false => strength,
    }
}

/// Returns the magnitude of a place among `bins`, as `RandAugment` and `AutoAugment` have it.
fn strength(operation: Operation, place: usize, bins: usize, [height, width]: [usize; 2]) -> f64 {
    let upto = |end: f64| linspace(0.0, end as f32, bins, place);
    match operation {
        Operation::ShearX | Operation::ShearY => upto(0.3),
        Operation::TranslateX => upto(150.0 / 331.0 * width as f64),
        Operation::TranslateY => upto(150.0 / 331.0 * height as f64),
        Operation::Rotate => upto(30.0),
        Operation::Brightness | Operation::Color | Operation::Contrast | Operation::Sharpness => upto(0.9),
        Operation::Posterize => 8.0 - bits(place, bins),
        Operation::Solarize => linspace(255.0, 0.0, bins, place),
        Operation::Identity | Operation::AutoContrast | Operation::Equalize | Operation::Invert => 0.0,
    }
}

/// Bits that a magnitude of `Posterize` drops.
fn bits(place: usize, bins: usize) -> f64 {
    f64::from((place as f32 / ((bins - 1) as f32 / 4.0)).round_ties_even())
}

/// A number of PyTorch's `linspace`, which counts from the nearer end.
fn linspace(start: f32, end: f32, steps: usize, place: usize) -> f64 {
    let step = (end - start) / (steps - 1) as f32;
    f64::from(match place < steps / 2 {
        true => start + step * place as f32,
        false => end - step * (steps - 1 - place) as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [24, 32];

    #[test]
    fn magnitudes_are_torchvisions() {
        let text = include_str!("../../../tests/fixtures/nn/operations.json");
        let fixture: serde_json::Value = serde_json::from_str(text).unwrap();
        for (kind, bins) in [("rand", RAND_BINS), ("auto", BINS)] {
            let magnitudes = fixture["magnitudes"][kind].as_object().unwrap();
            for (name, expected) in magnitudes {
                let operation = Operation::from_name(name).unwrap();
                let expected = expected.as_array().unwrap();
                for (place, expected) in expected.iter().enumerate() {
                    let (found, expected) =
                        (strength(operation, place, bins, SIZE), expected.as_f64().unwrap());
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{kind} {name} {place}: {found} {expected}"
                    );
                }
            }
        }
        let names: Vec<&str> = RAND.iter().map(|operation| operation.name()).collect();
        assert_eq!(fixture["rand"], serde_json::json!(names));
        let pairs = CIFAR10.map(|pair| pair.map(|(o, p, m)| serde_json::json!([o.name(), p, m])));
        assert_eq!(fixture["cifar10"], serde_json::json!(pairs));
    }

    fn picture() -> Vec<u8> {
        (0..SIZE[0] * SIZE[1] * 3).map(|i| (i * 37 % 251) as u8).collect()
    }

    #[test]
    fn a_picture_is_varied_by_its_stream_alone() {
        for name in Policy::NAMES {
            let policy = Policy::of_name(name).unwrap();
            let vary = |index| {
                let mut rgb = picture();
                policy.vary(&mut rgb, SIZE, &mut Stream::new(1, "test", 0, index));
                rgb
            };
            assert_eq!(vary(3), vary(3), "{name}");
            let changed = (0..60).filter(|i| vary(*i) != picture()).count();
            assert!(changed > 35, "{name}: {changed}");
            assert_eq!(policy.fault(), None);
            let json = serde_json::json!(policy);
            assert_eq!(json["name"], name);
            assert_eq!(serde_json::from_value::<Policy>(json).unwrap(), policy);
        }
    }

    #[test]
    fn a_mixture_is_near_the_picture_and_numbers_that_cannot_be_are_named() {
        let policy = Policy::of_name("augmix").unwrap();
        let far = |index| {
            let mut rgb = vec![100; SIZE[0] * SIZE[1] * 3];
            policy.vary(&mut rgb, SIZE, &mut Stream::new(1, "test", 0, index));
            rgb.iter().map(|v| f64::from(v.abs_diff(100))).sum::<f64>() / rgb.len() as f64
        };
        let mean = (0..50).map(far).sum::<f64>() / 50.0;
        assert!(mean > 1.0 && mean < 40.0, "{mean}");
        for (text, word) in [
            (
                r#"{"name":"randaugment","operations":0,"magnitude":9}"#,
                "operations",
            ),
            (
                r#"{"name":"randaugment","operations":2,"magnitude":31}"#,
                "magnitude",
            ),
            (
                r#"{"name":"augmix","severity":11,"chains":3,"alpha":1.0}"#,
                "severity",
            ),
            (
                r#"{"name":"augmix","severity":3,"chains":0,"alpha":1.0}"#,
                "chains",
            ),
            (
                r#"{"name":"augmix","severity":3,"chains":3,"depth":0,"alpha":1.0}"#,
                "depth",
            ),
            (
                r#"{"name":"augmix","severity":3,"chains":3,"alpha":0.0}"#,
                "alpha",
            ),
        ] {
            let policy: Policy = serde_json::from_str(text).unwrap();
            assert!(policy.fault().is_some_and(|fault| fault.contains(word)), "{text}");
        }
        assert!(serde_json::from_str::<Policy>(r#"{"name":"autoaugment","severity":3}"#).is_err());
    }
}
