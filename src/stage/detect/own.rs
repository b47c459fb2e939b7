//! The scores that come with a method of training.

use crate::ood::score::{Card, Needs, Paper};
use crate::words::words;

words! {
    /// A score of classifiers that a method trained, and of no others.
    pub enum OwnScore {
        /// phi(E(x)) of DREAM-OOD's Eq. 8.
        Dream = "dream",
        /// The log-odds of not being in the class of outliers.
        ExtraClass = "extra-class",
    }
}

static DREAM: Card = Card {
    name: OwnScore::Dream.name(),
    paper: Paper {
        title: "Dream the Impossible: Outlier Imagination with Diffusion Models",
        venue: "NeurIPS 2023",
        url: "https://arxiv.org/abs/2309.13415",
    },
    formula: "phi(logsumexp(f)), where phi was trained with the network",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

static EXTRA_CLASS: Card = Card {
    name: OwnScore::ExtraClass.name(),
    paper: Paper {
        title: "ATOM: Robustifying Out-of-distribution Detection Using Outlier Mining",
        venue: "ECML PKDD 2021",
        url: "https://arxiv.org/abs/2006.15207",
    },
    formula: "logsumexp(f_1..f_K) - f_K+1, where K+1 is the class of outliers",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

impl OwnScore {
    /// What it needs, and a classifier that was not trained so does not have, in words.
    pub fn needs(self) -> String {
        let why = match self {
            Self::Dream => "phi, and the classifier was not trained with outliers and phi",
            Self::ExtraClass => "a class of outliers, and the classifier has none",
        };
        format!("`{}` needs {why}", self.name())
    }

    /// What it reads beside what its card says, in words: what only some methods train.
    pub fn reads(self) -> &'static str {
        match self {
            Self::Dream => "phi (of the methods phi, vos and npos)",
            Self::ExtraClass => "the class of outliers (of the method extra-class)",
        }
    }

    /// What there is to know of it.
    pub fn card(self) -> &'static Card {
        match self {
            Self::Dream => &DREAM,
            Self::ExtraClass => &EXTRA_CLASS,
        }
    }
}
