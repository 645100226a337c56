"""Samples for tests of the browser: each candidate is right at multiples of its period."""

EXAMPLES = 3000
HOSTILE = (
    "</script><script>document.title='owned'</script><!-- <img src=x onerror=alert(1)>\n"
    "  kept \t white space\u2028nul \0 mark \u202eabc\u202c \ufeff end &amp; \U0001f600"
)
SPELLED = (
    HOSTILE.replace("\0", "U+0000").replace("\u2028", "U+2028").replace("\u202e", "U+202E")
    .replace("\u202c", "U+202C").replace("\ufeff", "U+FEFF")
)  # fmt: skip
LONG = "start " + "word " * 2000 + "end"
WHOLE = "first it thinks, then it says so"
"""Example 9's text before the filters; of others the filters left all."""
PROMPT = "Shots.\n\nWhat is the number of example {}, in words and figures, please? A:"
PERIODS = (2, 3, 5)
"""By candidate: it is right on every example whose number is a multiple."""


def rows_of(name: str, period: int) -> list[dict]:
    rows = [
        {"example": i, "prompt": PROMPT.format(i), "target": f"{i}", "response": f"{name} says {i}",
         "logprobs": [-0.25, -1.5, -30.0], "score": float(i % period == 0)}
        for i in range(EXAMPLES)
    ]  # fmt: skip
    rows[7] |= {"response": HOSTILE, "prompt": HOSTILE, "target": HOSTILE}
    rows[8] |= {"response": LONG}
    rows = [row | {"answer": row["response"], "filtered": None} for row in rows]
    rows[9] |= {"answer": WHOLE, "filtered": {"loose": "a guess"}}
    return rows
