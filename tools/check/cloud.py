"""Checks `dream export --to s3://...` and `dream import --from s3://...` on a local S3 server (moto), through
a proxy that goes away in the middle.

    pip install 'moto[server]' boto3 numpy pyarrow      # s3fs, datasets and duckdb are tried where they are
    python tools/check/cloud.py path/to/dream

The program must be built with the feature `cloud`. Everything is written below a temporary folder. It takes
five minutes, most of which the program waits for a bucket that is away.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import boto3
import numpy as np
import pyarrow.dataset
import pyarrow.fs

CLASSES, ROWS, WIDTH = 4, 20_000, 128  # 10 MB a class: more than one part of an upload


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """Passes bytes on to the server, until it has passed so many; then it is gone, until it is back."""

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.left, self.open, self.sockets = None, False, set()
        self.lock = threading.Lock()
        self.back()

    def back(self, after: int | None = None):
        self.left, self.open = after, True
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def gone(self):
        with self.lock:
            self.open = False
            for each in [self.listener, *self.sockets]:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                each.close()
            self.sockets.clear()

    def accept(self, listener: socket.socket):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.sockets |= {client, server}
            for pair in [(client, server), (server, client)]:
                threading.Thread(target=self.pass_on, args=pair, daemon=True).start()

    def pass_on(self, source: socket.socket, target: socket.socket):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
                if self.left is not None:
                    self.left -= len(data)
                    if self.left < 0 and self.open:
                        self.gone()
        except OSError:
            pass
        for each in (source, target):
            each.close()


class Check:
    def __init__(self, program: str, here: Path):
        self.program, self.here = program, here
        self.moto_port = free_port()
        self.moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(self.moto_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.direct = f"http://127.0.0.1:{self.moto_port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(self.direct + "/moto-api/").close()
                break
            except OSError:
                time.sleep(0.1)
        self.proxy = Proxy(self.moto_port)
        self.keys = {"AWS_ACCESS_KEY_ID": "check", "AWS_SECRET_ACCESS_KEY": "check"}
        self.s3 = self.client("s3")

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.direct,
            region_name="us-east-1",
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
        )

    def start(self, *args: str, **env: str) -> subprocess.Popen:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}", "AWS_REGION": "us-east-1"}
        return subprocess.Popen(
            [self.program, *args],
            cwd=self.here,
            env=kept | endpoint | self.keys | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def dream(self, *args: str, code: int = 0, says: str = "", **env: str) -> str:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=180)
        assert process.returncode == code, f"{args}: {process.returncode}, not {code}: {err}"
        assert says in err, f"{args}: {says!r} is not said in: {err}"
        return out

    def runs(self, store: str) -> list:
        keys = ("run", "digest", "alias", "status")
        runs = map(json.loads, self.dream("--store", store, "ls", "--format", "json").splitlines())
        return sorted(({key: run[key] for key in keys} for run in runs), key=lambda run: run["run"])

    def empty(self, bucket: str) -> str:
        self.s3.create_bucket(Bucket=bucket)
        return bucket

    def keys_of(self, bucket: str) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def files(self) -> dict[str, Path]:
        """What the same export to a folder wrote."""
        paths = (path for path in (self.here / "lake").rglob("*") if path.is_file())
        return {path.relative_to(self.here).as_posix(): path for path in paths}

    def whole(self, bucket: str):
        """Asserts that each run with a record in the bucket has all its rows there."""
        for key in self.keys_of(bucket):
            if "/_runs/" not in key:
                continue
            record = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            for table, rows in record["rows"].items():
                place = f"{bucket}/lake/table={table}/run_id={record['run']['id']}"
                assert self.dataset(place).count_rows() == rows, place

    def dataset(self, place: str) -> pyarrow.dataset.Dataset:
        s3 = pyarrow.fs.S3FileSystem(
            access_key=self.keys["AWS_ACCESS_KEY_ID"],
            secret_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            region="us-east-1",
            endpoint_override=f"127.0.0.1:{self.moto_port}",
            scheme="http",
        )
        return pyarrow.dataset.dataset(place, filesystem=s3, partitioning="hive")


def say(what: str):
    print(f"{time.strftime('%T')} {what}", file=sys.stderr)


def make(check: Check):
    """A store with two runs: class embeddings, and features."""
    random = np.random.default_rng(0)
    here = check.here
    here.joinpath("classes.tsv").write_text(
        "class_id\tname\ttoken_word\n" + "".join(f"{c}\tclass {c}\tword{c}\n" for c in range(CLASSES))
    )
    np.save(here / "e.npy", random.normal(size=(CLASSES, WIDTH)).astype("f4"))
    np.save(here / "f.npy", random.normal(size=(CLASSES, ROWS, WIDTH)).astype("f4"))
    check.dream("import", "class_embeddings", "e.npy", "--classes", "classes.tsv", "--alias", "classes")
    check.dream("import", "features", "f.npy", "--embeddings", "classes", "--alias", "mine")


def export(check: Check, bucket: str, **expected) -> str:
    return check.dream("export", "--to", f"s3://{bucket}/lake", **expected)


def round_trip(check: Check):
    say("round trip, idempotence, another reader")
    bucket = check.empty("whole")
    export(check, bucket, says="2 runs with 80004 rows")
    keys = check.keys_of(bucket)
    export(check, bucket, says="0 runs with 0 rows")
    assert check.keys_of(bucket) == keys
    check.whole(bucket)
    check.dream("--store", "back.redb", "import", "--from", f"s3://{bucket}/lake")
    assert check.runs("back.redb") == check.runs("dream.redb")
    again = check.dream("--store", "back.redb", "import", "--from", f"s3://{bucket}/lake", says="0 runs")
    assert again == ""
    check.dream("--store", "back.redb", "verify")
    # The layout is that of a folder, to the byte.
    check.dream("export", "--to", "lake")
    folder = check.files()
    assert folder.keys() == keys
    for key, path in folder.items():
        body = check.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == path.read_bytes(), key
    check.dream("--store", "folder.redb", "import", "--from", "lake")
    assert check.runs("folder.redb") == check.runs("dream.redb")
    one = check.dataset(f"{bucket}/lake/table=features").to_table(
        filter=pyarrow.dataset.field("class") == 2, columns=["index", "vector"]
    )
    assert one.num_rows == ROWS
    vectors = np.stack(one.sort_by("index")["vector"].to_numpy())
    assert (vectors == np.load(check.here / "f.npy")[2]).all()
    others(check, bucket)


def others(check: Check, bucket: str):
    """Hugging Face's `load_dataset`, from the bucket."""
    try:
        import datasets
        import s3fs  # noqa: F401

        datasets.disable_progress_bars()
    except ImportError as error:
        say(f"not tried: {error}")
        return
    options = {
        "key": check.keys["AWS_ACCESS_KEY_ID"],
        "secret": check.keys["AWS_SECRET_ACCESS_KEY"],
        "client_kwargs": {"endpoint_url": check.direct},
    }
    files = f"s3://{bucket}/lake/table=features/**/*.parquet"
    read = datasets.load_dataset(
        "parquet",
        data_files=files,
        split="train",
        storage_options=options,
        cache_dir=str(check.here / "hub"),
    )
    assert len(read) == CLASSES * ROWS, len(read)


