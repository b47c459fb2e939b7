"""diffusers on the steps of decoding: the peer of `benches/diffusion.rs`. Needs torch, diffusers and
transformers.

    python tools/bench/diffusion.py [--model data/tiny-sd] [--threads 2] [--together 40] [--repeat 5]
    [--no-pictures]

Times are the median of the repeats, f32 on the CPU.
"""

import argparse
import pathlib
import resource
import statistics
import time

import torch
from diffusers import StableDiffusionPipeline

PROMPT = "A high-quality image of the shirt"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bundled = pathlib.Path(__file__).parents[2] / "data" / "tiny-sd"
    parser.add_argument("--model", type=pathlib.Path, default=bundled)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--together", type=int, default=40, help="pictures made together")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-pictures", action="store_true", help="leave out whole pictures of 20 steps")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    def measure(name, run, warm=True):
        if warm:
            run()
        seconds = []
        for _ in range(args.repeat):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(
            f"{name}: {statistics.median(seconds) * 1e3:.1f} ms (best {min(seconds) * 1e3:.1f})", flush=True
        )
        return statistics.median(seconds)

    def load():
        return StableDiffusionPipeline.from_pretrained(
            args.model, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )

    start = time.perf_counter()
    pipe = load()
    print(f"load: {(time.perf_counter() - start) * 1e3:.0f} ms")
    pipe.set_progress_bar_config(disable=True)
    unet, vae, text, tokenizer = pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer
    size = unet.config.sample_size

    def encode():
        ids = tokenizer(
            PROMPT,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
            max_length=tokenizer.model_max_length,
        ).input_ids
        return text(ids)[0]

    with torch.inference_mode():
        measure("prompt", encode)
        states = encode().expand(2, -1, -1).contiguous()
        latents = torch.randn(2, unet.config.in_channels, size, size)
        measure("unet, 2 images", lambda: unet(latents, 500, states).sample)
        measure("vae, 1 image", lambda: vae.decode(latents[:1]).sample)
        if not args.no_pictures:
            seconds = measure(
                "pictures of 20 steps",
                lambda: pipe(
                    [PROMPT] * args.together, num_inference_steps=20, guidance_scale=3.0, output_type="np"
                ),
            )
            print(f"{args.together / seconds:.1f} pictures a second")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
