"""The store: what it holds, and questions to it."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _runs, _stages, _take
from ._native import Store as Native
from ._progress import Progress
from ._rows import Rows
from ._runs import Lineage, Run, Runs
from .errors import RefusedError

if TYPE_CHECKING:
    import torch

    from ._images import Images

#: A run: its id, a prefix of 4 digits or more, an alias, or the run itself.
RunName = str | Run


def open(path: str | os.PathLike[str], *, write: bool = False) -> Store:
    """Opens a store.

    For reading, which is the default, it must be there; any number of processes may read it at the same time,
    and each question sees what is committed then, so it follows what another process writes. For writing it
    is made if there is none, and held: one process writes.

    Raises `MissingError` if there is none, `LockedError` if another process writes to it, `CorruptError` or
    `RefusedError` if the file is something else.
    """
    return Store(path, write=write)


class Store:
    """An open store. `dream_ood.open` opens one; it is a context manager, too.

    It may be used from several threads. A process that was forked from this one (a worker of a `DataLoader`)
    opens the file again when it first asks, for reading; one that gets it pickled does so, too.
    """

    def __init__(self, path: str | os.PathLike[str], *, write: bool = False):
        self._native = Native(os.fspath(path), write)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self._native.path)

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._native.is_read_only

    def close(self) -> None:
        """Lets go of the file, as soon as the answers that are being read have ended."""
        self._native.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (os.fspath(self.path),)

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.store(self)

    # What it holds.

    def runs(self) -> Runs:
        """All runs, in the order in which they were begun."""
        text, damaged = self._native.runs()
        aliases = self._native.aliases()
        runs = [_runs.parsed(self, record, aliases) for record in _runs.records(text)]
        return Runs(runs, damaged, self.query("runs"))

    def run(self, name: RunName) -> Run:
        """The run of that id, prefix of an id, or alias.

        Raises `MissingError` if there is none; it says which names are like it.
        """
        record = _runs.records(self._native.run(_id(name)))
        return _runs.parsed(self, record, self._native.aliases())

    def lineage(self, name: RunName) -> Lineage:
        """What a run came from: a tree of runs, with the data sets and models at its roots."""
        root = self.run(name)
        known = {run.id: run for run in self.runs()} | {root.id: root}
        rows = self.query("run_sources", columns=["run", "role", "dataset"]).to_list()
        names: dict[str, dict[str, str]] = {id: {} for id in known}
        for row in rows:
            if row["dataset"] is not None:
                names.setdefault(row["run"], {})[row["role"]] = row["dataset"]
        return _runs.lineage(self, root.id, "", known, names)

    def datasets(self) -> list[dict[str, Any]]:
        """Everything that is registered: image sets, diffusion models, weights."""
        return _runs.records(self._native.datasets())

    # Questions.

    def query(
        self,
        table: str,
        *,
        run: RunName | Iterable[RunName] | None = None,
        class_: str | int | None = None,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Rows:
        """Rows of a table, chosen by run, class and condition.

        Args:
            table: `runs`, `features`, `outliers`, `images`, ...; `store.sql("SHOW TABLES")` lists them.
            run: One run or several; all if none is named.
            class_: A class by its name or number.
            where: A condition in SQL, such as `"knn_distance > 1.5"`.
            columns: The columns, in this order; what is not asked for is not read.
            limit: At most so many rows.
        """
        if class_ is not None and not isinstance(class_, str):
            class_ = _number(class_)
        columns = None if columns is None else list(columns)
        return Rows(self._native.query(table, _ids(run), class_, where, columns, limit))

    def sql(self, sql: str) -> Rows:
        """The rows of an SQL query (DataFusion's dialect); only reading.

        Beyond DataFusion's functions there are `dot`, `norm`, `l2_distance`, `cosine_similarity`,
        `json_value`, and the aggregates `auroc`, `fpr95`, `aupr_in` and `aupr_out` of `(score, is_ood)`.
        """
        return Rows(self._native.sql(sql))

    def nearest(
        self,
        table: str,
        to: np.ndarray | Sequence[float] | tuple[str, RunName, str | int, int],
        *,
        k: int = 10,
        run: RunName | Iterable[RunName] | None = None,
        distance: Literal["cosine", "l2"] = "cosine",
    ) -> Rows:
        """The exact nearest neighbours of a vector, nearest first.

        Args:
            table: `features`, `outliers` or `class_embeddings`.
            to: A vector, or the row of one: `("outliers", run, class, index)`.
            k: So many.
            run: Only in these runs.
            distance: `cosine`, 1 - cos(a, b), or `l2`, |a - b|.
        """
        if distance not in ("cosine", "l2"):
            raise ValueError(f"distance={distance!r}: expected 'cosine' or 'l2'")
        if k < 1:
            raise ValueError(f"k={k}: expected at least 1")
        if isinstance(to, tuple) and len(to) == 4 and isinstance(to[0], str):
            name, of, class_, index = to
            vector = self._native.vector(name, _id(of), str(class_), index)
        else:
            numbers = np.asarray(to, dtype=np.float32)
            if numbers.ndim != 1:
                shape = list(numbers.shape)
                raise ValueError(f"to has the shape {shape}: one vector is needed, of the shape [width]")
            vector = numbers.tolist()
        return Rows(self._native.nearest(table, vector, k, _ids(run), distance == "l2"))

    # Pictures and weights.

    def images(self, run: RunName, *, class_: str | int | None = None) -> Images:
        """The pictures of a run, of one class or all: arrays, objects of PIL, a data set of Hugging Face or
        of PyTorch."""
        from ._images import Images

        return Images(self, self.run(run).id, None if class_ is None else str(class_))

    def checkpoints(self, run: RunName) -> list[dict[str, Any]]:
        """The checkpoints of a run: name, epoch, format, size in bytes, and digests."""
        columns = ["name", "epoch", "format", "size", "blake3", "blob"]
        return self.query("checkpoints", run=run, columns=columns).to_list()

    def state_dict(self, run: RunName, name: str | None = None) -> dict[str, torch.Tensor]:
        """The weights of a checkpoint, which `torch.nn.Module.load_state_dict` takes; the last one if none is
        named. Networks have the names of torchvision's ResNet."""
        from ._weights import state_dict

        return state_dict(self, run, name)

    def register(self, name: str, path: str | os.PathLike[str], *, skip_bad: bool = False) -> dict[str, Any]:
        """Registers an image set by a name; it stays where it is, and the store keeps its digest.

        Args:
            name: The name.
            path: A folder of class folders, IDX, CIFAR, Parquet, an archive, ...: what it is is seen from it.
            skip_bad: Leaves images out that cannot be decoded, instead of refusing the set.
        """
        return _stages.register(self, name, os.fspath(path), skip_bad)

    # To and from other stores.

    def merge(self, path: str | os.PathLike[str]) -> int:
        """Takes in the runs of another store, all or none: shards of one run become one, runs that are here
        already are compared. Returns the number of rows that are new here."""
        return self._native.merge(os.fspath(path))

    def export(
        self, folder: str | os.PathLike[str], *, run: RunName | Iterable[RunName] | None = None
    ) -> tuple[int, int, int]:
        """Writes finished runs, all of them or those named with what they came from, as Parquet files
        `table=NAME/run_id=ID/class=N/rows.parquet` below a folder: DuckDB, pandas, Polars, Spark and
        Hugging Face's `load_dataset` read it, and `dream import --from` takes the runs in again. Runs that
        are there are not written again. Returns how many runs and rows were written, and how many runs were
        there. In a build with the cargo feature `cloud` (`maturin build --features cloud`) the folder may be
        that of a bucket: `s3://`, `gs://` or `az://`, with credentials from the environment.
        """
        return self._native.export(os.fspath(folder), _ids(run))

    # What other programs made.

    def import_class_embeddings(
        self,
        names: Sequence[str],
        array: Any,
        *,
        words: Sequence[str] | None = None,
        alias: str | None = None,
    ) -> Run:
        """Takes in class embeddings, as a run from which the pipeline goes on.

        Args:
            names: The names of the classes, in the order of their numbers.
            array: `[classes, width]`, of NumPy or PyTorch.
            words: The words that stand for them in prompts; the names if none are given.
            alias: A name for the run.

        The run is named by its content, so taking in the same again is harmless. `RefusedError` says which
        row is wrong, and how: NaN, zero, another width.
        """
        return self._made(_take.class_embeddings(self, names, array, words), alias)

    def import_features(
        self, array: Any, labels: Any = None, *, embeddings: RunName, alias: str | None = None
    ) -> Run:
        """Takes in ID features in the space of class embeddings.

        Args:
            array: `[rows, width]` with `labels`, or `[classes, rows, width]`.
            labels: The class of each row, counted from 0.
            embeddings: The run of class embeddings whose classes and width they have.
            alias: A name for the run.
        """
        id = self.run(embeddings).id
        return self._made(_take.vectors(self, "features", array, labels, id), alias)

    def import_outliers(
        self, array: Any, labels: Any = None, *, embeddings: RunName, alias: str | None = None
    ) -> Run:
        """Takes in outlier vectors, which `imagine` paints; the arguments are those of `import_features`."""
        id = self.run(embeddings).id
        return self._made(_take.vectors(self, "outliers", array, labels, id), alias)

    def import_images(
        self, pictures: Any, labels: Any, *, embeddings: RunName, alias: str | None = None
    ) -> Run:
        """Takes in pictures with the class of each: `[n, height, width, 3]` of uint8, objects of PIL, or
        files (PNG, JPEG, WebP, BMP, PNM) as bytes."""
        run = self.run(embeddings).id
        rows = self.query("class_embeddings", run=run, columns=["class_id", "class_name"]).to_list()
        names = {row["class_id"]: row["class_name"] for row in rows}
        return self._made(_take.images(self, pictures, labels, names, run), alias)

    def import_activations(
        self,
        *,
        dataset: str,
        split: str = "test",
        logits: Any = None,
        features: Any = None,
        labels: Any = None,
        weight: Any = None,
        bias: Any = None,
        alias: str | None = None,
    ) -> Run:
        """Takes in what a classifier showed of images; `evaluate` takes any score of it.

        Args:
            dataset: The name of the data set.
            split: Its split.
            logits: `[images, classes]`.
            features: `[images, width]`, what the last layer reads.
            labels: The true classes, `[images]`; -1 for an image without one.
            weight: The last layer's weight, `[classes, width]`.
            bias: Its bias, `[classes]`.
            alias: A name for the run.
        """
        arrays = {"logits": logits, "features": features, "labels": labels, "weight": weight, "bias": bias}
        return self._made(_take.activations(self, arrays, dataset, split), alias)

    def import_scores(
        self,
        values: Any,
        *,
        dataset: str,
        score: str,
        predicted: Any,
        labels: Any = None,
        split: str = "test",
        alias: str | None = None,
    ) -> Run:
        """Takes in detection scores of images, which are higher for in-distribution ones.

        Args:
            values: `[images]`.
            dataset: The name of the data set.
            score: The name of the score.
            predicted: The class that the network gives each image.
            labels: The true classes; -1 for an image without one.
            split: The split of the data set.
            alias: A name for the run.
        """
        return self._made(_take.scores(self, values, predicted, labels, (dataset, split, score)), alias)

    # Stages.

    def embed(
        self,
        model: str | os.PathLike[str],
        names: Sequence[str],
        *,
        words: Sequence[str] | None = None,
        tokens: str | None = None,
        alias: str | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Stage 1: takes the embeddings of class words from a diffusion model.

        Args:
            model: The model's registered name, or its folder or checkpoint file, which is then registered.
            names: The names of the classes.
            words: The words that stand for them in prompts; the names if none are given.
            tokens: What the embedding of a word of several tokens is: `first` or `mean`; refused without it.
            alias: A name for the run.
            progress: Bars of tqdm (True), none (False), or an object with `begin`, `advance`, `note` and
                `end`;
                without it, bars where someone looks.
        """
        own = [str(name) for name in names]
        spoken = own if words is None else [str(word) for word in words]
        return self._made(_stages.embed(self, os.fspath(model), own, spoken, tokens, progress), alias)

    def sample(
        self,
        features: RunName,
        *,
        seed: int = 0,
        method: Literal["knn", "gaussian", "beyond", "boundary"] = "knn",
        alias: str | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> Run:
        """Stage 3: samples vectors at the low-likelihood edge of each class.

        Args:
            features: ID features: an `encode` run, or imported ones.
            seed: The seed of all random numbers.
            method: `knn`, as DREAM-OOD, or one to compare with.
            alias: A name for the run.
            progress: As for `embed`.
            params: The method's parameters in place of the paper's: for `knn` `k`, `select`, `rounds`,
                `noise_per_round`, `anchors_per_round`, `keep`, `sigma`, `kind`, `per_class`, `knn`.

        The same question again returns the run that is there; one that was interrupted goes on.
        """
        return self._made(_stages.sample(self, _id(features), seed, method, params, progress), alias)

    def imagine(
        self,
        vectors: RunName,
        *,
        model: str | os.PathLike[str] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        alias: str | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> Run:
        """Stage 4: paints vectors by a diffusion model.

        Args:
            vectors: Sampled or imported outliers; or class embeddings, for pictures of the plain prompts.
            model: The model's registered name or its path; that of the class embeddings if none is named.
            seed: The seed of all random numbers.
            batch_size: How many pictures are made at once; as many as fit into half of the free memory
                without it.
            alias: A name for the run.
            progress: As for `embed`.
            params: `per_class`, `prompt`, `steps`, `guidance_scale`, `scheduler`, `classes`, `negative`,
                `size`, ...
                in place of the paper's.
        """
        model = None if model is None else os.fspath(model)
        made = _stages.imagine(self, _id(vectors), model, seed, batch_size, params, progress)
        return self._made(made, alias)

    def evaluate(
        self,
        classifier: RunName | None = None,
        *,
        id: str | None = None,
        ood: Sequence[str] = (),
        activations: RunName | None = None,
        ood_activations: Sequence[RunName] = (),
        train_activations: RunName | None = None,
        validation_activations: RunName | None = None,
        ood_validation_activations: RunName | None = None,
        scores: Sequence[str] = ("msp", "energy"),
        convention: Literal["dream-ood", "openood", "pytorch-ood"] = "dream-ood",
        alias: str | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> Run:
        """Stage 6: takes detection scores and metrics; `metrics(run)` is their table.

        Either of a classifier of this store, on registered sets (`id`, that of its training without it, and
        `ood`); or of activations that are here, of any classifier (`activations`, `ood_activations`, and for
        scores that learn `train_activations` and `validation_activations`).

        Args:
            classifier: A `detect` run.
            id: The registered in-distribution set.
            ood: Registered out-of-distribution sets.
            activations: Activations of ID test images.
            ood_activations: Those of out-of-distribution sets.
            train_activations: Those of training images.
            validation_activations: Those of ID images held out of training.
            ood_validation_activations: Those of OOD images to search hyperparameters on.
            scores: Names, with hyperparameters as in `"knn:k=50"`.
            convention: Whose definition of the metrics.
            alias: A name for the run.
            progress: As for `embed`.
            params: `metrics`, `groups`, `draws`, `full_spectrum`, ...
        """
        params = {"scores": list(scores), "convention": convention, **params}
        if classifier is not None and activations is None:
            ran = _stages.evaluate_classifier(self, _id(classifier), id, list(ood), params, progress)
            return self._made(ran, alias)
        if classifier is not None or activations is None:
            raise ValueError("evaluate a classifier, or activations: one of them is needed")
        optional = [train_activations, validation_activations, ood_validation_activations]
        others = [None if run is None else _id(run) for run in optional]
        observed = _stages.Observed(_id(activations), _ids(ood_activations), *others)
        return self._made(_stages.evaluate_activations(self, observed, params, progress), alias)

    def metrics(self, run: RunName) -> Rows:
        """The metrics of a run, one a row: of an evaluation FPR95, AUROC and AUPR of each set and score."""
        return self.query("metrics", run=run, columns=["name", "dataset", "score", "value"])

    def run_preset(
        self,
        file: str | os.PathLike[str],
        *,
        seed: int = 0,
        setting: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Run]:
        """Runs the whole pipeline of a preset file; what is here is not made again. Returns its runs by part
        (`embed`, `sample`, `imagine`, `detect`, `evaluate`, ...), which get the names that `dream run` gives
        them.

        Args:
            file: The preset, a .toml file.
            seed: The seed of all random numbers.
            setting: Keys of the preset that get other values, as in `{"sample.sampling.sigma": 0.1}`. Of a
                preset with a sweep it names the one that is run; `dream_ood.ray.sweep` runs all of them.
            progress: As for `embed`.
        """
        done = _stages.run_preset(self, os.fspath(file), seed, setting, progress)
        return {part: self.run(id) for part, id in done}

    def _made(self, run: str, alias: str | None) -> Run:
        if alias is not None:
            self._native.set_alias(alias, run)
        return self.run(run)

    def set_alias(self, name: str, run: RunName) -> None:
        """Gives a run a name, by which it is found from then on."""
        self._native.set_alias(name, _id(run))


def _id(run: RunName) -> str:
    return run.id if isinstance(run, Run) else run


def _ids(runs: RunName | Iterable[RunName] | None) -> list[str]:
    if runs is None:
        return []
    if isinstance(runs, (str, Run)):
        return [_id(runs)]
    names = [_id(run) for run in runs]
    if not names:
        raise ValueError("run=[]: an empty list of runs; leave it out for all runs")
    return names


def _number(class_: Any) -> int:
    """The number of a class, also one of NumPy."""
    number = operator.index(class_)
    if not 0 <= number < 2**32:
        raise RefusedError(f"class_={number}: a class is a name or a number from 0")
    return number
