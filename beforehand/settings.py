"""Settings: environment variables with the prefix ``BEFOREHAND_`` (and ``.env``), read once in wiring."""

import json
import re
from base64 import b64decode
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from beforehand import ROOT
from models.terms import THE_BEGINNING
from models.types import time_zones
from models.vocabulary import Channel, Purpose

PLACEHOLDER = "change-me"

MailProvider = Literal["", "sendgrid", "postmark", "sparkpost", "mandrill", "mailtrap", "postal", "generic"]


class Settings(BaseSettings):
    """Everything an operator may set. Each field's description is the line that ``.env.example`` shows."""

    model_config = SettingsConfigDict(env_prefix="BEFOREHAND_", env_file=".env", extra="ignore", validate_default=True)

    database_url: str = Field(
        "sqlite:///var/beforehand.db",
        description="Where our tables are: PostgreSQL 15+ or SQLite; unless set, beforehand.db in BEFOREHAND_VAR",
    )
    allow_unsafe_sqlite: bool = Field(False, description="Go on with a SQLite that has the WAL-reset bug")
    rules: Path = Field(Path("rules/catalog"), description="The folder with the rule files")
    templates: Path = Field(Path("messaging/templates"), description="The folder with the message templates")
    issues: Path = Field(Path("issues"), description="The folder in which staff declare known issues")
    facts: Path | None = Field(None, description="A facts.yaml with attributes of your own")
    var: Path = Field(Path("var"), description="The folder for what the house writes: reject files, Prefect's database")

    journal: Path | None = Field(
        None,
        description="The folder for the journal of what was sent, by which a restored database sends nothing twice; "
        "empty: journal in VAR. Keep it on another disk than the database, and out of its backups",
    )
    journal_days: int = Field(
        35, ge=1, description="How long a finished journal is kept: longer than the oldest backup you would restore"
    )

    secret_key: SecretStr = Field(
        SecretStr(PLACEHOLDER),
        description="Signs links, hashes addresses, derives voucher codes; 32 random characters or more",
    )
    allow_another_secret: bool = Field(
        False, description="Go on with a database whose secret key is lost: STOPs before are no longer known"
    )
    brand: str = Field("Beforehand Shop", description="Who we are, in every message")
    brand_phone: str = Field("+442079460000", description="The number customers may ring, E.164")
    brand_address: str = Field(
        "Beforehand Shop, 1 Sample Street, London", description="Postal address, shown in e-mails"
    )
    public_url: str = Field(
        "http://127.0.0.1:8000",
        description="Where customers and providers reach our pages; https when live: every e-mail links there",
    )
    link_key: SecretStr = Field(
        SecretStr(""), description="Signs the links in messages, 32 random characters or more; empty: from SECRET_KEY"
    )
    link_keys_before: dict[SecretStr, date] = Field(
        default_factory=dict,
        description="Keys that signed links before, with the day each was replaced, as JSON: "
        '{"the old key": "2026-03-01"}; their links work for 60 days more, those that only unsubscribe for as long as '
        "the key is listed",
    )
    unsubscribe_mailbox: str = Field(
        "", description="A mailbox in which somebody reads what asks to unsubscribe; empty: e-mails name the link only"
    )
    call_me_desk: str = Field("care-desk", description="The desk whose task it is when a customer asks to be called")
    language: str = Field("en", description="The language where a customer's own is not known, BCP 47")
    time_zone: str = Field("UTC", description="The zone where a customer's own is not known, IANA name")
    currency: str = Field("EUR", description="The currency where a source names none, and of the prices, ISO 4217")
    sms_price: Decimal | None = Field(
        None, ge=0, description="What you pay for one SMS segment, in CURRENCY; empty: previews and plans tell no price"
    )
    sms_prices: dict[str, Decimal] = Field(
        default_factory=dict, description='SMS prices by country of the phone number, as JSON: {"DE": 0.075}'
    )
    call_price: Decimal | None = Field(None, ge=0, description="What you pay for one call, in CURRENCY")
    email_price: Decimal | None = Field(None, ge=0, description="What you pay for one e-mail, in CURRENCY")

    delivery: Literal["post_room", "live"] = Field(
        "post_room", description="post_room keeps every message on this machine; live sends"
    )
    trial: bool = Field(True, description="With live delivery: reach the guest list only")
    guest_list: list[str] = Field(
        default_factory=list, description="Phone numbers and e-mail addresses that trial mode may reach, as JSON"
    )
    twilio_account_sid: str = Field("AC" + "0" * 32, description="Twilio account")
    twilio_auth_token: SecretStr = Field(SecretStr(PLACEHOLDER), description="Twilio auth token")
    twilio_auth_token_before: SecretStr = Field(
        SecretStr(""),
        description="The auth token before this one: callbacks signed with it are taken until it is empty",
    )
    twilio_from: str = Field("+442079460000", description="The number that SMS and calls come from, E.164")
    twilio_base_url: str | None = Field(
        None, description="Another base URL for Twilio's API; empty: the post room's, or Twilio's when live"
    )
    status_callbacks: bool | None = Field(
        None,
        description="Have the provider tell statuses and fetch the words of calls at PUBLIC_URL (https); "
        "without it the provider is asked. Empty: on in a running house that keeps everything here, off when live",
    )
    smtp_host: str = Field("127.0.0.1", description="Mail server")
    smtp_port: int = Field(2525, description="Mail server's port")
    smtp_starttls: bool = Field(True, description="Ask for STARTTLS (never asked of the post room)")
    smtp_user: str = Field("", description="Mail login; empty: none")
    smtp_password: SecretStr = Field(SecretStr(""), description="Mail password")
    mail_from: str = Field("care@beforehand.example", description="The sender address of e-mails")
    bounce_address: str = Field(
        "",
        description="The mailbox that bounced e-mails go to, such as bounces@shop.example; each comes back to "
        "bounces+TOKEN@ and so names its message. Empty: they go to MAIL_FROM, for people to read",
    )
    mail_provider: MailProvider = Field(
        "", description="The provider behind the mail server, where it posts its events to PUBLIC_URL/hooks/mail/NAME"
    )
    mail_provider_key: SecretStr = Field(
        SecretStr(""),
        description="What its events are known by: the public key (sendgrid, postal), the signing key (mandrill, "
        "mailtrap), whsec_... (generic), or user:password (postmark, sparkpost)",
    )
    maildir: Path | None = Field(
        None, description="A Maildir into which bounces and replies to e-mails are delivered; read every few seconds"
    )
    desks: dict[str, str] = Field(
        default_factory=dict, description='Phone numbers behind connect_to, as JSON: {"voice-desk": "+44..."}'
    )
    calls_to: str = Field(
        "voice-desk", description="The desk, by its name in DESKS, that customers who ring us are connected to"
    )
    twilio_answers_stop: bool = Field(
        True,
        description="Twilio itself answers STOP, START and HELP (its default opt-out handling), so we say nothing to "
        "those; false: we answer, once",
    )

    live_from: datetime | None = Field(
        None,
        description="What rules that say no 'from' may act on when they go live: what began since this moment, "
        "such as 2026-03-01T00:00+01:00 (UTC without an offset); 'the beginning': all; empty: now",
    )
    rates: Path | None = Field(
        None,
        description="A CSV file with rates between currencies (from,to,rate; one side is always BEFOREHAND_CURRENCY); "
        "without it, a rule that compares money of several currencies is refused",
    )
    webhooks: dict[str, str] = Field(
        default_factory=dict,
        description='Your own systems that webhook steps may call, by name, as JSON: {"crm": "https://..."}',
    )
    webhook_secrets: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Each endpoint's signing secret, as JSON: whsec_ and 24 to 64 bytes in base64; a must when live",
    )
    webhooks_inside: list[str] = Field(
        default_factory=list,
        description="Endpoints that may lie at a private address, and may use http, as JSON; others are refused there",
    )
    webhook_timeout_seconds: float = Field(15, gt=0, le=60, description="How long one try of a webhook may take")

    api_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Who may redeem vouchers over HTTP, a key of 32 random characters or more for each till, as JSON: "
        '{"till": "..."}',
    )

    consent_needed: list[Purpose] = Field(
        default=[Purpose.MARKETING, Purpose.SURVEY],
        description="Purposes that need a recorded yes; the others need only no recorded no. As JSON",
    )
    caps: dict[str, str] = Field(
        default={"marketing": "2 per 7 days", "survey": "1 per 30 days", "service": "4 per 1 day"},
        description="Most messages a person gets, by purpose and across rules, as JSON; for one channel alone: "
        '{"marketing sms": "1 per 7 days"}',
    )
    holdout: float = Field(
        0,
        ge=0,
        le=100,
        description="Percentage of customers kept out of all marketing and surveys, to measure them",
    )
    quiet_hours: dict[Purpose, str] = Field(
        default={Purpose.SERVICE: "22:00-07:00", Purpose.SURVEY: "20:00-09:00", Purpose.MARKETING: "20:00-09:00"},
        description="When a customer is left alone, in their own zone, by purpose, as JSON; the laws hold as well",
    )
    quiet_laws: Path | None = Field(
        Path("messaging/quiet_hours.csv"),
        description="The hours that countries allow, by purpose and channel, with their sources; empty: none",
    )

    brake: float = Field(
        5,
        gt=0,
        le=100,
        description="A run of a rule without a brake of its own is held where it reaches more than so many percent of "
        "the customers",
    )
    brake_times: float = Field(
        3, gt=1, description="A run that reaches more than so many times what the rule's runs usually reach is held"
    )
    canary: int = Field(
        20,
        ge=1,
        description="So many of a held run go first once it is approved, or 1% where that is more; so few within an "
        "hour are never held",
    )
    canary_minutes: float = Field(30, gt=0, description="How long the first few of a held run are watched")
    approval_hours: float = Field(
        24, gt=0, description="How long a held run waits for a second person; after that it is refused"
    )
    approvers: list[str] = Field(
        default_factory=list,
        description="Who may approve held runs, as JSON; empty: anybody but who wrote the rule's text",
    )
    stop_file: Path | None = Field(
        None,
        description="While this file is there nothing is sent, even with the database down; scopes in it, one a line, "
        "stop only those. Empty: STOP in VAR",
    )
    staff_mail: list[str] = Field(
        default_factory=list, description="E-mail addresses of staff that are told of a pulled brake or a dead provider"
    )
    brief_at: str = Field("07:00", description="When the morning brief is written, HH:MM in TIME_ZONE")

    batch: int = Field(100, ge=1, le=1000, description="Messages claimed at once")
    lease_seconds: int = Field(60, ge=5, le=86_400, description="How long a claim holds before it returns to the queue")
    send_timeout_seconds: float = Field(10, gt=0, description="How long we wait for a provider's answer")
    unknown_settle_minutes: int = Field(
        15, ge=15, description="How long an unknown outcome waits for evidence; a provider's listing may lag"
    )
    sms_per_second: float | None = Field(
        1,
        gt=0,
        description="With live delivery: SMS segments a second from our number, all processes together; 1 is what "
        "Twilio gives a long code; empty: no limit",
    )
    calls_per_second: float | None = Field(
        1,
        gt=0,
        description="With live delivery: calls a second, all processes together; 1 is what Twilio gives an account; "
        "empty: no limit",
    )
    emails_per_second: float | None = Field(
        None,
        gt=0,
        description="With live delivery: e-mails a second, all processes together; ask your mail provider; "
        "empty: no limit",
    )

    host: str = Field("127.0.0.1", description="The address our own pages listen on")
    web_port: int = Field(8000, description="The port of our own pages: callbacks of providers, pages of customers")
    post_room_port: int = Field(8025, description="The post room's page and Twilio-compatible API")
    post_room_smtp_port: int = Field(2525, description="The post room's mail server")
    staff_port: int = Field(
        8001, description="The port of the pages for staff and machines, on this machine only: console, metrics, health"
    )
    staff_host: str = Field("127.0.0.1", description="The address that the staff pages listen on; they have no login")
    prefect_port: int = Field(4200, description="Prefect's server and UI, when we start it")
    prefect_api_url: str = Field(
        "", description="The API of a Prefect server that runs already, such as http://prefect:4200/api; empty: our own"
    )
    prefect_days: int = Field(30, ge=1, description="How long Prefect keeps finished runs and artifacts")
    log_format: Literal["people", "json"] = Field("people", description="How log lines look: for people, or JSON")
    resolver: str = Field("", description="A DNS server (address or address:port) that doctor asks for mail records")

    @field_validator("caps")
    @classmethod
    def _caps_of_purposes(cls, value: dict[str, str]) -> dict[str, str]:
        for words in value:
            purpose, _, channel = words.partition(" ")
            if purpose not in tuple(Purpose) or (channel and channel not in tuple(Channel)):
                raise ValueError(f"{words!r} has no cap; expected for example marketing, or marketing sms")
        return value

    @field_validator("quiet_laws", mode="before")
    @classmethod
    def _empty_is_no_law(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("rules", "templates", "issues", "quiet_laws")
    @classmethod
    def _where_it_is(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        # Whoever calls us from another folder means the folders that came with us.
        ours = ROOT / value
        return ours if not value.is_absolute() and not value.exists() and ours.exists() else value

    @field_validator("live_from", mode="before")
    @classmethod
    def _empty_is_now(cls, value: object) -> object:
        known = {"": None, "now": None, "the beginning": THE_BEGINNING}
        return known.get(value.strip(), value) if isinstance(value, str) else value

    @field_validator("live_from")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value if value is None else (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)

    @field_validator(
        "sms_price",
        "call_price",
        "email_price",
        "sms_per_second",
        "calls_per_second",
        "emails_per_second",
        mode="before",
    )
    @classmethod
    def _empty_is_unknown(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("status_callbacks", mode="before")
    @classmethod
    def _empty_is_by_delivery(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("sms_prices")
    @classmethod
    def _prices_by_country(cls, value: dict[str, Decimal]) -> dict[str, Decimal]:
        if value:
            from phonenumbers import SUPPORTED_REGIONS  # slow to import, and rarely needed
        for country, price in value.items():
            if country not in SUPPORTED_REGIONS:
                raise ValueError(f"{country!r} is no country with phone numbers; expected ISO 3166, for example DE")
            if not price.is_finite() or price < 0:
                raise ValueError(f"the price for {country} must be a number from 0 up")
        return value

    @field_validator("bounce_address")
    @classmethod
    def _leaves_room(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9._-]{1,27}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", value):
            raise ValueError(
                f"{value!r} cannot take bounces; expected for example bounces@shop.example, with up to 27 letters, "
                "digits, dots and hyphens before the @, so that +TOKEN fits behind them"
            )
        return value

    @field_validator("unsubscribe_mailbox")
    @classmethod
    def _a_mailbox(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+", value):
            raise ValueError(f"{value!r} is no mailbox; expected for example unsubscribe@shop.example")
        return value

    @field_validator("public_url")
    @classmethod
    def _fits_a_link(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("BEFOREHAND_PUBLIC_URL must be an address such as https://care.example.com")
        if not value.isascii() or any(sign in value for sign in " <>,"):
            raise ValueError("BEFOREHAND_PUBLIC_URL has letters that no link carries; write the host in its xn-- form")
        return value

    @field_validator("brief_at")
    @classmethod
    def _an_hour(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError(f"{value!r} is not a time of day; expected HH:MM, for example 07:00")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in time_zones():
            raise ValueError(f"{value!r} is not an IANA time zone; expected for example Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _database_in_var(self) -> Self:
        """A house that is given another folder has its tables there, too, not where it happens to be started."""
        if "database_url" not in self.model_fields_set:
            self.database_url = f"sqlite:///{self.var}/beforehand.db"
        return self

    @model_validator(mode="after")
    def _no_placeholders_when_live(self) -> Self:
        if self.delivery != "live":
            return self
        secrets = {"SECRET_KEY": self.secret_key, "TWILIO_AUTH_TOKEN": self.twilio_auth_token}
        left = [name for name, value in secrets.items() if value.get_secret_value() in ("", PLACEHOLDER)]
        if self.twilio_account_sid == "AC" + "0" * 32:
            left.append("TWILIO_ACCOUNT_SID")
        if left:
            names = ", ".join(f"BEFOREHAND_{name}" for name in left)
            raise ValueError(f"live delivery needs real secrets; still a placeholder: {names}")
        if not self.public_url.startswith("https://"):
            raise ValueError(
                "live delivery needs an https address in BEFOREHAND_PUBLIC_URL: messages link to it, so that "
                "customers can unsubscribe and choose, and providers call it"
            )
        for name, key in {"SECRET_KEY": self.secret_key, "LINK_KEY": self.link_key}.items():
            if (name == "SECRET_KEY" and len(key) < 32) or 0 < len(key) < 32:
                raise ValueError(
                    f"BEFOREHAND_{name} is too short for live delivery; expected 32 random characters or more"
                )
        return self

    @field_validator("api_keys")
    @classmethod
    def _keys_of_length(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, key in value.items():
            if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", name) or len(name) > 40:
                raise ValueError(f"{name!r}: a name has small letters, digits, hyphens and 40 signs at most")
            if len(key.get_secret_value()) < 32:
                raise ValueError(f"the key of {name!r} is too short; expected 32 random characters or more")
        if len({key.get_secret_value() for key in value.values()}) < len(value):
            raise ValueError("two names have the same key")
        return value

    @field_validator("maildir", "stop_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _webhooks_in_order(self) -> Self:
        for name in {*self.webhook_secrets, *self.webhooks_inside} - {*self.webhooks}:
            raise ValueError(f"BEFOREHAND_WEBHOOKS names no endpoint {name!r}, but other settings do")
        for name, url in self.webhooks.items():
            secret = self.webhook_secrets.get(name)
            wrong = wrong_endpoint(name, url, inside=name in self.webhooks_inside)
            if secret is None and self.delivery == "live":
                wrong = wrong or "it has no secret in BEFOREHAND_WEBHOOK_SECRETS"
            if secret is not None and not is_webhook_secret(secret.get_secret_value()):
                wrong = wrong or "its secret is not whsec_ and 24 to 64 bytes in base64"
            if wrong:
                raise ValueError(f"the webhook endpoint {name!r}: {wrong}")
        return self

    @property
    def postal_address(self) -> str:
        """The brand's address, empty where none is set; when live, the sample's counts as none."""
        sample = type(self).model_fields["brand_address"].default
        return "" if self.delivery == "live" and self.brand_address == sample else self.brand_address.strip()

    @property
    def callback_url(self) -> str:
        """Where providers reach our pages: the public address when live, else this machine, as nothing may leave it."""
        if self.delivery == "live":
            return self.public_url
        name = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104
        return f"http://{f'[{name}]' if ':' in name else name}:{self.web_port}"

    @property
    def zone(self) -> ZoneInfo:
        """The default zone as a ZoneInfo."""
        return ZoneInfo(self.time_zone)


def wrong_endpoint(name: str, url: str, *, inside: bool) -> str:
    """What is wrong with an endpoint's name or URL; an empty text where nothing is. Plain http only ``inside``."""
    parts = urlsplit(url)
    if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", name) or len(name) > 40:
        return "a name has small letters, digits, hyphens and 40 signs at most"
    if parts.scheme != "https" and not (inside and parts.scheme == "http"):
        return "its URL must begin with https://"
    if not parts.hostname or parts.username is not None or parts.fragment:
        return "its URL needs a host, and takes no login and no #fragment"
    return ""


def is_webhook_secret(secret: str) -> bool:
    """Whether this is a secret as Standard Webhooks writes it: ``whsec_`` and 24 to 64 bytes in base64."""
    try:
        return secret.startswith("whsec_") and 24 <= len(b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


def _shown(field: FieldInfo) -> str | None:
    """A setting's default as text: complex values as JSON, secrets as placeholders; None where there is none."""
    default = field.get_default(call_default_factory=True)
    shown = default.get_secret_value() if isinstance(default, SecretStr) else default
    if shown is None or isinstance(shown, str):
        return shown
    return json.dumps(shown, default=str).strip('"')


def example() -> str:
    """The text of ``.env.example``: each setting's line of help and its default, in the order of the class.

    A setting without a default value stands there as a comment, complex values as JSON, secrets as placeholders.
    """
    parts = ["# Beforehand's settings with their defaults. Copy this file to .env and change what you need.\n"]
    for name, field in Settings.model_fields.items():
        text = _shown(field)
        word = f"BEFOREHAND_{name.upper()}="
        quoted = f"'{text}'" if text is not None and set(text) & set(' {["') else text
        parts.append(f"# {field.description}\n{f'# {word}' if text is None else f'{word}{quoted}'}\n")
    return "\n".join(parts)


def settings_markdown() -> str:
    """The table of ``docs/reference/settings.md``: each setting's name, default and what it is for."""
    rows = ["| setting | default | what for |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        text = _shown(field)
        default = f"`{text}`" if text else "*empty*"
        rows.append(f"| `BEFOREHAND_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
