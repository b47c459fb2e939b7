"""Compares our residual networks with torchvision's, both ways (needs torch, torchvision, safetensors).

    cargo build --release --example resnet_features
    python check_resnet.py PROGRAM [DEPTH:CHECKPOINT.safetensors ...]

Without more: torchvision's resnet18, 34 and 50 with random weights and statistics are saved as .pth and as
.safetensors, PROGRAM (target/release/examples/resnet_features) loads them, and its features are compared with
torchvision's. Every CHECKPOINT, as `dream export checkpoint` wrote it, is loaded into torchvision's network
and compared likewise.
"""

import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import load_file, save_file


def features(net, x):
    pooled = []
    hook = net.avgpool.register_forward_hook(lambda module, given, made: pooled.append(made.flatten(1)))
    with torch.no_grad():
        logits = net.eval()(x)
    hook.remove()
    return pooled[0], logits


def ours(program, depth, state, x, folder):
    save_file({"x": x}, folder / "x.safetensors")
    subprocess.run(
        [program, str(depth), state, folder / "x.safetensors", folder / "out.safetensors"], check=True
    )
    found = load_file(folder / "out.safetensors")
    return found["features"], found["logits"]


def report(what, theirs, found):
    far = [(a - b).abs().max().item() for a, b in zip(theirs, found)]
    size = theirs[0].abs().max().item()
    print(f"{what}: features up to {size:.3g}, differ by {far[0]:.2e} at most; logits by {far[1]:.2e}")
    # A network of a few steps has statistics far from its features, which are then huge.
    return far[0] < 1e-4 * max(1, size)


def random_net(depth):
    net = getattr(torchvision.models, f"resnet{depth}")()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.2, 0.8)
            torch.nn.init.normal_(module.bias, std=0.2)
    return net


def main():
    torch.manual_seed(0)
    program, checkpoints = sys.argv[1], sys.argv[2:]
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        x = torch.randn(4, 3, 96, 80)
        for depth in [18, 34, 50] if not checkpoints else []:
            net = random_net(depth)
            torch.save(net.state_dict(), folder / "state.pth")
            save_file(net.state_dict(), folder / "state.safetensors")
            for state in ["state.pth", "state.safetensors"]:
                found = ours(program, depth, folder / state, x, folder)
                good &= report(f"resnet{depth} {state} here", features(net, x), found)
        for checkpoint in checkpoints:
            depth, path = checkpoint.split(":")
            state = load_file(path)
            state = {key: value for key, value in state.items() if not key.startswith("phi.")}
            net = getattr(torchvision.models, f"resnet{depth}")(num_classes=len(state["fc.bias"]))
            net.load_state_dict(state)
            good &= report(f"{path} in torchvision", features(net, x), ours(program, depth, path, x, folder))
    sys.exit(not good)


if __name__ == "__main__":
    main()
