"""Merges across fine-tunes: a mergekit YAML whose models are roles of the zoo, or a template.

Source: Goddard et al. 2024, https://arxiv.org/abs/2403.13257. A YAML that lies in recipes/ is a
candidate: its first comment line becomes the summary, `# Source: URL` names the paper.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationInfo, field_validator

from melange.baselines.merging.templates import filled
from melange.baselines.options import Values
from melange.baselines.selection import SelectionOptions
from melange.harness.checkpoints.fit import check_alike, check_full_weights
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.checkpoints.weight_files import stored_names
from melange.harness.errors import HarnessError
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate
from melange.harness.roles import Roles

if TYPE_CHECKING:
    from torch import Tensor

RECIPES = Path(__file__).parent / "recipes"
SUFFIXES = {".yaml", ".yml"}
MODEL_KEYS = {"model", "base_model", "tokenizer_source", "source"}
NOT_MODELS = {"base", "union"}


class MergekitOptions(SelectionOptions):
    config: Values[Path]
    """Files or globs in recipes/ or, if none matches there, in the suite's folder."""
    seed: int = 0
    """Seed of DARE's and DELLA's random masks."""

    @field_validator("config", mode="after")
    @classmethod
    def find(cls, patterns: tuple[Path, ...], info: ValidationInfo) -> tuple[Path, ...]:
        folder = (info.context or {}).get("folder", Path())
        return tuple(file for pattern in patterns for file in find_recipes(str(pattern), folder))


def find_recipes(pattern: str, folder: Path) -> list[Path]:
    for place in (RECIPES, folder):
        if Path(pattern).is_absolute():
            found = [Path(pattern)] if Path(pattern).is_file() else []
        else:
            found = sorted({*place.glob(pattern), *place.glob(f"{pattern}.yaml")})
        files = [file for file in found if file.is_file() and file.suffix in SUFFIXES]
        if files:
            return files
    known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
    raise ValueError(f"no such recipe; give a YAML's path, or one of {known}")


class Mergekit:
    name = "mergekit"
    family = "merging"
    source = "https://arxiv.org/abs/2403.13257"
    options = MergekitOptions

    def candidates(self, options: MergekitOptions, roles: Roles) -> Iterator[Candidate]:
        single = len(options.config) == 1
        for file in options.config:
            text = file.read_text(encoding="utf-8")
            summary, source = leading_comments(text)
            named = f"{options.name}-{file.stem}" if options.name else file.stem
            for config, tag in filled(parse_recipe(text, file), options, roles):
                name = options.name if options.name and single else named
                yield Candidate(
                    name="-".join([name, *tag]),
                    family=self.family,
                    recipe=Weights(
                        method=self.name,
                        inputs=tuple(dict.fromkeys(model_names(config))),
                        options={"config": config, "seed": options.seed},
                    ),
                    summary=summary,
                    source=source or self.source,
                )

    def like(self, recipe: Weights) -> str | None:
        config = recipe.options["config"]
        base = named_base(config) or recipe.inputs[0]
        keeps_dtype = not {"dtype", "out_dtype"} & config.keys()
        return base if keeps_shapes(config) and keeps_dtype else None

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the inputs do not fit each other.
        """
        config = recipe.options["config"]
        names = dict.fromkeys([named_base(config) or recipe.inputs[0], *model_names(config)])
        there = [inspect(inputs[name]) for name in names if name in inputs]
        for info in there:
            check_full_weights(info)
        if keeps_shapes(config):
            check_alike(there)

    def tensors(
        self, recipe: Weights, inputs: Mapping[str, Path]
    ) -> "Iterator[tuple[str, Tensor]]":
        """
        Raises:
            HarnessError: the inputs do not fit each other, or mergekit refuses the recipe.
        """
        from melange.baselines.merging.file_names import with_file_names

        self.check(recipe, inputs)
        like = self._like(recipe, inputs)
        state = dict(merged_tensors(resolved_config(recipe, inputs), seed=recipe.options["seed"]))
        in_files = inspect(like).shapes.keys() <= state.keys()
        yield from (state if in_files else with_file_names(state, like)).items()

    def build(self, recipe: Weights, inputs: Mapping[str, Path], out: Path) -> None:
        """
        Raises:
            HarnessError: the inputs do not fit each other, or mergekit refuses the recipe.
        """
        from melange.baselines.merging.file_names import rename_files

        self.check(recipe, inputs)
        run_mergekit(resolved_config(recipe, inputs), out, seed=recipe.options["seed"])
        like = self._like(recipe, inputs)
        rename_files(out, like)
        copy_companions(like, out)

    def _like(self, recipe: Weights, inputs: Mapping[str, Path]) -> Path:
        """The input whose config the result has."""
        return inputs[named_base(recipe.options["config"]) or recipe.inputs[0]]


def parse_recipe(text: str, file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        message = f"{file}: is not YAML ({problem}); see the examples in {RECIPES}."
        raise HarnessError(message) from None
    parts = {"models", "slices", "modules"}
    if not isinstance(config, dict) or "merge_method" not in config or not parts & config.keys():
        raise HarnessError(
            f"{file}: is not a mergekit recipe; it needs merge_method and one of models, slices, "
            f"modules, as in {RECIPES.name}/ties.yaml."
        )
    if not any(model_names(config)):
        raise HarnessError(f"{file}: names no models; give each as `model: ROLE`.")
    return config


def leading_comments(text: str) -> tuple[str, str]:
    """The summary and the source from the comment lines at the top; empty if there are none."""
    comments = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comments.append(line.lstrip("# ").strip())
    sources = [line.partition(":")[2].strip() for line in comments if line.startswith("Source:")]
    summaries = [line for line in comments if line and not line.startswith("Source:")]
    return next(iter(summaries), ""), next(iter(sources), "")


def model_names(config: Any) -> Iterator[str]:
    """Names of models, in order of appearance."""
    if isinstance(config, list):
        for item in config:
            yield from model_names(item)
    elif isinstance(config, dict):
        for key, value in config.items():
            if key in MODEL_KEYS and isinstance(value, str):
                yield from () if value in NOT_MODELS else (value,)
            else:
                yield from model_names(value)


def map_models(config: Any, replace: Callable[[str], Any]) -> Any:
    """The same configuration with every model's name replaced."""
    if isinstance(config, list):
        return [map_models(item, replace) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: replace(value)
        if key in MODEL_KEYS and isinstance(value, str) and value not in NOT_MODELS
        else map_models(value, replace)
        for key, value in config.items()
    }


