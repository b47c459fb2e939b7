//! The pictures of each class: real ones, those of the class prompt, imagined outliers.

use super::html::{base64, count, escape, nothing, plural, put};
use super::{Picture, ReportError};

/// The most characters of the section.
const BUDGET: usize = 7_500_000;
/// What may be shown, best first: pictures of a kind and class, and pixels of a side. The first that fits the budget is taken;
/// if none does, classes are left out.
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
    /// Generated pictures of outlier embeddings.
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

/// Appends the section's content.
pub(super) fn render(out: &mut String, classes: &[ClassSheet]) -> Result<(), ReportError> {
    for picture in classes
        .iter()
        .flat_map(ClassSheet::kinds)
        .flat_map(|(_, pictures)| pictures)
    {
        picture.check()?;
    }
    let total: usize = classes
        .iter()
        .flat_map(ClassSheet::kinds)
        .map(|(_, pictures)| pictures.len())
        .sum();
    if total == 0 {
        out.push_str(&nothing(
            "There are no pictures: neither real nor generated images belong to this run.",
        ));
        return Ok(());
    }
    let rows = fitting(classes)?;
    out.push_str(
        "<p class=\"lead\">Each row is a class: images of the data set, images generated from the unchanged class prompt, and \
         images generated from outlier embeddings sampled at the edge of the class. An outlier should resemble the class \
         without belonging to it.</p>\n",
    );
    out.push_str(&rows.html);
    let mut caption = format!(
        "{} of {}",
        count(rows.pictures),
        plural(total, "picture", "pictures")
    );
    if rows.classes < classes.len() {
        put!(
            caption,
            ", {} of {}, evenly spaced",
            count(rows.classes),
            plural(classes.len(), "class", "classes")
        );
    }
    if let Some(side) = rows.reduced_to {
        put!(
            caption,
            "; reduced to at most {side} pixels a side to keep the page small"
        );
    }
    put!(
        out,
        "<p class=\"caption\">{caption}. Small images are magnified without smoothing.</p>\n"
    );
    Ok(())
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

/// Returns the rows of `n` evenly spaced classes under a plan, or `None` when they take more than `budget` characters.
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
    for (i, class) in (0..n)
        .filter_map(|i| classes.get(i * classes.len() / n))
        .enumerate()
    {
        let out = &mut rows.html;
        let open = if i < UNFOLDED { " open" } else { "" };
        put!(
            out,
            "<details class=\"class\"{open}><summary>{}</summary>\n<div class=\"kinds\">\n",
            escape(&class.class_name)
        );
        for (name, pictures) in class.kinds() {
            put!(out, "<div class=\"kind\"><h3>{name}</h3>");
            if pictures.is_empty() {
                out.push_str("<p class=\"none\">none</p>");
            } else {
                out.push_str("<ul class=\"shots\">");
                for picture in pictures.iter().take(each) {
                    if picture.width.max(picture.height) > side {
                        rows.reduced_to = Some(side);
                    }
                    rows.pictures += 1;
                    shot(out, class, name, &picture.reduced(side))?;
                    if out.len() > budget {
                        return Ok(None);
                    }
                }
                out.push_str("</ul>");
            }
            out.push_str("</div>\n");
        }
        out.push_str("</div></details>\n");
    }
    Ok(Some(rows))
}

fn shot(out: &mut String, class: &ClassSheet, kind: &str, picture: &Picture) -> Result<(), ReportError> {
    let small = if picture.width.max(picture.height) <= 96 {
        " class=\"px\""
    } else {
        ""
    };
    put!(
        out,
        "<li><img{small} width=\"{}\" height=\"{}\" alt=\"{}\" src=\"data:image/png;base64,{}\">",
        picture.width,
        picture.height,
        escape(&format!(
            "{}, {}: {}",
            class.class_name,
            kind.to_lowercase(),
            picture.caption
        )),
        base64(&picture.png()?)
    );
    if !picture.caption.is_empty() {
        put!(out, "<span>{}</span>", escape(&picture.caption));
    }
    out.push_str("</li>");
    Ok(())
}
