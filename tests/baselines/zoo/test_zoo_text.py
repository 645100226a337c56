"""The pocket zoo's training text and tokenizer change only with the spec's revision."""

import hashlib
import json
import random
from itertools import islice
from pathlib import Path

import pytest
from places import ROOT

from melange.baselines.zoo.spec import DATA_SETS, REVISION
from melange.tasks.pocket.corpus import base_documents, leading_lists, tuning_documents
from melange.tasks.pocket.tokens import make_tokenizer
from melange.tasks.pocket.world import make_world

SHARED = ROOT / "baselines" / "zoo" / "pocket" / "shared"
NUM_DOCUMENTS = 500
TEXTS = {1: "c92b6d9bb72e8ec1"}
"""Hash by revision. After an intended change of the text, raise REVISION and retrain the zoo."""


def test_a_revision_of_the_spec_has_one_text() -> None:
    world, digest = make_world(1), hashlib.sha256()
    for name in DATA_SETS:
        rng = random.Random(f"{name} 0")
        stream = (
            base_documents(world, rng) if name == "base" else tuning_documents(world, name, rng)
        )
        for document in islice(stream, NUM_DOCUMENTS):
            digest.update(f"{document.prompt}\0{document.answer}\n".encode())
    for document in leading_lists(NUM_DOCUMENTS, random.Random(0)):
        digest.update(document.answer.encode())
    assert digest.hexdigest()[:16] == TEXTS[REVISION]


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_the_shipped_tokenizer_is_the_one_that_the_world_makes(name: str, tmp_path: Path) -> None:
    make_tokenizer(1).save_pretrained(tmp_path)
    made, shipped = (folder / name for folder in (tmp_path, SHARED))
    if name.endswith(".json"):
        assert json.loads(made.read_text()) == json.loads(shipped.read_text())
    else:
        assert made.read_text() == shipped.read_text()
