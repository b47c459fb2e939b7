//! The last layer, whatever it is called.

use super::{COUNTER, Candidate, HEAD, Misfit, Wanted};
use crate::tensor_file::Entry;

/// A matrix as wide as the features, with its bias where it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'f> {
    pub(super) weight: &'f Entry,
    pub(super) bias: Option<&'f Entry>,
    /// Its name, below the prefix of the network where it is there.
    pub(super) name: &'f str,
    /// Whether it is not there.
    pub(super) elsewhere: bool,
}

impl Head<'_> {
    /// Its name with the path before it.
    pub(super) fn full_name(&self) -> String {
        let full = self.weight.full_name();
        full.strip_suffix(".weight").unwrap_or(&full).to_owned()
    }

    /// Its outputs.
    pub(super) fn outputs(&self) -> usize {
        self.weight.shape.first().copied().unwrap_or(0)
    }
}

/// Finds the last layer of the network at `chosen`: below its prefix, else in its container, else anywhere
/// but in another network.
pub(super) fn find<'f>(
    entries: &'f [Entry],
    chosen: &Candidate<'f>,
    candidates: &[Candidate<'f>],
    wanted: &Wanted,
) -> Result<Head<'f>, Misfit> {
    let shape = wanted.get("fc.weight").map_or(&[][..], Vec::as_slice);
    let &[outputs, features] = shape else {
        return Err(Misfit::Head {
            found: Vec::new(),
            outputs: 0,
        });
    };
    let all = heads(entries, chosen, candidates, features);
    let in_container = |head: &&Head<'_>| head.weight.container == chosen.container;
    let nearest = [
        all.iter().filter(|head| !head.elsewhere).collect::<Vec<_>>(),
        all.iter().filter(in_container).collect(),
        all.iter().collect(),
    ];
    let nearest = nearest
        .into_iter()
        .find(|tier| !tier.is_empty())
        .unwrap_or_default();
    // One with a bias goes before others, which may be something else than a layer.
    let fits = |with_bias: bool| {
        let fits = nearest
            .iter()
            .filter(move |head| head.outputs() == outputs && head.bias.is_some() == with_bias);
        fits.collect::<Vec<_>>()
    };
    let fitting = Some(fits(true))
        .filter(|found| !found.is_empty())
        .unwrap_or_else(|| fits(false));
    let named = fitting
        .iter()
        .find(|head| head.name == HEAD.trim_end_matches('.'));
    match (named, fitting.as_slice()) {
        (Some(head), _) | (None, [head]) => Ok(***head),
        (None, _) => Err(Misfit::Head {
            found: nearest
                .iter()
                .map(|head| (head.full_name(), head.outputs()))
                .collect(),
            outputs,
        }),
    }
}

fn heads<'f>(
    entries: &'f [Entry],
    chosen: &Candidate<'f>,
    candidates: &[Candidate<'f>],
    features: usize,
) -> Vec<Head<'f>> {
    let head = |weight: &'f Entry| {
        let stem = weight.name.strip_suffix(".weight")?;
        let is_matrix = matches!(weight.shape.as_slice(), &[_, width] if width == features);
        if !is_matrix || weight.name.ends_with(COUNTER) || chosen.is_of_another(weight, candidates) {
            return None;
        }
        let bias = entries.iter().find(|bias| {
            let name = bias.name.strip_suffix(".bias");
            bias.container == weight.container && name == Some(stem)
        });
        if bias.is_some_and(|bias| bias.shape[..] != weight.shape[..1]) {
            return None;
        }
        let below = stem
            .strip_prefix(chosen.prefix)
            .filter(|_| weight.container == chosen.container);
        Some(Head {
            weight,
            bias,
            name: below.unwrap_or(stem),
            elsewhere: below.is_none(),
        })
    };
    entries.iter().filter_map(head).collect()
}
