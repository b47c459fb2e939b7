//! Which tensors of a file are the weights of a residual network: from the names of other training programs
//! to torchvision's, by rules.
//!
//! 1. Everything before `layer1.0.conv1.weight` (`block1.layer.0.conv1.weight` of a wide network) is a
//!    prefix, whatever it is and however the file nests its dictionaries: `module.` (DataParallel),
//!    `model.` or `net.` below `state_dict` (Lightning), `_orig_mod.` (`torch.compile`), `encoder.`
//!    (DREAM-OOD, SupCon), `backbone.` (OpenMMLab), `module.encoder_q.` (MoCo), and any of them in each
//!    other. Where several prefixes lead to whole networks, averaged and momentum copies come last.
//! 2. `shortcut` is another word for `downsample` (DREAM-OOD, OpenOOD, the networks for CIFAR), and the words
//!    of Hugging Face's transformers stand for torchvision's: `embedder.embedder.convolution` for `conv1`,
//!    `encoder.stages.0.layers.1.layer.2.normalization` for `layer1.1.bn3`.
//! 3. The last layer is a matrix as wide as the features, with its bias or without one, `fc` or any other
//!    name (`trans`, `linear`, `head.fc`, `classifier`), below the prefix or beside it. Of several that one
//!    is taken which has the outputs that are wanted. One of several layers in a row is refused, for by
//!    itself it makes other outputs.
//! 4. Every tensor of the network must be there in its shape, and the file must have no more convolutions or
//!    blocks below the prefix: weights of a deeper network are not cut down to a shallower one.
//!
//! 5. A network of three stages whose file has no shortcuts at all has none that are trained: it passes every
//!    second pixel on and adds channels of zeros (option A of He et al. 2016). The same numbers come from a
//!    projection by zeros and ones, which then stands in their place.
//!
//! What was taken from where is told, and what beside the network is not used.

mod aside;
mod head;
mod misfit;
mod padding;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use misfit::Misfit;
pub(super) use padding::padded;

use crate::tensor_file::Entry;

/// Tensors that residual networks have, one of them each, and nothing else.
const ANCHORS: [&str; 2] = ["layer1.0.conv1.weight", "block1.layer.0.conv1.weight"];
/// The last layer.
const HEAD: &str = "fc.";
/// Its bias, which it may lack.
const BIAS: &str = "fc.bias";
/// PyTorch's counters, which nothing here needs.
const COUNTER: &str = "num_batches_tracked";
/// Words in the names of copies that are averages of the trained weights, or follow them.
const COPIES: [&str; 8] = [
    "ema",
    "swa",
    "averaged",
    "encoder_k",
    "momentum_encoder",
    "key_encoder",
    "teacher",
    "target",
];

/// The tensors that a network has: name and shape, as torchvision names them.
pub(crate) type Wanted = BTreeMap<String, Vec<usize>>;

/// All that is wanted but the last layer.
fn body(wanted: &Wanted) -> impl Iterator<Item = (&str, &[usize])> {
    let body = wanted.iter().filter(|(name, _)| !name.starts_with(HEAD));
    body.map(|(name, shape)| (name.as_str(), shape.as_slice()))
}

/// Where a network's tensors are in a file.
#[derive(Debug)]
pub(crate) struct Fit<'f> {
    /// For each tensor of the network the one of the file.
    pub(crate) tensors: BTreeMap<String, &'f Entry>,
    /// Those of shortcuts that pad and of a last layer without bias, which are in no file: name and shape.
    pub(crate) padding: Wanted,
    /// What a user should know of how they were found; empty where the file is as torchvision's.
    pub(crate) notes: Vec<String>,
}

