//! The network as scores see it: numbers in rows on the CPU, tensors where it computes.

use candle_core::{DType, Device, Tensor};

use super::NetworkError;
use crate::nn::{self, Inner, ResNet};
use crate::ood::observed::Rows;
use crate::ood::score::ScoreError;

/// The network as scores see it.
#[derive(Debug)]
pub struct Lens<'a> {
    network: &'a ResNet,
    /// Standard deviation by which each channel of the pictures was divided.
    std: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// A row of numbers for each of some pictures.
pub(super) struct Table {
    values: Vec<f32>,
    width: usize,
}

impl Table {
    pub(super) fn of(tensor: &Tensor) -> nn::Result<Self> {
        let width = tensor.dim(1)?;
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self { values, width })
    }

    /// The numbers, all finite.
    pub(super) fn rows(&self, what: &'static str) -> Result<Rows<'_>, ScoreError> {
        Rows::new(what, &self.values, self.width)
    }
}

impl<'a> Lens<'a> {
    /// Returns a lens on `network`, whose pictures were divided by `std`, channel by channel.
    ///
    /// # Errors
    /// If the network's numbers cannot be read from its device.
    pub fn new(network: &'a ResNet, std: &[f32]) -> nn::Result<Self> {
        let numbers = |name: &str| -> nn::Result<Vec<f32>> {
            let tensor = network.tensors().get(name)?.detach();
            Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
        };
        Ok(Self {
            network,
            std: std.to_vec(),
            weight: numbers("fc.weight")?,
            bias: numbers("fc.bias")?,
        })
    }

    /// Says what keeps scores from a network of `classes` classes, if anything does.
    pub fn fault(&self, classes: usize) -> Option<ScoreError> {
        let what = "the network";
        if !self.network.shows_layers() {
            let why = "scores that need its gradients or layers know no WideResNet";
            return Some(ScoreError::Degenerate { what, why });
        }
        let why = "scores that need its gradients or layers know no outputs beside the classes";
        (self.bias.len() != classes).then_some(ScoreError::Degenerate { what, why })
    }

    pub(super) fn inner(&self) -> Inner<'_> {
        self.network.inner()
    }

    /// The stage whose pooled map are the features.
    pub(super) fn last_stage(&self) -> usize {
        self.inner().stages() - 1
    }

    pub(super) fn classes(&self) -> usize {
        self.bias.len()
    }

    /// The last layer's weights of a class.
    pub(super) fn weight(&self, class: usize) -> &[f32] {
        let width = self.weight.len() / self.bias.len();
        &self.weight[class * width..][..width]
    }

    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The features and the logits of pictures.
    pub(super) fn shown(&self, x: &Tensor) -> Result<[Table; 2], NetworkError> {
        let features = self.network.features(x, false)?.detach();
        let logits = self.network.last(&features)?;
        Ok([Table::of(&features)?, Table::of(&logits)?])
    }

    /// The mean of each channel of the maps of these stages, which are in rising order.
    pub(super) fn pooled(&self, x: &Tensor, stages: &[usize]) -> Result<Vec<Table>, NetworkError> {
        let last = stages.last().copied().unwrap_or_default();
        let maps = self.inner().maps(x, last)?;
        let table = |stage: &usize| Ok(Table::of(&maps[*stage].flatten_from(2)?.mean(2)?)?);
        stages.iter().map(table).collect()
    }

    pub(super) fn logits_of(&self, features: &Tensor) -> Result<Table, NetworkError> {
        Ok(Table::of(&self.network.last(&features.detach())?)?)
    }

    /// The mean of each channel of a stage's map, and the gradient of `sum(rows * of(rows))` with respect to
    /// the pictures, row after row; `of` is a constant.
    pub(super) fn gradient(
        &self,
        x: &Tensor,
        stage: usize,
        of: impl FnOnce(&Tensor) -> Result<Vec<f32>, NetworkError>,
    ) -> Result<(Table, Vec<f32>), NetworkError> {
        let mut failed = None;
        let (rows, gradient) = self.inner().gradient(x, stage, |rows| {
            // An error of ours passes by the network's.
            let weights = of(rows).unwrap_or_else(|error| {
                failed = Some(error);
                vec![0.0; rows.elem_count()]
            });
            Ok(Tensor::from_vec(weights, rows.shape(), &Device::Cpu)?.to_device(rows.device())?)
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok((Table::of(&rows)?, gradient.flatten_all()?.to_vec1()?)),
        }
    }

    /// The pictures with a number added to each of theirs: `step(picture, channel, number)`.
    pub(super) fn moved(
        &self,
        x: &Tensor,
        step: impl Fn(usize, usize, usize) -> f32,
    ) -> Result<Tensor, NetworkError> {
        let (_, channels, h, w) = x.dims4().map_err(nn::Error::from)?;
        let mut numbers: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let (area, size) = (h * w, channels * h * w);
        for (at, number) in numbers.iter_mut().enumerate() {
            *number += step(at / size, at % size / area, at % size);
        }
        Ok(Tensor::from_vec(numbers, x.shape(), &Device::Cpu)?.to_device(x.device())?)
    }

    /// Moves those numbers of the pictures that `which(picture, number)` names by `size`, in units of pixels
    /// between 0 and 1, against the sign of `gradient`, of which a zero counts as positive.
    pub(super) fn against(
        &self,
        x: &Tensor,
        gradient: &[f32],
        size: f32,
        which: impl Fn(usize, usize) -> bool,
    ) -> Result<Tensor, NetworkError> {
        let numbers = x.elem_count() / x.dim(0)?.max(1);
        self.moved(x, |picture, channel, at| {
            let step = size / self.std[channel];
            match which(picture, at) {
                true if gradient[picture * numbers + at] >= 0.0 => -step,
                true => step,
                false => 0.0,
            }
        })
    }
}
