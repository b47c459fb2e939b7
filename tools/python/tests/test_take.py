"""Arrays taken in as runs."""

import numpy as np
import pytest
from conftest import CLASSES, WIDTH, features
from dream_ood import errors


def test_the_same_array_is_the_same_run(writable):
    vectors, labels = features()
    again = writable.import_features(vectors, labels, embeddings="classes")
    assert again.id == writable.run("features").id
    # The order of the bytes and the type decide nothing of what is stored.
    fortran = np.asfortranarray(vectors.astype(np.float64))
    assert writable.import_features(fortran, labels.astype(np.int8), embeddings="classes").id == again.id
    strided = np.repeat(vectors, 2, axis=0)[::2]
    assert writable.import_features(strided, labels, embeddings="classes").id == again.id


def test_rows_of_classes(writable):
    vectors, labels = features(3)
    cube = vectors.reshape(3, -1, WIDTH)
    run = writable.import_outliers(cube, embeddings="classes", alias="mine")
    assert np.array_equal(writable.query("outliers", run="mine").numpy("vector"), vectors)
    assert [i.role for i in run.inputs] == ["embeddings"] and run.stage == "import"
    assert writable.query("outliers", run=run, class_="bag").count() == len(vectors) // 3


def test_wrong_arrays_are_refused_and_leave_nothing(writable):
    vectors, labels = features()
    before = len(writable.runs())

    def refused(words, vectors=vectors, labels=labels):
        with pytest.raises(errors.RefusedError, match=words) as caught:
            writable.import_features(vectors, labels, embeddings="classes")
        assert ".dream-import" not in str(caught.value)

    nan = vectors.copy()
    nan[41, 2] = np.nan
    refused("array: .*coat.*", nan)
    refused("width|wide", vectors[:, :-1])
    refused(r"labels: -1 at 0 is no class", labels=labels - 1)
    refused("class 3", labels=labels + 1)
    refused("labels: 0.5 at 0", labels=labels + 0.5)
    refused("119 entries", labels=labels[:-1])
    refused(r"shape \[120, 8\]: \[classes, rows, width\]", labels=None)
    refused(r"shape \[8\]", vectors[0])
    refused("too large for 32 bits", vectors.astype(np.float64) * 1e300)
    refused("numbers are needed", vectors.astype(str))
    refused("numbers are needed", vectors.astype(complex))
    zero = vectors.copy()
    zero[0] = 0
    refused("zero", zero)
    with pytest.raises(errors.RefusedError, match="names has 2 entries, and array 3 rows"):
        writable.import_class_embeddings(CLASSES[:2], np.eye(3, WIDTH))
    with pytest.raises(errors.RefusedError, match="twice"):
        writable.import_class_embeddings(["a", "a"], np.eye(2, WIDTH))
    with pytest.raises(errors.MissingError):
        writable.import_features(vectors, labels, embeddings="nothing")
    assert len(writable.runs()) == before
    assert not [path for path in writable.path.parent.iterdir() if path.name.startswith(".dream")]


def test_activations_and_scores(writable):
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 3))
    labels = np.r_[logits[:-1].argmax(1), -1]
    run = writable.import_activations(dataset="test", logits=logits, labels=labels)
    rows = writable.query("activations", run=run)
    np.testing.assert_allclose(rows.numpy("logits"), logits.astype(np.float32))
    table = rows.to_arrow()
    assert table["label"].to_pylist()[-2:] == [labels[-2], None]
    run = writable.import_scores(
        logits.max(1), dataset="test", score="mine", predicted=logits.argmax(1), labels=labels, alias="scored"
    )
    np.testing.assert_array_equal(
        writable.query("scores", run=run).numpy("value"), logits.max(1).astype("f4")
    )
    with pytest.raises(errors.RefusedError, match="give one of them"):
        writable.import_activations(dataset="test")
    with pytest.raises(errors.RefusedError, match="labels has 2 entries, and there are 20 rows"):
        writable.import_activations(dataset="test", logits=logits, labels=[0, 1])
    bad = logits.copy()
    bad[3, 1] = np.inf
    with pytest.raises(errors.RefusedError, match="logits"):
        writable.import_activations(dataset="test", logits=bad)
    with pytest.raises(errors.RefusedError, match="NaN"):
        writable.import_scores(logits[:, 0] * np.nan, dataset="test", score="s", predicted=logits.argmax(1))


def test_an_alias_that_is_taken_is_refused(writable):
    vectors, labels = features(5)
    with pytest.raises(errors.DreamError, match="outliers"):
        writable.import_features(vectors, labels, embeddings="classes", alias="outliers")
