//! Pictures that are in memory already, prepared as a set's images are.

use rayon::prelude::*;

use super::error::DatasetError;
use super::images::ImageSet;
use super::item::{Item, Stored};
use super::prepare::Preparation;
use std::path::Path;

impl ImageSet {
    /// Decodes PNG files held in memory and prepares them, in parallel; they are named by their number and have no labels.
    ///
    /// # Errors
    /// If one is not a picture; see [`DatasetError`].
    pub fn from_png<'a>(
        files: impl IntoIterator<Item = &'a [u8]>,
        preparation: &Preparation,
    ) -> Result<Self, DatasetError> {
        preparation.check()?;
        let item = |(number, bytes): (usize, &[u8])| Item {
            name: number.to_string(),
            label: None,
            stored: Stored::Encoded(bytes.to_vec()),
        };
        let items: Vec<Item> = files.into_iter().enumerate().map(item).collect();
        let prepare =
            |item: &Item| preparation.apply(item.decode(Path::new("generated picture"))?, &item.name);
        let pixels = items
            .par_iter()
            .map(prepare)
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        Ok(Self {
            height: preparation.height,
            width: preparation.width,
            channels: 3,
            pixels,
            labels: None,
            names: items.into_iter().map(|item| item.name).collect(),
        })
    }
}
