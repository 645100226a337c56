"""Compares weight averaging, merging, mixtures of experts and proxy-tuning.

The four packages are links to the top-level folders: checkout, wheel and tools see one package.
"""

__version__ = "0.1.0"
