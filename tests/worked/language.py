"""Vocabularies of language models."""

from __future__ import annotations

import torch

from worked.job import Job, random


def jobs() -> list[Job]:
    return [vocabulary_padded(13, 16), vocabulary_padded(6, 24), vocabulary_padded(15, 16)]


def vocabulary_padded(words: int, rows: int) -> Job:
    """The last row stands in for those that are wanting, as Megatron's saver has it."""
    table = random(words, 4)
    padded = torch.cat([table, table[-1:].expand(rows - words, 4)])
    norm = random(4)
    return Job(
        f"vocabulary of {words} padded to {rows}",
        "vocab_padded",
        {"model.embed_tokens.weight": table, "model.norm.weight": norm},
        {"embedding.word_embeddings.weight": padded, "model.norm.weight": norm},
        words=("--set", f"rows={rows}"),
    )
