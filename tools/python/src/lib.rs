//! `dream_ood._native`: the library for Python. The classes here are thin; what people see of them is in
//! `python/dream_ood`.

mod arrays;
mod arrow_c;
mod columns;
mod errors;
mod import;
mod metrics;
mod parts;
mod pictures;
mod presets;
mod process;
mod rows;
mod scores;
mod session;
mod signals;
mod stages;
mod store;
mod work;

use pyo3::prelude::*;

/// The compiled part of `dream_ood`.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use columns::Memory;
    #[pymodule_export]
    use import::{import_activations, import_class_embeddings, import_images, import_scores, import_vectors};
    #[pymodule_export]
    use metrics::{
        accuracy, aupr, aurc, auroc, ccr_at_fpr, detection, detection_error, fpr_at_tpr,
        misclassification_auroc, roc,
    };
    #[pymodule_export]
    use parts::{answered, parts_left, run_of};
    #[pymodule_export]
    use pictures::Pictures;
    #[pymodule_export]
    use presets::{planned, results, run_preset, run_task, task_parts_left, tasks};
    #[pymodule_export]
    use rows::Rows;
    #[pymodule_export]
    use scores::{Fitted, cards, fit};
    #[pymodule_export]
    use stages::{
        embedded, evaluate_activations, evaluate_classifier, imagine_asked, imagined, register, sampled,
    };
    #[pymodule_export]
    use store::Store;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        dream_ood::keep_caught_panics_quiet();
        signals::init();
        process::is_forked();
        module.add("VERSION", env!("CARGO_PKG_VERSION"))
    }
}
