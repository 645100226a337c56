"""Upgrades what earlier versions wrote: functions over the dicts of JSON files.

The rules are frozen: they say what a version meant, whatever names recipes and metrics have now.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.metrics import METRICS
from melange.harness.records import SCHEMA_VERSION
from melange.harness.workloads import CUT

Content = dict[str, Any]
SAME_LINES = frozenset({1, SCHEMA_VERSION})
"""Versions whose lines are read as they are. In version 1 every line ends its cell, which is the
default: a cell was done if its last line was a result."""

SUITE_KEYS = {"settle": "target_relative_error"}
"""Old name -> new name."""


def upgraded_line(path: Path, number: int, content: Any) -> Content:
    """
    Raises:
        HarnessError: it is not an object, or of a newer schema.
    """
    return _checked(path, f" line {number}", content)


def upgraded_manifest(path: Path, content: Any) -> Content:
    """
    Raises:
        HarnessError: as for lines.
    """
    found = _checked(path, "", content)
    found = _manifest_of_1(found) if found.get("schema_version") == 1 else found
    suite = found.get("suite")
    if not isinstance(suite, dict):
        return found
    return found | {
        "suite": _renamed(suite),
        "workloads": [_named_as_cut(one, suite) for one in found.get("workloads") or ()],
    }


def _named_as_cut(workload: Content, suite: Content) -> Content:
    """A workload that was cut to the context once kept its name."""
    lengths = ("prompt_tokens", "output_tokens")
    asked = next(
        (one for one in suite.get("workloads") or () if one["name"] == workload["name"]), workload
    )
    if workload.get("cut_from") or all(asked[key] == workload[key] for key in lengths):
        return workload
    cut = "/".join(str(workload[key]) for key in lengths)
    name = workload["name"]
    return workload | {"name": f"{name}{CUT}{cut})", "cut_from": name}


def _renamed(suite: Content) -> Content:
    """A suite's `target_relative_error` was once called `settle`."""
    return {SUITE_KEYS.get(key, key): value for key, value in suite.items()}


def _checked(path: Path, where: str, content: Any) -> Content:
    if not isinstance(content, dict):
        raise HarnessError(f"{path}{where} holds a {type(content).__name__}, not an object")
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise HarnessError(
            f"{path} has schema {version}; this version reads up to {SCHEMA_VERSION}. "
            "Upgrade Melange, or pass --out."
        )
    return content


def _manifest_of_1(content: Content) -> Content:
    """Version 1 did not store descriptions of recipes and declarations of metrics."""
    candidates = content.get("candidates")
    known = candidates if isinstance(candidates, list) else []
    return content | {
        "schema_version": 2,
        "descriptions": {one["name"]: _described(one["recipe"]) for one in known if _named(one)},
        "metrics": [asdict(one) for one in METRICS],
    }


def _named(candidate: Any) -> bool:
    return isinstance(candidate, dict) and {"name", "recipe"} <= candidate.keys()


def _described(recipe: Any) -> Content:
    """For the kinds of version 1; any other kind is described as unknown."""
    try:
        if recipe["kind"] == "weights":
            return _weights(recipe)
        if recipe["kind"] == "logit_mix":
            return _logit_mix(recipe)
        if recipe.get("parts"):
            return _composite(recipe)
    except (AttributeError, IndexError, KeyError, TypeError):
        pass
    kind = recipe.get("kind") if isinstance(recipe, dict) else None
    said = f"a recipe of kind {kind!r}, which this version does not know"
    return {"title": said, "parts": [["Unknown", said]]}


def _weights(recipe: Content) -> Content:
    inputs, options = recipe["inputs"], recipe.get("options") or {}
    told = [[name.replace("_", " "), _plain(value)] for name, value in options.items()]
    return {
        "title": f"{recipe['method']} of {', '.join(inputs)}",
        "parts": [["Inputs", ", ".join(inputs)], *told],
        "inputs": inputs,
        "base": _base_of_weights(inputs, options),
        "plain_role": inputs[0] if len(inputs) == 1 and not options else "",
    }


def _base_of_weights(inputs: list[str], options: Mapping[str, Any]) -> str:
    """A checkpoint of role `small_math` starts from `small_base`; a merge from the base that its
    options or its inputs name."""
    named = [options.get(key) for key in ("base", "base_model")]
    given = [role for role in named if isinstance(role, str)]
    bases = [role for role in inputs if role.split("@")[0].endswith("_base")]
    size = inputs[0].partition("_")[0] if inputs else ""
    return [*given, *bases, f"{size}_base"][0].split("@")[0]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _logit_mix(recipe: Content) -> Content:
    combined = {"logits": "sum of logits", "probabilities": "mean of probabilities"}
    base, *others = recipe["members"]
    experts = [one for one in others if one["coefficient"] > 0]
    steering = ", ".join(_tuned(one) for one in experts or others)
    members = [[f"{one['coefficient']:+g} ×", _member(one)] for one in (base, *others)]
    return {
        "title": f"{recipe['method']}: {base['role']} with {steering}",
        "parts": [["At every token", combined[recipe.get("combine", "logits")]], *members],
        "inputs": list(dict.fromkeys(_roles(recipe["members"]))),
        "base": base["role"],
        "experts": [_tuned(one) for one in experts],
        "antiexperts": [one["role"] for one in others if one["coefficient"] < 0],
    }


def _roles(members: list[Content]) -> Iterator[str]:
    for one in members:
        yield from (role for role in (one["role"], one.get("adapter")) if role)


def _tuned(member: Content) -> str:
    return str(member.get("adapter") or member["role"])


def _member(member: Content) -> str:
    adapter = f" with the adapter {member['adapter']}" if member.get("adapter") else ""
    prompt = ", prompts in its own chat template" if member.get("own_prompt") else ""
    return f"{member['role']}{adapter}{prompt}"


def _composite(recipe: Content) -> Content:
    told = [_described(part) for part in recipe["parts"]]
    titles = dict.fromkeys(one["title"] for one in told)
    return {
        "title": f"{recipe['method']} of {', '.join(titles)}",
        "parts": [[f"Part {at}", one["title"]] for at, one in enumerate(told, start=1)],
        "inputs": list(dict.fromkeys(role for one in told for role in one.get("inputs", ()))),
        "base": told[0].get("base", ""),
    }
