//! The methods of training: one variant and one file each.
//!
//! As JSON a method is its name, left out for the first, among its parameters and [`Recipe::fine_tune`]. Run
//! ids are made of this text.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::FineTune;
use super::method::{
    DreamId, EnergyMargins, ExtraClass, LogitNorm, MixOe, Npos, OutlierExposure, PhiLoss, Vos,
};
use crate::stage::pictures::Pictures;
use crate::stage::training::{Objective, Training};
use crate::stage::{Context, Refusals, Role, StageError};

/// What an objective is made from.
#[derive(Clone)]
pub(super) struct Setup<'a> {
    pub ctx: &'a Context<'a>,
    pub seed: u64,
    pub training: &'a Training,
    /// The training images, their labels, and the names of their classes.
    pub images: &'a Pictures<'a>,
    pub labels: &'a [u32],
    pub classes: &'a [String],
}

/// Pictures that a method takes beside the images of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// What they serve as: outliers or inliers.
    pub role: Role,
    /// How many of them a step takes.
    pub batch_size: usize,
    /// Whether their classes are their labels.
    pub labelled: bool,
}

impl Beside {
    /// So many pictures of the classes a step.
    pub(super) fn inliers(batch_size: usize) -> Self {
        Self {
            role: Role::Inliers,
            batch_size,
            labelled: true,
        }
    }

    /// So many outliers a step, of no class.
    pub(super) fn outliers(batch_size: usize) -> Self {
        Self {
            role: Role::Outliers,
            batch_size,
            labelled: false,
        }
    }
}

/// What every method can say of itself and do.
pub(super) trait Regularizer {
    /// Refuses parameters that cannot be meant.
    fn check(&self, training: &Training, refusals: &mut Refusals);

    /// The pictures that it takes; none for a method without.
    fn beside(&self) -> Option<Beside>;

    /// Training images that it needs of every class.
    fn least_images(&self) -> usize {
        0
    }

    /// Outputs of the network beside those of the classes.
    fn extra_outputs(&self) -> usize {
        0
    }

    /// Returns what is minimised.
    fn objective<'a>(&'a self, setup: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError>;
}

/// The parameters of a method as they stand in a recipe.
pub(super) trait Section: Regularizer + Serialize + DeserializeOwned {
    /// The method's name, as `--method` takes it.
    const NAME: &'static str;

    /// Returns the method's defaults, with so many pictures a step.
    fn of_size(batch_size: usize) -> Self;
}

fn unreadable(message: String) -> serde_json::Error {
    serde::de::Error::custom(message)
}

/// The parameters of a recipe that belong to no method.
const METHOD: &str = "method";
const FINE_TUNE: &str = "fine_tune";

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident($params:ty)),* $(,)?) => {
        /// What is minimised in place of the plain cross-entropy.
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

            /// Returns the method of that name with its defaults and so many pictures a step; none if there
            /// is no such method.
            fn of_size(name: &str, batch_size: usize) -> Option<Self> {
                match name {
                    $(<$params as Section>::NAME => {
                        Some(Self::$variant(<$params as Section>::of_size(batch_size)))
                    })*
                    _ => None,
                }
            }

            pub(super) fn regularizer(&self) -> &dyn Regularizer {
                match self {
                    $(Self::$variant(params) => params),*
                }
            }

            /// Returns its parameters by name.
            fn values(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$variant(params) => serde_json::to_value(params)),*
                }
            }

            /// Reads the parameters of the method of that name.
            fn read(name: &str, values: Value) -> serde_json::Result<Self> {
                match name {
                    $(<$params as Section>::NAME => serde_json::from_value(values).map(Self::$variant),)*
                    other => Err(unreadable(format!(
                        "there is no method `{other}`; there are {}",
                        Self::NAMES.join(", ")
                    ))),
                }
            }
        }
    };
}

methods! {
    /// phi of the energy tells outliers apart (DREAM-OOD).
    Phi(PhiLoss),
    /// Outliers are to look like every class alike (outlier exposure).
    OutlierExposure(OutlierExposure),
    /// The energies of images and outliers keep margins (energy fine-tuning).
    EnergyMargins(EnergyMargins),
    /// Outliers are a class of their own.
    ExtraClass(ExtraClass),
    /// Images mixed with outliers are to look as much like their class as there is of it in them (MixOE).
    MixOe(MixOe),
    /// Imagined pictures of the classes are more of the training set (DREAM-ID).
    DreamId(DreamId),
    /// Logits of one length, without outliers (LogitNorm).
    LogitNorm(LogitNorm),
    /// phi tells virtual outliers apart, the least likely points of class Gaussians (VOS).
    Vos(Vos),
    /// phi tells virtual outliers apart, found at the rim of the classes (NPOS).
    Npos(Npos),
}

impl Method {
    /// The name of the method that takes pictures of the classes.
    pub const INLIERS: &'static str = <DreamId as Section>::NAME;

    /// The pictures that it takes; none for a method without.
    pub fn beside(&self) -> Option<Beside> {
        self.regularizer().beside()
    }

    /// Says whether it has a parameter of that name.
    pub fn has(&self, key: &str) -> bool {
        self.values().is_ok_and(|values| values.get(key).is_some())
    }