def away(check: Check):
    total = sum(path.stat().st_size for path in check.files().values())
    for number, share in enumerate([0.0, 0.4, 0.95]):
        say(f"the bucket goes away after {share:.0%} of an export, and of an import")
        bucket = check.empty(f"away{number}")
        place = f"s3://{bucket}/lake"
        check.proxy.gone()
        check.proxy.back(after=int(share * total))
        export(check, bucket, code=1, says="same command goes on")
        check.whole(bucket)
        check.proxy.back()
        export(check, bucket)
        export(check, bucket, says="0 runs with 0 rows")
        check.whole(bucket)
        assert check.keys_of(bucket) == check.files().keys()
        store = f"away{number}.redb"
        check.proxy.gone()
        check.proxy.back(after=int(share * total))
        take = ["--store", store, "import", "--from", place]
        check.dream(*take, code=1, says="same command goes on")
        check.proxy.back()
        if (check.here / store).exists():
            assert all(run["status"] == "finished" for run in check.runs(store))
        check.dream(*take)
        assert check.runs(store) == check.runs("dream.redb")
        check.dream("--store", store, "verify")


def short(check: Check):
    say("the bucket is away for two seconds: nobody notices")
    bucket = check.empty("short")
    check.proxy.gone()
    check.proxy.back(after=15_000_000)
    process = check.start("export", "--to", f"s3://{bucket}/lake")
    while check.proxy.open:
        time.sleep(0.01)
    time.sleep(2)
    check.proxy.back()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    check.whole(bucket)


