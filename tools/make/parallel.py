"""Training in several one-threaded processes that share their gradients.

On a busy machine this is much faster than one process with several threads: the
convolution kernels wait in spin loops for threads that something else has put aside.
"""

import os
import tempfile

import numpy as np
import torch
import torch.distributed as dist


def launch(work, processes, *args):
    """Runs `work(rank, *args)` in every process."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = os.path.join(folder, "meeting")
        torch.multiprocessing.spawn(_enter, (processes, meeting, work, args), processes)


def _enter(rank, processes, meeting, work, args):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    try:
        work(rank, *args)
    finally:
        dist.destroy_process_group()


class Trainer:
    """AdamW on averaged gradients, with a cosine rate over the training's progress.

    Progress is counted in seconds or in steps; process 0 decides, so that all stop together.
    """

    def __init__(self, params, peak, progress, warmup, weight_decay):
        self.params = list(params)
        self.optimizer = torch.optim.AdamW(
            self.params, peak, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
        )
        self.peak, self.clock, self.warmup = peak, progress, warmup
        self.step, self.progress, self.loss = 0, 0.0, None
        for p in self.params:
            dist.broadcast(p.data, 0)

    def update(self, loss):
        """One step down the gradient of `loss`; False when the training is over."""
        self.optimizer.zero_grad()
        loss.backward()
        done = self.clock(self.step) if dist.get_rank() == 0 else 0.0
        tail = torch.tensor([loss.item(), done * dist.get_world_size()])
        flat = torch.cat([p.grad.flatten() for p in self.params] + [tail])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        mean, self.progress = flat[-2].item(), flat[-1].item()
        self.loss = mean if self.loss is None else 0.98 * self.loss + 0.02 * mean
        flat = flat[:-2]
        flat *= min(1.0, 1.0 / (flat.norm().item() + 1e-6))
        at = 0
        for p in self.params:
            p.grad = flat[at : at + p.numel()].view_as(p)
            at += p.numel()
        rate = self.peak * min(1, (self.step + 1) / self.warmup)
        rate *= 0.5 + 0.5 * np.cos(np.pi * min(1, self.progress))
        for group in self.optimizer.param_groups:
            group["lr"] = rate + 1e-6
        self.optimizer.step()
        self.step += 1
        return self.progress < 1
