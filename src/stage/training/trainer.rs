//! The training itself: epochs of steps, the metrics of each, the best network so far, and when to stop.

use candle_core::{Tensor, Var};
use dream_schema::{Metric, Run};

use super::Training;
use crate::nn::{self, ResNet, Sgd, schedule};
use crate::ood;
use crate::stage::pictures::{Look, Pictures, ahead};
use crate::stage::{Context, Source, StageError};

/// One step of training, for the loss to look at.
pub(in crate::stage) struct Step<'a> {
    /// The images, augmented: `[batch, 3, size, size]`.
    pub images: &'a Tensor,
    /// Their labels.
    pub labels: &'a [u32],
    /// The images of [`Trainer::beside`] for this step, if there are any.
    pub beside: Option<&'a Tensor>,
}

/// Images beside those of the set, of the step of a number, counted from the first epoch: `[n, 3, size, size]`, flat.
pub(in crate::stage) type Beside<'a> = &'a (dyn Fn(&Look, usize) -> Result<Vec<f32>, StageError> + Sync);

/// A network in training.
pub(in crate::stage) struct Trainer<'a> {
    pub ctx: &'a Context<'a>,
    pub run: &'a Run,
    pub training: &'a Training,
    pub network: ResNet,
    /// Parameters beside the network's, by the names that they have in checkpoints.
    pub extra: Vec<(String, Var)>,
    /// The set, the images of the training split and of the test split, the labels of the former, and their classes.
    pub source: &'a Source,
    pub images: &'a Pictures<'a>,
    pub test: &'a Pictures<'a>,
    pub labels: &'a [u32],
    pub classes: &'a [String],
    /// Images beside those of the set, where the loss takes some.
    pub beside: Option<Beside<'a>>,
}

/// The accuracy on the validation images so far.
#[derive(Clone, Copy, Debug, Default)]
struct Best {
    /// Epochs that the best network has seen.
    epochs: usize,
    accuracy: f64,
}

impl Best {
    /// Takes in the accuracy after `epochs` epochs; says whether it is better than all before.
    fn improves(&mut self, epochs: usize, accuracy: f64) -> bool {
        let better = self.epochs == 0 || accuracy > self.accuracy;
        if better {
            *self = Self { epochs, accuracy };
        }
        better
    }
}

/// Name of the metric that the best network is chosen by.
const VALIDATION_ACCURACY: &str = "validation_accuracy";

