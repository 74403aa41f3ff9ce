"""A Hugging Face text classifier: batches that are dicts, a network that returns more than a tensor.

    python examples/hugging_face_text.py [FOLDER]

A small BERT, built from a configuration, learns whether a word occurs in a text. Sequences differ in length, so there
is an attention mask. An *objective* tells lsweep how to get losses out of such a network and such batches.
Needs `pip install transformers`; no download, under a minute on a CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import lsweep

WORDS, LENGTH, WANTED = 40, 12, 7
Batch = dict[str, torch.Tensor]


def texts(count: int) -> Batch:
    """Token numbers, mask and labels, each with the examples along dimension 0, as a tokenizer gives them."""
    lengths = torch.randint(4, LENGTH + 1, (count, 1))
    mask = (torch.arange(LENGTH) < lengths).long()
    tokens = torch.randint(8, WORDS, (count, LENGTH)) * mask
    labels = torch.arange(count) % 2
    tokens[labels == 1, 2] = WANTED
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels}


def objective(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """What is measured: name → one value per example, (B,)."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return {
        "loss": F.cross_entropy(logits, batch["labels"], reduction="none"),
        "accuracy": (logits.argmax(dim=1) == batch["labels"]).float(),
    }


def main(folder: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    data = texts(128)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        objective(model, data)["loss"].mean().backward()
        optimiser.step()
    with torch.no_grad():
        print(f"loss {objective(model.eval(), data)['loss'].mean().item():.6f}")

    surface = lsweep.sweep(
        model, data, objective=objective, grid=13, output=folder / "hugging_face.h5", show_progress=True
    )
    lsweep.render.save([surface], folder / "hugging_face.png", kind="contour", titles=["a small BERT"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/examples"))
