"""A linear reward on a language model's states. Imports torch, transformers and scipy.

P pairs, D the model's width, B texts of a batch, T their tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH = 64

Floats = NDArray[np.float64]


def last_states(folder: Path, texts: Sequence[str]) -> Floats:
    """The final hidden state at each text's last token, [N, D]."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().base_model
    found = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(list(texts[start : start + BATCH]), padding=True, return_tensors="pt")
        # Causal attention: padding on the right changes nothing before it.
        mask_BT: Tensor = batch["attention_mask"]
        with torch.inference_mode():
            states_BTD = model(batch["input_ids"], attention_mask=mask_BT).last_hidden_state
        ends_B = mask_BT.sum(dim=1) - 1
        found.append(states_BTD[torch.arange(len(ends_B)), ends_B])
    return torch.cat(found).double().numpy()


def fit_preferences(chosen_PD: Floats, rejected_PD: Floats, *, ridge: float) -> Floats:
    """Weights [D] that maximize the likelihood of the preferences, less a ridge.

    A pair is ranked correctly with probability sigmoid(reward of chosen - reward of rejected), the
    model of Bradley and Terry (1952). A bias of the head would cancel.
    """
    gaps_PD = chosen_PD - rejected_PD

    def loss(weights_D: Floats) -> tuple[float, Floats]:
        margins_P = gaps_PD @ weights_D
        wrong_P = 1 / (1 + np.exp(margins_P))
        value = np.logaddexp(0, -margins_P).mean() + ridge * weights_D @ weights_D / 2
        return value, ridge * weights_D - gaps_PD.T @ wrong_P / len(gaps_PD)

    start = np.zeros(gaps_PD.shape[1])
    found: Floats = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return found
