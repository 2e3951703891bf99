"""Run by test_house_imports.py in a copy of the packages: plants one import after the other and lints each time.

Reads [[file, line], ...] as JSON from stdin, writes [[broken contract, ...], ...]; ["", ""] plants nothing.
"""

import json
import sys
from pathlib import Path

from importlinter.application.use_cases import create_report, read_user_options
from importlinter.configuration import configure
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import registry


def broken() -> list[str]:
    """The names of the contracts that do not hold now."""
    report = create_report(read_user_options(".importlinter"), cache_dir=".seen")
    if report.could_not_run:
        raise SystemExit(str(report.invalid_contract_options))
    return [contract.name for contract, check in report.get_contracts_and_checks() if not check.kept]


def with_plant(name: str, line: str) -> list[str]:
    """The broken contracts while ``line`` stands at the end of the file."""
    if not name:
        return broken()
    path = Path(name)
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        return broken()
    finally:
        path.write_text(before)


if __name__ == "__main__":
    configure()
    for kind in (IndependenceContract, LayersContract, ProtectedContract):
        registry.register(kind, kind.type_name)
    sys.path.insert(0, str(Path.cwd()))
    found = [with_plant(name, line) for name, line in json.load(sys.stdin)]
    json.dump(found, sys.stderr)
