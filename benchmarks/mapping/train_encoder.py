"""Training of an encoder of this field: all-MiniLM-L6-v2, tuned on the pairs of encoder_pairs.py.

usage: train_encoder.py DATA_FOLDER BASE_FOLDER OUTPUT_FOLDER

BASE_FOLDER holds the model's config.json, tokenizer.json and float32 model.safetensors. Needs torch,
transformers and onnx.
A step takes two batches of 96 pairs of like length; each pair's negatives are the others of its batch.
"""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path

import torch
from encoder_pairs import Pair, Pairs
from torch.nn import functional
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerBase

SCALE, BATCH, BATCHES, LEARNING_RATE, MOST_TOKENS, SEED = 20, 96, 2, 5e-5, 40, 1
CHUNK = 3840  # pairs among which batches of like length are formed


def steps_of(pairs: list[Pair], seed: int = SEED) -> list[list[list[Pair]]]:
    """Batches of like length, so that little is padding; two make a step."""
    draw, size, steps = random.Random(seed), BATCH * BATCHES, []  # noqa: S311 - an order, not a secret
    for start in range(0, len(pairs), CHUNK):
        chunk = sorted(pairs[start : start + CHUNK], key=lambda pair: max(len(pair.term), len(pair.name)))
        own = [chunk[first : first + size] for first in range(0, len(chunk) // size * size, size)]
        draw.shuffle(own)
        steps.extend([step[number::BATCHES] for number in range(BATCHES)] for step in own)
    return steps


class Encoder:
    def __init__(self, folder: Path) -> None:
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
        self.model = BertModel.from_pretrained(
            folder, add_pooling_layer=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )

    def __call__(self, texts: list[str], most_tokens: int = MOST_TOKENS) -> torch.Tensor:
        """(n, 384) rows of unit length: the mean over the tokens."""
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=most_tokens, pad_to_multiple_of=8,
            return_tensors="pt",
        )  # fmt: skip
        mask = tokens["attention_mask"][..., None].float()
        summed = (self.model(**tokens).last_hidden_state * mask).sum(1)
        return functional.normalize(summed / mask.sum(1), dim=1)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def loss_of(encoder: Encoder, batch: list[Pair]) -> torch.Tensor:
    """How unlikely each term's own name is among the batch's names, and the reverse."""
    scores = SCALE * encoder([pair.term for pair in batch]) @ encoder([pair.name for pair in batch]).T
    names = [re.sub(r"[\W_]+", " ", pair.name.lower()).strip() for pair in batch]
    same = torch.tensor(
        [
            [
                i != j and (batch[i].meaning == batch[j].meaning or names[i] == names[j])
                for j in range(len(batch))
            ]
            for i in range(len(batch))
        ]
    )
    scores, own = scores.masked_fill(same, -1e4), torch.arange(len(batch))
    return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2


def train(encoder: Encoder, steps: list[list[list[Pair]]]) -> None:
    """One pass with warm-up over a tenth, then linear decay; the embeddings of words stay as they are."""
    encoder.model.train()
    encoder.model.embeddings.requires_grad_(False)
    weights = [weight for weight in encoder.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01)
    warm, started = max(1, len(steps) // 10), time.time()
    for number, step in enumerate(steps):
        share = min((number + 1) / warm, (len(steps) - number) / (len(steps) - warm))
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * share
        optimizer.zero_grad()
        total = 0.0
        for batch in step:
            loss = loss_of(encoder, batch) / len(step)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        print(
            f"step {number + 1} of {len(steps)}: loss {total:.3f}, {time.time() - started:.0f} s", flush=True
        )


if __name__ == "__main__":
    data, base, output = (Path(argument) for argument in sys.argv[1:4])
    torch.manual_seed(SEED)
    found = Pairs(data)
    print(f"{len(found.pairs)} pairs; left out, as they are tested: {found.dropped}", flush=True)
    tuned = Encoder(base)
    train(tuned, steps_of(found.pairs))
    tuned.save(output)