def named_base(config: Mapping[str, Any]) -> str | None:
    base = config.get("base_model")
    return base if isinstance(base, str) else None


def keeps_shapes(config: Mapping[str, Any]) -> bool:
    """Layer slices and tokenizer merges combine unequal models; nothing else here does."""
    return "models" in config and not {"tokenizer", "tokenizer_source"} & config.keys()


def resolved_config(recipe: Weights, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The recipe over folders: merge in float32, result in the inputs' type, unless it says so.

    In bfloat16 the small differences between fine-tunes would be rounded away. Models are given as
    mappings: in a string mergekit takes `@` for a revision, and the folder of `large_base@500` has
    one.
    """
    config = recipe.options["config"]
    base = inspect(inputs[named_base(config) or recipe.inputs[0]])
    resolved = map_models(config, lambda role: {"model": {"path": str(inputs[role])}})
    if "dtype" not in config and "out_dtype" not in config:
        resolved |= {"dtype": "float32", "out_dtype": base.dtype}
    return dict(resolved)


def run_mergekit(config: Mapping[str, Any], out: Path, *, seed: int) -> None:
    """Without a model card, for which mergekit would ask the hub."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    from melange.baselines.merging.definitions import fitting_definition

    options = MergeOptions(write_model_card=False, quiet=True, random_seed=seed)
    with explained(config):
        parsed = MergeConfiguration.model_validate(config)
        with fitting_definition(parsed, options):
            run_merge(parsed, str(out), options)


def merged_tensors(config: Mapping[str, Any], *, seed: int) -> "Iterator[tuple[str, Tensor]]":
    """The steps of mergekit's `run_merge` up to its tensors, none of which touches the disk.

    Names are those in memory, where transformers fuses tensors that files hold separately.
    """
    from mergekit.common import dtype_from_name
    from mergekit.config import MergeConfiguration
    from mergekit.graph import Executor
    from mergekit.io.tasks import LoaderCache
    from mergekit.merge import MergeOptions
    from mergekit.plan import MergePlanner
    from transformers import AutoConfig
    from transformers.trainer_utils import set_seed

    from melange.baselines.merging.definitions import fitting_definition, spellings

    set_seed(seed)
    options = MergeOptions(quiet=True, random_seed=seed)
    with explained(config):
        parsed = MergeConfiguration.model_validate(config)
        LoaderCache().setup(options=options)
        template = parsed.base_model or parsed.referenced_models()[0]
        names = stored_names(template.model.path)
        with fitting_definition(parsed, options) as definition:
            planner = MergePlanner(
                parsed,
                definition,
                options=options,
                out_model_config=AutoConfig.from_pretrained(template.model.path),
            )
            # Not `plan_in_memory`: its tasks fail pydantic's check of an abstract field (0.1.5).
            planner._plan()
        weights = {task: info for info, task in planner._tensors}
        for task, tensor in Executor(list(weights)).run(quiet=True):
            dtype = weights[task].force_dtype or parsed.out_dtype
            known = spellings(weights[task])
            name = next((one for one in known if one in names), known[0])
            yield name, tensor.to(dtype_from_name(dtype)) if dtype else tensor


@contextmanager
def explained(config: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:300]
        method = config["merge_method"]
        raise HarnessError(f"mergekit refuses this {method} recipe: {reason}") from error


METHOD = Mergekit()
