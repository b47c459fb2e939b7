"""Measures data/tiny-sd: are the garments right, how different are they, how do moved tokens look?

    python check_tiny_sd.py --model ../../data/tiny-sd --sheets DIR

Everything is loaded from the saved files, as any reader of the layout would.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from models import token_table
from pictures import CLASSES, PROMPT, fashion


class Model:
    def __init__(self, folder):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
        self.scheduler = PNDMScheduler.from_pretrained(folder / "scheduler")
        self.length = self.text.config.max_position_embeddings

    def ids(self, strings):
        return torch.tensor(
            self.tokenizer(strings, padding="max_length", max_length=self.length, truncation=True)[
                "input_ids"
            ]
        )

    def token(self, word):
        ids = self.tokenizer(word)["input_ids"]
        assert len(ids) == 3, f"{word} is {len(ids) - 2} tokens"
        return ids[1]

    @torch.no_grad()
    def encode(self, strings, word=None, rows=None):
        """Prompt states; with `rows`, the k-th prompt sees rows[k] in place of the word's token row."""
        if rows is None:
            return self.text(self.ids(strings))[0]
        table, token, out = token_table(self.text).weight, self.token(word), []
        kept = table[token].clone()
        for string, row in zip(strings, rows):
            table.data[token] = row
            out.append(self.text(self.ids([string]))[0])
        table.data[token] = kept
        return torch.cat(out)

    @torch.no_grad()
    def sample(self, states, steps=20, guidance=3.0, generator=None):
        empty = self.encode([""]).expand(len(states), -1, -1)
        x = torch.randn(len(states), 4, 8, 8, generator=generator)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            both = self.unet(torch.cat([x, x]), t, torch.cat([empty, states])).sample
            plain, told = both.chunk(2)
            x = self.scheduler.step(plain + guidance * (told - plain), t, x).prev_sample
        return self.vae.decode(x / self.vae.config.scaling_factor).sample.clamp(-1, 1)


def classifier(images, labels, steps):
    """A small convolutional network trained on real garments, for judging generated ones."""

    def block(i, o):
        return [nn.Conv2d(i, o, 3, 1, 1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]

    net = nn.Sequential(
        *block(1, 24),
        *block(24, 48),
        *block(48, 96),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(96 * 16, len(CLASSES)),
    )
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        i = torch.randint(len(images), (128,))
        loss = F.cross_entropy(net(images[i]), labels[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def predict(net, images):
    return torch.cat([net(part).argmax(1) for part in images.split(500)])


def spread(images):
    """Mean distance between pictures of one class, per pixel (root mean square)."""
    flat = images.flatten(1)
    return (torch.cdist(flat, flat).sum() / (len(flat) * (len(flat) - 1)) / flat.shape[1] ** 0.5).item()


def sheet(path, images, columns, zoom=2):
    tiles = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(tiles[i : i + columns]), 1) for i in range(0, len(tiles), columns)]
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize([s * zoom for s in picture.size], Image.NEAREST).save(path)


def real_pictures(split, count):
    images, labels = fashion(split)
    pick = np.random.default_rng(0).permutation(len(images))[:count]
    return torch.from_numpy(images[pick].astype(np.float32))[:, None] / 127.5 - 1, torch.from_numpy(
        labels[pick]
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--model", type=pathlib.Path, required=True)
    p.add_argument("--sheets", type=pathlib.Path, required=True, help="folder for pictures")
    p.add_argument("--per-class", type=int, default=20)
    p.add_argument("--classifier-steps", type=int, default=700)
    p.add_argument("--moved", type=int, default=6, help="pictures a class with a moved token")
    p.add_argument("--sigmas", type=float, nargs="*", default=[0.1, 0.2])
    a = p.parse_args()
    a.sheets.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model, report = Model(a.model), {}

    table = token_table(model.text).weight.detach()
    rows = table[[model.token(c) for c in CLASSES]]
    cosine = (F.normalize(rows) @ F.normalize(rows).T)[~torch.eye(len(rows), dtype=bool)]
    report["token_norms"] = {c: round(v, 3) for c, v in zip(CLASSES, rows.norm(dim=1).tolist())}
    report["token_cosines"] = {
        "mean": round(cosine.mean().item(), 3),
        "largest": round(cosine.max().item(), 3),
        "smallest": round(cosine.min().item(), 3),
    }
    print(json.dumps(report), flush=True)

    start = time.time()
    prompts = [PROMPT + c for c in CLASSES for _ in range(a.per_class)]
    made = torch.cat([model.sample(s, generator=generator) for s in model.encode(prompts).split(100)])
    report["seconds_per_600"] = round((time.time() - start) * 600 / len(made), 1)
    sheet(a.sheets / "classes.png", made.view(10, a.per_class, 3, 32, 32)[:, :12].flatten(0, 1), 12)
    for sigma in a.sigmas:
        moved = []
        for c, row in zip(CLASSES, rows):
            noise = sigma * torch.randn(a.moved, rows.shape[1], generator=generator)
            vectors = F.normalize(F.normalize(row, dim=0) + noise) * row.norm()
            moved.append(model.sample(model.encode([PROMPT + c] * a.moved, c, vectors), generator=generator))
        sheet(a.sheets / f"moved_{sigma:.2f}.png", torch.cat(moved), 2 * a.moved)

    images, labels = real_pictures("train", 60000)
    test, truth = real_pictures("test", 2000)
    net = classifier(images, labels, a.classifier_steps)
    report["real_accuracy"] = round((predict(net, test) == truth).float().mean().item(), 4)
    gray, wanted = made.mean(1, keepdim=True), torch.arange(10).repeat_interleave(a.per_class)
    right = (predict(net, gray) == wanted).float()
    report["generated_accuracy"] = round(right.mean().item(), 4)
    report["accuracy_by_class"] = {
        c: round(v, 2) for c, v in zip(CLASSES, right.view(10, -1).mean(1).tolist())
    }
    report["spread_generated_real"] = {
        c: [round(spread(gray[wanted == k]), 3), round(spread(test[truth == k]), 3)]
        for k, c in enumerate(CLASSES)
    }
    with torch.no_grad():
        x = test[:500].expand(-1, 3, -1, -1)
        y = model.vae.decode(model.vae.encode(x).latent_dist.mode()).sample
    report["vae_mean_abs_error_of_255"] = round((x - y).abs().mean().item() * 127.5, 2)
    sheet(
        a.sheets / "vae.png",
        torch.cat([v for i in range(0, 48, 12) for v in (x[i : i + 12], y[i : i + 12].clamp(-1, 1))]),
        12,
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
