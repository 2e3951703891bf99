"""Beforehand reaches customers before they have to ask."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout (or container folder) that holds our top-level packages."""


def _refuse_shadowed_packages() -> None:
    for name in ("flows", "rules", "models", "messaging"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or ROOT not in found.parents:
            raise ImportError(
                f"the package '{name}' found is {found}, not Beforehand's own in {ROOT}: "
                f"another distribution shadows it; uninstall that one or run from a clean virtual environment"
            )


_refuse_shadowed_packages()
