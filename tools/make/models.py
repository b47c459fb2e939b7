"""The networks of the small Stable-Diffusion-style model, and how they are saved.

Every block type is one of Stable Diffusion 1.x; only the sizes are smaller.
"""

import json
import pathlib
import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

MAX_TOKENS = 16
TEXT_WIDTH = 96
BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.42.1",
    **BETAS,
    "trained_betas": None,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "clip_sample": False,
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def make_vae():
    """32x32x3 to 8x8x4 and back."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=32,
        norm_num_groups=16,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
    )


def make_unet():
    """The noise predictor on 8x8x4 latents. Only its 4x4 level attends to the text, which is where the time
    would go."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def make_text_encoder(vocab_size):
    """A CLIP text encoder; the last two ids are the start and the end token, as in CLIP."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            hidden_act="quick_gelu",
            projection_dim=TEXT_WIDTH,
            bos_token_id=vocab_size - 2,
            eos_token_id=vocab_size - 1,
            pad_token_id=vocab_size - 1,
        )
    )


def token_table(text_encoder):
    """The table whose rows are the token embeddings T(y)."""
    return next(m for n, m in text_encoder.named_modules() if n.endswith("token_embedding"))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def halves(state, prefix=""):
    return {
        prefix + k: v.detach().to(torch.float16).contiguous()
        for k, v in state.items()
        if v.is_floating_point()
    }


def save_model(out, vae, unet, text, tokenizer_dir, scaling):
    """Writes the diffusers layout of Stable Diffusion 1.x into `out`, replacing it in one rename.

    `unet` and `text` may be modules or (module, state) pairs, so that an average can be saved.
    """
    out = pathlib.Path(out)
    tmp = out.with_name(out.name + ".new")
    shutil.rmtree(tmp, ignore_errors=True)
    shutil.copytree(tokenizer_dir, tmp / "tokenizer")
    write_json(tmp / "model_index.json", INDEX)
    for name, net, file in [
        ("vae", vae, "diffusion_pytorch_model"),
        ("text_encoder", text, "model"),
        ("unet", unet, "diffusion_pytorch_model"),
    ]:
        net, state = net if isinstance(net, tuple) else (net, net.state_dict())
        (tmp / name).mkdir()
        prefix = ""
        if name == "text_encoder":
            config = {**net.config.to_dict(), "architectures": ["CLIPTextModel"]}
            config = {k: v for k, v in config.items() if k in TEXT_KEYS}
            # transformers 5 drops the prefix that Stable Diffusion 1.x checkpoints have.
            prefix = "" if any(k.startswith("text_model.") for k in state) else "text_model."
        else:
            config = {
                "_class_name": type(net).__name__,
                "_diffusers_version": "0.42.1",
                **{k: v for k, v in net.config.items() if not k.startswith("_")},
            }
        if name == "vae":
            config["scaling_factor"] = round(float(scaling), 5)
        write_json(tmp / name / "config.json", config)
        weights = tmp / name / f"{file}.safetensors"
        save_file(halves(state, prefix), weights, {"format": "pt"})
        weights.chmod(0o644)
    (tmp / "scheduler").mkdir()
    write_json(tmp / "scheduler" / "scheduler_config.json", SCHEDULER)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    tmp.rename(out)
    shutil.rmtree(old, ignore_errors=True)


TEXT_KEYS = {
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_factor",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "projection_dim",
    "vocab_size",
}
