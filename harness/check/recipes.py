"""Builds candidates from their recipes independently of the harness.

Averages by their formula over whole models, merges by mergekit, adapters by peft beside the
weights. Anything else is read from the folder that was built for it.
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melange.harness.check import averages
from melange.harness.check.models import (
    Made,
    Model,
    UncheckableError,
    computed_in,
    context_length,
    end_tokens,
    load_model,
    load_tokenizer,
)
from melange.harness.check.reference import Reference, Voice
from melange.harness.check.subject import Subject

if TYPE_CHECKING:
    from melange.harness.recipes.logit_mix import LogitMix, Member
    from melange.harness.recipes.weights import Weights

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "generation_config.json", "*.jinja",
              "vocab.*", "merges.txt", "added_tokens.json")  # fmt: skip


def reference_of(subject: Subject, scratch: Path, device: str) -> Reference:
    """
    Raises:
        UncheckableError: transformers cannot run it, or nothing here can build it.
    """
    recipe = subject.candidate.recipe
    if recipe.kind not in KINDS:
        raise UncheckableError(f"there is no independent way to build a {recipe.kind}")
    found = KINDS[recipe.kind](recipe, subject, scratch, device)
    return dataclasses.replace(found, context_length=subject.max_model_len or found.context_length)


def _reference(voices: Sequence[Voice], folder: Path, **more: Any) -> Reference:
    tokenizer = load_tokenizer(folder)
    lengths = [length for one in voices if (length := context_length(one.model)) is not None]
    return Reference(
        voices=voices,
        tokenizer=tokenizer,
        ends=end_tokens(folder, tokenizer),
        context_length=min(lengths, default=None),
        **more,
    )


def _mix(recipe: "LogitMix", subject: Subject, scratch: Path, device: str) -> Reference:
    voices = [
        Voice(
            _member(member, subject, device),
            member.coefficient,
            load_tokenizer(subject.folder(member.role)) if member.own_prompt else None,
        )
        for member in recipe.members
    ]
    base = subject.folder(recipe.base)
    return _reference(voices, base, combine=recipe.combine, made_by="a loop over its members")


def _member(member: "Member", subject: Subject, device: str) -> Model:
    if not member.adapter:
        return cached_model(subject.folder(member.role), device)
    return _adapted(subject.folder(member.role), subject.folder(member.adapter), device)


def _alone(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Reference:
    made = _made(recipe, subject, scratch, device)
    return _reference([Voice(made.model)], made.folder, made_by=made.how)


def _made(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    if recipe.method in MAKERS:
        return MAKERS[recipe.method](recipe, subject, scratch, device)
    if subject.built is None:
        raise UncheckableError(f"there is no independent way to build what {recipe.method} builds")
    return Made(load_model(subject.built, device=device), subject.built, "the folder built for it")


def _checkpoint(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    folder = subject.folder(recipe.inputs[0])
    return Made(cached_model(folder, device), folder, "its own files")


def _merged(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    """mergekit's own output: merged in float32, in the base's dtype, unless the recipe sets one."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    config = dict(recipe.options["config"])
    base = config.get("base_model")
    base_folder = subject.folder(base if isinstance(base, str) else recipe.inputs[0])
    if not {"dtype", "out_dtype"} & config.keys():
        config |= {"dtype": "float32", "out_dtype": str(computed_in(base_folder)).split(".")[-1]}
    own_tokenizer = bool({"tokenizer", "tokenizer_source"} & config.keys())
    out = scratch / "merged"
    options = MergeOptions(
        write_model_card=False,
        quiet=True,
        random_seed=int(recipe.options["seed"]),
        copy_tokenizer=own_tokenizer,
    )
    run_merge(MergeConfiguration.model_validate(_over_folders(config, subject)), str(out), options)
    if not own_tokenizer:
        _copy_companions(base_folder, out)
    return Made(load_model(out, device=device), out, "mergekit's own output")


def _over_folders(part: Any, subject: Subject) -> Any:
    """The recipe with each role's folder; as a mapping, since in a string `@` marks a revision."""
    if isinstance(part, list):
        return [_over_folders(one, subject) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {"model": {"path": str(subject.folder(value))}}
        if key in ("model", "base_model", "source", "tokenizer_source")
        and isinstance(value, str)
        and value not in ("base", "union")
        else _over_folders(value, subject)
        for key, value in part.items()
    }


def _copy_companions(source: Path, out: Path) -> None:
    for pattern in COMPANIONS:
        for file in source.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, out / file.name)


def _with_adapter(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    base, adapter = (subject.folder(role) for role in recipe.inputs)
    return Made(_adapted(base, adapter, device), base, "its base with the adapter beside it")


def _adapted(base: Path, adapter: Path, device: str) -> Model:
    """The low-rank updates are computed beside the weights, not merged into them."""
    from peft import PeftModel

    return PeftModel.from_pretrained(load_model(base, device=device), str(adapter)).eval()


@functools.lru_cache(maxsize=8)
def _small_model(folder: Path, device: str) -> Model:
    return load_model(folder, device=device)


def cached_model(folder: Path, device: str) -> Model:
    """Caches small checkpoints, as the next mix often has the same members."""
    small = sum(file.stat().st_size for file in folder.glob("*.safetensors")) < SMALL_BYTES
    return _small_model(folder, device) if small else load_model(folder, device=device)


SMALL_BYTES = 100 * 2**20
Maker = Callable[["Weights", Subject, Path, str], Made]
MAKERS: Mapping[str, Maker] = {
    "checkpoint": _checkpoint,
    "swa": averages.uniform,
    "lawa": averages.uniform,
    "ema": averages.exponential,
    "moe": averages.mixture,
    "mergekit": _merged,
    "adapter": _with_adapter,
}
"""By the method's name."""
KINDS: Mapping[str, Callable[[Any, Subject, Path, str], Reference]] = {
    "weights": _alone,
    "logit_mix": _mix,
}
"""By the recipe's kind."""
