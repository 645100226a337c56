"""Faults to plant in the harness, one at a time, for tests and the study of the check.

Each has been seen, or represents a kind of fault. A plant changes the input of the engine, the
requests or the build; the check gets the candidate as it should be.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from melange.baselines.zoo.catalog import open_zoo
from melange.harness.prepare import Prepared
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate


class Served(NamedTuple):
    """The engine's input: it is started with one folder, then asked for another."""

    start: Path
    prepared: Prepared


class Plant(NamedTuple):
    """One fault in one candidate."""

    fault: str
    variant: str
    candidate: str
    recipe: Callable[[Candidate], Candidate] = lambda one: one
    """Changes the recipe that is built."""
    served: Callable[[Served, Path], Served] = lambda one, scratch: one
    """Changes the engine's input."""
    code: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    """Patches the harness."""
    chat: bool = False
    """The tasks render prompts through the chat template."""
    dtype: str = ""
    """The engine's dtype; the checkpoint's if empty."""

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.fault, self.variant, "in", self.candidate)))


def _other_config(**changes: Any) -> Callable[[Served, Path], Served]:
    """Starts the engine with a checkpoint whose config differs, then asks for the candidate."""

    def change(served: Served, scratch: Path) -> Served:
        return served._replace(start=_edited(served.start, scratch, "config.json", changes))

    return change


def _other_ends(*ends: int) -> Callable[[Served, Path], Served]:
    def change(served: Served, scratch: Path) -> Served:
        eos = {"eos_token_id": list(ends)}
        return served._replace(start=_edited(served.start, scratch, "generation_config.json", eos))

    return change


def _edited(folder: Path, scratch: Path, name: str, changes: Mapping[str, Any]) -> Path:
    copy = shutil.copytree(folder, scratch / "start", dirs_exist_ok=True)
    content = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(content | dict(changes)))
    return copy


def _other_tokenizer(edit: Callable[[dict[str, Any]], None]) -> Callable[[Served, Path], Served]:
    """Encodes prompts with another tokenizer; the engine's own decodes tokens."""

    def change(served: Served, scratch: Path) -> Served:
        source = served.prepared.load.tokenizer
        copy = shutil.copytree(source, scratch / "tokenizer", dirs_exist_ok=True)
        content = json.loads((copy / "tokenizer.json").read_text())
        edit(content)
        (copy / "tokenizer.json").write_text(json.dumps(content))
        load = served.prepared.load._replace(base=copy)
        return served._replace(prepared=served.prepared._replace(load=load))

    return change


