//! The list of scores.

use super::fixture::Case;
use crate::ood::score::{SCORES, by_name};
use std::collections::BTreeSet;

#[test]
fn every_score_has_a_name_a_paper_a_formula_and_a_fixture() {
    let cases = Case::all();
    let mut names = BTreeSet::new();
    for score in SCORES {
        let card = score.card();
        assert!(names.insert(card.name), "{} twice", card.name);
        assert!(std::ptr::eq(by_name(card.name).unwrap().card(), card));
        assert!(!card.paper.title.is_empty() && !card.paper.venue.is_empty() && !card.formula.is_empty());
        assert!(card.paper.url.starts_with("https://"), "{}", card.name);
        for case in &cases {
            let fixture = case.expected.iter().any(|expected| expected.score == card.name);
            assert!(
                fixture || case.name == "awkward",
                "{} has no fixture in {}",
                card.name,
                case.name
            );
        }
        let mut own = BTreeSet::new();
        for parameter in card.hyperparameters {
            assert!(
                own.insert(parameter.name),
                "{} of {} twice",
                parameter.name,
                card.name
            );
            assert!(!parameter.search.is_empty() && !parameter.about.is_empty());
            for value in parameter.search {
                score.values(&[(parameter.name, *value)]).unwrap();
            }
        }
        score.values(&[]).unwrap();
    }
}
