"""The stored run of an earlier version that ships with the tests, and its request."""

from places import DATA

STORED = DATA / "run-v1"
ASKED = ("--suite", "smoke", "--limit", 8, "--device", "cpu", "--only", "large_base",
         "--only", "small_mix", "--only", "swa*", "--only", "proxy*")  # fmt: skip
