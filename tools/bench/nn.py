"""PyTorch on the shapes of benches/nn.rs: `python tools/bench/nn.py [THREADS]` (default 2).

Prints the best and the median milliseconds of forward + backward. `cargo bench --bench nn` measures the same
in Rust; run the two in turns, since other work on the machine moves both.
"""

import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def resnet(counts, width):
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage, count in enumerate(counts):
        for i in range(count):
            layers.append(Block(channels, width << stage, 2 if stage and not i else 1))
            channels = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def measure(name, step, times):
    step()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        step()
        found.append((time.perf_counter() - start) * 1e3)
    print(f"{name}: best {min(found):.1f} ms, median {statistics.median(found):.1f} ms", flush=True)


def convolution(batch, channels, side):
    x = torch.randn(batch, channels, side, side, requires_grad=True)
    w = torch.randn(channels, channels, 3, 3, requires_grad=True)

    def step():
        x.grad = w.grad = None
        F.conv2d(x, w, padding=1).sum().backward()

    measure(f"conv/{channels}x{side}x{side}/batch{batch}", step, 10)


def network(name, counts, width, batch, times):
    net = resnet(counts, width)
    x, y = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10

    def step():
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()

    measure(f"{name}/width{width}/batch{batch}", step, times)


convolution(64, 64, 32)
convolution(64, 32, 28)
for batch in (64, 128, 256):
    network("resnet10", [1, 1, 1, 1], 16, batch, 10)
for batch in (64, 128):
    network("resnet18", [2, 2, 2, 2], 16, batch, 6)
network("resnet10", [1, 1, 1, 1], 64, 64, 3)
network("resnet18", [2, 2, 2, 2], 64, 64, 3)
network("resnet18", [2, 2, 2, 2], 64, 128, 2)
