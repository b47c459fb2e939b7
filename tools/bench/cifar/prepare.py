"""Splits of CIFAR-10 for evaluation, and its test images as JPEG.

python prepare.py CIFAR-10-dataset OUT

OUT/cifar10/{train,val,test}/CLASS/*.png   the clone's images: of the test images of each class the first 100
                                           are held out as `val`, for scores that learn from images that the
                                           network has not seen (links where the disk allows, else copies)
OUT/cifar10-jpeg/test/CLASS/*.jpg          the same test images as JPEG of quality 75

Nothing is drawn at random. Needs Pillow.
"""

import argparse
import os
import pathlib
import shutil

from PIL import Image

HELD_OUT = 100
QUALITY = 75


def place(source, target):
    """Makes `source` appear at `target` too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("clone", type=pathlib.Path, help="of github.com/cyizhuo/CIFAR-10-dataset")
    p.add_argument("out", type=pathlib.Path)
    a = p.parse_args()

    count = {"train": 0, "val": 0, "test": 0}
    for part in ["train", "test"]:
        for folder in sorted(f for f in (a.clone / part).iterdir() if f.is_dir()):
            for number, image in enumerate(sorted(folder.glob("*.png"))):
                split = "val" if part == "test" and number < HELD_OUT else part
                place(image, a.out / "cifar10" / split / folder.name / image.name)
                count[split] += 1
                if split == "test":
                    target = a.out / "cifar10-jpeg" / "test" / folder.name / f"{image.stem}.jpg"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with Image.open(image) as picture:
                        picture.convert("RGB").save(target, quality=QUALITY)
    if count != {"train": 50_000, "val": 1_000, "test": 9_000}:
        raise SystemExit(f"{a.clone} is not all of CIFAR-10: {count}")
    print(", ".join(f"{split} {n}" for split, n in count.items()))


if __name__ == "__main__":
    main()
