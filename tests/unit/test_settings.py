"""Settings: the example file is in step with the class, placeholders are refused when delivery is live."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from beforehand.settings import PLACEHOLDER, Settings, example

ROOT = Path(__file__).resolve().parents[2]
REAL = {
    "delivery": "live",
    "public_url": "https://care.example.com",
    "secret_key": SecretStr("k" * 32),
    "twilio_account_sid": "AC" + "1" * 32,
    "twilio_auth_token": SecretStr("t" * 32),
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BEFOREHAND_")]:
        monkeypatch.delenv(name)


def test_the_example_file_is_what_the_class_says() -> None:
    assert (ROOT / ".env.example").read_text() == example(), "run: make fix (it writes .env.example anew)"


def test_the_example_file_reads_back_as_the_defaults() -> None:
    read = Settings(_env_file=ROOT / ".env.example")
    assert read == Settings(_env_file=None)


def test_every_setting_is_in_the_example_with_its_description() -> None:
    text = (ROOT / ".env.example").read_text()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"# {field.description}\n" in text
        assert f"BEFOREHAND_{name.upper()}=" in text


def test_the_example_holds_no_secret() -> None:
    secrets = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
    assert "secret_key" in secrets
    lines = dict(line.split("=", 1) for line in example().splitlines() if "=" in line and line[0] != "#")
    assert {lines[f"BEFOREHAND_{name.upper()}"] for name in secrets} <= {PLACEHOLDER, ""}


def test_live_delivery_starts_with_real_secrets() -> None:
    assert Settings(_env_file=None, **REAL).delivery == "live"


@pytest.mark.parametrize("missing", ["secret_key", "twilio_account_sid", "twilio_auth_token"])
def test_live_delivery_refuses_each_placeholder(missing: str) -> None:
    with pytest.raises(ValidationError, match=f"still a placeholder: BEFOREHAND_{missing.upper()}"):
        Settings(_env_file=None, **{name: value for name, value in REAL.items() if name != missing})


def test_live_delivery_refuses_a_short_key() -> None:
    with pytest.raises(ValidationError, match="too short for live delivery"):
        Settings(_env_file=None, **{**REAL, "secret_key": SecretStr("short")})


def test_trial_mode_is_the_default_when_live() -> None:
    live = Settings(_env_file=None, **REAL)
    assert live.trial
    assert live.guest_list == []


def test_placeholders_are_fine_in_the_post_room() -> None:
    assert Settings(_env_file=None).delivery == "post_room"


def test_the_tables_lie_in_var_unless_a_database_is_named() -> None:
    assert Settings(_env_file=None).database_url == "sqlite:///var/beforehand.db"
    assert Settings(_env_file=None, var=Path("/srv/care")).database_url == "sqlite:////srv/care/beforehand.db"
    named = Settings(_env_file=None, var=Path("/srv/care"), database_url="sqlite:///here.db")
    assert named.database_url == "sqlite:///here.db"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "localtime"])
def test_an_unknown_zone_is_refused_with_an_example(zone: str) -> None:
    with pytest.raises(ValidationError, match=f"'{zone}' is not an IANA time zone; expected for example"):
        Settings(_env_file=None, time_zone=zone)


def test_the_environment_overrules_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_GUEST_LIST", '["+12025550101"]')
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", "postgresql://localhost/care")
    read = Settings(_env_file=None)
    assert read.guest_list == ["+12025550101"]
    assert read.database_url == "postgresql://localhost/care"


def test_our_own_folders_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    far = Settings(_env_file=None)
    assert (far.templates / "late-order").is_dir()
    assert (far.rules / "late-order.yaml").is_file()
    (tmp_path / "issues").mkdir()
    assert Settings(_env_file=None).issues == Path("issues"), "a folder that is there is the one that is meant"


def test_live_delivery_needs_an_https_address_for_its_links() -> None:
    with pytest.raises(ValidationError, match="needs an https address in BEFOREHAND_PUBLIC_URL: messages link to it"):
        Settings(_env_file=None, **{**REAL, "public_url": "http://care.example.com"})


@pytest.mark.parametrize("wrong", ["care.example.com", "https://", "https://a.example/?x", "https://käse.example"])
def test_an_address_that_no_link_can_begin_with_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="BEFOREHAND_PUBLIC_URL"):
        Settings(_env_file=None, public_url=wrong)


def test_old_link_keys_are_read_with_their_days_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_LINK_KEYS_BEFORE", '{"old-secret-value": "2026-03-01"}')
    read = Settings(_env_file=None)
    assert [(k.get_secret_value(), str(day)) for k, day in read.link_keys_before.items()] == [
        ("old-secret-value", "2026-03-01")
    ]
    assert "old-secret-value" not in repr(read)


def test_the_sample_address_is_none_when_live() -> None:
    assert Settings(_env_file=None).postal_address
    assert Settings(_env_file=None, **REAL).postal_address == ""
    assert Settings(_env_file=None, **REAL, brand_address="1 Our Street, London").postal_address