/// Finds the tensors `wanted` in a file, without the last layer where `new_head` says so.
///
/// # Errors
/// [`Misfit`] with what was found beside what is wanted.
pub(crate) fn fit<'f>(entries: &'f [Entry], wanted: &Wanted, new_head: bool) -> Result<Fit<'f>, Misfit> {
    let candidates = Candidate::all(entries);
    let whole: Vec<&Candidate<'_>> = candidates
        .iter()
        .filter(|candidate| candidate.differences(wanted).is_empty())
        .collect();
    let Some(chosen) = whole.iter().min_by_key(|candidate| candidate.rank()) else {
        return Err(Misfit::of_body(entries, &candidates, wanted));
    };
    let mut tensors: BTreeMap<String, &Entry> = body(wanted)
        .filter_map(|(name, _)| Some((name.to_owned(), *chosen.named.get(name)?)))
        .collect();
    let mut padding: Wanted = body(wanted)
        .filter(|(name, _)| !tensors.contains_key(*name))
        .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
        .collect();
    let mut notes = Vec::new();
    if !padding.is_empty() {
        notes.push(padding::NOTE.to_owned());
    }
    if !chosen.path.is_empty() {
        notes.push(format!("the weights are those below `{}`", chosen.path));
    }
    let others: Vec<&str> = whole
        .iter()
        .map(|c| c.path.as_str())
        .filter(|p| *p != chosen.path)
        .collect();
    if !others.is_empty() {
        notes.push(format!(
            "the same network is also below `{}`, which is left aside",
            others.join("`, `")
        ));
    }
    if !new_head {
        let head = head::find(entries, chosen, &candidates, wanted)?;
        aside::check_alone(entries, &head)?;
        if head.name != "fc" || head.elsewhere {
            notes.push(format!("the last layer is `{}`", head.full_name()));
        }
        tensors.insert("fc.weight".to_owned(), head.weight);
        match head.bias {
            Some(bias) => drop(tensors.insert(BIAS.to_owned(), bias)),
            None => {
                notes.push(format!("the last layer, `{}`, has no bias", head.full_name()));
                padding.insert(BIAS.to_owned(), vec![head.outputs()]);
            }
        }
        let used: Vec<&Entry> = tensors.values().copied().collect();
        let channels = (wanted.get("conv1.weight").and_then(|shape| shape.get(1))).copied();
        let unused = aside::unused(entries, &used, chosen, &candidates, channels.unwrap_or(0));
        notes.extend(unused);
    }
    Ok(Fit {
        tensors,
        padding,
        notes,
    })
}

/// A place in a file where a residual network seems to be.
#[derive(Debug)]
pub(super) struct Candidate<'f> {
    /// The container that it is in.
    container: &'f str,
    /// What comes before its names there.
    prefix: &'f str,
    /// Both.
    path: String,
    /// The tensors below the prefix that belong to no other candidate, by torchvision's names.
    named: BTreeMap<String, &'f Entry>,
}

/// How a candidate is not the network that is wanted.
#[derive(Debug, Default)]
pub(super) struct Differences {
    missing: Vec<String>,
    /// Name, shape that was found, shape that is wanted.
    shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    extra: Vec<String>,
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.shapes.is_empty() && self.extra.is_empty()
    }
}

