"""Many rule files, tested on all cores: each process has a small database of its own."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from beforehand.proving.prover import Outcome, Prover, Report, prove_files
from beforehand.settings import Settings

WORTH_IT = 30
"""Files from which on starting processes takes less time than it saves."""

_provers: list[Prover] = []
"""This process's own, made when it is started."""


def prove_all(
    settings: Settings,
    files: Sequence[Path],
    *,
    told: Callable[[str, Sequence[Outcome]], None] = lambda _rule, _outcomes: None,
    jobs: int | None = None,
) -> Report:
    """As ``prove_files``, on ``jobs`` processes (None: one for each core, where there are files enough)."""
    wanted = jobs or (min(os.cpu_count() or 1, 8) if len(files) >= WORTH_IT else 1)
    if wanted == 1:
        prover = Prover(settings)
        try:
            return prove_files(prover, files, facts=settings.facts, told=told)
        finally:
            prover.close()
    report = Report()
    # One thread so far, so a fork is safe, and it spares each process the imports.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(wanted, context, initializer=_begin, initargs=(settings,)) as pool:
        for part in pool.map(partial(_one, settings.facts), files, chunksize=4):
            report.add(part)
            for rule_id, outcomes in part.rules.items():
                told(rule_id, outcomes)
    return report


def _begin(settings: Settings) -> None:
    # Statements are built anew all the time and are soon done with: looking for rings among them seldom saves a tenth.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    _provers.append(Prover(settings))


def _one(facts: Path | None, file: Path) -> Report:
    return prove_files(_provers[0], [file], facts=facts)
