"""A small store for all tests: classes, features and pictures of another program, and outliers sampled from
them."""

import re
import shutil
from pathlib import Path

import dream_ood
import numpy as np
import pytest

DATA = Path(__file__).parents[3] / "data"
CLASSES = ["sandal", "coat", "bag"]
WIDTH = 8
#: Features of each class.
FEATURES = 40
#: Pictures of each class.
PICTURES = 5
#: Parameters of sampling for so few.
SMALL = {
    "k": 5,
    "select": 10,
    "rounds": 3,
    "noise_per_round": 20,
    "anchors_per_round": 4,
    "keep": 2,
    "sigma": 0.2,
}


def features(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each class, and their classes."""
    random = np.random.default_rng(seed)
    centres = np.eye(len(CLASSES), WIDTH) * 4
    labels = np.repeat(np.arange(len(CLASSES)), FEATURES)
    return (centres[labels] + random.normal(size=(len(labels), WIDTH))).astype(np.float32), labels


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Pictures that say which they are: class and place are in the first pixel."""
    labels = np.repeat(np.arange(len(CLASSES)), PICTURES)
    pixels = np.zeros((len(labels), 16, 16, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = labels
    pixels[:, 0, 0, 1] = np.tile(np.arange(PICTURES), len(CLASSES))
    pixels[:, 8:] = np.random.default_rng(1).integers(0, 255, pixels[:, 8:].shape)
    return pixels, labels


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The path of the store."""
    path = tmp_path_factory.mktemp("store") / "dream.redb"
    with dream_ood.open(path, write=True) as store:
        embeddings = store.import_class_embeddings(CLASSES, np.eye(len(CLASSES), WIDTH) * 4, alias="classes")
        store.import_features(*features(), embeddings=embeddings, alias="features")
        store.sample("features", **SMALL, alias="outliers", progress=False)
        store.import_images(*pictures(), embeddings=embeddings, alias="dreams")
    return path


@pytest.fixture
def store(made):
    """The store, open for reading."""
    with dream_ood.open(made) as store:
        yield store


@pytest.fixture
def writable(made, tmp_path):
    """A copy of the store, open for writing."""
    path = tmp_path / "copy.redb"
    shutil.copy(made, path)
    with dream_ood.open(path, write=True) as store:
        yield store


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A preset with too little of everything to mean anything."""
    text = (DATA / "presets" / "quick.toml").read_text()
    others = "|".join(["sneaker", "letters", "objects", "textures"])
    text = re.sub(rf'^  {{ name = "({others})".*\n', "", text, flags=re.MULTILINE)
    text = text.replace('"../', f'"{DATA}/')
    for key, value in {"epochs": 1, "width": 4, "steps": 2, "per_class": 4, "plain_per_class": 1}.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    file = tmp_path_factory.mktemp("preset") / "tiny.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="session")
def piped(preset, tmp_path_factory):
    """The path of a store with the runs of that preset, and the runs by part."""
    path = tmp_path_factory.mktemp("piped") / "dream.redb"
    with dream_ood.open(path, write=True) as store:
        runs = store.run_preset(preset, progress=False)
    return path, runs


@pytest.fixture
def piped_copy(piped, tmp_path):
    """A copy of that store, open for writing, and the runs."""
    path = tmp_path / "piped.redb"
    shutil.copy(piped[0], path)
    with dream_ood.open(path, write=True) as store:
        yield store, piped[1]
