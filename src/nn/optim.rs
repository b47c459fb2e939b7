//! Stochastic gradient descent with momentum, as `torch.optim.SGD`.

use std::collections::BTreeMap;

use candle_core::Var;
use candle_core::backprop::GradStore;

use super::state::{self, State};
use super::{Error, Result};
use crate::engine::{Engine, Momentum, SgdRule};

/// Settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdOptions {
    /// Learning rate, of the first step at least.
    pub lr: f64,
    /// Part of the last step that goes into the next.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Part of the weights that is added to their gradient.
    pub weight_decay: f64,
}

/// SGD with (Nesterov) momentum and weight decay. PyTorch's update, number for number: `g += weight_decay *
/// w; v = momentum * v + g` (`v = g` in the first step); `w -= lr * (g + momentum * v)` with Nesterov, `w -=
/// lr * v` without.
#[derive(Debug)]
pub struct Sgd {
    /// Learning rate; set it before each step to follow a schedule.
    pub lr: f64,
    options: SgdOptions,
    vars: BTreeMap<String, Slot>,
}

#[derive(Debug)]
struct Slot {
    var: Var,
    momentum: Box<dyn Momentum>,
}

impl Sgd {
    /// Creates an optimiser of `vars`, by name (the names are those of its own state).
    ///
    /// # Errors
    /// [`Error::Config`] for a negative number or Nesterov without momentum.
    pub fn new(
        engine: &Engine,
        vars: impl IntoIterator<Item = (String, Var)>,
        options: SgdOptions,
    ) -> Result<Self> {
        for (field, value) in [
            ("lr", options.lr),
            ("momentum", options.momentum),
            ("weight_decay", options.weight_decay),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::Config {
                    field,
                    value: value.to_string(),
                    expected: "a finite number of at least 0",
                });
            }
        }
        if options.nesterov && options.momentum == 0.0 {
            return Err(Error::Config {
                field: "momentum",
                value: "0".into(),
                expected: "more than 0 where nesterov is set",
            });
        }
        let slot = |var: Var| Slot {
            momentum: engine.momentum(&var),
            var,
        };
        Ok(Self {
            lr: options.lr,
            options,
            vars: vars.into_iter().map(|(name, var)| (name, slot(var))).collect(),
        })
    }

    /// Updates every variable by its gradient.
    ///
    /// # Errors
    /// [`Error::NoGradient`] if a variable has none (a loss that forgets a variable is a mistake, not a
    /// zero), and nothing is changed.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        let found = (self.vars.iter())
            .map(|(name, slot)| {
                grads
                    .get(&slot.var)
                    .ok_or_else(|| Error::NoGradient { name: name.clone() })
            })
            .collect::<Result<Vec<_>>>()?;
        let rule = SgdRule {
            lr: self.lr,
            momentum: self.options.momentum,
            nesterov: self.options.nesterov,
            weight_decay: self.options.weight_decay,
        };
        for (slot, grad) in self.vars.values_mut().zip(found) {
            let grad = grad.detach().contiguous()?;
            slot.momentum.step(&slot.var, &grad, &rule)?;
        }
        Ok(())
    }

    /// Returns the velocities by variable name; empty before the first step.
    ///
    /// # Errors
    /// Candle's errors.
    pub fn state_dict(&self) -> Result<State> {
        let mut state = State::new();
        for (name, slot) in &self.vars {
            if let Some(velocity) = slot.momentum.velocity(&slot.var)? {
                state.insert(name.clone(), velocity);
            }
        }
        Ok(state)
    }

    /// Replaces the velocities by those of a state; an empty one is the state before the first step.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::ExtraTensor`] or [`Error::TensorShape`], and nothing is changed.
    pub fn load_state_dict(&mut self, state: &State) -> Result<()> {
        if !state.is_empty() {
            let expected = self
                .vars
                .iter()
                .map(|(name, slot)| (name.as_str(), slot.var.dims()));
            state::check(state, expected)?;
        }
        for (name, slot) in &mut self.vars {
            slot.momentum.set(&slot.var, state.get(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::from_safetensors;
    use super::*;

    /// The gradient store of a loss whose gradient is `grad`.
    fn grads(var: &Var, grad: &Tensor) -> GradStore {
        (var.as_tensor() * grad)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    }

    fn nesterov(lr: f64, momentum: f64) -> SgdOptions {
        SgdOptions {
            lr,
            momentum,
            nesterov: true,
            weight_decay: 0.0,
        }
    }

    #[test]
    fn agrees_with_pytorch_and_resumes() {
        let bytes = include_bytes!("../../tests/fixtures/nn/sgd.safetensors");
        let fixture = from_safetensors(bytes, &Device::Cpu).unwrap();
        for engine in [Engine::default(), Engine::composed(&Device::Cpu)] {
            for (name, momentum, nesterov, weight_decay) in [
                ("plain", 0.0, false, 0.01),
                ("heavy", 0.9, false, 5e-4),
                ("nesterov", 0.9, true, 5e-4),
            ] {
                let get = |part: &str| &fixture[&format!("{name}.{part}")];
                let var = Var::from_tensor(get("start")).unwrap();
                let options = SgdOptions {
                    lr: 0.1,
                    momentum,
                    nesterov,
                    weight_decay,
                };
                let new = || Sgd::new(&engine, [("w".to_owned(), var.clone())], options).unwrap();
                let mut sgd = new();
                for step in 0..5 {
                    sgd.step(&grads(&var, &get("grads").get(step).unwrap())).unwrap();
                    let found = var.to_vec1::<f32>().unwrap();
                    let expected = get("weights").get(step).unwrap().to_vec1::<f32>().unwrap();
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!(
                            (found - expected).abs() < 1e-6,
                            "{engine:?}, {name}, step {step}: {found} {expected}"
                        );
                    }
                    // A new optimiser with the saved state goes on as if nothing had happened.
                    let state = sgd.state_dict().unwrap();
                    sgd = new();
                    sgd.load_state_dict(&state).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_forgotten_variable_and_bad_settings_are_errors() {
        let engine = Engine::default();
        let (a, b) = (
            Var::new(&[1.0_f32], &Device::Cpu).unwrap(),
            Var::new(&[1.0_f32], &Device::Cpu).unwrap(),
        );
        let vars = [("a".to_owned(), a.clone()), ("b".to_owned(), b)];
        let mut sgd = Sgd::new(&engine, vars.clone(), nesterov(0.1, 0.9)).unwrap();
        let store = a.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(matches!(sgd.step(&store), Err(Error::NoGradient { name }) if name == "b"));
        assert!(matches!(
            Sgd::new(&engine, vars.clone(), nesterov(-1.0, 0.9)),
            Err(Error::Config { field: "lr", .. })
        ));
        assert!(Sgd::new(&engine, vars, nesterov(0.1, 0.0)).is_err());
    }
}