def stopped(check: Check):
    say("Ctrl-C while the bucket is away; a program that is killed")
    bucket = check.empty("stopped")
    check.proxy.gone()
    process = check.start("export", "--to", f"s3://{bucket}/lake")
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130, process.returncode
    assert time.monotonic() - began < 3
    check.proxy.back()
    place = f"s3://{bucket}/lake"
    check.dream("--store", "killed.redb", "import", "--from", "lake", "--run", "classes")
    out, back = ["export", "--to", place], ["import", "--from", place]
    for args, store in [(out, "dream.redb"), (back, "killed.redb")]:
        for wait in [0.1, 0.3, 0.6]:
            process = check.start("--store", store, *args)
            time.sleep(wait)
            process.kill()
            process.communicate()
        check.whole(bucket)
        check.dream("--store", store, *args)
    assert check.runs("killed.redb") == check.runs("dream.redb")
    check.dream("--store", "killed.redb", "verify")


def damaged(check: Check):
    say("objects that are damaged")
    bucket = check.empty("damaged")
    export(check, bucket)
    key = next(key for key in check.keys_of(bucket) if "table=features" in key and "class=1/" in key)
    body = check.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    middle = len(body) // 2
    flipped = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
    for number, bad in enumerate([None, b"", body[:middle], flipped]):
        if bad is None:
            check.s3.delete_object(Bucket=bucket, Key=key)
        else:
            check.s3.put_object(Bucket=bucket, Key=key, Body=bad)
        store = f"damaged{number}.redb"
        take = ["--store", store, "import", "--from", f"s3://{bucket}/lake"]
        check.dream(*take, code=1, says="error: ")
        assert all(run["status"] == "finished" for run in check.runs(store))
        assert len(check.runs(store)) == 1, "what is whole came before, and stays"
    check.s3.put_object(Bucket=bucket, Key=key, Body=body)
    check.dream(*take)
    assert check.runs(store) == check.runs("dream.redb")


def refused(check: Check):
    say("a bucket that is not there, keys that are wrong, addresses that are none")
    for args in (["export", "--to"], ["import", "--from"]):
        check.dream(*args, "s3://nowhere/lake", code=1, says="there is no such bucket")
        check.dream(*args, "ftp://a/b", code=2, says="expected a folder, s3://")
        check.dream(*args, "s3://", code=2, says="s3://")
        check.dream(*args, "az://container/lake", code=2, says="ccount")
        wrong = {"AWS_ENDPOINT_URL": "localhost:9000"}
        check.dream(*args, "s3://bucket/lake", code=2, says="the endpoint `localhost:9000`", **wrong)
    bucket = check.empty("empty")
    check.dream("import", "--from", f"s3://{bucket}/lake", code=1, says="there are no runs in it")
    # From here on moto asks who it is.
    iam = check.client("iam")
    iam.create_user(UserName="check")
    key = iam.create_access_key(UserName="check")["AccessKey"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="check", PolicyName="all", PolicyDocument=json.dumps(everything))
    nothing = iam.create_user(UserName="nobody") and iam.create_access_key(UserName="nobody")["AccessKey"]
    enforce = urllib.request.Request(check.direct + "/moto-api/reset-auth", data=b"0", method="POST")
    enforce.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(enforce).close()
    for identity, secret in [
        ("AKIAWRONG", "wrong"),
        (key["AccessKeyId"], "wrong"),
        (nothing["AccessKeyId"], nothing["SecretAccessKey"]),
    ]:
        keys = {"AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret}
        export(check, bucket, code=1, says="access is denied", **keys)
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    export(check, bucket, **keys)
    check.dream("--store", "signed.redb", "import", "--from", f"s3://{bucket}/lake", **keys)
    assert check.runs("signed.redb") == check.runs("dream.redb")


def main():
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        check = Check(program, Path(folder))
        try:
            make(check)
            for step in (round_trip, away, short, stopped, damaged, refused):
                step(check)
        finally:
            check.moto.kill()
    say("all is well")


if __name__ == "__main__":
    main()
