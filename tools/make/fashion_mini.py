"""Makes data/fashion-mini and the two near sets of data/ood out of Fashion-MNIST, padded to 32x32.

The classifier learns eight of the ten garments. The other two, HELD_OUT, are what it must not take for them.

python fashion_mini.py --out ../../data/fashion-mini --near ../../data/ood
"""

import argparse
import pathlib

import numpy as np

from parquet import write_images
from pictures import CLASSES, fashion

# Each looks like some of the rest: a shirt like a T-shirt, pullover, coat or dress, a sneaker like a sandal
# or boot.
HELD_OUT = ["shirt", "sneaker"]
KEPT = [c for c in CLASSES if c not in HELD_OUT]
TRAIN_PER_CLASS = 600


def garments(images, labels, name):
    """The pictures of one garment, and their places in the source."""
    places = np.flatnonzero(labels == CLASSES.index(name))
    return images[places], places


def choose(labels, per_class, seed):
    """The same number of every class that is kept, drawn with a seed, in the order of the source."""
    rng = np.random.default_rng(seed)
    all_of = [np.flatnonzero(labels == CLASSES.index(name)) for name in KEPT]
    return np.sort(np.concatenate([rng.choice(places, per_class, replace=False) for places in all_of]))


def names(split, places):
    """Where each picture is in the original split."""
    return [f"{split}/{i:05}.png" for i in places]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--near", type=pathlib.Path, required=True, help="folder of the sets held out")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()

    train = fashion("train")
    test = fashion("test")
    picks = {
        "train": (*train, choose(train[1], TRAIN_PER_CLASS, a.seed)),
        "test": (*test, np.flatnonzero(np.isin(test[1], [CLASSES.index(name) for name in KEPT]))),
    }
    for split, (images, labels, places) in picks.items():
        kept = [KEPT.index(CLASSES[label]) for label in labels[places]]
        write_images(a.out / f"{split}.parquet", images[places], names(split, places), kept, KEPT)
    for name in HELD_OUT:
        pictures, places = garments(*test, name)
        write_images(a.near / f"{name}.parquet", pictures, names("test", places))


if __name__ == "__main__":
    main()
