//! Opening a GPU.

use std::fmt;

use super::Engine;
use crate::error::{HasKind, Kind};

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// The library was built without the feature `cuda`.
    #[error("this program was built without CUDA")]
    NotBuilt,
    /// Libraries of CUDA's are not there; at least one.
    #[error("{}", Listed(.0))]
    Libraries(Vec<MissingLibrary>),
    /// The kernels that are asked for are compiled for later cards.
    #[error(
        "this GPU has compute capability {major}.{minor}, and the kernels for half precision, residual \
         networks and sampling need 8.0 or more"
    )]
    TooOld {
        /// Its compute capability.
        major: i32,
        /// The digit behind the point.
        minor: i32,
    },
    /// The driver refuses, or there is no such GPU.
    #[error(transparent)]
    Device(#[from] candle_core::Error),
}

impl HasKind for GpuError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotBuilt | Self::TooOld { .. } => Kind::Unsupported,
            Self::Libraries(_) => Kind::Missing,
            Self::Device(error) => error.kind(),
        }
    }
}

/// A shared library that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingLibrary {
    /// Its name.
    pub file: String,
    /// What the loader says.
    pub reason: String,
    /// Whether it belongs to the driver, and not to the CUDA toolkit.
    pub driver: bool,
}

struct Listed<'a>(&'a [MissingLibrary]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CUDA cannot be loaded")?;
        for (number, library) in self.0.iter().enumerate() {
            let between = if number == 0 { ": " } else { "; " };
            // The loader mostly begins with the name.
            match library.reason.starts_with(&library.file) {
                true => write!(f, "{between}{}", library.reason)?,
                false => write!(f, "{between}{}: {}", library.file, library.reason)?,
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Opens a GPU of NVIDIA's by its number, with the default [`Options`](super::Options).
    ///
    /// # Errors
    /// CUDA that is not in this program or not on this machine, or no such GPU.
    pub fn gpu(number: usize) -> Result<Self, GpuError> {
        if !cfg!(feature = "cuda") {
            return Err(GpuError::NotBuilt);
        }
        #[cfg(feature = "cuda")]
        {
            // Asked first: a call of a library that is not there would end the program.
            let missing = super::cuda::missing();
            if !missing.is_empty() {
                return Err(GpuError::Libraries(missing));
            }
        }
        Ok(Self::of(&candle_core::Device::new_cuda(number)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_library_is_named_once() {
        let library = |file: &str, reason: &str| MissingLibrary {
            file: file.to_owned(),
            reason: reason.to_owned(),
            driver: false,
        };
        let error = GpuError::Libraries(vec![
            library("liba.so.1", "liba.so.1: cannot open shared object file"),
            library("libb.so.2", "libm.so.6: version `GLIBC_2.99' not found"),
        ]);
        assert_eq!(
            error.to_string(),
            "CUDA cannot be loaded: liba.so.1: cannot open shared object file; libb.so.2: libm.so.6: version \
             `GLIBC_2.99' not found"
        );
    }
}
