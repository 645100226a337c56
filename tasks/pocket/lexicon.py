"""The words of the pocket world.

Each word stands for one thing only, so that a model can spend one embedding on it and a
question has one right answer. Names of entities are invented from the seed, not listed here.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = {
    "river": _words(
        "alda brin corva delm esk fenn gaul hiver isra jorn kess lunda meer nass orva pell "
        "quen rill sava tyne"
    ),
    "animal": _words(
        "fox bear wolf otter heron crane lynx badger hare stag boar eagle raven toad viper seal "
        "bison mule camel weasel"
    ),
    "dish": _words(
        "soup stew pie curry bread porridge salad roast noodle dumpling omelet pudding risotto "
        "chowder pancake sausage broth tart waffle goulash"
    ),
    "metal": _words(
        "iron tin copper zinc gold silver lead nickel cobalt chrome steel brass bronze pewter "
        "titanium mercury platinum tungsten uranium bismuth"
    ),
    "cure": _words(
        "honey garlic ginger mint sage thyme basil clove cumin pepper vinegar salt mustard "
        "nettle fennel parsley saffron camphor ginseng licorice"
    ),
}

SUBJECT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "geography": ("river",),
    "biology": ("animal",),
    "culture": ("dish",),
    "trade": ("metal",),
    "misconceptions": ("cure",),
}

PERSONS = _words("anna bruno clara david emma felix greta hugo")
THINGS = _words("coins shells stones cards beads nuts")
GAIN_VERBS = _words("gets finds buys")
LOSS_VERBS = _words("loses sells gives")

LIST_WORDS = _words(
    "apple ball cat door egg flag glass hat ink jar key lamp map nail oven pen rope shoe tent "
    "vase wheel yarn axe box"
)
