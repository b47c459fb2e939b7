"""The stages on a GPU beside PyTorch and diffusers on the same card: one command, one Markdown table.

    python tools/bench/gpu.py --dream target/release/dream --model MODEL

MODEL is a Stable Diffusion 1.x in the diffusers layout (`tools/make/full_sd.py` writes one with random
weights, which cost the same). Needs numpy, pillow and torch, for the peers torchvision and diffusers; what is
missing is said and left out. Times of `dream` are differences between two runs of the whole program, one with
more steps, so that start and loading fall out, while reading pictures, augmentation, PNG, commits and
checkpoints stay in. Those of the peers are medians of the calls alone, with tensors that are on the card
already. All is made in a folder for temporary files and removed at the end. `--device cpu` tries the script
where there is no GPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = ["one", "two", "three", "four"]
# Stem, batch and side of a training step of a ResNet-34, and how many steps an epoch has.
TRAININGS = [("cifar", 256, 32, 40), ("imagenet", 160, 224, 40)]


def libraries():
    """Folders where the program finds CUDA's libraries: those of this Python's packages, then the user's."""
    try:
        import nvidia
        packages = list(nvidia.__path__)
    except ImportError:
        packages = []
    found = {str(file.parent) for package in packages for file in Path(package).glob("**/lib*.so.*")}
    return ":".join([*sorted(found), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])


class Dream:
    """The program, on a store of its own."""

    def __init__(self, program, device, folder):
        self.folder, self.device = folder, device
        self.start = [program, "--store", str(folder / "gpu.redb"), "-q"]
        self.environment = os.environ | {"LD_LIBRARY_PATH": libraries()}

    def __call__(self, *args):
        """Runs a command; returns what it printed and its seconds."""
        device = [] if args[0] == "dataset" else ["--device", self.device]
        begun = time.perf_counter()
        done = subprocess.run([*self.start, *device, *map(str, args)], capture_output=True, text=True,
                              env=self.environment)
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(f"dream {' '.join(map(str, args))}: {done.stderr.strip()[-400:]}")
        return done.stdout.strip(), seconds


def slope(run, few, many):
    """Seconds of one more unit, from runs with `few` and `many` of them, after one that is not counted."""
    run(few)
    return (run(many) - run(few)) / (many - few)


def pictures(folder, side, count):
    """A folder of random pictures, of as many classes as there are."""
    from PIL import Image

    random = np.random.default_rng(0)
    for split, number in (("train", count), ("test", 8 * len(CLASSES))):
        for i in range(number):
            place = folder / split / CLASSES[i % len(CLASSES)]
            place.mkdir(parents=True, exist_ok=True)
            picture = random.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(picture).save(place / f"{i:06}.png", compress_level=1)


def training(dream, folder, case, precision):
    """Milliseconds of a step, all that belongs to it counted."""
    stem, batch, side, steps = case
    name = f"random-{side}"
    if not (folder / name).is_dir():
        pictures(folder / name, side, batch * steps)
        dream("dataset", "add", name, folder / name)
    settings = {"depth": 34, "width": 64, "stem": stem, "size": side, "batch_size": batch, "channels": "rgb",
                "crop_padding": 4, "checkpoint_every": 100, "split": "train", "test_split": "test"}
    options = [f"--set=training.{key}={value}" for key, value in settings.items()]
    seeds = iter(range(100))  # another run each time

    def run(epochs):
        return dream("detect", "--dataset", name, "--seed", next(seeds), "--precision", precision,
                     "--epochs", epochs, *options)[1]

    return slope(run, 1, 4) / steps * 1e3


def imagining(dream, model, precision, guided):
    """Milliseconds of a step of `guided` pictures, and of decoding one and storing it."""
    embeddings = dream("embed", "--model", model, "--words", "dog", "cat")[0]
    seeds = iter(range(100))

    def made(steps, count=guided):
        return dream("imagine", "--embeddings", embeddings, "--plain", "--class", "0", "--per-class", count,
                     "--steps", steps, "--seed", next(seeds), "--precision", precision,
                     "--set", f"batch={guided}")

    step = slope(lambda steps: made(steps)[1], 5, 25) * 1e3
    run = made(2, 4 * guided)[0]

    def decoded(count):
        out = tempfile.mkdtemp(dir=dream.folder)
        first = ["--index", "0"] if count == 1 else []
        return dream("regenerate", "--run", run, "-o", out, "--force", *first)[1]

    return step, (decoded(4 * guided) - decoded(1)) / (4 * guided - 1) * 1e3


