"""Trains UNet and text encoder together on cached latents, and keeps their running average."""

import copy
import time

import torch
from diffusers import DDPMScheduler

from models import BETAS
from parallel import Trainer


class Average:
    """Exponential moving average of the weights of several modules."""

    def __init__(self, modules, limit=0.999):
        self.modules, self.limit, self.steps = modules, limit, 0
        self.weights = [p.detach().clone() for m in modules for p in m.parameters()]

    @torch.no_grad()
    def update(self):
        self.steps += 1
        keep = min(self.limit, (1 + self.steps) / (10 + self.steps))
        live = [p.detach() for m in self.modules for p in m.parameters()]
        torch._foreach_lerp_(self.weights, live, 1 - keep)

    def modules_averaged(self):
        """Copies of the modules that carry the averaged weights."""
        copies = [copy.deepcopy(m) for m in self.modules]
        for p, w in zip((p for m in copies for p in m.parameters()), self.weights):
            p.data.copy_(w)
        return [m.eval() for m in copies]


def train_unet(unet, text, batch, empty, clock, on_snapshot, snapshot_every, log, rate=1e-3, size=32):
    """`batch(n)` gives scaled latents and token ids; a tenth of the prompts become `empty`.

    The loss is the error of the predicted noise, weighted by min-SNR (gamma 5).
    `on_snapshot(unet, text)` gets the averaged modules every `snapshot_every` seconds.
    Returns the averaged modules and the number of steps taken.
    """
    noise = DDPMScheduler(**BETAS)
    ratio = noise.alphas_cumprod / (1 - noise.alphas_cumprod)
    weight = torch.minimum(ratio, torch.tensor(5.0)) / ratio
    weight = weight / weight.mean()
    unet.train()
    text.train()
    trainer = Trainer([*unet.parameters(), *text.parameters()], rate, clock, warmup=200, weight_decay=1e-3)
    average = Average([unet, text])
    last, going = time.time(), True
    while going:
        latents, ids = batch(size)
        ids = torch.where(torch.rand(size, 1) < 0.1, empty, ids)
        target = torch.randn_like(latents)
        # Spread over the steps evenly: one time in each of `size` equal slices.
        t = ((torch.randperm(size) + torch.rand(size)) * (1000 / size)).long()
        guess = unet(noise.add_noise(latents, target, t), t, text(ids)[0]).sample
        going = trainer.update((((guess - target) ** 2).mean((1, 2, 3)) * weight[t]).mean())
        average.update()
        if trainer.step % 100 == 0:
            log(f"unet step {trainer.step}: loss {trainer.loss:.4f}")
        if time.time() - last > snapshot_every:
            on_snapshot(*average.modules_averaged())
            last = time.time()
    return *average.modules_averaged(), trainer.step