impl Trainer<'_> {
    /// Returns the images that are trained on and those held out for validation.
    pub fn divide(&self) -> Result<[Vec<u32>; 2], StageError> {
        match &self.training.validation {
            Some(validation) => validation.divide(self.labels, self.classes, self.run.spec.seed),
            None => Ok([(0..self.images.len() as u32).collect(), Vec::new()]),
        }
    }

    /// Trains from the last checkpoint on, and leaves the network that is to be used: the last, or the best on the validation
    /// images. `loss` makes the loss of a step; `logits` makes logits `[n, classes]` of the network's outputs.
    ///
    /// # Errors
    /// If the loss is not finite, the user interrupts, an image cannot be read, or the store fails.
    pub fn train(
        &self,
        stage: &str,
        logits: impl Fn(Tensor) -> nn::Result<Tensor>,
        mut loss: impl FnMut(&ResNet, &Step<'_>) -> Result<Tensor, StageError>,
    ) -> Result<(), StageError> {
        let t = self.training;
        let [trained, held] = self.divide()?;
        let steps = trained.len() / t.batch_size;
        self.ctx.progress.begin(stage, (t.epochs * steps) as u64, "steps");
        if steps == 0 {
            let (n, batch) = (trained.len(), t.batch_size);
            return Err(StageError::Mismatch(format!(
                "{n} training images do not fill one batch of {batch}"
            )));
        }
        self.say_left_out();
        let vars = std::iter::once(("network".to_owned(), self.network.params().var().clone()));
        let mut sgd = Sgd::new(
            vars.chain(self.extra.iter().cloned()),
            t.lr,
            t.momentum,
            t.nesterov,
            t.weight_decay,
        )?;
        let first = self.resume(&mut sgd)?;
        let mut best = self.best_so_far()?;
        self.ctx.progress.advance((first * steps) as u64);
        let test: Vec<u32> = (0..self.test.len() as u32).collect();
        let mut metrics = Vec::new();
        for epoch in first..t.epochs {
            if self.is_over(&best, epoch) {
                break;
            }
            let mean = self.epoch(epoch, &trained, steps, &mut sgd, &mut loss)?;
            let accuracy = self.accuracy(self.test, &test, &logits)?;
            let mut rows = vec![("loss", mean), ("accuracy", accuracy), ("lr", sgd.lr)];
            let (done, all) = (epoch + 1, t.epochs);
            let mut said = format!(
                "epoch {done}/{all}: loss {mean:.3}, accuracy {:.1} %",
                accuracy * 100.0
            );
            let mut improved = false;
            if t.validation.is_some() {
                let accuracy = self.accuracy(self.images, &held, &logits)?;
                improved = best.improves(done, accuracy);
                said += &format!(", on validation images {:.1} %", accuracy * 100.0);
                rows.push((VALIDATION_ACCURACY, accuracy));
            }
            self.ctx.progress.note(&said);
            for (i, (name, value)) in rows.iter().enumerate() {
                metrics.push(metric((rows.len() * epoch + i) as u64, name, Some(epoch), *value));
            }
            let over = done == t.epochs || self.is_over(&best, done);
            if done % t.checkpoint_every == 0 || improved || over {
                self.save(done, &sgd, &metrics)?;
                metrics.clear();
            }
        }
        self.close(&best)
    }

    /// Takes the steps of an epoch; returns the mean loss.
    fn epoch(
        &self,
        epoch: usize,
        trained: &[u32],
        steps: usize,
        sgd: &mut Sgd,
        loss: &mut impl FnMut(&ResNet, &Step<'_>) -> Result<Tensor, StageError>,
    ) -> Result<f64, StageError> {
        let (t, seed, look) = (self.training, self.run.spec.seed, self.training.look());
        let order = schedule::permutation(trained.len(), seed, "train/order", epoch as u64);
        // The order is one of places in `trained`.
        let order: Vec<u32> = order.iter().map(|place| trained[*place as usize]).collect();
        let (images, beside) = (self.images, self.beside);
        let make = |(step, samples): (usize, &[u32])| {
            let number = epoch * steps + step;
            let x = images.batch(&look, samples, seed, epoch as u32)?;
            let y = beside.map(|beside| beside(&look, number)).transpose()?;
            let samples = samples.to_vec();
            Ok((number, samples, x, y))
        };
        let mut sum = 0.0;
        let batches = order.chunks_exact(t.batch_size).enumerate();
        ahead(batches, make, |(number, samples, x, y)| {
            self.ctx.check_interrupt()?;
            sgd.lr = schedule::cosine(number, t.epochs * steps, t.lr, t.min_lr);
            let tensor = |x: Vec<f32>| {
                let n = x.len() / images.shape(1).iter().product::<usize>().max(1);
                Tensor::from_vec(x, &images.shape(n), self.ctx.device)
            };
            let (x, y) = (tensor(x)?, y.map(tensor).transpose()?);
            let labels: Vec<u32> = samples.iter().map(|s| self.labels[*s as usize]).collect();
            let loss = loss(
                &self.network,
                &Step {
                    images: &x,
                    labels: &labels,
                    beside: y.as_ref(),
                },
            )?;
            let value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                return Err(StageError::Diverged {
                    what: "the loss",
                    value,
                    epoch,
                });
            }
            sgd.step(&loss.backward()?)?;
            sum += f64::from(value);
            self.ctx.progress.advance(1);
            Ok(())
        })?;
        Ok(sum / steps as f64)
    }

    fn accuracy(
        &self,
        images: &Pictures<'_>,
        samples: &[u32],
        logits: &impl Fn(Tensor) -> nn::Result<Tensor>,
    ) -> Result<f64, StageError> {
        let found = self
            .training
            .outputs(self.ctx, &self.network, images, samples, logits)?;
        let labels = images.labels().unwrap_or_default();
        let labels: Vec<u32> = samples
            .iter()
            .filter_map(|s| labels.get(*s as usize))
            .copied()
            .collect();
        Ok(ood::accuracy(&found, self.classes.len(), &labels)?)
    }

    /// Says whether no epoch follows the first `done` ones, because of patience.
    fn is_over(&self, best: &Best, done: usize) -> bool {
        let patience = self.training.validation.as_ref().and_then(|v| v.patience);
        patience.is_some_and(|patience| best.epochs > 0 && done >= best.epochs + patience)
    }

    /// The best of the epochs before the last checkpoint, from their metrics.
    fn best_so_far(&self) -> Result<Best, StageError> {
        let mut rows: Vec<Metric> = self.ctx.store.rows(self.run.id, None)?;
        rows.retain(|m| m.name == VALIDATION_ACCURACY);
        rows.sort_by_key(|m| m.epoch);
        let mut best = Best::default();
        for row in rows {
            best.improves(row.epoch.unwrap_or_default() as usize + 1, row.value);
        }
        Ok(best)
    }

    fn left_out(&self) -> [(&str, usize); 2] {
        let t = self.training;
        [&t.split, &t.test_split].map(|split| (split.as_str(), self.source.left_out(split).len()))
    }

    fn say_left_out(&self) {
        for (split, count) in self.left_out() {
            if count > 0 {
                self.ctx.progress.note(&self.source.say_left_out(split));
            }
        }
    }

    /// Writes what holds for the whole training: which network is used, and how many images were left out.
    fn close(&self, best: &Best) -> Result<(), StageError> {
        let t = self.training;
        // Behind the rows of all epochs, of which there are four at most.
        let mut next = (4 * t.epochs) as u64;
        let mut rows = Vec::new();
        let mut row = |name: &str, dataset: Option<String>, value: f64| {
            let mut row = metric(next, name, None, value);
            row.dataset = dataset;
            next += 1;
            rows.push(row);
        };
        if t.validation.is_some() {
            row("best_epochs", None, best.epochs as f64);
            row("best_validation_accuracy", None, best.accuracy);
        }
        for (split, count) in self.left_out() {
            if count > 0 {
                row(
                    "images_left_out",
                    Some(format!("{}/{split}", self.source.name())),
                    count as f64,
                );
            }
        }
        if t.validation.is_some() {
            self.conclude(best.epochs, &rows)
        } else if !rows.is_empty() {
            Ok(self.ctx.store.put(self.run.id, &rows)?)
        } else {
            Ok(())
        }
    }
}

fn metric(index: u64, name: &str, epoch: Option<usize>, value: f64) -> Metric {
    Metric {
        class_id: None,
        class_name: None,
        index,
        name: name.into(),
        dataset: None,
        score: None,
        epoch: epoch.map(|epoch| epoch as i32),
        value,
    }
}
