"""Answers in the libraries that take Arrow."""

import threading

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import FEATURES, WIDTH, features
from dream_ood import errors


def test_vectors_are_what_was_taken_in(store):
    vectors, labels = features()
    assert np.array_equal(store.query("features", run="features").numpy("vector"), vectors)
    own = store.query("features", class_="coat", columns=["vector"])
    assert np.array_equal(np.asarray(own), vectors[labels == 1])
    assert own.numpy().flags.writeable and own.numpy().dtype == np.float32
    assert store.query("features", class_=np.int64(2), columns=["index"]).count() == FEATURES
    with pytest.raises(errors.RefusedError, match="class_=-1"):
        store.query("features", class_=-1)
    assert store.query("features", class_=2, limit=3).numpy("vector").shape == (3, WIDTH)


def test_every_library_takes_the_rows_as_they_are(store):
    asked = store.query("outliers", run="outliers")
    table = pa.table(asked)
    assert table.schema == pa.schema(asked) and table.schema.field("vector").type == pa.list_(
        pa.float32(), WIDTH
    )
    assert asked.to_arrow().equals(table), "the rows can be gone through again"
    frame = pl.DataFrame(asked)
    assert frame.equals(asked.to_polars()) and frame.shape == (table.num_rows, table.num_columns)
    pandas = asked.to_pandas()
    assert isinstance(pandas, pd.DataFrame) and len(pandas) == table.num_rows
    found = duckdb.sql(
        "SELECT class_name, count(*) AS n, max(knn_distance) AS far FROM asked GROUP BY 1 ORDER BY 1"
    )
    expected = pandas.groupby("class_name").knn_distance.agg(["size", "max"])
    assert found.fetchall() == [(name, n, far) for name, n, far in expected.itertuples()]
    reader = asked.reader()
    assert sum(batch.num_rows for batch in reader) == table.num_rows == asked.count()
    np.testing.assert_array_equal(np.stack(pandas.vector), asked.numpy("vector"))


def test_vectors_are_not_copied(store):
    batch = next(iter(store.query("features", columns=["vector"]).reader()))
    values = batch.column(0).flatten()
    assert batch.column(0).type == pa.list_(pa.float32(), WIDTH)
    assert values.to_numpy(zero_copy_only=True).base is not None


def test_sql_of_every_type_goes_over(store):
    asked = store.sql(
        """SELECT 1 AS i, CAST(2 AS SMALLINT) AS s, 2.5 AS d, 'text' AS t, NULL AS n, true AS b, [1, 2, 3] AS
        l, CAST('2024-02-03' AS DATE) AS day, CAST('2024-02-03T04:05:06' AS TIMESTAMP) AS at, CAST(1.25 AS
        DECIMAL(10,2)) AS m, INTERVAL '1' DAY AS span, arrow_cast('v', 'Utf8View') AS v, arrow_cast('k',
        'Dictionary(Int32, Utf8)') AS k, struct('x', 1) AS st, X'0102' AS bytes"""
    )
    (row,) = asked.to_arrow().to_pylist()
    assert (row["i"], row["s"], row["d"], row["t"], row["n"], row["b"], row["l"]) == (
        1,
        2,
        2.5,
        "text",
        None,
        True,
        [1, 2, 3],
    )
    assert str(row["day"]) == "2024-02-03" and str(row["m"]) == "1.25" and row["v"] == "v" and row["k"] == "k"
    assert list(row["st"].values()) == ["x", 1] and row["bytes"] == b"\x01\x02"
    asked.to_arrow().validate(full=True)


def test_nulls_go_over_at_any_offset(store):
    asked = store.sql(
        "SELECT CASE WHEN index % 3 = 0 THEN NULL ELSE index END AS i, "
        "CASE WHEN index % 2 = 0 THEN NULL ELSE index > 5 END AS b "
        "FROM features WHERE run <> '' ORDER BY class_id, index LIMIT 100 OFFSET 7"
    )
    table = asked.to_arrow()
    table.validate(full=True)
    expected = [(i % FEATURES) for i in range(7, 107)]
    assert table["i"].to_pylist() == [None if i % 3 == 0 else i for i in expected]
    assert table["b"].to_pylist() == [None if i % 2 == 0 else i > 5 for i in expected]


