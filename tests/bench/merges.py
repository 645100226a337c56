"""Thirty merged candidates of the pocket zoo: five methods, six weights each."""

from typing import Any

from melange.harness.recipes.weights import Weights

BASE = "large_base"
TUNED = ("large_knowledge", "large_arithmetic", "large_instructions")
WEIGHTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
METHODS: dict[str, dict[str, float]] = {
    "task_arithmetic": {},
    "ties": {"density": 0.2},
    "dare_linear": {"density": 0.5},
    "dare_ties": {"density": 0.5},
    "breadcrumbs": {"density": 0.9, "gamma": 0.01},
}


def merges() -> dict[str, Weights]:
    """Recipes by name."""
    return {
        f"{method}-{weight}": merge(method, {"weight": weight} | numbers)
        for method, numbers in METHODS.items()
        for weight in WEIGHTS
    }


def merge(method: str, parameters: dict[str, float]) -> Weights:
    config: dict[str, Any] = {
        "merge_method": method,
        "base_model": BASE,
        "models": [{"model": role, "parameters": parameters} for role in TUNED],
    }
    return Weights(method="mergekit", inputs=(BASE, *TUNED), options={"config": config, "seed": 0})
