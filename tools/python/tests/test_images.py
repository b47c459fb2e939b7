"""Pictures as arrays, objects of PIL and data sets of Hugging Face."""

import io
import pickle

import numpy as np
import PIL.Image
import pytest
from conftest import PICTURES, pictures
from dream_ood import errors


def test_pictures_are_what_was_taken_in(store):
    pixels, labels = pictures()
    images = store.images("dreams")
    assert len(images) == len(pixels) and np.array_equal(images.class_id, labels)
    assert np.array_equal(images.numpy(), pixels)
    assert np.array_equal(np.asarray(images[-1]), pixels[-1]) and images[0].size == (16, 16)
    assert [np.asarray(picture)[0, 0, 1] for picture in images] == list(range(PICTURES)) * 3
    assert images.class_name[7] == "coat" and images.index[7] == 2 and images.outlier[7] == -1
    order = [14, 0, 7, 7]
    assert np.array_equal(images.numpy(order), pixels[order])
    assert PIL.Image.open(io.BytesIO(images.pngs([3])[0])).format == "PNG"


def test_pictures_of_a_class(store):
    images = store.images("dreams", class_="coat")
    assert len(images) == PICTURES and set(images.class_name) == {"coat"}
    assert len(store.images("dreams", class_=2)) == PICTURES
    assert pickle.loads(pickle.dumps(images)).numpy().tolist() == images.numpy().tolist()
    with pytest.raises(errors.MissingError, match="coad"):
        store.images("dreams", class_="coad")
    with pytest.raises(IndexError, match="no picture 5"):
        images[5]


def test_a_run_without_pictures_has_none(store):
    images = store.images("outliers")
    assert len(images) == 0 and images.numpy().shape == (0, 0, 0, 3) and list(images) == []


def test_a_data_set_of_hugging_face(store):
    datasets = pytest.importorskip("datasets", reason="`datasets` is not installed")
    found = store.images("dreams").to_datasets()
    assert isinstance(found, datasets.Dataset) and found.features["image"] == datasets.Image()
    pixels, labels = pictures()
    assert (
        np.array_equal(np.asarray(found[4]["image"]), pixels[4]) and found["class_id"][:] == labels.tolist()
    )
    assert found.filter(lambda row: row["class_name"] == "bag").num_rows == PICTURES
    streamed = store.images("dreams", class_="bag").to_datasets(streaming=True)
    rows = list(streamed)
    assert len(rows) == PICTURES and np.array_equal(np.asarray(rows[0]["image"]), pixels[2 * PICTURES])
