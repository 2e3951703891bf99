"""The versions that work together. The set that pip would take by itself is silently broken."""

from importlib.metadata import version

import pytest
from packaging.specifiers import SpecifierSet

PINS = {
    "prefect": "==3.8.8",
    "fastapi": ">=0.139,<0.151",
    "sqlalchemy": ">=2.0,<2.1",
    "apscheduler": ">=3.11,<4",
    "sqlmodel": ">=0.0.48,<0.1",
    "twilio": ">=9.11,<10",
}


@pytest.mark.parametrize(("name", "pin"), PINS.items())
def test_the_pins_are_in_force(name: str, pin: str) -> None:
    assert version(name) in SpecifierSet(pin)
