"""Whole pipelines: presets, evaluations of their classifiers, settings searched by Optuna, exports."""

import dream_ood
import numpy as np
import pytest
from dream_ood import errors, optuna

PARTS = ["embed", "encode", "sample", "imagine", "imagine-plain", "detect-plain", "select-train", "select"]
PARTS += ["detect"]


def test_a_preset_is_run_and_named(piped):
    path, runs = piped
    assert [part for part in runs if not part.startswith(("observe", "evaluate"))] == PARTS
    assert {"evaluate-plain", "evaluate", "observe-digits-all"} <= set(runs)
    assert all(run.status == "finished" for run in runs.values())
    with dream_ood.open(path) as store:
        assert store.run("quick-0-evaluate") == runs["evaluate"]
        assert [node.run.stage for node in store.lineage(runs["detect"])][:2] == ["detect", "imagine"]
        assert len(store.images("quick-0-imagine")) == 4 * len(store.query("class_embeddings").to_list())


def test_a_preset_again_makes_nothing_and_a_setting_what_depends_on_it(piped_copy, preset):
    store, runs = piped_copy
    before = len(store.runs())
    assert {part: run.id for part, run in store.run_preset(preset).items()} == {
        part: run.id for part, run in runs.items()
    }
    assert len(store.runs()) == before
    metrics = {"evaluate.scores": ["msp"]}
    other = store.run_preset(preset, setting=metrics)
    assert other["detect"].id == runs["detect"].id and other["evaluate"].id != runs["evaluate"].id
    assert other["evaluate"].params["scores"] == ["msp"]


def test_a_wrong_preset_is_refused(piped_copy, preset, tmp_path):
    store, _ = piped_copy
    before = len(store.runs())
    with pytest.raises(errors.MissingError, match="nowhere.toml"):
        store.run_preset(tmp_path / "nowhere.toml")
    with pytest.raises(errors.RefusedError, match="(?s)unknown field `sigm`.*did you mean `sigma`"):
        store.run_preset(preset, setting={"sample.sampling.sigm": 0.1})
    with pytest.raises(errors.RefusedError, match="finite"):
        store.run_preset(preset, setting={"sample.sampling.sigma": float("nan")})
    with pytest.raises(errors.RefusedError, match="k") as caught:
        store.run_preset(preset, setting={"sample.sampling.k": 100_000})
    assert caught.value.refusals
    swept = tmp_path / "swept.toml"
    swept.write_text(preset.read_text() + '\n[sweep]\n"sample.sampling.sigma" = [0.1, 0.2]\n')
    with pytest.raises(errors.RefusedError, match="its sweep has 2 settings"):
        store.run_preset(swept)
    assert len(store.runs()) == before


def test_a_stored_classifier_is_evaluated(piped_copy):
    store, runs = piped_copy
    run = store.evaluate(runs["detect"], ood=["digits"], scores=["msp", "knn:k=5"], progress=False)
    assert run.stage == "evaluate" and run.id != runs["evaluate"].id
    own, whole = (
        store.metrics(of).to_pandas().set_index(["score", "dataset", "name"]).value
        for of in (run, runs["evaluate"])
    )
    assert own["msp", "digits", "auroc"] == whole["msp", "digits", "auroc"]
    assert 0 <= own["knn:k=5", "digits", "auroc"] <= 1
    assert {i.run for i in run.inputs} >= {runs["observe-digits-all"].id}
    again = store.evaluate(runs["detect"], ood=["digits"], scores=["msp", "knn:k=5"], id="fashion-mini")
    assert again.id == run.id
    with pytest.raises(errors.RefusedError, match="`k` in `knn:k`: expected NAME:HYPERPARAMETER=NUMBER"):
        store.evaluate(runs["detect"], ood=["digits"], scores=["knn:k"])
    with pytest.raises(errors.MissingError, match="digts"):
        store.evaluate(runs["detect"], ood=["digts"])
    with pytest.raises(errors.DreamError, match="encode"):
        store.evaluate(runs["encode"], ood=["digits"])
    with pytest.raises(errors.RefusedError, match="split"):
        store.evaluate(runs["detect"], ood=["digits"], split="tset")


def test_optuna_searches_settings_whose_trials_are_runs(piped_copy, preset):
    library = pytest.importorskip("optuna")
    library.logging.set_verbosity(library.logging.WARNING)
    store, runs = piped_copy

    def suggest(trial):
        return {"detect.outlier.beta": trial.suggest_categorical("beta", [1.0, 0.5])}

    sampler = library.samplers.GridSampler({"beta": [1.0, 0.5]})
    study = library.create_study(direction="maximize", sampler=sampler)
    study.optimize(optuna.objective(store, preset, suggest, score="msp"), n_trials=2)
    trials = {trial.params["beta"]: trial for trial in study.trials}
    assert trials[1.0].user_attrs["evaluations"] == [runs["evaluate"].id]
    for trial in trials.values():
        (evaluation,) = (store.run(id) for id in trial.user_attrs["evaluations"])
        rows = store.metrics(evaluation).to_pandas()
        own = rows[(rows.score == "msp") & (rows.name == "auroc") & rows.dataset.isin(["shirt", "digits"])]
        assert trial.value == pytest.approx(own.value.mean()) and len(own) == 2
    assert store.run(trials[0.5].user_attrs["evaluations"][0]).id != runs["evaluate"].id
    with pytest.raises(errors.MissingError, match="no auroc by entropy; it has .*auroc by msp on digits"):
        optuna.measured(store, runs["evaluate"], "auroc", "entropy")


def test_what_is_exported_is_a_data_set_of_hugging_face(piped_copy, tmp_path):
    datasets = pytest.importorskip("datasets")
    store, runs = piped_copy
    folder = tmp_path / "lake"
    written, rows, there = store.export(folder, run="quick-0-imagine")
    assert written == len(list(store.lineage("quick-0-imagine"))) - 1 or written > 1
    assert rows > 0 and there == 0
    assert store.export(folder, run="quick-0-imagine") == (0, 0, written)
    cache = str(tmp_path / "cache")
    images = datasets.load_dataset(
        "parquet", data_files=f"{folder}/table=images/**/*.parquet", split="train", cache_dir=cache
    )
    own = store.images("quick-0-imagine")
    assert len(images) == len(own)
    assert {row["blake3"] for row in images} == set(
        store.query("images", run="quick-0-imagine", columns=["blake3"]).to_pandas().blake3
    )
    outliers = datasets.load_dataset("parquet", data_dir=f"{folder}/table=outliers", cache_dir=cache)["train"]
    expected = store.query("outliers", run=runs["sample"]).numpy("vector")
    vectors = np.array(outliers.with_format("numpy")["vector"])
    assert vectors.shape == expected.shape and np.allclose(np.sort(vectors, 0), np.sort(expected, 0))
    with pytest.raises(errors.DreamError, match="bucket"):
        store.export("s3://bucket/dream")
