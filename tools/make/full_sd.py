"""Writes a model of Stable Diffusion 1.x's full size with random weights, to try memory, speed and file
forms.

    python full_sd.py --out DIR [--dtype f32|f16] [--seed 0] [--layout diffusers|compvis]

The configuration files are those of Stable Diffusion 1.4; the pictures are noise. CLIP's vocabulary is not
ours to ship, so a tokenizer of its form and size is made: the class words of `data/classes` and a few English
ones are single tokens, other words fall apart into letters, and pairs of unusual bytes fill the vocabulary up
to 49408 entries. So begin and end marks have CLIP's own ids, 49406 and 49407.

`--layout compvis` writes one file instead, DIR/model.safetensors, with the tensor names of the original code,
and the tokenizer beside it.
"""

import argparse
import csv
import itertools
import json
import pathlib
import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from compvis import to_compvis
from models import BETAS, INDEX, write_json
from tokenizer import END, START, byte_alphabet, train_tokenizer

VOCABULARY, MAX_TOKENS = 49408, 77
CLASSES = pathlib.Path(__file__).parents[2] / "data" / "classes"
WORDS = """a an the of in on at and with by for from to is this that photo picture image painting drawing
sketch close up high quality low resolution bright dark good bad small large red green blue black
white yellow dog cat car house tree person animal bird fish flower box bite water blurry cropped
centered background""".split()
TYPES = {"f32": torch.float32, "f16": torch.float16}

TEXT = {
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": MAX_TOKENS,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "vocab_size": VOCABULARY,
}
UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.2.2",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.2.2",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.7.0.dev0",
    **BETAS,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def class_words():
    """The class words of all presets."""
    for path in sorted(CLASSES.glob("*.tsv")):
        with open(path, newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                yield row["token_word"].lower()


def write_tokenizer(out):
    """A tokenizer in CLIP's format and of its size."""
    words = sorted(set(WORDS) | set(class_words()))
    train_tokenizer([], words, VOCABULARY - 1000, MAX_TOKENS, out)
    vocab = list(json.loads((out / "vocab.json").read_text()))[:-2]
    merges = (out / "merges.txt").read_text()
    # Pairs of bytes that no English text has, in a fixed order; they come last, so that no word is cut
    # otherwise.
    rare = [c for c in byte_alphabet() if not c.isascii()]
    common = [c for c in byte_alphabet() if c.isascii()]
    pairs = itertools.chain(
        itertools.product(rare, rare),
        itertools.product(rare, common),
        itertools.product(rare, (c + "</w>" for c in rare + common)),
    )
    known, lines = set(vocab), []
    for a, b in itertools.islice((p for p in pairs if p[0] + p[1] not in known), VOCABULARY - 2 - len(vocab)):
        vocab.append(a + b)
        lines.append(f"{a} {b}\n")
    vocab += [START, END]
    assert len(vocab) == len(set(vocab)) == VOCABULARY, len(vocab)
    (out / "vocab.json").write_text(
        json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False) + "\n"
    )
    (out / "merges.txt").write_text(merges + "".join(lines))


def make(kind, seed):
    """One network with PyTorch's initial weights."""
    torch.manual_seed(seed)
    if kind == "text_encoder":
        return CLIPTextModel(CLIPTextConfig(**{k: v for k, v in TEXT.items() if k != "architectures"}))
    config, network = {"unet": (UNET, UNet2DConditionModel), "vae": (VAE, AutoencoderKL)}[kind]
    return network(**{k: v for k, v in config.items() if not k.startswith("_")})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True, help="a folder that is not there yet")
    p.add_argument("--dtype", choices=TYPES, default="f32")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--layout", choices=["diffusers", "compvis"], default="diffusers")
    a = p.parse_args()
    torch.set_grad_enabled(False)
    a.out.mkdir(parents=True)
    write_tokenizer(a.out / "tokenizer")
    write_json(a.out / "model_index.json", INDEX)
    for folder, file, config in [
        ("scheduler", "scheduler_config", SCHEDULER),
        ("text_encoder", "config", TEXT),
        ("unet", "config", UNET),
        ("vae", "config", VAE),
    ]:
        (a.out / folder).mkdir()
        write_json(a.out / folder / f"{file}.json", config)
    for kind in ["text_encoder", "unet", "vae"]:
        # One after another, so that the largest alone must fit into memory.
        state = {
            k: v.to(TYPES[a.dtype]).contiguous()
            for k, v in make(kind, a.seed).state_dict().items()
            if v.is_floating_point()
        }
        if kind == "text_encoder":
            # transformers 5 drops the prefix and the buffer that Stable Diffusion 1.x checkpoints have.
            state = {k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in state.items()}
            state["text_model.embeddings.position_ids"] = torch.arange(MAX_TOKENS)[None]
        file = "model" if kind == "text_encoder" else "diffusion_pytorch_model"
        path = a.out / kind / f"{file}.safetensors"
        save_file(state, path, {"format": "pt"})
        path.chmod(0o644)
        print(
            f"{path}: {sum(v.numel() for v in state.values()):,} numbers, {path.stat().st_size:,} bytes",
            flush=True,
        )
        del state
    if a.layout == "compvis":
        parts = {
            kind: load_file(next((a.out / kind).glob("*.safetensors")))
            for kind in ["text_encoder", "unet", "vae"]
        }
        save_file(to_compvis(parts), a.out / "model.safetensors", {"format": "pt"})
        for folder in ["text_encoder", "unet", "vae", "scheduler"]:
            shutil.rmtree(a.out / folder)
        (a.out / "model_index.json").unlink()


if __name__ == "__main__":
    main()
