"""Pictures of a run."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ._optional import needed
from ._rows import array

if TYPE_CHECKING:
    import datasets
    import PIL.Image

    from ._store import Store
    from .torch import ImaginedImages

#: What is known of each picture beside the picture.
COLUMNS = ["class_id", "class_name", "index", "outlier", "width", "height"]
#: Pictures that are read at once where one goes through all.
AT_ONCE = 64


class Images:
    """The pictures of a run in the order of their classes, of one state of the store.

    `images[3]` is the fourth as an object of PIL, `images.numpy([0, 1])` an array `[2, height, width, 3]`,
    `images.pngs([0, 1])` their files. `class_id`, `class_name`, `index` (the place in the class), `outlier`
    (the index of the vector that it was made from, -1 where there is none), `width` and `height` are arrays
    with an entry for each picture.

    A process keeps up to 512 MiB of the files that it has read, so that pictures in any order are read once
    where they fit.
    """

    def __init__(self, store: Store, run: str, class_: str | None = None):
        self._store = store
        #: The id of the run.
        self.run = run
        self._class = class_
        self._open()
        known = {name: array(values) for name, values in zip(COLUMNS, self._native.known(COLUMNS))}
        self.class_id, self.class_name, self.index = known["class_id"], known["class_name"], known["index"]
        self.outlier, self.width, self.height = known["outlier"], known["width"], known["height"]

    def _open(self) -> None:
        self._native = self._store._native.pictures(self.run, self._class)
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return Images, (self._store, self.run, self._class)

    def pngs(self, places: Iterable[int]) -> list[bytes]:
        """The files of the pictures at these places."""
        if self._process != os.getpid():
            # A fork: what the parent opened is not ours.
            self._open()
        count = len(self)
        found = []
        for place in places:
            own = int(place) + count if place < 0 else int(place)
            if not 0 <= own < count:
                raise IndexError(f"there is no picture {place}: there are {count}")
            found.append(own)
        return self._native.read(found)

    def numpy(self, places: Iterable[int] | None = None) -> np.ndarray:
        """Pictures as an array `[n, height, width, 3]` of uint8, those at these places or all.

        Raises `ValueError` if they differ in size.
        """
        places = range(len(self)) if places is None else list(places)
        pictures = [_rgb(file) for file in self.pngs(places)]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            found = " and ".join(sorted(f"{width}x{height}" for height, width, _ in sizes))
            raise ValueError(f"the pictures are {found}: take them one by one, or those of one size")
        return np.stack(pictures) if pictures else np.empty((0, 0, 0, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._native)

    def __getitem__(self, place: int) -> PIL.Image.Image:
        (file,) = self.pngs([place])
        return decoded(file)

    def __iter__(self) -> Iterator[PIL.Image.Image]:
        for file in self._files():
            yield decoded(file)

    def _files(self) -> Iterator[bytes]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.pngs(range(start, min(start + AT_ONCE, len(self))))

    def _records(self) -> Iterator[dict[str, Any]]:
        for place, file in enumerate(self._files()):
            yield {
                "image": {"bytes": file, "path": None},
                "class_id": int(self.class_id[place]),
                "class_name": self.class_name[place],
                "index": int(self.index[place]),
                "outlier": int(self.outlier[place]),
                "run": self.run,
            }

    def to_datasets(self, *, streaming: bool = False) -> datasets.Dataset | datasets.IterableDataset:
        """The pictures as a data set of Hugging Face: `image` (a column of the feature `Image`), `class_id`,
        `class_name`, `index`, `outlier` and `run`.

        Its files are held in memory as they are stored; with `streaming` they are read while one goes through
        them.
        """
        hub = needed("datasets", "images")
        features = hub.Features(
            {
                "image": hub.Image(),
                "class_id": hub.Value("int32"),
                "class_name": hub.Value("string"),
                "index": hub.Value("int64"),
                "outlier": hub.Value("int64"),
                "run": hub.Value("string"),
            }
        )
        if streaming:
            return hub.IterableDataset.from_generator(
                _streamed, features=features, gen_kwargs={"images": self}
            )
        pyarrow = needed("pyarrow", "frames")
        parts, records = [], []
        schema = features.arrow_schema
        for record in self._records():
            records.append(record)
            if len(records) == 16 * AT_ONCE:
                parts.append(pyarrow.Table.from_pylist(records, schema=schema))
                records = []
        parts.append(pyarrow.Table.from_pylist(records, schema=schema))
        return hub.Dataset(pyarrow.concat_tables(parts))

    def to_torch(
        self,
        transform: Callable[[PIL.Image.Image], Any] | None = None,
        *,
        provenance: bool = False,
    ) -> ImaginedImages:
        """The pictures as a data set of PyTorch: see `dream_ood.torch.ImaginedImages`."""
        from .torch import ImaginedImages

        return ImaginedImages(self, transform, provenance=provenance)

    def __repr__(self) -> str:
        classes = len(np.unique(self.class_id))
        return f"<Images: {len(self)} of {classes} classes, run {self.run}>"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.images(self)


def decoded(file: bytes) -> PIL.Image.Image:
    """A picture of its file."""
    picture = needed("PIL.Image", "images").open(io.BytesIO(file))
    picture.load()
    return picture


def _rgb(file: bytes) -> np.ndarray:
    return np.asarray(decoded(file).convert("RGB"))


def _streamed(images: Images) -> Iterator[dict[str, Any]]:
    return images._records()
