"""Pictures with captions, 32x32 RGB on black, for training the small diffusion model.

Three sources: Fashion-MNIST (the garments), the Unicode emoji of Noto Color
Emoji and the Open Clip Art Library (the rest of the world). All three come from
Debian packages; see README.md for their names.
"""

import gzip
import hashlib
import pathlib
import re
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
EMOJI_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
CLIPART = pathlib.Path("/usr/share/openclipart/png")
WORDS = pathlib.Path("/usr/share/dict/american-english")

CLASSES = ["tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
Image.MAX_IMAGE_PIXELS = None  # some clip art is huge; it is skipped by size before it is read
PROMPT = "A high-quality image of the "
SIDE = 32

EMOJI_BLOCKS = [
    (0x1F300, 0x1F5FF),
    (0x1F600, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
    (0x1FA70, 0x1FAFF),
    (0x2600, 0x27BF),
]


def fashion(split="train"):
    """Fashion-MNIST: uint8 images [n, 32, 32] (zero-padded from 28) and labels [n]."""
    part = {"train": "train", "test": "t10k"}[split]
    with gzip.open(FASHION / f"{part}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(FASHION / f"{part}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)
    return np.pad(images, ((0, 0), (2, 2), (2, 2))), labels


def to_tile(rgba, margin=1):
    """Crops an RGBA picture to its opaque part, centres it in a square, puts it on black."""
    box = rgba.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()
    if box is None:
        return None
    rgba = rgba.crop(box)
    side = max(rgba.size)
    inner = SIDE - 2 * margin
    size = [max(1, round(s * inner / side)) for s in rgba.size]
    # Premultiply before scaling, so that transparent pixels lend no colour.
    a = np.asarray(rgba, np.float32)
    a[..., :3] *= a[..., 3:] / 255
    rgb = Image.fromarray(a[..., :3].round().astype(np.uint8)).resize(size, Image.LANCZOS)
    tile = Image.new("RGB", (SIDE, SIDE))
    tile.paste(rgb, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(tile)


def emoji():
    """Yields (tile, name) for every emoji that the font draws in colour."""
    font = ImageFont.truetype(EMOJI_FONT, 109)
    for first, last in EMOJI_BLOCKS:
        for code in range(first, last + 1):
            name = unicodedata.name(chr(code), "").lower()
            if not name:
                continue
            canvas = Image.new("RGBA", (136, 128), (0, 0, 0, 0))
            ImageDraw.Draw(canvas).text((0, 0), chr(code), font=font, embedded_color=True)
            tile = to_tile(canvas)
            if tile is not None:
                yield tile, words_of(name)


# Folders of the clip art that hold hundreds of near-equal or meaningless drawings.
CLIPART_CAPS = {
    "stars": 24,
    "etiquette-theme": 50,
    "flat-theme": 120,
    "lemon-theme": 100,
    "cards": 60,
    "flags": 250,
    "icons": 120,
    "led": 8,
    "gradients": 12,
    "patterns": 40,
    "jigsaw": 8,
    "callouts": 12,
    "flowchart": 12,
    "map_symbols": 90,
    "semaphore": 20,
}
CLIPART_SKIP = {"unsorted", "duplicates", "special", "examples", "hotel", "logos"}
# Names of contributors and words without a picture that also stand in the dictionary.
NOISE = set(
    """jon park benji frank linda kim mo aj ashton jo bill joel todd matt charles carols raph
nathan lee may dan gerald may ron paul peter michael jean victor anton mac mar van der de la le en so arch
fran france architect leif cedric marco ben sam tom max mark scott bob joe art ark phillips yves by of the and
with for in on at to from an it or as is no yet another md bb aiga gnome gtk mime stock white_d test ing copy
version simple fs dev untitled image picture clipart draft final cup_r rat_ lie moser park jasper tobias
andreas fredrik hash yes plain rev nick juliane petri susan james birkett patricia thomas daniel steele jarno
jonadab mimooh ganson eady hawke bersac elk con di da un una per il con architetto franc fra hacked alfred
muir lions hung mc aj_aj dark fart stan lodi lodge cole dai ali dash steel jean-victor bali joel col ted reed
kurt cagle anthony gabriel giles sergio montes""".split()
)
SINGULAR = {
    "mammals": "mammal",
    "birds": "bird",
    "bugs": "bug",
    "horses": "horse",
    "dogs": "dog",
    "big_cats": "big cat",
    "housecats": "cat",
    "bears": "bear",
    "dinosaurs": "dinosaur",
    "homes": "house",
    "buildings": "building",
    "flags": "flag",
    "games": "game",
    "cards": "card",
    "sports": "sport",
    "desserts": "dessert",
    "beverages": "drink",
    "vegetables": "vegetable",
    "meats_and_eggs": "meat",
    "breads_and_carbs": "bread",
    "vehicles": "vehicle",
    "roadsigns": "road sign",
    "map_symbols": "map sign",
    "aiga-symbols": "sign",
    "tools": "tool",
    "weapons": "weapon",
    "arrows": "arrow",
    "stars": "star",
    "patterns": "pattern",
    "gradients": "gradient",
    "smilies": "smiley",
    "stickmen": "stick figure",
    "bodypart": "body part",
    "toys": "toy",
    "trees": "tree",
    "flowers": "flower",
    "plants": "plant",
    "books": "book",
    "clocks": "clock",
    "hats": "hat",
    "buttons": "button",
    "icons": "icon",
    "signs_and_symbols": "sign",
    "containers": "container",
    "shapes": "shape",
    "decorations": "decoration",
    "animals": "animal",
    "people": "person",
    "mimetypes": "file icon",
    "apps": "program icon",
    "applications": "program icon",
    "action": "icon",
    "actions": "icon",
    "device": "device icon",
    "devices": "device icon",
    "filesystems": "folder icon",
    "folders": "folder",
    "pantyhose": "stocking",
    "connectors": "connector",
    "awards": "award",
}


def words_of(text):
    """Plain lower-case words of a name, without digits and signs."""
    return [w for w in re.split(r"[^a-z]+", text.lower().replace("'", "")) if w]


def clipart_caption(path, known):
    """A caption out of the folder and the file name: kind first, then what is known of it."""
    parts = path.relative_to(CLIPART).parts[:-1]
    kind = next((SINGULAR[p] for p in reversed(parts) if p in SINGULAR), parts[0])
    name = [w for w in words_of(path.stem) if len(w) > 2 and w in known and w not in NOISE]
    words = words_of(kind)
    return words + [w for w in dict.fromkeys(name) if w not in words][:4]


def clipart_rgba(path):
    """The drawing with its white surroundings, if it has any, made transparent."""
    with Image.open(path) as raw:
        if raw.size[0] * raw.size[1] > 4_000_000:
            return None
        picture = raw.convert("RGBA")
    picture.thumbnail((128, 128), Image.LANCZOS)
    w, h = picture.size
    if min(picture.size) < 8 or max(picture.size) > 6 * min(picture.size):
        return None
    for corner in [(0, 0), (w - 1, 0), (0, h - 1), (w - 1, h - 1)]:
        if picture.getpixel(corner)[3] == 255 and min(picture.getpixel(corner)[:3]) > 240:
            ImageDraw.floodfill(picture, corner, (255, 255, 255, 0), thresh=24)
    return picture


def clipart():
    """Yields (tile, words) for the clip art; drawings in dark lines are inverted to be seen on black."""
    known = {w.strip().lower() for w in WORDS.read_text().splitlines() if "'" not in w}
    taken = {}
    for path in sorted(CLIPART.rglob("*.png")):
        parts = path.relative_to(CLIPART).parts[:-1]
        if CLIPART_SKIP & set(parts):
            continue
        folder = path.parent.name
        key = next((p for p in reversed(parts) if p in CLIPART_CAPS), folder)
        if taken.get(key, 0) >= CLIPART_CAPS.get(key, 300):
            continue
        rgba = clipart_rgba(path)
        tile = None if rgba is None else to_tile(rgba)
        if tile is None:
            continue
        if tile.max(axis=2).mean() < 20:
            r, g, b, a = rgba.split()
            flipped = Image.merge("RGBA", [c.point(lambda v: 255 - v) for c in (r, g, b)] + [a])
            tile = to_tile(flipped)
        words = clipart_caption(path, known)
        if words[-1] != "icon":
            taken[key] = taken.get(key, 0) + 1
            yield tile, words


def world():
    """Emoji and clip art together: uint8 tiles [n, 32, 32, 3] and their captions.

    Leaves out flat pictures, exact repeats, and whatever is named with a class word,
    so that a class word means its garment and nothing else.
    """
    banned = set(CLASSES) | {c + "s" for c in CLASSES} | {"trousers", "dresses", "clothes", "shirts"}
    tiles, captions, seen = [], [], set()
    for tile, words in list(emoji()) + list(clipart()):
        digest = hashlib.blake2b(tile.tobytes(), digest_size=16).digest()
        if digest in seen or tile.std() < 12 or banned & set(words):
            continue
        seen.add(digest)
        tiles.append(tile)
        captions.append(" ".join(words[:9]))
    return np.stack(tiles), captions
