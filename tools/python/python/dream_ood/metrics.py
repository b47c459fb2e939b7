"""Detection metrics of arrays of scores.

Scores are higher for in-distribution (ID) pictures; ties are one threshold and never ordered by chance; NaN
and empty arrays are refused. FPR at a TPR and AUPR differ between toolkits by tens of points, so a
`convention` says whose definition is meant: `dream-ood`, `openood` or `pytorch-ood`.

    >>> dream_ood.metrics.detection(id_scores, ood_scores, convention="openood").auroc
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from . import _arrays, _native

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Detection",
    "accuracy",
    "aupr",
    "auroc",
    "aurc",
    "ccr_at_fpr",
    "detection",
    "detection_error",
    "fpr_at_tpr",
    "misclassification_auroc",
    "roc_curve",
    "roc_auc_score",
]

Convention = Literal["dream-ood", "openood", "pytorch-ood"]
#: Whose definitions there are.
CONVENTIONS: tuple[str, ...] = ("dream-ood", "openood", "pytorch-ood")


@dataclass(frozen=True)
class Detection:
    """The usual four numbers of a score on a pair of sets, as shares of one."""

    fpr95: float
    auroc: float
    aupr_in: float
    aupr_out: float
    convention: str

    def as_dict(self) -> dict[str, Any]:
        """As a dict, for a data frame of many."""
        return asdict(self)


def _pair(id: Any, ood: Any) -> tuple[np.ndarray, np.ndarray]:
    id, ood = _arrays.scores("id", id), _arrays.scores("ood", ood)
    if id.dtype != ood.dtype:
        # float64 holds both as they are.
        return id.astype(np.float64), ood.astype(np.float64)
    return id, ood


def detection(id: Any, ood: Any, *, convention: Convention = "dream-ood") -> Detection:
    """FPR at 95 % TPR, AUROC, AUPR with ID positive and AUPR with OOD positive."""
    return Detection(*_native.detection(*_pair(id, ood), convention), convention)


def auroc(id: Any, ood: Any) -> float:
    """The share of pairs in which the ID score is higher, ties counted half; the same in every convention."""
    return _native.auroc(*_pair(id, ood))


def fpr_at_tpr(id: Any, ood: Any, tpr: float = 0.95, *, convention: Convention = "dream-ood") -> float:
    """The false positive rate where the true positive rate is `tpr`."""
    return _native.fpr_at_tpr(*_pair(id, ood), tpr, convention)


def aupr(
    id: Any, ood: Any, *, positive: Literal["id", "ood"] = "id", convention: Convention = "dream-ood"
) -> float:
    """The area under the precision-recall curve of the positive side: a step sum (scikit-learn's average
    precision) by `dream-ood`, the trapezoid by the others."""
    if positive not in ("id", "ood"):
        raise ValueError(f"positive={positive!r}: expected 'id' or 'ood'")
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r}: expected one of {', '.join(CONVENTIONS)}")
    return _native.aupr(*_pair(id, ood), positive == "id", convention != "dream-ood")


def roc_curve(id: Any, ood: Any) -> tuple[np.ndarray, np.ndarray]:
    """The false and the true positive rates at every threshold, with ID positive, from (0, 0) to (1, 1)."""
    points = np.frombuffer(memoryview(_native.roc(*_pair(id, ood)))).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def roc_auc_score(y_true: Any, y_score: Any) -> float:
    """AUROC by scikit-learn's signature: 1 marks ID rows in `y_true`."""
    score = _arrays.scores("y_score", y_score)
    right = np.array(_arrays.marks("y_true", y_true), dtype=bool)
    if len(right) != len(score):
        raise ValueError(f"y_true has {len(right)} entries and y_score {len(score)}")
    return auroc(score[right], score[~right])


def detection_error(id: Any, ood: Any) -> float:
    """The least mean of the share of ID pictures rejected and of OOD pictures accepted (Liang et al., ICLR
    2018)."""
    return _native.detection_error(*_pair(id, ood))


def ccr_at_fpr(id: Any, right: Any, ood: Any, fpr: float) -> float:
    """The share of ID pictures that are classified rightly and score above the threshold at which at most
    `fpr` of the OOD pictures pass (Dhamija et al., NeurIPS 2018). `right` says which ID pictures are
    classified rightly."""
    id, ood = _pair(id, ood)
    return _native.ccr_at_fpr(id, _arrays.marks("right", right), ood, fpr)


def aurc(id: Any, right: Any) -> float:
    """The area under the risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017)."""
    return _native.aurc(_arrays.scores("id", id), _arrays.marks("right", right))


def misclassification_auroc(id: Any, right: Any) -> float | None:
    """The AUROC of telling rightly from wrongly classified ID pictures; None where all are one of the two."""
    return _native.misclassification_auroc(_arrays.scores("id", id), _arrays.marks("right", right))


def accuracy(logits: Any, labels: Any) -> float:
    """The share of rows of `logits` (`[rows, classes]`) whose largest is that of their label."""
    logits = _arrays.matrix("logits", logits)
    return _native.accuracy(logits, _arrays.classes("labels", labels, len(logits)).astype(np.uint32))
