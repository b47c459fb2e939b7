"""Scores and metrics of arrays, against scikit-learn and NumPy."""

import numpy as np
import pytest
from dream_ood import errors, metrics, scores
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

random = np.random.default_rng(0)
LOGITS = random.normal(size=(50, 4)).astype(np.float32)
TRAIN = random.normal(size=(80, 6)).astype(np.float32)
LABELS = random.integers(0, 4, 80)
TEST = random.normal(size=(30, 6)).astype(np.float32)
WEIGHT, BIAS = random.normal(size=(4, 6)), random.normal(size=4)


def test_scores_of_logits_are_functions():
    exp = np.exp(LOGITS.astype(np.float64))
    np.testing.assert_allclose(scores.msp(logits=LOGITS), (exp / exp.sum(1, keepdims=True)).max(1), rtol=1e-5)
    np.testing.assert_allclose(scores.energy(logits=LOGITS), np.log(exp.sum(1)), rtol=1e-5)
    np.testing.assert_array_equal(scores.max_logit(logits=LOGITS), LOGITS.max(1))
    assert "msp" in dir(scores) and "Hendrycks" not in scores.msp.__doc__ and "msp" in scores.msp.__doc__


def test_a_score_learns_and_scores():
    knn = scores.Score("knn", k=3)
    with pytest.raises(scores.NotFittedError, match="call `fit` first"):
        knn.score(features=TEST)
    found = knn.fit(features=TRAIN).score(features=TEST)
    normed = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (TRAIN.astype(float), TEST.astype(float))
    ]
    distances = np.linalg.norm(normed[1][:, None] - normed[0], axis=2)
    np.testing.assert_allclose(found, -(np.sort(distances, axis=1)[:, 2] ** 2), rtol=1e-4)
    assert found.dtype == np.float32 and np.array_equal(knn.score_samples(features=TEST), found)


def test_every_score_can_be_had():
    logits = TRAIN @ WEIGHT.T + BIAS
    held_out = {"logits": logits[:40], "features": TRAIN[:40], "labels": LABELS[:40]}
    for name in scores.names():
        # The defaults of these are for features of hundreds of numbers.
        few = {h.name: 2 for h in scores.about(name).hyperparameters if h.name in ("dim", "components")}
        few |= {"k": 1} if name == "nnguide" else {}
        score = scores.Score(name, **few)
        score.fit(logits=logits, features=TRAIN, labels=LABELS, weight=WEIGHT, bias=BIAS, validation=held_out)
        found = score.score(logits=TEST @ WEIGHT.T + BIAS, features=TEST)
        assert found.shape == (30,) and np.isfinite(found).all(), name
        assert name in str(scores.about(name))


def test_a_score_is_an_estimator():
    score = scores.Score("knn", k=7)
    assert score.get_params() == {"name": "knn", "k": 7} and repr(score) == "Score('knn', k=7)"
    again = clone(score)
    assert again is not score and again.get_params() == score.get_params()
    assert score.set_params(k=9).hyperparameters == {"k": 9}


def test_wrong_arrays_and_names_are_refused():
    with pytest.raises(errors.MissingError, match="did you mean `energy`"):
        scores.Score("enrgy")
    with pytest.raises(errors.RefusedError, match="no hyperparameter `n`; it has k"):
        scores.Score("knn", n=3)
    with pytest.raises(errors.RefusedError, match="knn.*k"):
        scores.Score("knn", k=0).fit(features=TRAIN)
    with pytest.raises(errors.RefusedError, match="training pictures"):
        scores.Score("knn").fit()
    fitted = scores.Score("knn", k=3).fit(features=TRAIN)
    with pytest.raises(errors.RefusedError, match="features"):
        fitted.score(features=TEST[:, :5])
    with pytest.raises(errors.RefusedError, match="row 2, column 1 is NaN"):
        bad = TEST.copy()
        bad[2, 1] = np.nan
        fitted.score(features=bad)
    with pytest.raises(errors.RefusedError, match=r"\[rows, width\] is needed"):
        scores.msp(logits=LOGITS[0])
    with pytest.raises(errors.MissingError, match="the network itself"):
        scores.Score("odin")
    with pytest.raises(AttributeError, match="fit"):
        scores.knn(features=TEST)


ID, OOD = random.normal(1, 1, 300), random.normal(0, 1, 200)
TRUE, ALL = np.r_[np.ones(300), np.zeros(200)], np.r_[ID, OOD]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metrics_are_those_of_scikit_learn(dtype):
    id, ood = ID.astype(dtype), OOD.astype(dtype)
    both = np.r_[id, ood]
    assert metrics.auroc(id, ood) == pytest.approx(roc_auc_score(TRUE, both), abs=1e-12)
    assert metrics.roc_auc_score(TRUE, both) == metrics.auroc(id, ood)
    assert metrics.aupr(id, ood) == pytest.approx(average_precision_score(TRUE, both), abs=1e-12)
    assert metrics.aupr(id, ood, positive="ood") == pytest.approx(
        average_precision_score(1 - TRUE, -both), abs=1e-12
    )
    fpr, tpr, _ = roc_curve(1 - TRUE, -both)
    found = metrics.fpr_at_tpr(id, ood, convention="pytorch-ood")
    assert found == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=0.01)
    own_fpr, own_tpr = metrics.roc_curve(id, ood)
    full_fpr, full_tpr, _ = roc_curve(TRUE, both, drop_intermediate=False)
    np.testing.assert_allclose(own_fpr, full_fpr)
    np.testing.assert_allclose(own_tpr, full_tpr)


def test_detection_in_every_convention():
    found = {name: metrics.detection(ID, OOD, convention=name) for name in metrics.CONVENTIONS}
    assert len({d.auroc for d in found.values()}) == 1 and len({d.aupr_in for d in found.values()}) > 1
    assert found["dream-ood"].as_dict()["convention"] == "dream-ood"
    assert metrics.auroc(ID.astype(np.float32), OOD) == pytest.approx(found["openood"].auroc, abs=1e-6)
    right = ID > 0.5
    assert 0 < metrics.ccr_at_fpr(ID, right, OOD, 0.1) < metrics.ccr_at_fpr(ID, right, OOD, 0.5) < 1
    assert 0 < metrics.aurc(ID, right) < 1 and metrics.misclassification_auroc(ID, right) == 1
    assert 0 < metrics.detection_error(ID, OOD) < 0.5
    assert metrics.misclassification_auroc(ID, ID > -99) is None
    assert metrics.accuracy(LOGITS, LOGITS.argmax(1)) == 1


def test_wrong_scores_are_refused():
    with pytest.raises(errors.DivergedError, match="OOD scores number 1 is NaN"):
        metrics.auroc([1.0, 2.0], [0.0, np.nan])
    with pytest.raises(errors.RefusedError, match="no ID scores"):
        metrics.auroc([], [0.0])
    with pytest.raises(errors.RefusedError, match="no convention `openod`; there are dream-ood"):
        metrics.detection(ID, OOD, convention="openod")
    with pytest.raises(errors.RefusedError, match="true positive rate is 2"):
        metrics.fpr_at_tpr(ID, OOD, 2)
    with pytest.raises(errors.RefusedError, match=r"\[rows\] is needed"):
        metrics.auroc(LOGITS, OOD)
    with pytest.raises(errors.RefusedError, match="booleans"):
        metrics.aurc(ID, ID)
    with pytest.raises(errors.DreamError, match="marks of right predictions"):
        metrics.aurc(ID, [True])
    with pytest.raises(errors.RefusedError, match="label 4"):
        metrics.accuracy(LOGITS, [4] * 50)
