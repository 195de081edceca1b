"""Figures of the families of `transformers`: config, names of tensors, logits, greedy tokens.

Called by `tests.parity.reference`, in its environment.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.parity import families


def figures_of(name: str) -> dict[str, Any]:
    """What one tiny model computes, and how its folder looks."""
    kind, fields = families.CASES[name]
    config = AutoConfig.for_model(kind, **fields)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        file = folder / "model.safetensors"
        with safe_open(file, framework="np") as saved:
            shapes = {each: tuple(saved.get_slice(each).get_shape()) for each in saved.keys()}  # noqa: SIM118
        made = families.weights(shapes)
        save_file({k: np.ascontiguousarray(v) for k, v in made.items()}, file, {"format": "pt"})
        content = json.loads((folder / "config.json").read_text())

        def fresh() -> Any:
            """A new one: it remembers the longest length that it has seen."""
            model = AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32
            )
            return model.eval()

        def logits(length: int) -> np.ndarray:
            with torch.no_grad():
                inputs = torch.tensor(families.tokens(length))[None]
                return families.kept(fresh()(inputs).logits[0].numpy())

        figures = {
            "config": content,
            "tensors": {each: list(shape) for each, shape in sorted(shapes.items())},
            "logits": {str(n): logits(n) for n in (families.SHORT, families.LENGTH)},
        }
        return figures | ({"greedy": greedy(fresh())} if name in families.DECODED else {})


def greedy(model: Any) -> torch.Tensor:
    prompt = torch.tensor(families.tokens(families.PROMPT))[None]
    with torch.no_grad():
        # Without a mask it takes tokens 0 for padding.
        written = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=families.GENERATED,
            do_sample=False,
            pad_token_id=0,
        )
    return written[0, families.PROMPT :]


def every_family() -> dict[str, Any]:
    return {name: figures_of(name) for name in families.CASES}
