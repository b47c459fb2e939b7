"""Makes three sets of data/ood: 32x32 pictures that neither the classifier nor the model has seen.

sh fetch_sources.sh DIR
python ood_sets.py --sources DIR --out ../../data/ood
"""

import argparse
import pathlib

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from ood_textures import textures
from parquet import contact_sheet, write_images
from pictures import to_tile

STAMPS = pathlib.Path("/usr/share/tuxpaint/stamps")
FONTS = pathlib.Path("/usr/share/fonts")
# Drawings, signs, people, and whatever is or carries a garment.
STAMP_SKIP_FOLDERS = {
    "cartoon",
    "clothes",
    "symbols",
    "people",
    "roadsigns",
    "flags",
    "easter",
    "halloween",
    "hanukkah",
    "newyears",
    "military",
    "naturalforces",
    "houses",
    "monuments",
    "moon",
}
# Named in the package's changelog under a licence other than the package's own, or not photographs.
STAMP_SKIP = set(
    """firetruck Christmas_pudding German_Christmas_toy Mince_Pie Roast_turkey Lightbulb Apricot_whole
Cherry_Stella Strawberry2 Woodlouse Brown_slug adeenia anthoorium appooppanthady bolsom chemparathi
chuvanna_plastic_poo pelican heron_greatblue heron_greatblue_flying helmeted_guineafowl hedgehog eye pizza
tooth button Santa stocking santahat xmaswreath star bow tree holly_leaves hard_candy candy_cane
lamp""".split()
)
FONT_FOLDERS = [
    "cantarell",
    "comfortaa",
    "dejavu",
    "freefont",
    "humor-sans",
    "inconsolata",
    "junction",
    "lato",
    "liberation",
    "linux-libertine",
    "lobster",
]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!?&@#$%*+=<>"


def views(stamp, rng):
    """Four pictures of one stamp: whole; turned one way; mirrored and turned the other way; close up.

    The turned ones are smaller and off centre.
    """
    yield "whole", to_tile(stamp)
    for name, source, sign in [("left", stamp, 1), ("right", stamp.transpose(Image.FLIP_LEFT_RIGHT), -1)]:
        tile = to_tile(source.rotate(sign * rng.uniform(10, 40), Image.BICUBIC, expand=True), margin=4)
        shift = tuple(int(v) for v in rng.integers(-3, 4, 2))
        yield name, None if tile is None else np.roll(tile, shift, (0, 1))
    w, h = stamp.size
    share = rng.uniform(0.5, 0.65)
    x, y = (1 - share) / 2 * w, (1 - share) / 2 * h
    yield "close", to_tile(stamp.crop((int(x), int(y), int(x + share * w), int(y + share * h))), margin=0)


def objects(seed):
    """Photographs of objects, animals, plants and food from Tux Paint's stamps, on black."""
    rng = np.random.default_rng(seed)
    tiles, names = [], []
    for path in sorted(STAMPS.rglob("*.png")):
        where = path.relative_to(STAMPS)
        if STAMP_SKIP_FOLDERS & set(where.parts) or path.stem in STAMP_SKIP or path.stem.endswith("_mirror"):
            continue
        stamp = Image.open(path).convert("RGBA")
        stamp = stamp.crop(stamp.getchannel("A").getbbox())
        for view, tile in views(stamp, rng):
            if tile is not None and tile.std() > 20:
                tiles.append(tile)
                names.append(f"{where.as_posix()}#{view}")
    return tiles, names


def draw_letter(character, font, rng):
    """One sign: any size from 15 to 30 pixels, turned by up to 25 degrees, anywhere, in a random gray."""
    face = ImageFont.truetype(str(font), 96)
    canvas = Image.new("L", (256, 256))
    ImageDraw.Draw(canvas).text((128, 128), character, fill=255, font=face, anchor="mm")
    canvas = canvas.rotate(rng.uniform(-25, 25), Image.BICUBIC)
    box = canvas.getbbox()
    if box is None:
        return None
    canvas = canvas.crop(box)
    scale = rng.uniform(15, 30) / max(canvas.size)
    canvas = canvas.resize([max(1, round(s * scale)) for s in canvas.size], Image.LANCZOS)
    tile = np.zeros((32, 32), np.float32)
    x, y = (int(rng.integers(0, 33 - s)) for s in canvas.size)
    tile[y : y + canvas.size[1], x : x + canvas.size[0]] = np.asarray(canvas)
    return (tile * rng.uniform(0.6, 1)).astype(np.uint8)


def has_letters(font):
    """Whether a font draws all of LETTERS; keyboard and ornament fonts are left out by name."""
    known = TTFont(font, lazy=True).getBestCmap() or {}
    odd = font.name.startswith(("LinBiolinum_K", "LinLibertine_I."))
    return not odd and all(ord(c) in known for c in LETTERS)


def letters(count, seed):
    """Letters and signs in the fonts of eleven free families."""
    rng = np.random.default_rng(seed)
    families = [
        sorted(p for ext in ("ttf", "otf") for p in FONTS.glob(f"*/{f}/**/*.{ext}") if has_letters(p))
        for f in FONT_FOLDERS
    ]
    missing = [f for f, files in zip(FONT_FOLDERS, families) if not files]
    if missing:
        raise SystemExit(f"fonts not installed: {missing}; see README.md")
    tiles, names, labels = [], [], []
    while len(tiles) < count:
        label = len(tiles) % len(LETTERS)
        family = families[rng.integers(len(families))]
        font = family[rng.integers(len(family))]
        tile = draw_letter(LETTERS[label], font, rng)
        if tile is not None and tile.std() > 12:
            names.append(f"{font.stem}/{ord(LETTERS[label]):04x}/{len(tiles):04}")
            tiles.append(tile)
            labels.append(label)
    return tiles, names, labels, list(LETTERS)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--sources", type=pathlib.Path, required=True, help="folder filled by fetch_sources.sh")
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--sheets", type=pathlib.Path, help="also writes contact sheets into this folder")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    crops = list(textures(a.sources, 34, a.seed))
    sets = {
        "objects": objects(a.seed),
        "textures": tuple(zip(*crops)),
        "letters": letters(1536, a.seed),
    }
    for name, parts in sets.items():
        write_images(a.out / f"{name}.parquet", *parts)
        if a.sheets:
            contact_sheet(a.sheets / f"{name}.png", parts[0])


if __name__ == "__main__":
    main()
