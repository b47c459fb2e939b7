"""Stages as functions: their results, progress, Ctrl-C."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dream_ood
import numpy as np
import pytest
from conftest import SMALL
from dream_ood import errors, metrics, scores

MODEL = Path(__file__).parents[3] / "data" / "tiny-sd"


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, what, total, unit):
        self.told.append(("begin", what, total, unit))

    def advance(self, n):
        self.told.append(("advance", n))

    def note(self, text):
        self.told.append(("note", text))

    def end(self):
        self.told.append(("end",))


def test_sampling_again_returns_what_is_there(writable):
    listener = Listener()
    run = writable.sample("features", **SMALL, progress=listener)
    assert run.id == writable.run("outliers").id and not [
        told for told in listener.told if told[0] == "begin"
    ]
    other = writable.sample("features", **SMALL, seed=1, progress=listener, alias="other")
    assert other.id != run.id and writable.run("other").id == other.id
    begun = [told for told in listener.told if told[0] == "begin"]
    assert begun and sum(told[1] for told in listener.told if told[0] == "advance") == begun[0][2]
    noise = writable.sample("features", method="gaussian", k=5, sigma=np.float32(0.5), count=4)
    assert noise.params["method"] == "gaussian" and writable.query("outliers", run=noise).count() == 12


def test_what_cannot_be_done_is_refused_before_any_work(writable):
    before = len(writable.runs())
    with pytest.raises(errors.RefusedError, match="k") as caught:
        writable.sample("features", **{**SMALL, "k": 4000})
    assert caught.value.refusals[0][0] == "sample"
    with pytest.raises(errors.RefusedError, match="unknown field `sigm`.*did you mean `sigma`"):
        writable.sample("features", sigm=1)
    with pytest.raises(errors.RefusedError, match="no method `knm`; there are knn"):
        writable.sample("features", method="knm")
    with pytest.raises(errors.RefusedError, match="not finite"):
        writable.sample("features", sigma=float("nan"))
    with pytest.raises(errors.DreamError, match="embeddings|import"):
        writable.sample("classes", **SMALL)
    with pytest.raises(errors.DreamError, match="no diffusion model"):
        writable.imagine("outliers")
    with pytest.raises(ValueError, match="one of them is needed"):
        writable.evaluate()
    assert len(writable.runs()) == before


def test_a_listener_that_raises_stops_the_work(writable):
    class Full(Listener):
        def begin(self, what, total, unit):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        writable.sample("features", **SMALL, seed=11, progress=Full())
    assert writable.sample("features", **SMALL, seed=11).status == "finished"


def test_an_evaluation_has_the_numbers_of_the_metrics(writable):
    random = np.random.default_rng(2)
    sets = {
        name: random.normal(shift, 1, (60, 4)).astype(np.float32)
        for name, shift in [("id", 0), ("near", 0.3)]
    }
    sets["id"][:, 0] += 3
    train = random.normal(size=(90, 5)).astype(np.float32)
    id, near = (
        writable.import_activations(dataset=name, logits=logits, labels=logits.argmax(1))
        for name, logits in sets.items()
    )
    run = writable.evaluate(
        activations=id, ood_activations=[near], scores=["msp", "energy"], convention="openood"
    )
    expected = metrics.detection(
        scores.energy(logits=sets["id"]), scores.energy(logits=sets["near"]), convention="openood"
    )
    frame = writable.metrics(run).to_pandas().set_index(["score", "dataset", "name"]).value
    assert frame["energy", "near", "auroc"] == pytest.approx(expected.auroc)
    assert frame["energy", "near", "fpr95"] == pytest.approx(expected.fpr95)
    with pytest.raises(errors.RefusedError, match="knn"):
        writable.evaluate(activations=id, ood_activations=[near], scores=["knn"])
    assert train.shape == (90, 5)


def test_pictures_are_imagined(tmp_path):
    with dream_ood.open(tmp_path / "a.redb", write=True) as store:
        embeddings = store.embed(MODEL, ["coat", "bag"], alias="classes")
        vectors = store.query("class_embeddings", run=embeddings).numpy("vector")
        far = vectors[:, None] + np.random.default_rng(0).normal(0, 0.1, (2, 3, vectors.shape[1]))
        store.import_outliers(far, embeddings=embeddings, alias="far")
        quick = {"per_class": 2, "steps": 2, "guidance_scale": 1.0}
        run = store.imagine("far", **quick, alias="dreams", progress=False)
        images = store.images("dreams")
        assert len(images) == 4 and set(images.outlier) <= {0, 1, 2} and images[0].size == images[3].size
        assert store.imagine("far", **quick).id == run.id
        plain = store.imagine("classes", **quick)
        assert len(store.images(plain)) == 4
        assert "embed" in {node.run.stage for node in store.lineage(run)}


def test_ctrl_c_stops_after_the_step_and_what_is_done_stays(tmp_path):
    code = f"""
        import dream_ood
        store = dream_ood.open({str(tmp_path / "a.redb")!r}, write=True)
        embeddings = store.embed({str(MODEL)!r}, ["coat", "bag"])
        class Listener:
            def begin(self, what, total, unit): print("begun", flush=True)
            def advance(self, n): print("done", n, flush=True)
            def note(self, text): pass
            def end(self): pass
        try:
            store.imagine(embeddings, per_class=500, steps=20, batch_size=1, progress=Listener())
        except KeyboardInterrupt:
            print("stopped", store.runs()[-1].status, len(store.images(store.runs()[-1])), flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("done"):
            break
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    stopped = [line.split() for line in out.splitlines() if line.startswith("stopped")]
    assert stopped and stopped[0][1] == "running" and int(stopped[0][2]) < 1000, out + err
    assert time.monotonic() - begun < 30


def test_an_image_set_is_registered(writable):
    data = Path(__file__).parents[3] / "data"
    entry = writable.register("digits", data / "ood" / "digits.parquet")
    assert entry["name"] == "digits" and sum(entry["splits"].values()) > 100
    assert [known["name"] for known in writable.datasets()] == ["digits"]
    with pytest.raises(errors.MissingError, match="nowhere"):
        writable.register("other", data / "nowhere")


def test_threads_go_on_while_a_query_is_computed(store):
    done = threading.Event()
    counted = []

    def count():
        while not done.is_set():
            counted.append(time.perf_counter())

    counter = threading.Thread(target=count)
    counter.start()
    begun = time.perf_counter()
    store.sql("SELECT sum(a.index * b.index + c.index) FROM features a, features b, features c").count()
    took = time.perf_counter() - begun
    done.set()
    counter.join()
    own = [at for at in counted if begun < at < begun + took]
    longest = max(after - before for before, after in zip(own, own[1:]))
    assert longest < max(took / 2, 0.2), f"the interpreter stood still for {longest} of {took} s"


def test_ctrl_c_stops_a_query(made):
    code = """
        import dream_ood, os, signal, sys, threading
        store = dream_ood.open(sys.argv[1])
        threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        tables = ", ".join(f"features {name}" for name in "abcde")
        try:
            store.sql(f"SELECT count(*) FROM {tables}").count()
        except KeyboardInterrupt:
            print("stopped", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "stopped\n", done.stderr
