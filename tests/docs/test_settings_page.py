"""The settings page shows every setting as it is, and the pages name no setting that is none."""

import re

import pytest
from pydantic import ValidationError

from beforehand import ROOT
from beforehand.settings import Settings
from tests.docs.pages import REFERENCE, renewed

PAGE = REFERENCE / "settings.md"
LIVE = ROOT / "docs/how-to/go-live.md"


def test_the_table_is_that_of_the_class() -> None:
    assert renewed(PAGE) == PAGE.read_text(encoding="utf-8"), "run `make fix`"


def test_every_setting_has_a_row() -> None:
    rows = re.findall(r"^\| `BEFOREHAND_(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert [row.lower() for row in rows] == [*Settings.model_fields]


def test_what_the_pages_name_is_a_setting() -> None:
    for page in (PAGE, LIVE, REFERENCE / "rules.md", ROOT / "docs/how-to/write-a-rule.md"):
        named = {name.lower() for name in re.findall(r"BEFOREHAND_([A-Z_]+)", page.read_text(encoding="utf-8"))}
        assert named <= set(Settings.model_fields), page.name


def lines(block: str) -> dict[str, str]:
    """The settings of a .env block, by field name, as the environment holds them."""
    found = re.findall(r"^BEFOREHAND_(\w+)=(.*)$", block, re.M)
    return {name.lower(): value.strip("'") for name, value in found}


def env_blocks() -> list[dict[str, str]]:
    """The .env blocks of the page, each with those before it."""
    so_far: dict[str, str] = {}
    blocks = []
    for block in re.findall(r"^```ini\n(.+?)^```$", LIVE.read_text(encoding="utf-8"), re.M | re.S):
        so_far = {**so_far, **lines(block)}
        blocks.append(so_far)
    return blocks


def made(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in said.items():
        monkeypatch.setenv(f"BEFOREHAND_{name.upper()}", value)
    return Settings(_env_file=None)


def test_the_steps_to_live_make_settings_in_trial_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = made(env_blocks()[-1], monkeypatch)
    assert (settings.delivery, settings.trial, bool(settings.status_callbacks)) == ("live", True, False)
    assert len(settings.guest_list) >= 2
    assert settings.desks.keys() >= {"voice-desk", "care-desk"}


@pytest.mark.parametrize("name", ["secret_key", "twilio_auth_token", "twilio_account_sid"])
def test_a_placeholder_is_refused_in_the_words_of_the_page(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {key: value for key, value in env_blocks()[-1].items() if key != name}
    with pytest.raises(ValidationError, match=f"still a placeholder: BEFOREHAND_{name.upper()}"):
        made(said, monkeypatch)
    assert "live delivery needs real secrets; still a placeholder: " in LIVE.read_text(encoding="utf-8")