    /// Returns the method of that name with its defaults; none if there is no such method.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::of_size(name, DEFAULT_PICTURES)
    }

    /// Returns another method with its defaults, and as many pictures a step as this one; none if there is no
    /// method of that name.
    pub fn with_method(&self, name: &str) -> Option<Self> {
        if name == self.name() {
            return Some(self.clone());
        }
        let batch_size = self.beside().map_or(DEFAULT_PICTURES, |beside| beside.batch_size);
        Self::of_size(name, batch_size)
    }
}

/// Pictures of a step where nothing says how many.
const DEFAULT_PICTURES: usize = 128;

/// How the classifier that is compared with the plain one is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// What is minimised.
    pub method: Method,
    /// Starts from the plain classifier and trains it on, instead of from scratch; the rest of the training
    /// stays.
    pub fine_tune: Option<FineTune>,
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.method.values().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        if Some(&self.method.name()) != Method::NAMES.first() {
            map.serialize_entry(METHOD, self.method.name())?;
        }
        for (key, value) in values.as_object().into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry(FINE_TUNE, &self.fine_tune)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map: BTreeMap<String, Value> = BTreeMap::deserialize(deserializer)?;
        let name = match map.remove(METHOD) {
            Some(Value::String(name)) => name,
            None | Some(Value::Null) => Method::NAMES[0].to_owned(),
            Some(other) => return Err(D::Error::custom(format!("the method {other} is no name"))),
        };
        let fine_tune = serde_json::from_value(map.remove(FINE_TUNE).unwrap_or_default())
            .map_err(|error| D::Error::custom(format!("{FINE_TUNE}: {error}")))?;
        if let Some(error) = stray(&name, &map) {
            return Err(D::Error::custom(error));
        }
        let values: Map<String, Value> = map.into_iter().collect();
        let method = Method::read(&name, Value::Object(values)).map_err(D::Error::custom)?;
        Ok(Self { method, fine_tune })
    }
}

/// Says which parameter is not of the method `name` but of others.
fn stray(name: &str, given: &BTreeMap<String, Value>) -> Option<String> {
    let own = Method::of_size(name, DEFAULT_PICTURES)?;
    let key = given.keys().find(|key| !own.has(key))?;
    let others = owners(key);
    (!others.is_empty()).then(|| {
        format!(
            "`{key}` does not belong to the method `{name}`; it is for {}",
            others.join(", ")
        )
    })
}

/// Returns the names of the methods that have a parameter.
pub fn owners(key: &str) -> Vec<&'static str> {
    let has = |name: &&str| Method::of_size(name, DEFAULT_PICTURES).is_some_and(|method| method.has(key));
    Method::NAMES.iter().copied().filter(has).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_of_phi_is_the_text_that_run_ids_are_made_of() {
        let text = r#"{"batch_size":32,"beta":1.0,"fine_tune":null,"phi":"linear"}"#;
        let recipe: Recipe = serde_json::from_str(text).unwrap();
        assert_eq!(recipe.method.name(), "phi");
        assert_eq!(serde_json::json!(recipe).to_string(), text);
        let tuned = [
            r#"{"batch_size":80,"beta":1.0,"fine_tune":{"batch_size":80,"epochs":20,"lr":0.001},"#,
            r#""phi":"two-layer"}"#,
        ]
        .concat();
        let recipe: Recipe = serde_json::from_str(&tuned).unwrap();
        assert_eq!(serde_json::json!(recipe).to_string(), tuned);
    }

    #[test]
    fn every_method_is_read_as_it_is_written() {
        let phi: Recipe = serde_json::from_str(r#"{"batch_size":9,"beta":1.0,"phi":"linear"}"#).unwrap();
        for name in Method::NAMES {
            let method = phi.method.with_method(name).unwrap();
            let recipe = Recipe {
                method,
                fine_tune: None,
            };
            let json = serde_json::json!(recipe);
            assert_eq!(serde_json::from_value::<Recipe>(json.clone()).unwrap(), recipe);
            assert_eq!(json.get("method").is_some(), *name != "phi", "{json}");
        }
        assert_eq!(phi.method.with_method("none"), None);
    }

    #[test]
    fn parameters_of_other_methods_are_named() {
        let said = |text: &str| serde_json::from_str::<Recipe>(text).unwrap_err().to_string();
        let error = said(r#"{"method":"outlier-exposure","beta":0.5,"batch_size":9,"phi":"linear"}"#);
        assert!(
            error.contains("`phi` does not belong") && error.contains("outlier-exposure"),
            "{error}"
        );
        let error = said(r#"{"beta":0.5,"batch_size":9,"phi":"linear","alpha":1.0}"#);
        assert!(error.contains("it is for mixoe"), "{error}");
        let error = said(r#"{"method":"oe","beta":0.5}"#);
        assert!(
            error.contains("`oe`") && error.contains("outlier-exposure"),
            "{error}"
        );
        assert!(said(r#"{"beta":0.5,"phi":"linear"}"#).contains("batch_size"));
        assert!(said(r#"{"betta":0.5,"phi":"linear","batch_size":1}"#).contains("betta"));
    }
}
