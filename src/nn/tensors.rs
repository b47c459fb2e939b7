//! The tensors of a network: trainable ones and buffers, by name.
//!
//! All trainable numbers lie in one flat variable in the order of their names, and each named tensor is a
//! window of it. One variable means one gradient, one update and one transfer, and an order that never
//! varies. Buffers (running statistics) lie in a second one, which no gradient reaches.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

use super::state::{self, State};
use super::{Error, Result};
use crate::engine::Variables;
use crate::rng::{Stream, domain};

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with deviation `sqrt(2 / fan_out)` (He et al. 2015, as torchvision's convolutions; fan_out
    /// counts `channels_out * kernel area`).
    KaimingFanOut,
    /// Uniform in `+-1 / sqrt(fan_in)`, for the given fan_in (PyTorch's linear layers).
    UniformFanIn(usize),
    /// One number everywhere.
    Constant(f32),
}

/// A tensor to create.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, dotted as in torchvision.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first values.
    pub init: Init,
    /// False for a buffer.
    pub trainable: bool,
}

/// Place of a named tensor in its flat variable.
#[derive(Clone, Debug)]
struct Place {
    start: usize,
    shape: Vec<usize>,
    trainable: bool,
}

impl Place {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Named trainable tensors and buffers. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct Tensors {
    places: BTreeMap<String, Place>,
    variables: Variables,
}

impl Tensors {
    /// Creates the tensors on `device`; every tensor's random numbers depend only on `seed` and its name.
    ///
    /// # Errors
    /// If the device has no room for them.
    pub fn new(specs: Vec<Spec>, seed: u64, device: &Device) -> Result<Self> {
        let specs: BTreeMap<String, Spec> = specs.into_iter().map(|s| (s.name.clone(), s)).collect();
        let (mut flat, mut buffers, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, spec) in specs {
            let values = if spec.trainable { &mut flat } else { &mut buffers };
            let place = Place {
                start: values.len(),
                shape: spec.shape,
                trainable: spec.trainable,
            };
            values.extend(initial(&name, &place.shape, spec.init, seed));
            places.insert(name, place);
        }
        // Candle has no tensors of size zero on every device; an unused number does no harm.
        if buffers.is_empty() {
            buffers.push(0.0);
        }
        let (n, m) = (flat.len(), buffers.len());
        let flat = Var::from_vec(flat, n, device)?;
        let buffers = Var::from_vec(buffers, m, device)?;
        Ok(Self {
            places,
            variables: Variables { flat, buffers },
        })
    }

    /// The flat variable of all trainable numbers: what an optimiser steps.
    pub fn var(&self) -> &Var {
        &self.variables.flat
    }

    /// All numbers.
    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The device that holds the tensors.
    pub fn device(&self) -> &Device {
        self.variables.flat.device()
    }

    /// Names of the trainable tensors, in order.
    pub fn trainable(&self) -> impl Iterator<Item = &str> {
        self.places
            .iter()
            .filter(|(_, p)| p.trainable)
            .map(|(name, _)| name.as_str())
    }

    /// Start of a named tensor in its flat variable.
    pub(crate) fn start(&self, name: &str) -> Result<usize> {
        self.places
            .get(name)
            .map(|p| p.start)
            .ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor {
            name: name.to_owned(),
            expected: Vec::new(),
        }
    }

    /// Returns a window of the named tensor, through which a gradient reaches [`Self::var`].
    ///
    /// # Errors
    /// [`Error::MissingTensor`] if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let place = self.places.get(name).ok_or_else(|| self.missing(name))?;
        let variables = &self.variables;
        let all = if place.trainable {
            &variables.flat
        } else {
            &variables.buffers
        };
        Ok(all
            .as_tensor()
            .narrow(0, place.start, place.len())?
            .reshape(place.shape.as_slice())?)
    }

    /// Returns the gradient of a named trainable tensor.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] for an unknown name or a buffer, [`Error::NoGradient`] if the loss does not
    /// depend on it.
    pub fn gradient(&self, grads: &GradStore, name: &str) -> Result<Tensor> {
        let place = self
            .places
            .get(name)
            .filter(|p| p.trainable)
            .ok_or_else(|| self.missing(name))?;
        let all = grads.get(self.var()).ok_or_else(|| Error::NoGradient {
            name: name.to_owned(),
        })?;
        Ok(all
            .narrow(0, place.start, place.len())?
            .reshape(place.shape.as_slice())?)
    }

    /// Returns copies of all tensors on the CPU, by name.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn state_dict(&self) -> Result<State> {
        // One transfer each: a copy of a window on a device would copy the whole flat variable for every
        // tensor.
        let Variables { flat, buffers } = &self.variables;
        let (flat, buffers) = (flat.to_vec1::<f32>()?, buffers.to_vec1::<f32>()?);
        let copy = |(name, place): (&String, &Place)| {
            let all = if place.trainable { &flat } else { &buffers };
            let part = &all[place.start..][..place.len()];
            let tensor = Tensor::from_slice(part, place.shape.as_slice(), &Device::Cpu)?;
            Ok((name.clone(), tensor))
        };
        self.places.iter().map(copy).collect()
    }

    /// Replaces all tensors.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::ExtraTensor`] or [`Error::TensorShape`], and nothing is changed.
    pub fn load_state_dict(&self, state: &State) -> Result<()> {
        state::check(
            state,
            self.places.iter().map(|(n, p)| (n.as_str(), p.shape.as_slice())),
        )?;
        for (all, trainable) in [(&self.variables.flat, true), (&self.variables.buffers, false)] {
            let parts = (self.places.iter().filter(|(_, p)| p.trainable == trainable))
                .filter_map(|(name, _)| state.get(name))
                .map(|t| {
                    t.to_dtype(candle_core::DType::F32)?
                        .to_device(all.device())?
                        .flatten_all()
                })
                .collect::<candle_core::Result<Vec<_>>>()?;
            if !parts.is_empty() {
                all.set(&Tensor::cat(&parts, 0)?)?;
            }
        }
        Ok(())
    }

    /// Returns all tensors as a safetensors file.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        state::to_safetensors(&self.state_dict()?)
    }

    /// Replaces all tensors by those of a safetensors file.
    ///
    /// # Errors
    /// As [`Self::load_state_dict`], and [`Error::Safetensors`] for bytes that are no such file.
    pub fn load_safetensors(&self, bytes: &[u8]) -> Result<()> {
        self.load_state_dict(&state::from_safetensors(bytes, self.device())?)
    }
}

fn initial(name: &str, shape: &[usize], init: Init, seed: u64) -> Vec<f32> {
    let len = shape.iter().product();
    let mut stream = Stream::new(seed, &domain::nn_init(name), 0, 0);
    match init {
        Init::Constant(value) => vec![value; len],
        Init::KaimingFanOut => {
            let area: usize = shape.iter().skip(2).product();
            let fan_out = shape.first().copied().unwrap_or(1) * area;
            let deviation = (2.0 / fan_out.max(1) as f32).sqrt();
            stream.normals(len).into_iter().map(|x| x * deviation).collect()
        }
        Init::UniformFanIn(fan_in) => {
            let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
            (0..len).map(|_| (2.0 * stream.uniform() - 1.0) * bound).collect()
        }
    }
}
