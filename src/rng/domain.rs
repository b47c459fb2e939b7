//! What random numbers are for: every domain of a [`Stream`](super::Stream) that results depend on. Two uses
//! of one seed never share numbers, because no two domains are the same; and a domain that is changed changes
//! results.

macro_rules! domains {
    ($($(#[$doc:meta])* $name:ident = $domain:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $domain;)*
        /// All domains of one name.
        #[cfg(test)]
        const ALL: &[&str] = &[$($domain),*];
    };
}

domains! {
    /// The noise of a round around the boundary features, by class and round.
    SAMPLE_NOISE = "sample/noise";
    /// Which features of the boundary a round takes, by class and round.
    SAMPLE_ANCHORS = "sample/anchors";
    /// Outliers of a Gaussian, by class and candidate.
    SAMPLE_GAUSSIAN = "sample/gaussian";
    /// Outliers beyond a class, by class and candidate.
    SAMPLE_BEYOND = "sample/beyond";
    /// The noise that a picture starts from, by class and picture.
    IMAGINE_NOISE = "imagine/noise";
    /// The noise on a class's embedding, by class and picture.
    IMAGINE_TOKEN_NOISE = "imagine/token-noise";
    /// The noise on the text encoder's output, by class and picture.
    IMAGINE_ENCODER_NOISE = "imagine/encoder-noise";
    /// The class that a picture's embedding moves towards, by class and picture.
    IMAGINE_PARTNER = "imagine/partner";
    /// Which training images validate, by class.
    TRAIN_VALIDATION = "train/validation";
    /// The order of the training images, by epoch.
    TRAIN_ORDER = "train/order";
    /// The first weights of phi.
    DETECT_PHI = "detect/phi";
    /// The order of the outliers, by pass.
    DETECT_OUTLIER_ORDER = "detect/outlier-order";
    /// Crops and mirrors, by epoch and sample.
    AUGMENT = "augment";
    /// Crops of any size, by epoch and sample.
    AUGMENT_RESIZED_CROP = "augment/resized-crop";
    /// Colours, by epoch and sample.
    AUGMENT_JITTER = "augment/jitter";
    /// The noise on the last layer that WeiPer adds, by class and repeat.
    SCORE_WEIPER = "score/weiper";
    /// Which training pictures a score that takes a share of them takes.
    SCORE_SHARE = "score/share";
    /// Which OOD images a metric is taken of, by set and repeat.
    EVALUATE_DRAW = "evaluate/draw";
    /// Which images a bootstrap draws, by side and draw.
    BOOTSTRAP = "compare/bootstrap";
    /// Which points of a plot are drawn.
    REPORT_THIN = "report/thin";
    /// How much of an image is left beside an outlier, and which part, by step.
    DETECT_MIX = "detect/mix";
    /// Virtual outliers in the feature space, by epoch, or by class.
    DETECT_VIRTUAL = "detect/virtual";
    /// Operations on pictures, by epoch and sample.
    AUGMENT_POLICY = "augment/policy";
    /// How much of each of two images a mixed one has, and which part, by step.
    TRAIN_MIX = "train/mix";
}

const STEP_NOISE: &str = "imagine/step-noise/";
const INIT: &str = "nn/init/";

/// The noise that a stochastic scheduler adds after evaluation `step`, by class and picture.
pub fn imagine_step_noise(step: usize) -> String {
    format!("{STEP_NOISE}{step}")
}

/// The first numbers of the tensor `name` of a network.
pub fn nn_init(name: &str) -> String {
    format!("{INIT}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_uses_share_a_domain() {
        let mut domains = ALL.to_vec();
        domains.sort_unstable();
        domains.dedup();
        assert_eq!(domains.len(), ALL.len());
        let family = |domain: &&str| domain.starts_with(STEP_NOISE) || domain.starts_with(INIT);
        assert_eq!(ALL.iter().find(|d| family(d)), None);
        assert_eq!(imagine_step_noise(3), "imagine/step-noise/3");
        assert_eq!(nn_init("fc.bias"), "nn/init/fc.bias");
    }
}
