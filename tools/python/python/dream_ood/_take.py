"""Arrays taken in as runs."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arrays, _native
from ._machine import Machine, machine
from ._optional import needed
from ._progress import listener
from .errors import DreamError, RefusedError

if TYPE_CHECKING:
    from ._store import Store


@contextmanager
def _folder(store: Store) -> Iterator[Path]:
    """A folder beside the store, for the time of an import; errors speak of arrays, not of the files in
    it."""
    with tempfile.TemporaryDirectory(prefix=".dream-import-", dir=store.path.parent) as folder:
        try:
            yield Path(folder)
        except DreamError as error:
            raise _of_arrays(error, Path(folder)) from None


def _of_arrays(error: DreamError, folder: Path) -> DreamError:
    words = str(error)
    for file in sorted(folder.iterdir(), reverse=True):
        words = words.replace(str(file), file.stem)
    renamed = type(error)(words)
    renamed.__dict__.update(error.__dict__)
    return renamed


def _what(store: Store) -> tuple[Any, Machine, Any]:
    return store._native, machine(), listener(False)


def class_embeddings(store: Store, names: Sequence[str], array: Any, words: Sequence[str] | None) -> str:
    """`[classes, width]`, one row a class."""
    names = [str(name) for name in names]
    words = names if words is None else [str(word) for word in words]
    embeddings = _arrays.matrix("array", array)
    for what, given in [("names", names), ("words", words)]:
        if len(given) != len(embeddings):
            raise RefusedError(
                f"{what} has {len(given)} entries, and array {len(embeddings)} rows: one a class"
            )
    with _folder(store) as folder:
        file = folder / "array.npy"
        np.save(file, embeddings)
        return _native.import_class_embeddings(*_what(store), file, names, words)


def vectors(store: Store, table: str, array: Any, labels: Any, embeddings: str) -> str:
    """`[classes, rows, width]`, or `[rows, width]` with the class of each row."""
    found = _arrays.single("array", _arrays.plain("array", array))
    if labels is None and found.ndim != 3:
        raise RefusedError(
            f"array has the shape {list(found.shape)}: [classes, rows, width] is needed, or [rows, width] "
            "with labels"
        )
    if labels is not None and found.ndim != 2:
        raise RefusedError(f"array has the shape {list(found.shape)}: [rows, width] is needed beside labels")
    with _folder(store) as folder:
        if labels is None:
            file = folder / "array.npy"
            np.save(file, found)
        else:
            file = folder / "array.npz"
            np.savez(file, vectors=found, labels=_arrays.classes("labels", labels, len(found)))
        return _native.import_vectors(*_what(store), file, embeddings, table == "outliers")


def activations(store: Store, arrays: dict[str, Any], dataset: str, split: str) -> str:
    """Logits, features, labels and the last layer, each `[images, ...]` or None."""
    found: dict[str, np.ndarray] = {}
    for name in ["features", "logits", "weight"]:
        if arrays[name] is not None:
            found[name] = _arrays.matrix(name, arrays[name])
    if arrays["bias"] is not None:
        found["bias"] = _arrays.vector("bias", arrays["bias"])
    if "features" not in found and "logits" not in found:
        raise RefusedError("activations are logits, features or both: give one of them")
    if arrays["labels"] is not None:
        rows = len(found.get("features", found.get("logits", ())))
        found["labels"] = _arrays.classes("labels", arrays["labels"], rows, none=True)
    with _folder(store) as folder:
        files: dict[str, Path | None] = dict.fromkeys(["features", "logits", "labels", "weight", "bias"])
        for name, values in found.items():
            file = folder / f"{name}.npy"
            np.save(file, values)
            files[name] = file
        return _native.import_activations(*_what(store), _Files(**files), dataset, split)


class _Files:
    """Files of one array each, as the compiled part asks for them."""

    def __init__(self, **files: Path | None):
        self.__dict__.update(files)


def scores(store: Store, values: Any, predicted: Any, labels: Any, of: tuple[str, str, str]) -> str:
    """A score, the class that the network gives, and the true class of each image."""
    found = _arrays.vector("values", values)
    arrays: dict[str, Any] = {"conf": found, "pred": _arrays.classes("predicted", predicted, len(found))}
    if labels is not None:
        arrays["label"] = _arrays.classes("labels", labels, len(found), none=True)
    with _folder(store) as folder:
        file = folder / "values.npz"
        np.savez(file, **arrays)
        return _native.import_scores(*_what(store), file, *of)


def images(store: Store, pictures: Any, labels: Any, names: dict[int, str], embeddings: str) -> str:
    """Pictures `[n, height, width, 3]` of uint8, objects of PIL, or files of pictures (PNG, JPEG,
    WebP, BMP, PNM), with the class of each."""
    classes = _arrays.classes("labels", labels, len(pictures))
    with _folder(store) as folder:
        for place, (picture, class_) in enumerate(zip(pictures, classes)):
            if int(class_) not in names:
                raise RefusedError(f"labels: {class_} at {place} is no class of the embeddings")
            # A folder is called by the class's number, unless that is the name of a class.
            number = str(class_)
            own = folder / (names[int(class_)] if number in names.values() else number)
            own.mkdir(exist_ok=True)
            (own / f"{place:08}.png").write_bytes(_file(picture, place))
        return _native.import_images(*_what(store), folder, embeddings)


def _file(picture: Any, place: int) -> bytes:
    """The file of a picture."""
    if isinstance(picture, bytes):
        return picture
    pil = needed("PIL.Image", "images")
    if not isinstance(picture, pil.Image):
        pixels = _arrays.plain(f"picture {place}", picture)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            shape = list(pixels.shape)
            raise RefusedError(
                f"picture {place} is {pixels.dtype} {shape}: uint8 [height, width, 3] is needed"
            )
        picture = pil.fromarray(pixels)
    file = io.BytesIO()
    picture.convert("RGB").save(file, "png")
    return file.getvalue()
