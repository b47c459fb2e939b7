"""Opening, runs, lineage."""

import datetime as dt
import os
import pickle
import subprocess
import sys

import dream_ood
import pytest
from dream_ood import errors


def test_runs_are_told_with_what_decided_them(store):
    runs = store.runs()
    assert [run.stage for run in runs] == ["import", "import", "sample", "import"]
    sampled = store.run("outliers")
    assert sampled == store.run(sampled.id) == store.run(sampled.id[:6]) == runs[2]
    assert sampled.alias == "outliers" and sampled.status == "finished" and sampled.seed == 0
    assert sampled.params["sampling"]["k"] == 5
    assert {i.role: i.run for i in sampled.inputs} == {
        "features": store.run("features").id,
        "embeddings": store.run("classes").id,
    }
    assert sampled.finished_at >= sampled.started_at and sampled.started_at.tzinfo is dt.UTC
    assert sampled.counts() == {"outliers": 3 * store.query("outliers", class_="bag").count()}


def test_lineage_is_a_tree(store):
    lineage = store.lineage("outliers")
    assert [(node.role, node.run.stage) for node in lineage][:2] == [("", "sample"), ("features", "import")]
    assert "embeddings: import" in str(lineage)
    assert set(lineage.inputs[0].sources) == {"file"}


def test_a_reader_follows_a_writer(writable):
    with dream_ood.open(writable.path) as reader:
        assert reader.is_read_only and not writable.is_read_only
        before = len(reader.runs())
        writable.sample("features", seed=7, k=5, select=10, rounds=1, noise_per_round=9, anchors_per_round=2)
        assert len(reader.runs()) == before + 1


def test_what_is_not_there_is_missing(store, tmp_path):
    with pytest.raises(errors.MissingError, match="there is no store at .*nowhere.redb"):
        dream_ood.open(tmp_path / "nowhere.redb")
    with pytest.raises(LookupError, match="outlier"):
        store.run("outlierz")
    with pytest.raises(dream_ood.DreamError, match="sandle.*did you mean sandal"):
        store.query("outliers", class_="sandle")
    with pytest.raises(errors.MissingError, match="no table `outlier`.*did you mean outliers"):
        store.query("outlier")
    with pytest.raises(errors.MissingError, match="no column `vectr`.*vector"):
        store.query("outliers", columns=["vectr"])


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "a.redb"
    path.write_bytes(b"something else, of some length, that is no store at all" * 100)
    with pytest.raises(dream_ood.DreamError, match="not a dream-ood store"):
        dream_ood.open(path)


def test_a_second_writer_is_told_that_the_store_is_held(writable):
    code = f"import dream_ood; dream_ood.open({str(writable.path)!r}, write=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LockedError" in done.stderr and f"held by process {os.getpid()} of " in done.stderr
    with pytest.raises(errors.LockedError, match="is held by this process itself"):
        dream_ood.open(writable.path, write=True)


def test_a_store_for_reading_is_not_written(store):
    with pytest.raises(errors.LockedError, match="read"):
        store.set_alias("other", "outliers")
    with pytest.raises(errors.LockedError, match="read"):
        store.import_class_embeddings(["a"], [[1.0, 2.0]])


def test_a_closed_store_says_so(made):
    store = dream_ood.open(made)
    store.close()
    with pytest.raises(errors.RefusedError, match="was closed"):
        store.runs()


def test_a_pickled_store_is_opened_for_reading(writable):
    again = pickle.loads(pickle.dumps(writable))
    assert again.is_read_only and len(again.runs()) == len(writable.runs())


def test_notebooks_show_tables(store):
    assert "<table>" in store._repr_html_() and "sample" in store.runs()._repr_html_()
    assert "sampling.k" in store.run("outliers")._repr_html_()
    assert "knn_distance" in store.query("outliers")._repr_html_()
    assert store.images("dreams")._repr_html_().count("data:image/png") == 15


def test_help_helps():
    for thing in [
        dream_ood,
        dream_ood.Store,
        dream_ood.Store.query,
        dream_ood.scores,
        dream_ood.metrics.auroc,
    ]:
        assert len(thing.__doc__) > 40
