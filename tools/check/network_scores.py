"""Makes the network and pictures of tests/fixtures/ood/network.safetensors and their scores by other people's
programs.

    python tools/check/network_scores.py OPENOOD OUT

OPENOOD is a checkout of github.com/Jingkang50/OpenOOD; its code runs from there, on the CPU. OUT is
tests/fixtures/ood. Needs torch, numpy, scikit-learn, statsmodels, faiss-cpu, pytorch-ood and safetensors. All
scores are written so that larger means in-distribution.

The network is a ResNet-10 of width 4 under torchvision's names, trained for a moment on scikit-learn's digits
0 to 3, coloured and doubled in size; it is tested on those, on digits 4 to 9 and on noise. A tensor of
expected scores is called PEER|SCORE|NAME=VALUE,NAME=VALUE; `gradient` is PyTorch's of the largest logit with
respect to the first pictures.
"""

import pathlib
import random
import sys
import types

import numpy as np
import torch
from safetensors.numpy import save_file
from scores import openood
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

CLASSES = 4
MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
STD = [0.3, 0.5, 0.6]


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))


class Net(nn.Module):
    """With the parts that OpenOOD's programs ask for."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.layer1 = nn.Sequential(Block(width, width, 1))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2))
        self.layer4 = nn.Sequential(Block(4 * width, 8 * width, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, CLASSES)
        self.feature_size = 8 * width

    def intermediate_forward(self, x, layer_index):
        x = self.stem(x)
        for layer in [self.layer1, self.layer2, self.layer3, self.layer4][:layer_index]:
            x = layer(x)
        return x

    def forward(self, x, return_feature=False, return_feature_list=False, inference=False, score_func=None):
        maps = [self.stem(x)]
        for layer in [self.layer1, self.layer2, self.layer3, self.layer4]:
            maps.append(layer(maps[-1]))
        maps[-1] = self.avgpool(maps[-1])
        features = maps[-1].flatten(1)
        logits = self.fc(features)
        if return_feature_list:
            return logits, maps
        return (logits, features) if return_feature else logits

    def get_fc(self):
        return self.fc.weight.detach().numpy(), self.fc.bias.detach().numpy()

    def get_fc_layer(self):
        return self.fc


def pictures():
    """Sets of `[n, 3, 16, 16]` bytes with their labels."""
    digits, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(labels))
    known = [i for i in order if labels[i] < CLASSES]
    strange = [i for i in order if labels[i] >= CLASSES][:12]

    def colour(rows):
        small = digits[rows].reshape(-1, 8, 8) / 16
        big = small.repeat(2, axis=1).repeat(2, axis=2)
        return np.stack([big * 230 + 10, 200 - big * 120, big**2 * 160 + 40], axis=1).round().astype(np.uint8)

    noise = np.random.RandomState(1).randint(0, 256, (10, 3, 16, 16)).astype(np.uint8)
    test = np.concatenate([colour(known[150:168]), colour(strange), noise])
    return {
        "train": (colour(known[:100]), labels[known[:100]]),
        "validation": (colour(known[100:130]), labels[known[100:130]]),
        "test": (test, np.zeros(len(test), int)),
    }


def scaled(bytes_):
    return (torch.from_numpy(bytes_).float() / 255 - MEAN) / torch.tensor(STD).view(1, 3, 1, 1)


def train(x, y):
    torch.manual_seed(0)
    net = Net()
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        for part in torch.randperm(len(x)).split(20):
            sgd.zero_grad()
            nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            sgd.step()
    return net.eval()


class Items(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y, self.name = x, y, "fixture"

    def __len__(self):
        return len(self.x)

    def __getitem__(self, at):
        return {"data": self.x[at], "data_aux": self.x[at], "label": int(self.y[at])}


def by_openood(load, net, sets):
    """Scores by OpenOOD."""
    transform = types.ModuleType("openood.preprocessors.transform")
    transform.normalization_dict = {"fixture": [[0.4, 0.5, 0.6], STD]}
    sys.modules["openood.preprocessors"] = types.ModuleType("openood.preprocessors")
    sys.modules["openood.preprocessors.transform"] = transform
    torch.cuda.FloatTensor = torch.FloatTensor
    load("postprocessors.info").num_classes_dict["fixture"] = CLASSES
    loaders = {"train" if s == "train" else "val": DataLoader(Items(*sets[s]), batch_size=20)
               for s in ("train", "validation")}
    test = sets["test"][0]

    def run(name, kind, args, used=net, prepare=lambda post: None, after=lambda post: None, dataset=None):
        dataset = types.SimpleNamespace(name=dataset or "fixture", image_size=16, num_classes=CLASSES)
        config = types.SimpleNamespace(
            dataset=dataset,
            postprocessor=types.SimpleNamespace(
                postprocessor_args=types.SimpleNamespace(**args), postprocessor_sweep=None
            ),
        )
        post = getattr(load(f"postprocessors.{name}"), kind)(config)
        prepare(post)
        post.setup(used, loaders, loaders)
        after(post)
        _, conf = post.postprocess(used, test.clone())
        return np.asarray(conf.detach(), dtype=np.float64).reshape(-1)

    out = {}
    for noise, temperature in [(0.0014, 1000), (0.02, 10)]:
        args = {"noise": noise, "temperature": temperature}
        key = f"noise={noise},temperature={temperature}"
        out[f"odin|{key}"] = run("odin_postprocessor", "ODINPostprocessor", args)
        out[f"iodin|{key}"] = run("iodin_postprocessor", "IODINPostprocessor", args)
    # OpenOOD divides this step by 0.5 whatever the network's input: `std` says so to the test.
    stages = ["stem", "stage1", "stage2", "stage3", "stage4"]
    for alpha in ([1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 2, 0.5, 1, 1]):
        args = {
            "noise": 0.0014,
            "feature_type_list": ["mean"] * 5,
            "alpha_list": alpha,
            "reduce_dim_list": ["none"] * 5,
        }
        scores = run("mds_ensemble_postprocessor", "MDSEnsemblePostprocessor", args)
        key = ",".join(f"{stage}={weight}" for stage, weight in zip(stages, alpha))
        out[f"mdsens|noise=0.0014,{key},std=0.5"] = scores
        if alpha == [0, 0, 0, 0, 1]:
            out["mahalanobis|noise=0.0014,std=0.5"] = scores
    sample = random.sample
    # Every tenth, in place of a tenth at random.
    random.sample = lambda every, count: list(every)[9::10][:count]
    for powers in (1, 5):
        args = {"powers": list(range(1, powers + 1))}
        out[f"gram|powers={powers}"] = run("gram_postprocessor", "GRAMPostprocessor", args)
    random.sample = sample
    args = {"accelerate": False, "temperature": 1}
    out["rankfeat|"] = run("rankfeat_postprocessor", "RankFeatPostprocessor", args)
    adascale = load("networks.adascale_net")
    for name, wrap in [("adascale_a", adascale.AdaScaleANet), ("adascale_l", adascale.AdaScaleLNet)]:
        for low, high, top, shifted, lam, changed in [(75, 85, 5, 4, 10, 0.05), (60, 95, 20, 10, 1, 0.3)]:
            args = {"percentile": [low, high], "k1": top, "k2": shifted, "lmbda": lam, "o": changed}
            values = list(args.values())
            key = f"low={low},high={high},top={top},shifted={shifted},lambda={lam},changed={changed}"
            out[f"{name}|{key}"] = run(
                "adascale_postprocessor", "AdaScalePostprocessor", args, wrap(net),
                after=lambda post, values=values: post.set_hyperparam(values),
            )
    for stage, pictures in [(3, 20), (1, 100)]:
        args = {
            "pre_layer_indx": stage, "lam": 0.5, "k": 1, "n_noise_samples": pictures, "sampling_ratio": 1.0,
            "use_synthetic": True,
        }

        def name(post):
            post.dataset_name = "fixture"

        def whole(post):
            post.index.nprobe = 1000
            # The batch after which OpenOOD trains the index is left out of it.
            batches = list(loaders["train"])
            post.index.add(post._compute_grad(batches[int(len(batches) * 0.8)])["grads"])

        sys.stdout, kept = open("/dev/null", "w"), sys.stdout
        try:
            scores = run("grood", "GrOODPostprocessor", args, prepare=name, after=whole)
        finally:
            sys.stdout = kept
        out[f"grood|stage={stage},mix=0.5,pictures={pictures}"] = scores
    return out


def by_pytorch_ood(net, sets):
    """Scores by pytorch-ood."""
    from pytorch_ood.detector import ODIN
    from pytorch_ood.detector.mahalanobis import MahalanobisODIN
    from pytorch_ood.detector.rankfeat import _remove_rank1

    test = sets["test"][0]
    out = {}
    for noise, temperature in [(0.0014, 1000), (0.02, 10)]:
        detector = ODIN(net, eps=noise, temperature=temperature, norm_std=STD)
        out[f"odin|noise={noise},temperature={temperature}"] = -detector.predict(test)
    x, y = sets["train"]
    detector = MahalanobisODIN(lambda x: net(x, return_feature=True)[1], eps=0.0014, norm_std=STD)
    with torch.no_grad():
        detector.fit_features(net(x, return_feature=True)[1], y)
    # Its covariance is a sum, not a mean.
    out["mahalanobis|noise=0.0014"] = -detector.predict(test) * len(x)
    with torch.no_grad():
        last = net.intermediate_forward(test, 4)
        before = net.intermediate_forward(test, 3)
        head = lambda maps: net.fc(net.avgpool(maps).flatten(1))
        both = (head(_remove_rank1(last)) + head(net.layer4(_remove_rank1(before)))) / 2
        out["rankfeat|"] = both.logsumexp(1)
    return {name: np.asarray(scores.detach(), dtype=np.float64) for name, scores in out.items()}


def names(net):
    """The network's tensors under torchvision's names."""
    state = {}
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        name = name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1.")
        state[name] = np.ascontiguousarray(tensor.numpy())
    return state


def main():
    checkout, out = sys.argv[1:]
    bytes_ = pictures()
    sets = {name: (scaled(x), torch.from_numpy(y).long()) for name, (x, y) in bytes_.items()}
    net = train(*sets["train"])
    with torch.no_grad():
        right = [(net(x).argmax(1) == y).float().mean().item() for x, y in sets.values()]
        print("accuracy in training and validation", right[:2])
    tensors = {f"net.{name}": value for name, value in names(net).items()}
    for name, (x, y) in bytes_.items():
        tensors[f"{name}.pictures"], tensors[f"{name}.labels"] = x, y.astype(np.uint32)
    x = sets["test"][0][:4].clone().requires_grad_()
    net(x).max(1).values.sum().backward()
    tensors["gradient"] = x.grad.numpy().copy()
    peers = {
        "pytorch-ood": by_pytorch_ood(net, sets),
        "openood": by_openood(openood(checkout), net, sets),
    }
    for peer, scores in peers.items():
        for score, values in scores.items():
            assert values.shape == (len(sets["test"][0]),), (peer, score, values.shape)
            print(f"  {peer}|{score}: {values[[0, 20, 35]]}, not finite {np.sum(~np.isfinite(values))}")
            tensors[f"{peer}|{score}"] = values.astype(np.float32)
    save_file(tensors, pathlib.Path(out) / "network.safetensors")


if __name__ == "__main__":
    main()
