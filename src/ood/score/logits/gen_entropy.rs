//! GEN: generalised entropy of the likeliest classes.

use crate::ood::score::softmax::softmax;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The generalised entropy of the M likeliest classes, negated; all classes where there are fewer than M.
///
/// pytorch-ood takes the mean over the classes where paper and OpenOOD take the sum: the same order of
/// pictures.
#[derive(Clone, Copy, Debug)]
pub struct Gen;

const GAMMA: Hyperparameter = Hyperparameter {
    name: "gamma",
    about: "exponent of p and 1 - p",
    range: Range::Positive,
    default: 0.1,
    search: &[0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0],
};
const TOP: Hyperparameter = Hyperparameter {
    name: "top",
    about: "M, the number of likeliest classes that count",
    range: Range::Whole(1),
    default: 100.0,
    search: &[10.0, 50.0, 100.0, 200.0, 500.0, 1000.0],
};

static CARD: Card = Card {
    name: "gen",
    paper: Paper {
        title: "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection",
        venue: "CVPR 2023",
        url: "https://openaccess.thecvf.com/content/CVPR2023/html/Liu_GEN_Pushing_the_Limits_of_\
              Softmax-Based_Out-of-Distribution_Detection_CVPR_2023_paper.html",
    },
    formula: "-sum over the M largest p of p^gamma (1 - p)^gamma",
    needs: Needs::LOGITS,
    hyperparameters: &[GAMMA, TOP],
};

impl Score for Gen {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let (gamma, top) = (values.get(&GAMMA), values.whole(&TOP));
        fitted(move |observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| {
                let mut p = softmax(logits.row(row));
                p.sort_by(|a, b| b.total_cmp(a));
                let likeliest = p.iter().take(top);
                -likeliest.map(|p| (p * (1.0 - p)).powf(gamma)).sum::<f64>()
            }))
        })
    }
}
