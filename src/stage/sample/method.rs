//! The methods of sampling: one variant and one file each.
//!
//! As JSON a method is its name, left out for the first, beside its parameters in a section of their own. Run
//! ids are made of this text.

use std::collections::BTreeMap;

use dream_schema::{ClassEmbedding, OutlierKind};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::outlier::{BeyondParams, CrossingParams, GaussianParams, OutlierError, Sampled, SamplingParams};
use crate::stage::Context;

/// What a method draws from, and for: one class.
pub(super) struct Draw<'a> {
    pub ctx: &'a Context<'a>,
    pub seed: u64,
    pub classes: &'a [ClassEmbedding],
    /// The place of the class among `classes`.
    pub number: usize,
    /// Its ID features, `[n, m]`.
    pub features: &'a [f32],
}

impl Draw<'_> {
    /// The class.
    pub fn class(&self) -> &ClassEmbedding {
        &self.classes[self.number]
    }
}

/// What every method can say of itself and do.
pub(super) trait Sampler {
    /// Checks what does not depend on the features.
    fn check(&self) -> Result<(), OutlierError>;

    /// Checks the number of a class's features: the k-NN distance needs k of them.
    fn check_features(&self, n: usize, class: u32) -> Result<(), OutlierError> {
        check_k(self.size().k, n, class)
    }

    /// Returns the size of the question, for other methods to take over.
    fn size(&self) -> Size;

    /// Returns how many noise vectors it holds at the same time.
    fn noise(&self) -> usize {
        0
    }

    /// Returns what its vectors are stored as.
    fn kind(&self) -> OutlierKind;

    /// Returns what a class takes, as pieces of work and their name.
    fn work(&self) -> (u64, &'static str) {
        (1, "classes")
    }

    /// Says whether [`Self::draw`] tells of the pieces of work as they are done.
    fn tells(&self) -> bool {
        false
    }

    /// Draws the vectors of a class.
    fn draw(&self, draw: &Draw<'_>) -> Result<Vec<Sampled>, OutlierError>;

    /// The temperature of the encoder that made the features, where the method needs to know it.
    fn temperature(&mut self) -> Option<&mut Option<f64>> {
        None
    }
}

/// Refuses more neighbours than a class has features.
pub(super) fn check_k(k: usize, n: usize, class: u32) -> Result<(), OutlierError> {
    match k > n {
        true => Err(OutlierError::TooFewForK { class, n, k }),
        false => Ok(()),
    }
}

/// The size of a question.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Vectors of each class.
    pub count: usize,
    /// Neighbours of the k-NN distance.
    pub k: usize,
    /// Features that are looked at closely.
    pub select: usize,
}

/// The parameters of a method as a section.
pub(super) trait Section: Sampler + Serialize + DeserializeOwned {
    /// The method's name, as `--method` takes it.
    const NAME: &'static str;
    /// The name of the section.
    const SECTION: &'static str;

    /// Returns the parameters of a question of that size, with the method's defaults for the rest.
    fn of_size(size: Size) -> Self;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident($params:ty)),* $(,)?) => {
        /// How vectors are sampled.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $($(#[$doc])* $variant($params)),*
        }

        impl Method {
            /// The names of all methods, the default first.
            pub const NAMES: &'static [&'static str] = &[$(<$params as Section>::NAME),*];

            /// Returns its name, as `--method` takes it.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$params as Section>::NAME),*
                }
            }

            /// Returns the name of the section that its parameters stand in.
            pub fn section(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$params as Section>::SECTION),*
                }
            }

            /// Returns the method of that name for a question of this size.
            fn of_size(name: &str, size: Size) -> Option<Self> {
                match name {
                    $(<$params as Section>::NAME => {
                        Some(Self::$variant(<$params as Section>::of_size(size)))
                    })*
                    _ => None,
                }
            }

            pub(super) fn sampler(&self) -> &dyn Sampler {
                match self {
                    $(Self::$variant(params) => params),*
                }
            }

            /// What its vectors are.
            pub(in crate::stage) fn kind(&self) -> OutlierKind {
                self.sampler().kind()
            }

            pub(super) fn sampler_mut(&mut self) -> &mut dyn Sampler {
                match self {
                    $(Self::$variant(params) => params),*
                }
            }
        }

        impl Serialize for Method {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                if Some(&self.name()) != Self::NAMES.first() {
                    map.serialize_entry("method", self.name())?;
                }
                match self {
                    $(Self::$variant(params) => map.serialize_entry(self.section(), params)?),*
                }
                map.end()
            }
        }

        impl<'de> Deserialize<'de> for Method {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let sections = [$((<$params as Section>::NAME, <$params as Section>::SECTION)),*];
                let map = BTreeMap::deserialize(deserializer)?;
                let (name, params) = chosen(map, &sections).map_err(D::Error::custom)?;
                let method = match name {
                    $(<$params as Section>::NAME => serde_json::from_value(params).map(Self::$variant),)*
                    // `chosen` names one of the sections.
                    other => Err(serde_json::Error::custom(other)),
                };
                method.map_err(D::Error::custom)
            }
        }
    };
}

methods! {
    /// Noise around the features at the rim of the class, of which the furthest is kept (DREAM-OOD), or at
    /// its core (DREAM-ID).
    Knn(SamplingParams),
    /// Noise around the class embedding.
    Gaussian(GaussianParams),
    /// Features turned in a random direction until they are a given distance away.
    Beyond(BeyondParams),
    /// Features moved across the classifier's decision boundary (BOOD).
    Boundary(CrossingParams),
}

/// Returns the method that a JSON object names, and its section, which must be the only one.
fn chosen(
    mut map: BTreeMap<String, Value>,
    sections: &[(&'static str, &'static str)],
) -> Result<(&'static str, Value), String> {
    let names = || {
        sections
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let given = match map.remove("method") {
        Some(Value::String(name)) => Some(name),
        Some(other) => return Err(format!("the method {other} is no name; there are {}", names())),
        None => None,
    };
    let found = match &given {
        Some(given) => sections.iter().find(|(name, _)| name == given),
        None => sections.first(),
    };
    let Some((name, section)) = found else {
        let given = given.unwrap_or_default();
        return Err(format!("there is no method `{given}`; there are {}", names()));
    };
    let params = map.remove(*section).filter(|params| !params.is_null());
    match map.into_iter().find(|(_, value)| !value.is_null()) {
        Some((other, _)) if sections.iter().any(|(_, section)| *section == other) => Err(format!(
            "`{other}` does not belong to the method `{name}`; leave one of them out"
        )),
        Some((other, _)) => Err(format!(
            "unknown field `{other}`, expected `method` or `{section}`"
        )),
        None => Ok((
            name,
            params.ok_or_else(|| format!("the method `{name}` needs the section `{section}`"))?,
        )),
    }
}

impl Method {
    /// Returns another method for the same question: as many vectors a class and as many neighbours as this
    /// one, and its defaults for the rest; none if there is no method of that name. The boundary method,
    /// which makes one vector of a feature, makes as many as there are in the boundary set.
    pub fn with_method(&self, name: &str) -> Option<Self> {
        if name == self.name() {
            return Some(self.clone());
        }
        Self::of_size(name, self.sampler().size())
    }

    /// Returns how many vectors a class gets.
    pub fn count(&self) -> usize {
        self.sampler().size().count
    }
}