class Torch:
    """The same work by PyTorch and diffusers."""

    def __init__(self, device):
        import torch

        self.torch, self.device = torch, device
        torch.backends.cudnn.deterministic = True

    def median(self, work):
        torch, times = self.torch, []
        wait = torch.cuda.synchronize if self.device.startswith("cuda") else lambda: None
        for i in range(13 if self.device.startswith("cuda") else 3):
            wait()
            begun = time.perf_counter()
            work()
            wait()
            times.append(time.perf_counter() - begun)
        return statistics.median(times[2:]) * 1e3

    def training(self, case, precision):
        import torchvision

        torch, (stem, batch, side, _) = self.torch, case
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "f32"
        net = torchvision.models.resnet34(num_classes=len(CLASSES))
        if stem == "cifar":
            net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
            net.maxpool = torch.nn.Identity()
        net = net.to(self.device, memory_format=torch.channels_last)
        sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        x = torch.randn(batch, 3, side, side, device=self.device)
        x = x.to(memory_format=torch.channels_last)
        labels = torch.randint(0, len(CLASSES), (batch,), device=self.device)

        def step():
            sgd.zero_grad(set_to_none=True)
            kind = self.device.split(":")[0]
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = torch.nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            sgd.step()

        return self.median(step)

    def imagining(self, model, precision, guided):
        from diffusers import AutoencoderKL, UNet2DConditionModel

        torch = self.torch
        dtype = torch.float16 if precision == "f16" else torch.float32
        place = {"device": self.device, "dtype": dtype}
        with torch.inference_mode():
            unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet").to(**place)
            unet = unet.to(memory_format=torch.channels_last).eval()
            side = unet.config.sample_size
            latents = torch.randn(2 * guided, unet.config.in_channels, side, side, **place)
            latents = latents.to(memory_format=torch.channels_last)
            states = torch.randn(2 * guided, 77, unet.config.cross_attention_dim, **place)
            step = self.median(lambda: unet(latents, 500, states, return_dict=False))
            vae = AutoencoderKL.from_pretrained(model, subfolder="vae").to(**place).eval()
            one = torch.randn(1, vae.config.latent_channels, side, side, **place)
            return step, self.median(lambda: vae.decode(one, return_dict=False))


def attempt(what, work):
    """What came out; an error is said, and the rest goes on."""
    try:
        return work()
    except Exception as error:  # whatever it is: out of memory, a package that is missing
        print(f"{what}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        return None


def card():
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no GPU"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dream", default="target/release/dream")
    parser.add_argument("--model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--guided", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--json", type=Path, help="also writes the numbers there")
    args = parser.parse_args()
    program = os.path.abspath(args.dream)
    trained, painted = ("tf32", "bf16"), ("f16",)
    if args.device == "cpu":
        trained, painted = ("f32",), ("f32",)
    peer = attempt("torch", lambda: Torch(args.device))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dream = Dream(program, args.device, Path(folder))
        for case in TRAININGS:
            for precision in trained:
                what = f"ResNet-34 step, {case[1]} at {case[2]}x{case[2]}, {precision}"
                ours = attempt(what, lambda: training(dream, Path(folder), case, precision))
                theirs = peer and attempt("PyTorch: " + what, lambda: peer.training(case, precision))
                rows.append((what, ours, theirs))
        for guided in args.guided if args.model else []:
            for precision in painted:
                what = f"of {guided} guided pictures, {precision}"
                ours = attempt(what, lambda: imagining(dream, args.model, precision, guided))
                theirs = peer and attempt(
                    "diffusers: " + what, lambda: peer.imagining(args.model, precision, guided))
                for part, name in enumerate(("step ", "picture decoded, ")):
                    pick = lambda both: both and both[part]
                    rows.append((name + what, pick(ours), pick(theirs)))
    print(f"\n{card()}; milliseconds\n\n| | dream | PyTorch, diffusers | times as fast |\n|-|-|-|-|")
    for what, ours, theirs in rows:
        number = lambda ms: f"{ms:.2f}" if ms else ""
        ratio = f"{theirs / ours:.2f}" if ours and theirs else ""
        print(f"| {what} | {number(ours)} | {number(theirs)} | {ratio} |")
    if args.json:
        args.json.write_text(json.dumps({"card": card(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
