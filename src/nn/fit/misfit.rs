//! What is said where the weights in a file are not those of a network.

use std::collections::BTreeMap;
use std::fmt;

use super::{Candidate, Differences, Wanted, body};
use crate::tensor_file::Entry;

/// Names that are shown of each list.
const SHOWN: usize = 4;
/// Names that are shown of a file in which no network was found.
const LISTED: usize = 10;

/// Why the tensors of a file are not those of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// There is no residual network in it.
    NoNetwork {
        /// The names that were found, as many as are shown.
        found: Vec<String>,
        /// How many there are.
        count: usize,
        /// Names that are wanted.
        wanted: Vec<String>,
    },
    /// It is another one.
    Body {
        /// The network that was found, in words.
        found: String,
        /// The network that is wanted, in words.
        wanted: String,
        /// Channels of the pictures that the one and the other take, where they differ.
        channels: Option<[usize; 2]>,
        /// What is missing, of another shape, or too much, in words.
        differences: Vec<String>,
    },
    /// It has no last layer that fits.
    Head {
        /// Names and outputs of what could be one.
        found: Vec<(String, usize)>,
        /// The outputs that are wanted.
        outputs: usize,
    },
    /// Its last layer is one of several, and a residual network has one.
    Layers {
        /// The one that fits.
        head: String,
        /// The tensors of the others.
        others: Vec<String>,
    },
}

impl Misfit {
    pub(super) fn of_body(entries: &[Entry], candidates: &[Candidate<'_>], wanted: &Wanted) -> Self {
        // The one that comes nearest.
        let compared = candidates.iter().map(|c| (c, c.differences(wanted)));
        let far = |d: &Differences| d.missing.len() + d.shapes.len() + d.extra.len();
        let Some((nearest, differences)) = compared.min_by_key(|(c, d)| (far(d), c.path.len())) else {
            return Self::NoNetwork {
                found: entries.iter().take(LISTED).map(Entry::full_name).collect(),
                count: entries.len(),
                wanted: body(wanted)
                    .filter(|(_, shape)| shape.len() == 4)
                    .take(SHOWN)
                    .map(|(name, _)| name.to_owned())
                    .collect(),
            };
        };
        let shapes = |name: &str| nearest.named.get(name).map(|entry| entry.shape.as_slice());
        let below = match nearest.path.as_str() {
            "" => String::new(),
            path => format!(" (below `{path}`)"),
        };
        let names = nearest.named.keys().map(String::as_str);
        let wanted_shape = |name: &str| wanted.get(name).map(Vec::as_slice);
        let channels = match (shapes("conv1.weight"), wanted_shape("conv1.weight")) {
            (Some(&[_, found, ..]), Some(&[_, wanted, ..])) if found != wanted => Some([found, wanted]),
            _ => None,
        };
        Self::Body {
            found: format!("{}{below}", architecture(names, &shapes)),
            wanted: architecture(wanted.keys().map(String::as_str), &wanted_shape),
            channels,
            differences: in_words(&differences),
        }
    }
}

/// A residual network in words, read off its tensors.
fn architecture<'a, 's>(
    names: impl Iterator<Item = &'a str>,
    shape: &dyn Fn(&str) -> Option<&'s [usize]>,
) -> String {
    let mut blocks: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut bottleneck, mut wide) = (false, false);
    for name in names {
        match name.split('.').collect::<Vec<_>>()[..] {
            [stage, _, "conv1", "weight"] if stage.starts_with("layer") => {
                *blocks.entry(stage).or_default() += 1;
            }
            [stage, "layer", _, "conv1", "weight"] if stage.starts_with("block") => {
                wide = true;
                *blocks.entry(stage).or_default() += 1;
            }
            _ => {}
        }
        bottleneck |= name.ends_with(".conv3.weight");
    }
    let convolutions: usize = blocks.values().sum::<usize>() * if bottleneck { 3 } else { 2 };
    if wide {
        let width = match shape("block1.layer.0.conv1.weight") {
            Some(&[width, ..]) => width.to_string(),
            _ => "unknown".into(),
        };
        return format!("a WideResNet-{} of width {width}", convolutions + 4);
    }
    let (width, kernel) = match shape("conv1.weight") {
        Some(&[width, _, kernel, _]) => (width.to_string(), format!("{kernel}x{kernel}")),
        _ => ("unknown".into(), "unknown".into()),
    };
    format!(
        "a ResNet-{} of width {width} with a stem of {kernel}",
        convolutions + 2
    )
}

fn in_words(differences: &Differences) -> Vec<String> {
    let list = |what: &str, names: Vec<String>| {
        let more = names.len().saturating_sub(SHOWN);
        let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        (!shown.is_empty()).then(|| format!("{what} {shown}{more}"))
    };
    let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect();
    let shapes = differences.shapes.iter();
    let shapes = shapes.map(|(name, found, wanted)| format!("`{name}` {found:?} for {wanted:?}"));
    [
        list("without", quoted(&differences.missing)),
        list("with", shapes.collect()),
        list("besides", quoted(&differences.extra)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[String]| format!("`{}`", names.join("`, `"));
        match self {
            Self::NoNetwork { count: 0, .. } => f.write_str("there is no tensor in it"),
            Self::NoNetwork { found, count, wanted } => write!(
                f,
                "no tensors of a residual network by torchvision's names ({}, ...) in it; the names of its \
                 {count} tensors are {}{}",
                quoted(wanted),
                quoted(found),
                if *count > found.len() { ", ..." } else { "" }
            ),
            Self::Body {
                found,
                wanted,
                channels,
                differences,
            } => {
                let of = channels.map(|of| {
                    of.map(|count| {
                        format!(
                            " for pictures of {count} channel{}",
                            if count == 1 { "" } else { "s" }
                        )
                    })
                });
                let [own, other] = of.unwrap_or_default();
                let differences = differences.join("; ");
                write!(
                    f,
                    "it holds {found}{own}, wanted is {wanted}{other}: {differences}"
                )
            }
            Self::Layers { head, others } => {
                let shown = quoted(&others[..others.len().min(SHOWN)]);
                let more = if others.len() > SHOWN { ", ..." } else { "" };
                write!(
                    f,
                    "its last layer, `{head}`, is not the only one behind the features: {shown}{more}; a \
                     residual network has one"
                )
            }
            Self::Head { found, outputs } if found.is_empty() => write!(
                f,
                "it has no last layer (a matrix as wide as the features); the network needs one of {outputs} \
                 outputs"
            ),
            Self::Head { found, outputs } => {
                let several = found.iter().any(|(_, own)| own == outputs);
                let found = found
                    .iter()
                    .map(|(name, outputs)| format!("`{name}.weight` [{outputs}]"));
                let found = found.collect::<Vec<_>>().join(", ");
                if several {
                    return write!(f, "several could be its last layer: {found}; none is called `fc`");
                }
                write!(
                    f,
                    "its last layer is of other outputs: {found}, the network's is [{outputs}]"
                )
            }
        }
    }
}

impl std::error::Error for Misfit {}