impl<'f> Candidate<'f> {
    fn all(entries: &'f [Entry]) -> Vec<Self> {
        let before = |entry: &'f Entry| {
            let name = torchvision(&entry.name);
            let prefix = ANCHORS.iter().find_map(|anchor| name.strip_suffix(anchor))?;
            // What is before it has no words of a network, and so is in the file as it is here.
            let prefix = entry.name.get(..prefix.len()).filter(|own| *own == prefix)?;
            let whole = prefix.is_empty() || prefix.ends_with('.');
            whole.then_some((entry.container.as_str(), prefix))
        };
        let places: BTreeSet<(&str, &str)> = entries.iter().filter_map(before).collect();
        let candidate = |(container, prefix): &(&'f str, &'f str)| {
            let inner = |entry: &&Entry| {
                let closer = |(c, p): &&(&str, &str)| *c == *container && p.len() > prefix.len();
                let mut closer = places.iter().filter(closer);
                closer.any(|(_, p)| p.starts_with(prefix) && entry.name.starts_with(p))
            };
            let own = entries.iter().filter(|entry| entry.container == *container);
            let named = own.filter(|entry| !inner(entry)).filter_map(|entry| {
                let name = entry.name.strip_prefix(prefix)?;
                (!name.ends_with(COUNTER)).then(|| (torchvision(name), entry))
            });
            Self {
                container,
                prefix,
                path: joined(container, prefix),
                named: named.collect(),
            }
        };
        places.iter().map(candidate).collect()
    }

    /// Says whether a tensor is below another candidate, and not nearer to this one.
    fn is_of_another(&self, entry: &Entry, candidates: &[Self]) -> bool {
        let below = |candidate: &Self| {
            entry.container == candidate.container && entry.name.starts_with(candidate.prefix)
        };
        let own = below(self);
        let mut others = candidates.iter().filter(|other| other.path != self.path);
        others.any(|other| below(other) && !(own && other.prefix.len() < self.prefix.len()))
    }

    /// Copies come last, then what is nested more deeply.
    fn rank(&self) -> (bool, usize, &str) {
        let words = self.path.split(['.', '_']);
        let is_copy = words.clone().any(|word| COPIES.contains(&word))
            || COPIES
                .iter()
                .any(|copy| self.path.split('.').any(|part| part.ends_with(copy)));
        (is_copy, self.path.len(), &self.path)
    }

    fn differences(&self, wanted: &Wanted) -> Differences {
        let mut differences = Differences::default();
        let pads = padding::pads(self.named.keys().map(String::as_str), wanted);
        for (name, shape) in body(wanted) {
            match self.named.get(name) {
                None if pads && padding::is_shortcut(name) => {}
                None => differences.missing.push(name.to_owned()),
                Some(entry) if entry.shape != shape => {
                    let (found, wanted) = (entry.shape.clone(), shape.to_vec());
                    differences.shapes.push((name.to_owned(), found, wanted));
                }
                Some(_) => {}
            }
        }
        let wanted: BTreeSet<&str> = body(wanted).map(|(name, _)| name).collect();
        let parts: BTreeSet<&str> = wanted.iter().map(|name| first(name)).collect();
        let extra = self.named.iter().filter(|(name, entry)| {
            let of_network =
                parts.contains(first(name)) || entry.shape.len() == 4 && name.ends_with("weight");
            of_network && !wanted.contains(name.as_str())
        });
        differences.extra = extra.map(|(name, _)| name.clone()).collect();
        differences
    }
}

/// A name with torchvision's words in it.
fn torchvision(name: &str) -> String {
    let next = |number: &str| Some(number.parse::<u32>().ok()?.checked_add(1)?.to_string());
    let mut rest = &name.split('.').collect::<Vec<_>>()[..];
    let mut words = Vec::new();
    while let [first, behind @ ..] = rest {
        let (word, taken) = match rest {
            ["shortcut", "convolution", ..] => (Some("downsample.0".to_owned()), 2),
            ["shortcut", "normalization", ..] => (Some("downsample.1".to_owned()), 2),
            ["shortcut", ..] => (Some("downsample".to_owned()), 1),
            ["embedder", "embedder", "convolution", ..] => (Some("conv1".to_owned()), 3),
            ["embedder", "embedder", "normalization", ..] => (Some("bn1".to_owned()), 3),
            ["encoder", "stages", stage, "layers", ..] => {
                (next(stage).map(|number| format!("layer{number}")), 4)
            }
            ["layer", unit, "convolution", ..] => (next(unit).map(|number| format!("conv{number}")), 3),
            ["layer", unit, "normalization", ..] => (next(unit).map(|number| format!("bn{number}")), 3),
            _ => (None, 1),
        };
        match word {
            Some(word) => {
                words.push(word);
                rest = &rest[taken..]; // as many as the pattern names
            }
            None => {
                words.push((*first).to_owned());
                rest = behind;
            }
        }
    }
    words.join(".")
}

/// The part of a name before the first dot.
fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn joined(container: &str, prefix: &str) -> String {
    match (container, prefix.trim_end_matches('.')) {
        ("", prefix) => prefix.to_owned(),
        (container, "") => container.to_owned(),
        (container, prefix) => format!("{container}.{prefix}"),
    }
}
