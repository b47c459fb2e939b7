"""Imagined outliers for training loops of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ._optional import needed

needed("torch", "torch")

import torch  # noqa: E402
from torch.utils.data import Dataset, IterableDataset, get_worker_info  # noqa: E402

from ._images import AT_ONCE, Images, decoded  # noqa: E402

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["ImaginedImages", "ImaginedStream"]


class ImaginedImages(Dataset):
    """Pictures of a run, for a `DataLoader` with any number of workers, forked or spawned.

    An item is `(picture, class_id)`; with `provenance` `(picture, class_id, {"run", "class_name", "index",
    "outlier"})`. Without a `transform` a picture is a tensor `[3, height, width]` of float32 in [0, 1]; a
    transform gets an object of PIL, as those of torchvision do.

        loader = DataLoader(store.images("dreams").to_torch(), batch_size=64, shuffle=True, num_workers=4)
        for pictures, classes in loader:
            loss = loss + outlier_loss(net(pictures))
    """

    def __init__(
        self,
        images: Images,
        transform: Callable[[PIL.Image.Image], Any] | None = None,
        *,
        provenance: bool = False,
    ):
        self.images = images
        self.transform = transform
        self.provenance = provenance

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: list[int]) -> list[tuple[Any, ...]]:
        """A batch, of which PyTorch asks at once: pictures that lie together are read together."""
        files = self.images.pngs(places)
        return [self._item(int(place), file) for place, file in zip(places, files)]

    def _item(self, place: int, file: bytes) -> tuple[Any, ...]:
        picture = (self.transform or to_tensor)(decoded(file))
        images = self.images
        item = (picture, int(images.class_id[place]))
        if not self.provenance:
            return item
        return *item, {
            "run": images.run,
            "class_name": images.class_name[place],
            "index": int(images.index[place]),
            "outlier": int(images.outlier[place]),
        }


class ImaginedStream(IterableDataset):
    """The same pictures as a stream: each worker reads stretches of its own, in the order in which they lie.

    `shuffle` draws the stretches in an order of `seed` and the pass, and the pictures within each; it is
    cheaper than the full shuffle of `ImaginedImages` where pictures are large, and less thorough.
    """

    def __init__(
        self,
        images: Images,
        transform: Callable[[PIL.Image.Image], Any] | None = None,
        *,
        provenance: bool = False,
        shuffle: bool = False,
        seed: int = 0,
    ):
        self._items = ImaginedImages(images, transform, provenance=provenance)
        self.shuffle = shuffle
        self.seed = seed
        self._pass = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        worker = get_worker_info()
        own, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        # All workers of a pass draw the same order: their seeds differ by their numbers alone, and from those
        # of another pass. One that lives on counts its passes.
        common = 0 if worker is None else worker.seed - worker.id
        random = np.random.default_rng([self.seed, common, self._pass])
        self._pass += 1
        starts = np.arange(0, len(self), AT_ONCE)
        if self.shuffle:
            random.shuffle(starts)
        for start in starts[own::workers]:
            places = np.arange(start, min(start + AT_ONCE, len(self)))
            if self.shuffle:
                random.shuffle(places)
            yield from self._items.__getitems__(places.tolist())


def to_tensor(picture: PIL.Image.Image) -> torch.Tensor:
    """A picture as a tensor `[3, height, width]` of float32 in [0, 1]."""
    pixels = np.array(picture.convert("RGB"), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div_(255)
