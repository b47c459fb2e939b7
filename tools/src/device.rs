//! The processors that models run on, by the names that `--device` takes.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use dream_ood::engine::{Engine, Processor};

use crate::session::Usage;

/// What `--device` names: the CPU, a GPU, or several GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// The CPU.
    Cpu,
    /// GPUs by number: one, or several, none of them twice.
    Gpus(Vec<usize>),
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "cpu" {
            return Ok(Self::Cpu);
        }
        let mut gpus = Vec::new();
        for name in text.split(',') {
            let number = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
                None => None,
            };
            let Some(number) = number else {
                return Err(match name {
                    "cpu" => "the CPU and a GPU do not share a run: their results differ".to_owned(),
                    _ => "expected `cpu`, `cuda`, `cuda:N`, or several GPUs: `cuda:0,cuda:1`".to_owned(),
                });
            };
            if gpus.contains(&number) {
                return Err(format!("the GPU {number} is named twice"));
            }
            gpus.push(number);
        }
        Ok(Self::Gpus(gpus))
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Gpus(numbers) => {
                let names: Vec<_> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
                write!(f, "{}", names.join(","))
            }
        }
    }
}

impl Devices {
    /// Refuses what this program was built without.
    pub fn check(&self) -> Result<(), Usage> {
        match self {
            Self::Gpus(_) if !cfg!(feature = "cuda") => Err(Usage(format!(
                "--device {self}: this program was built without CUDA; build it with `--features cuda`"
            ))),
            Self::Cpu | Self::Gpus(_) => Ok(()),
        }
    }

    /// Returns the kind of the processor.
    pub fn processor(&self) -> Processor {
        match self {
            Self::Cpu => Processor::Cpu,
            Self::Gpus(_) => Processor::Cuda,
        }
    }

    /// Returns how many GPUs there are.
    pub fn gpus(&self) -> usize {
        match self {
            Self::Cpu => 0,
            Self::Gpus(numbers) => numbers.len(),
        }
    }

    /// Opens them: the first one, and those beside it.
    pub fn open(&self) -> Result<(Engine, Vec<Engine>)> {
        let Self::Gpus(numbers) = self else {
            return Ok((Engine::default(), Vec::new()));
        };
        self.check()?;
        let open = |number: &usize| {
            Engine::gpu(*number).with_context(|| format!("--device cuda:{number}: the GPU cannot be used"))
        };
        let mut engines = numbers.iter().map(open).collect::<Result<Vec<_>>>()?;
        let beside = engines.split_off(1); // a name at least is there
        let first = engines.pop().context("--device names nothing")?;
        Ok((first, beside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Devices, String> {
        text.parse()
    }

    #[test]
    fn names_are_read_and_said() {
        assert_eq!(read("cpu"), Ok(Devices::Cpu));
        assert_eq!(read("cuda"), Ok(Devices::Gpus(vec![0])));
        assert_eq!(read("cuda:2"), Ok(Devices::Gpus(vec![2])));
        let two = read("cuda:1,cuda:0").unwrap();
        assert_eq!(two, Devices::Gpus(vec![1, 0]));
        assert_eq!(two.to_string(), "cuda:1,cuda:0");
        assert_eq!((two.gpus(), two.processor()), (2, Processor::Cuda));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "",
            "tpu",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda0",
            "cuda:0,",
            "cuda:0 ,cuda:1",
            "cpu:0",
        ] {
            assert!(read(bad).unwrap_err().contains("expected"), "{bad}");
        }
        assert!(read("cuda,cuda:0").unwrap_err().contains("twice"));
        assert!(read("cpu,cuda:0").unwrap_err().contains("differ"));
        assert!(read("cuda:0,cpu").unwrap_err().contains("differ"));
    }
}