def test_an_empty_answer_has_its_schema(store):
    asked = store.query("outliers", where="knn_distance < 0")
    assert asked.to_arrow().num_rows == 0 and "vector" in asked.columns and asked.count() == 0
    assert asked.numpy("knn_distance").shape == (0,)
    assert store.query("latents").numpy("index").shape == (0,)


def test_columns_of_numpy(store):
    asked = store.query(
        "outliers", where="knn_distance > 0.1", columns=["knn_distance", "index", "class_name"]
    )
    assert asked.columns == ["knn_distance", "index", "class_name"]
    assert asked.numpy("knn_distance").dtype == np.float32 and asked.numpy("index").dtype == np.int64
    assert set(asked.numpy("class_name")) == {"sandal", "coat", "bag"}
    assert np.isnan(store.sql("SELECT CAST(NULL AS DOUBLE) AS x").numpy())
    assert store.query("runs", columns=["started_at"]).numpy().dtype == np.dtype("M8[us]")
    with pytest.raises(errors.RefusedError, match="`x` has rows without a value"):
        store.sql("SELECT CAST(NULL AS BIGINT) AS x").numpy()
    with pytest.raises(ValueError, match="one column is needed"):
        np.asarray(asked)
    assert store.query("outliers", limit=2).to_list()[1]["index"] == 1


def test_wrong_questions_are_refused_at_once(store):
    with pytest.raises(errors.RefusedError, match="only reads"):
        store.sql("DELETE FROM runs")
    with pytest.raises(errors.MissingError, match="knn_distanc.*did you mean knn_distance"):
        store.query("outliers", where="knn_distanc > 1")
    with pytest.raises(errors.RefusedError, match="no classes"):
        store.query("runs", class_="bag")
    with pytest.raises(ValueError, match="an empty list of runs"):
        store.query("outliers", run=[])
    with pytest.raises(errors.MissingError, match="there is no table"):
        store.sql("SELECT * FROM nothing")


def test_an_error_on_the_way_is_told_in_the_librarys_words(store):
    asked = store.sql("SELECT 10 / (index - 3) AS x FROM features WHERE class_id = 0")
    with pytest.raises(Exception, match="[Dd]ivide by zero"):
        asked.to_arrow()
    with pytest.raises(errors.RefusedError, match="[Dd]ivide by zero"):
        asked.count()


def test_nearest(store):
    vectors, labels = features()
    found = store.nearest("features", vectors[3], k=5, distance="l2").to_list()
    order = np.argsort(np.linalg.norm(vectors - vectors[3], axis=1))[:5]
    assert [row["class_id"] * FEATURES + row["index"] for row in found] == order.tolist()
    same = store.nearest("features", ("features", "features", "sandal", 3), k=1).to_list()
    assert same[0]["index"] == 3 and abs(same[0]["distance"]) < 1e-6
    with pytest.raises(errors.RefusedError, match="width"):
        store.nearest("features", vectors[3][:-1])
    with pytest.raises(ValueError, match="one vector is needed"):
        store.nearest("features", vectors)
    with pytest.raises(errors.RefusedError, match="not finite"):
        store.nearest("features", vectors[3] * np.nan)
    with pytest.raises(errors.MissingError, match="no table with vectors"):
        store.nearest("runs", vectors[3])


def test_many_threads_ask_one_store(store):
    found, errors_found = [], []

    def ask():
        try:
            found.append(store.sql("SELECT count(*) AS n FROM features").numpy()[0])
            found.append(store.query("features", columns=["index"]).count())
        except Exception as error:
            errors_found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors_found and set(found) == {3 * FEATURES}
