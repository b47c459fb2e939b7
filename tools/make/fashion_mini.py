"""Makes data/fashion-mini: a small, balanced part of Fashion-MNIST, padded to 32x32.

python fashion_mini.py --out ../../data/fashion-mini
"""

import argparse
import pathlib

import numpy as np

from parquet import write_images
from pictures import CLASSES, fashion


def choose(labels, per_class, seed):
    """The same number of every class, drawn with a seed, in the order of the source."""
    rng = np.random.default_rng(seed)
    picks = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(len(CLASSES))]
    return np.sort(np.concatenate(picks))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    for split, per_class in [("train", 600), ("test", 200)]:
        images, labels = fashion(split)
        picks = choose(labels, per_class, a.seed)
        write_images(
            a.out / f"{split}.parquet",
            images[picks],
            [f"{split}/{i:05}.png" for i in picks],
            labels[picks],
            CLASSES,
        )


if __name__ == "__main__":
    main()
