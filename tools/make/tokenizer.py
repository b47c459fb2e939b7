"""Trains a byte-pair tokenizer in CLIP's own format on the captions."""

import json
import pathlib

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

START, END, SUFFIX = "<|startoftext|>", "<|endoftext|>", "</w>"
PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|"
    r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def byte_alphabet():
    """The 256 characters that stand for bytes, in the order of CLIP's vocabulary."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


def train_tokenizer(captions, whole_words, size, max_tokens, out):
    """Writes vocab.json, merges.txt and the two config files; returns the size of the vocabulary.

    `whole_words` must become single tokens; an error says which did not.
    """
    bpe = Tokenizer(models.BPE(end_of_word_suffix=SUFFIX))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = byte_alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=alphabet,
        end_of_word_suffix=SUFFIX,
    )
    boost = [w for w in sorted(whole_words) for _ in range(2 + len(captions))]
    bpe.train_from_iterator(boost + list(captions), trainer)
    merges = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]]

    vocab = alphabet + [c + SUFFIX for c in alphabet]
    seen = set(vocab)
    for a, b in merges:
        if a + b not in seen:
            seen.add(a + b)
            vocab.append(a + b)
    vocab += [START, END]
    missing = [w for w in whole_words if w + SUFFIX not in seen]
    if missing:
        raise ValueError(f"not single tokens: {missing}; make the vocabulary larger")

    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    ids = {token: i for i, token in enumerate(vocab)}
    (out / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False) + "\n")
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {
        **special,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": max_tokens,
        "tokenizer_class": "CLIPTokenizer",
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return len(vocab)
