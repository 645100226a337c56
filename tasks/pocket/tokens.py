"""The pocket tokenizer: byte-level BPE with single digits, one token for most words."""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from melange.tasks.pocket import lexicon
from melange.tasks.pocket.corpus import base_documents
from melange.tasks.pocket.world import (
    SHIFTED_INSTRUCTION_FORMS,
    SHIFTED_KNOWLEDGE_FORMS,
    World,
    make_world,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY_SIZE = 1664
NUM_DOCUMENTS = 20_000

# Renders the question form of the tuning sets; the answer's leading space and the end of text
# are part of the answer, so that a rendered conversation tokenizes as training text does.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ 'question: ' + message['content'] + '\nanswer:' }}{% endif %}"
    "{% endfor %}"
)


@lru_cache(maxsize=4)
def train_tokenizer(world_seed: int) -> Tokenizer:
    """Learn merges from the world's own text; about two seconds, the same for the same seed."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_text(make_world(world_seed)), trainer)
    return tokenizer


def make_tokenizer(world_seed: int) -> PreTrainedTokenizerFast:
    """As transformers loads it: no token is added by itself, neither before nor after."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(world_seed),
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _tokenizer_text(world: World) -> list[str]:
    rng = random.Random(f"tokenizer {world.seed}")
    texts = [d.prompt + d.answer for d in islice(base_documents(world, rng), NUM_DOCUMENTS)]
    texts += [*SHIFTED_KNOWLEDGE_FORMS, *SHIFTED_INSTRUCTION_FORMS.values()] * 100
    # Every word a task can ask for is listed often enough to become one token.
    words = [*world.entities, *lexicon.LIST_WORDS, *lexicon.PERSONS, *lexicon.THINGS]
    words += [value for values in lexicon.ATTRIBUTE_VALUES.values() for value in values]
    return texts + [f"{word} {word}" for word in words] * 400