def _with_bos(content: dict[str, Any]) -> None:
    parts = [
        {"SpecialToken": {"id": "<bos>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    special = {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}}
    content["post_processor"] |= {"single": parts, "special_tokens": special}


def _space_in_front(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Prepend", "prepend": " "}


def _swapped(content: dict[str, Any]) -> None:
    """Swaps two words that are in many prompts."""
    words = content["model"]["vocab"]
    words["question"], words["answer"] = words["answer"], words["question"]


def _coefficients(change: Callable[[int, float], float]) -> Callable[[Candidate], Candidate]:
    """Changes the coefficients of a mix's members, by index."""

    def changed(candidate: Candidate) -> Candidate:
        mix = candidate.recipe
        assert isinstance(mix, LogitMix)
        members = tuple(
            one.model_copy(update={"coefficient": change(at, one.coefficient)})
            for at, one in enumerate(mix.members)
        )
        recipe = LogitMix.model_construct(**{**dict(mix), "members": members})
        return candidate.model_copy(update={"recipe": recipe})

    return changed


def _scaled_alpha(factor: float) -> Callable[[Candidate], Candidate]:
    return _coefficients(lambda at, value: value * factor if at else value)


def _without_member(place: int) -> Callable[[Candidate], Candidate]:
    return _coefficients(lambda at, value: 0.0 if at == place else value)


def _merge(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[Candidate], Candidate]:
    """Changes the models of a merge."""

    def changed(candidate: Candidate) -> Candidate:
        recipe = candidate.recipe
        assert isinstance(recipe, Weights)
        config = json.loads(json.dumps(recipe.options["config"]))
        change(config["models"])
        options = recipe.options | {"config": config}
        return candidate.model_copy(
            update={"recipe": recipe.model_copy(update={"options": options})}
        )

    return changed


def _five_percent(place: int) -> Callable[[Candidate], Candidate]:
    def change(models: list[dict[str, Any]]) -> None:
        weighted = [one for one in models if "weight" in one.get("parameters", {})]
        weighted[place]["parameters"]["weight"] *= 1.05

    return _merge(change)


def _drop_model(models: list[dict[str, Any]]) -> None:
    models.pop()


def _drop_input(candidate: Candidate) -> Candidate:
    recipe = candidate.recipe
    assert isinstance(recipe, Weights)
    shorter = recipe.model_copy(update={"inputs": recipe.inputs[1:]})
    return candidate.model_copy(update={"recipe": shorter})


@contextlib.contextmanager
def _stale(tensor: str) -> Iterator[None]:
    """A reload leaves one tensor at its value in the base, with which the engine was started. It is
    passed to the reload, because the engine notices a missing one."""
    from safetensors.torch import load_file

    from melange.harness.engines import engine
    from melange.harness.engines.reload import reload_weights

    base = open_zoo("pocket").build(["large_base"])["large_base"]
    before = load_file(base / "model.safetensors")[tensor]

    def keep_one(llm: Any, weights: Any) -> list[str]:
        from_disk = isinstance(weights, Path)
        named = load_file(weights / "model.safetensors").items() if from_disk else weights
        stale = ((name, before.to(value) if name == tensor else value) for name, value in named)
        return reload_weights(llm, stale)

    with patch.object(engine, "reload_weights", keep_one):
        yield


def _from_base(served: Served, scratch: Path) -> Served:
    return served._replace(start=open_zoo("pocket").build(["large_base"])["large_base"])


@contextlib.contextmanager
def _template_twice() -> Iterator[None]:
    from melange.harness.evaluators.lm_eval.session_lm import SessionLM

    once = SessionLM.apply_chat_template

    def twice(self: SessionLM, history: list[dict[str, str]], **more: Any) -> str:
        return once(self, [{"role": "user", "content": once(self, history, **more)}], **more)

    with patch.object(SessionLM, "apply_chat_template", twice):
        yield


@contextlib.contextmanager
def _first_token_added() -> Iterator[None]:
    """As if a template wrote the first token and the tokenizer added it again."""
    from melange.harness.evaluators.lm_eval.session_lm import SessionLM

    def added(self: SessionLM, texts: Iterable[str]) -> None:
        for text in texts:
            ids = self.tokenizer.encode(text)
            self._token_ids[text, True] = [self.tokenizer.bos_token_id, *ids]

    with patch.object(SessionLM, "_remember", added):
        yield


STALE = ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight",
         "model.layers.2.self_attn.o_proj.weight", "model.embed_tokens.weight",
         "model.layers.1.input_layernorm.weight", "model.norm.weight")  # fmt: skip
MERGES = ("soup-linear", "task-arithmetic", "ties", "dare-linear", "della", "breadcrumbs")
PROXY, ENSEMBLE = "proxy-mix-a1.0", "ensemble-logits"
PROXY_MEMBERS, ENSEMBLE_MEMBERS = (1, 2), (0, 2)
TOKENIZERS = {"a first token": _with_bos, "a space in front": _space_in_front,
              "two words swapped": _swapped}  # fmt: skip
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "another rope_theta": {"rope_parameters": {"rope_theta": 50000.0, "rope_type": "default"}},
    "scaled positions": {
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}
    },
    "another rms_norm_eps": {"rms_norm_eps": 1e-3},
}
COMMA, ONE = 14, 19
"""Token ids of the pocket zoo's tokenizer that are in many answers."""


def _plants() -> Iterator[Plant]:
    for name in ("large_mix", "soup-linear", PROXY):
        yield Plant("nothing", "", name)
    yield Plant("nothing", "with a template", "large_mix", chat=True)
    for name in ("large_mix", "soup-linear", PROXY):
        yield Plant("nothing", "in bfloat16", name, dtype="bfloat16")
    for name, changes in CONFIGS.items():
        yield Plant("another config", name, "large_mix", served=_other_config(**changes))
    for name, edit in TOKENIZERS.items():
        yield Plant("another tokenizer", name, "large_mix", served=_other_tokenizer(edit))
    for token in (COMMA, ONE):
        for name in ("large_mix", "soup-linear"):
            yield Plant("other end tokens", f"{token} too", name, served=_other_ends(2, token))
    yield from _left_out()
    for name in MERGES:
        for at in (0, 1):
            yield Plant("a coefficient off by 5 %", f"model {at}", name, _five_percent(at))
    for factor in (0.5, 0.9, 1.1, 1.5):
        yield Plant("a wrong alpha", f"times {factor}", PROXY, _scaled_alpha(factor))
    for variant, code in (("", _template_twice), ("its first token", _first_token_added)):
        yield Plant("a template twice", variant, "large_mix", code=code, chat=True)
    for name in ("large_mix", "soup-linear"):
        for tensor in STALE:
            code = functools.partial(_stale, tensor)
            yield Plant("a stale parameter", tensor, name, served=_from_base, code=code)


def _left_out() -> Iterator[Plant]:
    for name, places in ((PROXY, PROXY_MEMBERS), (ENSEMBLE, ENSEMBLE_MEMBERS)):
        for at in places:
            yield Plant("a member left out", f"member {at}", name, _without_member(at))
    yield Plant("a member left out", "the last model", "soup-linear", _merge(_drop_model))
    yield Plant("a member left out", "the first checkpoint", "swa-large_base-s0.5", _drop_input)


PLANTS = tuple(_plants())
