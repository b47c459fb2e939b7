//! The pictures of each class: real ones, those of the class prompt, imagined outliers.

use super::html::{base64, count, escape, nothing, plural, put};
use super::{Picture, ReportError};

/// The most characters of pictures in a page, were none of them compressible.
const BUDGET: usize = 6_000_000;
/// What may be shown, best first: pictures of a kind and class, and pixels of a side.
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

    /// Returns the characters that the class' pictures may take under a plan.
    fn cost(&self, (each, side): (usize, usize)) -> usize {
        let one = |p: &Picture| {
            let factor = p.width.max(p.height).div_ceil(side).max(1);
            p.width.div_ceil(factor) * p.height.div_ceil(factor) * 4 + 500
        };
        self.kinds()
            .iter()
            .flat_map(|(_, pictures)| pictures.iter().take(each))
            .map(one)
            .sum()
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
    let cost = |plan| classes.iter().map(|c| c.cost(plan)).sum::<usize>();
    let plan = PLANS
        .into_iter()
        .find(|plan| cost(*plan) <= BUDGET)
        .unwrap_or(PLANS[PLANS.len() - 1]);
    let shown = chosen(classes, plan);

    out.push_str(
        "<p class=\"lead\">Each row is a class: images of the data set, images generated from the unchanged class prompt, and \
         images generated from outlier embeddings sampled at the edge of the class. An outlier should resemble the class \
         without belonging to it.</p>\n",
    );
    let mut drawn = 0;
    let mut reduced = false;
    for (i, class) in shown.iter().enumerate() {
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
                for picture in pictures.iter().take(plan.0) {
                    reduced |= picture.width.max(picture.height) > plan.1;
                    drawn += 1;
                    shot(out, class, name, &picture.reduced(plan.1))?;
                }
                out.push_str("</ul>");
            }
            out.push_str("</div>\n");
        }
        out.push_str("</div></details>\n");
    }
    let mut caption = format!("{} of {}", count(drawn), plural(total, "picture", "pictures"));
    if shown.len() < classes.len() {
        put!(
            caption,
            ", {} of {}, evenly spaced",
            count(shown.len()),
            plural(classes.len(), "class", "classes")
        );
    }
    if reduced {
        put!(
            caption,
            "; reduced to at most {} pixels a side to keep the page small",
            plan.1
        );
    }
    put!(
        out,
        "<p class=\"caption\">{caption}. Small images are magnified without smoothing.</p>\n"
    );
    Ok(())
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

/// Returns all classes when they fit the budget, else evenly spaced ones.
fn chosen(classes: &[ClassSheet], plan: (usize, usize)) -> Vec<&ClassSheet> {
    let largest = classes.iter().map(|c| c.cost(plan)).max().unwrap_or(0).max(1);
    let total: usize = classes.iter().map(|c| c.cost(plan)).sum();
    let n = if total <= BUDGET {
        classes.len()
    } else {
        (BUDGET / largest).clamp(1, classes.len())
    };
    (0..n)
        .filter_map(|i| classes.get(i * classes.len() / n))
        .collect()
}
