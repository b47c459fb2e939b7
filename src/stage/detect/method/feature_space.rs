//! Training with virtual outliers: points of the feature space, which only the last layer sees.
//!
//! They are made anew before every epoch, of features of training images as the network then is, without
//! augmentation. So a training that was interrupted goes on to the same numbers, which a queue of the
//! features of past steps, as in the authors' code, would have to be stored for.

use candle_core::{Tensor, Var};

use crate::nn::{self, ResNet, schedule};
use crate::rng::{Stream, domain};
use crate::stage::detect::recipe::Setup;
use crate::stage::phi::{PhiName, TrainedPhi};
use crate::stage::training::{Objective, Step, Training};
use crate::stage::{Refusals, StageError};

/// What both methods have in common.
#[derive(Clone, Copy)]
pub(super) struct Common {
    /// Weight of the loss.
    pub beta: f64,
    /// Virtual outliers of a step.
    pub batch_size: usize,
    /// Share of the epochs before the first with the loss.
    pub start: f64,
    /// Features of each class that they are made of, at most.
    pub features_per_class: usize,
    pub phi: PhiName,
}

impl Common {
    /// Refuses numbers that cannot be meant, and a loss that begins in none of the epochs.
    pub fn check(&self, training: &Training, refusals: &mut Refusals) {
        super::check_weight(self.beta, refusals);
        super::check_batch(self.batch_size, refusals);
        let start = (0.0..1.0).contains(&self.start);
        refusals.require(
            start,
            "outlier.start",
            self.start,
            "0 or more, below 1, such as 0.4",
        );
        let epochs = training.epochs;
        if start && epochs > 0 && !self.has_begun(epochs - 1, epochs) {
            // Less a little, for 1 / (1 - 0.9) is 10 and a rounding error.
            let least = (1.0 / (1.0 - self.start) - 1e-9).ceil();
            let found = format!("{}: the loss would begin in none of {epochs} epochs", self.start);
            let expected = format!("a lower one, such as 0, or at least {least} epochs");
            refusals.require(false, "outlier.start", found, &expected);
        }
        let (key, count) = ("outlier.features_per_class", self.features_per_class);
        refusals.require((2..=1_000_000).contains(&count), key, count, "2 to 1000000");
    }

    /// Says whether an epoch of so many has the loss.
    fn has_begun(&self, epoch: usize, epochs: usize) -> bool {
        epoch as f64 >= self.start * epochs as f64
    }
}

/// Makes the virtual outliers of an epoch, `[count, m]`, of the features of every class, each `[n, m]`.
pub(super) type Make<'a> = Box<dyn Fn(&[Vec<f32>], usize, u64) -> Result<Vec<f32>, StageError> + 'a>;

/// CE(ID) + beta * BCE(phi(E), is ID) over the images and the virtual outliers.
pub(super) struct Virtual<'a> {
    setup: Setup<'a>,
    common: Common,
    phi: TrainedPhi,
    make: Make<'a>,
    /// The training images of each class whose features are taken.
    samples: Vec<Vec<u32>>,
    /// The outliers of the epoch, `[count, m]`, and m; none before the first epoch with the loss.
    outliers: Option<(Vec<f32>, usize)>,
}

impl<'a> Virtual<'a> {
    /// Prepares for training.
    ///
    /// # Errors
    /// If a class has fewer than `least` training images.
    pub fn objective(
        setup: &Setup<'a>,
        common: Common,
        least: usize,
        make: Make<'a>,
    ) -> Result<Box<dyn Objective + 'a>, StageError> {
        let [trained, _] = setup.training.divide(setup.labels, setup.classes, setup.seed)?;
        let mut samples = vec![Vec::new(); setup.classes.len()];
        for sample in trained {
            let of_class = &mut samples[setup.labels[sample as usize] as usize];
            if of_class.len() < common.features_per_class {
                of_class.push(sample);
            }
        }
        if let Some((class, found)) = setup.classes.iter().zip(&samples).find(|(_, s)| s.len() < least) {
            return Err(StageError::Mismatch(format!(
                "virtual outliers need {least} training images of every class, but `{class}` has {}",
                found.len()
            )));
        }
        Ok(Box::new(Self {
            setup: setup.clone(),
            common,
            phi: TrainedPhi::new(&common.phi, setup.seed, setup.ctx.engine.device())?,
            make,
            samples,
            outliers: None,
        }))
    }

    /// Returns the features of every class, each `[n, m]`.
    fn features(&self, network: &ResNet) -> Result<Vec<Vec<f32>>, StageError> {
        let pass = |x: &Tensor| Ok(network.features(x, false)?.detach());
        let setup = &self.setup;
        let of_class = |samples: &Vec<u32>| {
            setup
                .training
                .still()
                .outputs(setup.ctx, setup.images, samples, pass)
        };
        self.samples.iter().map(of_class).collect()
    }

    /// Returns the virtual outliers of a step, `[n, m]`: of shuffled passes over those of the epoch.
    fn batch(&self, number: usize) -> Result<Option<Tensor>, StageError> {
        let Some((outliers, m)) = &self.outliers else {
            return Ok(None);
        };
        let (count, n) = (outliers.len() / m, self.common.batch_size);
        let mut batch = Vec::with_capacity(n * m);
        for place in number * n..(number + 1) * n {
            let pass = (place / count) as u64;
            let order = schedule::permutation(count, self.setup.seed, domain::DETECT_OUTLIER_ORDER, pass);
            batch.extend_from_slice(&outliers[order[place % count] as usize * m..][..*m]);
        }
        Ok(Some(Tensor::from_vec(
            batch,
            (n, *m),
            self.setup.ctx.engine.device(),
        )?))
    }
}

impl Objective for Virtual<'_> {
    fn parameters(&self) -> Vec<(String, Var)> {
        self.phi.vars()
    }

    fn begin_epoch(&mut self, network: &ResNet, epoch: usize) -> Result<(), StageError> {
        if !self.common.has_begun(epoch, self.setup.training.epochs) {
            return Ok(());
        }
        let m = network.feature_len();
        let mut stream = Stream::new(self.setup.seed, domain::DETECT_VIRTUAL, 0, epoch as u64);
        let seed = u64::from(stream.next_u32()) << 32 | u64::from(stream.next_u32());
        let outliers = (self.make)(&self.features(network)?, m, seed)?;
        self.outliers = (!outliers.is_empty()).then_some((outliers, m));
        Ok(())
    }

    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let features = network.features(step.images, true)?;
        // Composed of operations through which gradients go back, unlike the engine's last layer.
        let (weight, bias) = (
            network.tensors().get("fc.weight")?,
            network.tensors().get("fc.bias")?,
        );
        let last = |x: &Tensor| x.matmul(&weight.t()?)?.broadcast_add(&bias);
        let logits = last(&features)?;
        let classification = step.cross_entropy(&logits)?;
        let energies = nn::logsumexp(&logits)?;
        let (energies, beta) = match self.batch(step.number)? {
            Some(outliers) => {
                let outliers = nn::logsumexp(&last(&outliers)?)?;
                (Tensor::cat(&[energies, outliers], 0)?, self.common.beta)
            }
            // phi has a gradient from the first step on, which is zero, as the optimiser asks of it.
            None => (energies, 0.0),
        };
        let uncertainty = self.phi.uncertainty(&energies, step.labels.len())?;
        // As a tensor: candle passes no gradient through a product with the number zero.
        let beta = Tensor::new(beta as f32, uncertainty.device())?;
        Ok((classification + (uncertainty * beta)?)?)
    }
}
