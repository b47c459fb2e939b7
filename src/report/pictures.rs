//! The pictures of each class: real ones, those of the class prompt, imagined outliers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use super::html::{count, nothing, plural};
use super::{Picture, ReportError};

/// The most characters of the section.
const BUDGET: usize = 7_500_000;
/// What may be shown, best first: pictures of a kind and class, and pixels of a side. The first that fits the
/// budget is taken; if none does, classes are left out.
const PLANS: [(usize, usize); 6] = [(24, 512), (12, 256), (12, 128), (8, 96), (6, 64), (4, 64)];
/// Classes whose pictures are unfolded when the page opens.
const UNFOLDED: usize = 24;

/// The pictures of one class.
#[derive(Clone, Debug, Default)]
pub struct ClassSheet {
    /// The class.
    pub class_name: String,
    /// Pictures of the data set.
    pub real: Vec<Picture>,
    /// Generated pictures of the unchanged class prompt, or of inlier embeddings.
    pub inliers: Vec<Picture>,
    /// Generated pictures of outlier embeddings, or of what else serves as outliers.
    pub outliers: Vec<Picture>,
}

impl ClassSheet {
    fn kinds(&self) -> [(&'static str, &[Picture]); 3] {
        [
            ("Real", &self.real),
            ("Class prompt", &self.inliers),
            ("Imagined outliers", &self.outliers),
        ]
    }
}

/// Returns the section's content.
pub(super) fn render(classes: &[ClassSheet], of: &str) -> Result<Markup, ReportError> {
    let pictures = || {
        classes
            .iter()
            .flat_map(ClassSheet::kinds)
            .flat_map(|(_, pictures)| pictures)
    };
    pictures().try_for_each(Picture::check)?;
    let total = pictures().count();
    if total == 0 {
        let sentence = "There are no pictures: neither real nor generated images belong to this run.";
        return Ok(nothing(sentence));
    }
    let rows = fitting(classes)?;
    Ok(html! {
        p.lead {
            "Each row is a class: images of the data set, images generated from the unchanged class \
             prompt, and the images that serve as outliers: in DREAM-OOD they are generated from outlier \
             embeddings, sampled at the edge of the class. An outlier should resemble the class without \
             belonging to it."
        }
        @if !of.is_empty() { p.caption { (of) } }
        (PreEscaped(rows.html))
        p.caption {
            (count(rows.pictures)) " of " (plural(total, "picture", "pictures"))
            @if rows.classes < classes.len() {
                ", " (count(rows.classes)) " of " (plural(classes.len(), "class", "classes"))
                ", evenly spaced"
            }
            @if let Some(side) = rows.reduced_to {
                "; reduced to at most " (side) " pixels a side to keep the page small"
            }
            ". Small images are magnified without smoothing."
        }
    })
}

/// The rows of some classes, and what they show.
struct Rows {
    html: String,
    classes: usize,
    pictures: usize,
    reduced_to: Option<usize>,
}

/// Returns as much as the budget allows.
fn fitting(classes: &[ClassSheet]) -> Result<Rows, ReportError> {
    for plan in PLANS {
        if let Some(rows) = rows(classes, classes.len(), plan, BUDGET)? {
            return Ok(rows);
        }
    }
    let least = PLANS[PLANS.len() - 1];
    let mut n = classes.len();
    loop {
        n = (n * 4 / 5).max(1);
        // A single class is shown whatever it takes, which under the last plan is little.
        let budget = if n == 1 { usize::MAX } else { BUDGET };
        if let Some(rows) = rows(classes, n, least, budget)? {
            return Ok(rows);
        }
    }
}

/// Returns the rows of `n` evenly spaced classes under a plan, or `None` when they take more than `budget`
/// characters.
fn rows(
    classes: &[ClassSheet],
    n: usize,
    (each, side): (usize, usize),
    budget: usize,
) -> Result<Option<Rows>, ReportError> {
    let mut rows = Rows {
        html: String::new(),
        classes: n,
        pictures: 0,
        reduced_to: None,
    };
    let chosen = (0..n).filter_map(|i| classes.get(i * classes.len() / n));
    let mut spent = 0;
    for (i, class) in chosen.enumerate() {
        let mut kinds = Vec::new();
        for (name, pictures) in class.kinds() {
            let mut shots = String::new();
            for picture in pictures.iter().take(each) {
                if picture.side() > side {
                    rows.reduced_to = Some(side);
                }
                rows.pictures += 1;
                let about = format!("{}, {}", class.class_name, name.to_lowercase());
                let shot = shot(&about, picture, side)?.into_string();
                spent += shot.len();
                if spent > budget {
                    return Ok(None);
                }
                shots.push_str(&shot);
            }
            kinds.push((name, PreEscaped(shots)));
        }
        let row = html! {
            details.class open[i < UNFOLDED] {
                summary { (class.class_name) }
                div.kinds {
                    @for (name, shots) in &kinds {
                        div.kind {
                            h3 { (name) }
                            @if shots.0.is_empty() { p.none { "none" } } @else { ul.shots { (shots) } }
                        }
                    }
                }
            }
        };
        rows.html.push_str(&row.into_string());
    }
    Ok(Some(rows))
}

fn shot(about: &str, picture: &Picture, side: usize) -> Result<Markup, ReportError> {
    let (shown, png) = picture.png(side)?;
    let small = shown.width.max(shown.height) <= 96;
    let png = STANDARD.encode(png);
    Ok(html! {
        li {
            img class=[small.then_some("px")] width=(shown.width) height=(shown.height)
                alt={ (about) ": " (picture.caption) } src={ "data:image/png;base64," (png) };
            @if !picture.caption.is_empty() { span { (picture.caption) } }
        }
    })
}
