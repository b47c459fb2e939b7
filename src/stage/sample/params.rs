//! The parameters of sampling: a method, and the section that it reads.

use dream_schema::OutlierKind;
use serde::{Deserialize, Serialize};

use super::NAME;
use crate::outlier::{self, BeyondParams, CrossingParams, GaussianParams, SamplingParams};
use crate::stage::StageError;

/// How vectors are sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Noise around the features at the rim of the class, of which the furthest is kept (DREAM-OOD), or at its core (DREAM-ID).
    #[default]
    Knn,
    /// Noise around the class embedding.
    Gaussian,
    /// Features turned in a random direction until they are a given distance away.
    Beyond,
    /// Features moved across the classifier's decision boundary (BOOD).
    Boundary,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Knn, Self::Gaussian, Self::Beyond, Self::Boundary];

    /// Returns the method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Returns the name of the section of [`Params`] that the method reads.
    pub fn section(self) -> &'static str {
        match self {
            Method::Knn => "sampling",
            Method::Gaussian => "gaussian",
            Method::Beyond => "beyond",
            Method::Boundary => "boundary",
        }
    }

    /// Returns its name, as `--method` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Knn => "knn",
            Method::Gaussian => "gaussian",
            Method::Beyond => "beyond",
            Method::Boundary => "boundary",
        }
    }

    fn is_knn(&self) -> bool {
        *self == Method::Knn
    }
}

/// What is sampled, and how: a method, and the section that it reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The method; k-NN sampling where none is named.
    #[serde(default, skip_serializing_if = "Method::is_knn")]
    pub method: Method,
    /// k-NN sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingParams>,
    /// [`Method::Gaussian`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaussian: Option<GaussianParams>,
    /// [`Method::Beyond`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<BeyondParams>,
    /// [`Method::Boundary`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<CrossingParams>,
}

impl Params {
    /// Returns the parameters of another method for the same question: as many vectors a class and as many neighbours as these
    /// say, and its defaults for the rest. The boundary method, which makes one vector of a feature, makes as many as there are
    /// in the boundary set.
    pub fn with_method(&self, method: Method) -> Self {
        if method == self.method {
            return self.clone();
        }
        let (count, k, select) = match (self.sampling, self.gaussian, self.beyond, self.boundary) {
            (Some(p), ..) => (p.count(), p.k, p.select),
            (_, Some(p), ..) => (p.count, p.k, p.count),
            (_, _, Some(p), _) => (p.count, p.k, p.count),
            (.., Some(p)) => (p.count, p.k, p.count),
            _ => {
                let p = SamplingParams::CIFAR100;
                (p.count(), p.k, p.select)
            }
        };
        let none = Self {
            method,
            ..Self::default()
        };
        match method {
            Method::Knn => Self {
                sampling: Some(SamplingParams {
                    k,
                    ..SamplingParams::CIFAR100
                }),
                ..none
            },
            Method::Gaussian => Self {
                gaussian: Some(GaussianParams {
                    count,
                    k,
                    ..GaussianParams::DEFAULT
                }),
                ..none
            },
            Method::Beyond => Self {
                beyond: Some(BeyondParams {
                    count,
                    k,
                    ..BeyondParams::DEFAULT
                }),
                ..none
            },
            Method::Boundary => Self {
                boundary: Some(CrossingParams {
                    count: select,
                    k,
                    ..CrossingParams::DEFAULT
                }),
                ..none
            },
        }
    }

    /// Returns the parameters of the method, checked as far as they do not depend on the features.
    ///
    /// # Errors
    /// If the method's section is missing, another one is there, or a value is out of its range.
    pub(super) fn chosen(&self) -> Result<Chosen<'_>, StageError> {
        let given = [
            (Method::Knn, self.sampling.is_some()),
            (Method::Gaussian, self.gaussian.is_some()),
            (Method::Beyond, self.beyond.is_some()),
            (Method::Boundary, self.boundary.is_some()),
        ];
        let name = self.method.section();
        if let Some((other, _)) = given.iter().find(|(m, given)| *given && *m != self.method) {
            return Err(wrong(format!(
                "`{}` does not belong to the method `{}`; leave one of them out",
                other.section(),
                self.method.name()
            )));
        }
        let missing = || {
            wrong(format!(
                "the method `{}` needs the section `{name}`",
                self.method.name()
            ))
        };
        let chosen = match self.method {
            Method::Knn => Chosen::Knn(self.sampling.as_ref().ok_or_else(missing)?),
            Method::Gaussian => Chosen::Gaussian(self.gaussian.as_ref().ok_or_else(missing)?),
            Method::Beyond => Chosen::Beyond(self.beyond.as_ref().ok_or_else(missing)?),
            Method::Boundary => Chosen::Boundary(self.boundary.as_ref().ok_or_else(missing)?),
        };
        match chosen {
            Chosen::Knn(p) => p.check(),
            Chosen::Gaussian(p) => p.check(),
            Chosen::Beyond(p) => p.check(),
            Chosen::Boundary(p) => p.check(),
        }?;
        Ok(chosen)
    }
}

/// A method with its parameters.
pub(super) enum Chosen<'a> {
    Knn(&'a SamplingParams),
    Gaussian(&'a GaussianParams),
    Beyond(&'a BeyondParams),
    Boundary(&'a CrossingParams),
}

impl Chosen<'_> {
    /// What a class takes: rounds of k-NN sampling, or one piece.
    pub fn work(&self) -> (u64, &'static str) {
        match self {
            Chosen::Knn(sampling) => (sampling.rounds_needed() as u64, "rounds"),
            _ => (1, "classes"),
        }
    }

    /// What its vectors are stored as.
    pub fn kind(&self) -> OutlierKind {
        match self {
            Chosen::Knn(sampling) => match sampling.kind {
                outlier::Kind::Outlier => OutlierKind::Outlier,
                outlier::Kind::Inlier => OutlierKind::Inlier,
            },
            Chosen::Gaussian(_) => OutlierKind::Gaussian,
            Chosen::Beyond(_) => OutlierKind::Beyond,
            Chosen::Boundary(_) => OutlierKind::Boundary,
        }
    }
}

/// Returns the error for parameters that do not fit together.
pub(super) fn wrong(message: impl Into<String>) -> StageError {
    StageError::Params {
        stage: NAME.into(),
        message: message.into(),
    }
}
