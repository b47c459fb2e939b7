//! The numbers that describe a run, by name: rows of the table `metrics` are found by it.

use dream_schema::Metric;

use crate::words::words;

words! {
    /// What a row of the table `metrics` is. In the order of the names.
    #[derive(PartialOrd, Ord)]
    pub enum MetricName {
        /// Share of images whose class is found: on the test images after an epoch, or on the ID set of an
        /// evaluation.
        Accuracy = "accuracy",
        /// Area under the precision-recall curve with ID positive.
        AuprIn = "aupr_in",
        /// Its standard deviation over draws of OOD images.
        AuprInSpread = "aupr_in_spread",
        /// Area under the precision-recall curve with OOD positive.
        AuprOut = "aupr_out",
        /// Its standard deviation over draws of OOD images.
        AuprOutSpread = "aupr_out_spread",
        /// Area under the risk-coverage curve of the ID set.
        Aurc = "aurc",
        /// Area under the ROC curve.
        Auroc = "auroc",
        /// Its standard deviation over draws of OOD images.
        AurocSpread = "auroc_spread",
        /// Epochs after which the network is used.
        BestEpochs = "best_epochs",
        /// Its accuracy on the validation images.
        BestValidationAccuracy = "best_validation_accuracy",
        /// Correct classification rate at a false positive rate of 0.1.
        CcrAtFpr1e1 = "ccr_at_fpr_1e-1",
        /// Correct classification rate at a false positive rate of 0.01.
        CcrAtFpr1e2 = "ccr_at_fpr_1e-2",
        /// Correct classification rate at a false positive rate of 0.001.
        CcrAtFpr1e3 = "ccr_at_fpr_1e-3",
        /// Correct classification rate at a false positive rate of 0.0001.
        CcrAtFpr1e4 = "ccr_at_fpr_1e-4",
        /// AUROC on validation sets of the setting of a score that a search chose.
        ChosenAuroc = "chosen_auroc",
        /// Least mean of the shares of ID images rejected and of OOD images accepted.
        DetectionError = "detection_error",
        /// False positive rate at a true positive rate of 0.95.
        Fpr95 = "fpr95",
        /// Its standard deviation over draws of OOD images.
        Fpr95Spread = "fpr95_spread",
        /// Images of a split that cannot be decoded.
        ImagesLeftOut = "images_left_out",
        /// Mean loss of an epoch's steps.
        Loss = "loss",
        /// Learning rate of an epoch's last step.
        Lr = "lr",
        /// Area under the ROC curve of rightly against wrongly classified ID images.
        MisclassificationAuroc = "misclassification_auroc",
        /// AUROC on validation sets of a setting of a score that a search tried.
        SearchAuroc = "search_auroc",
        /// Accuracy on the validation images after an epoch.
        ValidationAccuracy = "validation_accuracy",
    }
}

impl MetricName {
    /// Returns the metric that a row is; none of a row of a newer program.
    pub fn of(row: &Metric) -> Option<Self> {
        Self::from_name(&row.name)
    }

    /// Says whether a detector or network is better where this is higher.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Accuracy
            | Self::AuprIn
            | Self::AuprOut
            | Self::Auroc
            | Self::BestEpochs
            | Self::BestValidationAccuracy
            | Self::CcrAtFpr1e1
            | Self::CcrAtFpr1e2
            | Self::CcrAtFpr1e3
            | Self::CcrAtFpr1e4
            | Self::ChosenAuroc
            | Self::Lr
            | Self::MisclassificationAuroc
            | Self::SearchAuroc
            | Self::ValidationAccuracy => true,
            Self::AuprInSpread
            | Self::AuprOutSpread
            | Self::AurocSpread
            | Self::Fpr95Spread
            | Self::Aurc
            | Self::DetectionError
            | Self::Fpr95
            | Self::ImagesLeftOut
            | Self::Loss => false,
        }
    }

    /// Returns what its standard deviation over draws of OOD images is called, for those that have one.
    pub(super) fn spread(self) -> Option<Self> {
        match self {
            Self::AuprIn => Some(Self::AuprInSpread),
            Self::AuprOut => Some(Self::AuprOutSpread),
            Self::Auroc => Some(Self::AurocSpread),
            Self::Fpr95 => Some(Self::Fpr95Spread),
            _ => None,
        }
    }

    /// Returns the row `index` of a run: this number, of no epoch, data set or score.
    pub(super) fn row(self, index: u64, value: f64) -> Metric {
        Metric {
            class_id: None,
            class_name: None,
            index,
            name: self.name().to_owned(),
            dataset: None,
            score: None,
            epoch: None,
            value,
            ood_group: None,
        }
    }
}
