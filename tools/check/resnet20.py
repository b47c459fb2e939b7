"""Compares what `dream observe --weights` shows of CIFAR-10 with the network's own program in PyTorch.

dream export activations --run id -o id.parquet
python resnet20.py --clone pytorch_resnet_cifar10 --images SETS/cifar10/test --activations id.parquet

The run, clone and images are those of tools/bench/cifar/resnet20.sh. Needs torch, pyarrow, pillow.
"""

import argparse
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def network(clone, weights):
    """The clone's own ResNet-20, with its weights."""
    sys.path.insert(0, str(clone))
    import resnet

    net = torch.nn.DataParallel(resnet.resnet20())
    net.load_state_dict(torch.load(weights, map_location="cpu")["state_dict"])
    return net.module.eval()


def picture(path):
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
    return (pixels / 255 - MEAN) / STD


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--clone", type=pathlib.Path, required=True)
    p.add_argument("--weights", default="pretrained_models/resnet20-12fca82f.th", help="below the clone")
    p.add_argument("--images", type=pathlib.Path, required=True)
    p.add_argument("--activations", type=pathlib.Path, required=True)
    a = p.parse_args()

    net = network(a.clone, a.clone / a.weights)
    table = pq.read_table(a.activations, columns=["sample", "label", "logits", "features"]).sort_by("sample")
    ours = {name: np.array(table[name].to_pylist(), np.float32) for name in ["logits", "features"]}
    paths = sorted(a.images.glob("*/*.png"), key=lambda p: (p.parent.name, p.name))
    if len(paths) != len(table):
        raise SystemExit(f"{len(paths)} images, but activations of {len(table)}")
    seen = []
    net.linear.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        batches = [torch.stack([picture(p) for p in paths[i : i + 500]]) for i in range(0, len(paths), 500)]
        logits = torch.cat([net(batch) for batch in batches]).numpy()
    features = torch.cat(seen).numpy()
    labels = table["label"].to_numpy()
    print(f"{len(paths)} images, accuracy {100 * (logits.argmax(1) == labels).mean():.2f} % in PyTorch,")
    print(f"{100 * (ours['logits'].argmax(1) == labels).mean():.2f} % here; largest difference of")
    for name, theirs in [("logits", logits), ("features", features)]:
        difference = np.abs(ours[name] - theirs).max()
        print(f"{name}: {difference:.1e}, of numbers up to {np.abs(theirs).max():.1f}")
        if difference > 1e-3:
            raise SystemExit(f"{name} differ")


if __name__ == "__main__":
    main()
