"""Doctor: what it finds wrong, what it leaves alone, and that it reaches nobody it must not reach."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dns.rcode
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, update

import models
from beforehand.doctor import Asked, Check, Verdict, examine
from beforehand.doctor import database as database_module
from beforehand.doctor.database import database_checks
from beforehand.doctor.house import zone_checks
from beforehand.doctor.orphans import orphan_checks
from beforehand.doctor.outside import clock_checks, prefect_checks, public_checks
from beforehand.doctor.records import record_checks
from beforehand.doctor.settings import settings_checks
from beforehand.parts import Parts
from beforehand.settings import Settings
from beforehand.surroundings import PrefectSeen, ProcessSeen, Surroundings
from beforehand.web.postroom.server import PostRoom
from beforehand.web.serving import Pages
from beforehand.wiring import App, wall_clock
from messaging.channels import Account, MailServer
from messaging.channels.probing import ask_mail_server, ask_twilio
from models.database import connect, reading, writing
from models.staff import HeldRun
from tests.integration.name_server import NameServer
from tests.integration.out_world import NOW, plan_messages

MINE = Settings(_env_file=None, delivery="post_room")
SHOP = MINE.model_copy(update={"mail_from": "care@shop.example"})
GOOD = {
    ("shop.example", "TXT"): ['"other=1"', '"v=spf1 include:mail.example -all"'],
    ("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; k=rsa; p=" "MIIB"'],
    ("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=quarantine"'],
    ("shop.example", "MX"): ["10 mx.shop.example."],
}


def verdicts(checks: Any) -> dict[str, Verdict]:
    return {check.what: check.verdict for check in checks}


def records(found: dict[tuple[str, str], list[str]], selector: str = "s1", settings: Settings = SHOP) -> list[Check]:
    with NameServer(found) as names:
        return list(record_checks(settings, names.address, selector))


def test_good_records_are_well() -> None:
    assert {check.verdict for check in records(GOOD)} == {Verdict.OK}


@pytest.mark.parametrize(
    ("name", "kind", "value", "what", "verdict"),
    [
        ("shop.example", "TXT", ['"other=1"'], "SPF of shop.example", Verdict.WRONG),
        ("shop.example", "TXT", ['"v=spf1 -all"', '"v=spf1 ~all"'], "SPF of shop.example", Verdict.WRONG),
        ("shop.example", "TXT", ['"v=spf1 +all"'], "SPF of shop.example", Verdict.WRONG),
        ("shop.example", "TXT", ['"v=spf1 include:mail.example"'], "SPF of shop.example", Verdict.LOOK),
        ("shop.example", "TXT", ['"v=spf1 redirect=mail.example"'], "SPF of shop.example", Verdict.OK),
        ("s1._domainkey.shop.example", "TXT", [], "DKIM of shop.example", Verdict.WRONG),
        ("s1._domainkey.shop.example", "TXT", ['"v=DKIM1; p="'], "DKIM of shop.example", Verdict.WRONG),
        ("_dmarc.shop.example", "TXT", [], "DMARC of shop.example", Verdict.WRONG),
        ("_dmarc.shop.example", "TXT", ['"v=DMARC1; p=none"'], "DMARC of shop.example", Verdict.LOOK),
        ("_dmarc.shop.example", "TXT", ['"v=DMARC1; sp=reject"'], "DMARC of shop.example", Verdict.WRONG),
        ("shop.example", "MX", [], "MX of shop.example", Verdict.WRONG),
        ("shop.example", "MX", ["0 ."], "MX of shop.example", Verdict.WRONG),
    ],
)
def test_each_record_that_is_wrong_is_found(
    name: str, kind: str, value: list[str], what: str, verdict: Verdict
) -> None:
    found = verdicts(records(GOOD | {(name, kind): value}))
    assert found.pop(what) is verdict
    assert set(found.values()) == {Verdict.OK}, "and no other"


def test_the_domain_of_bounces_is_the_one_that_spf_is_asked_of() -> None:
    bounces = SHOP.model_copy(update={"bounce_address": "b@bounce.shop.example"})
    found = verdicts(records(GOOD, settings=bounces))
    assert found["SPF of bounce.shop.example"] is Verdict.WRONG
    assert found["MX of bounce.shop.example"] is Verdict.WRONG
    assert found["DKIM of shop.example"] is Verdict.OK


def test_without_a_selector_dkim_is_not_guessed() -> None:
    assert verdicts(records(GOOD, selector=""))["DKIM of shop.example"] is Verdict.LOOK


@pytest.mark.parametrize("resolver", ["nonsense", "127.0.0.1:x", "http://127.0.0.1"])
def test_a_resolver_that_is_none_is_said(resolver: str) -> None:
    assert verdicts(record_checks(SHOP, resolver)) == {"DNS": Verdict.WRONG}


def test_a_resolver_that_refuses_is_said() -> None:
    with NameServer({}, rcode=dns.rcode.REFUSED) as names:
        assert verdicts(record_checks(SHOP, names.address)) == {"DNS": Verdict.WRONG}


def test_a_new_database_is_well(engine: Engine) -> None:
    with reading(engine) as connection:
        assert verdicts(orphan_checks(connection, NOW)) == {"rows": Verdict.OK}
        assert verdicts(zone_checks(connection, NOW))["customers' zones"] is Verdict.OK
    found = verdicts(database_checks(engine, MINE))
    assert {found["database: version"], found["database: safety"], found["database: secret key"]} == {Verdict.OK}
    assert Verdict.WRONG not in found.values()


def test_every_kind_of_orphan_is_counted(engine: Engine) -> None:
    late = NOW + timedelta(hours=2)
    keys = plan_messages(engine, 3)
    tables = {name: getattr(models, name).__table__ for name in ("Attempt", "Message", "Match", "Voucher", "RulePass")}
    held: dict[str, Any] = {"version": "v", "most": 1, "count": 2, "subjects": 2, "customers": 2, "state": "waiting"}
    held |= {"rule_id": "r", "why": "limit", "held_at": NOW, "expires_at": late}
    with writing(engine) as connection:
        attempt = {"state": "in_flight", "lease": "x", "lease_until": NOW, "claimed_at": NOW, "number": 1}
        connection.execute(insert(tables["Attempt"]).values(message_id=keys[0], **attempt))
        stuck = update(tables["Message"]).where(tables["Message"].c.id.in_(keys[:2]))
        connection.execute(stuck.values(state="in_flight"))
        connection.execute(insert(HeldRun.__table__).values(**held))  # type: ignore[attr-defined]
        of_match = update(tables["Match"]).where(tables["Match"].c.occasion == "order/2")
        connection.execute(of_match.values(state="held"))
        row = {"rule_id": "r", "version": "v", "status": "live", "started_at": NOW, "slot": NOW}
        connection.execute(insert(tables["RulePass"]).values(**row))
        customer = connection.execute(models.Customer.__table__.select()).first()  # type: ignore[attr-defined]
        assert customer is not None
        reserved = {"customer_id": customer.id, "match_id": 999, "currency": "EUR", "worth": 1, "issued_at": NOW}
        connection.execute(insert(tables["Voucher"]).values(changed_at=NOW, external_id="v", **reserved))
    with reading(engine) as connection:
        found = list(orphan_checks(connection, late))
        quick = list(orphan_checks(connection, NOW))
    assert sorted(check.said for check in found) == [
        "1 attempts are open, and their process is gone",
        "1 held runs have no matches any more",
        "1 matches are held by a run that has ended",
        "1 messages are on their way without an attempt",
        "1 passes were begun and never ended",
        "1 vouchers are reserved that no message tells of",
    ]
    assert all(check.do for check in found)
    assert "1 attempts are open, and their process is gone" not in {check.said for check in quick}, "it may yet end"


def test_zones_that_nobody_knows_are_counted(engine: Engine) -> None:
    plan_messages(engine, 2)
    with writing(engine) as connection:
        connection.execute(update(models.Customer.__table__).values(time_zone="Mars/Olympus"))  # type: ignore[attr-defined]
    with reading(engine) as connection:
        (_, zones) = zone_checks(connection, NOW)
    assert (zones.verdict, "Mars/Olympus (2)" in zones.said) == (Verdict.WRONG, True)
    with reading(engine) as connection:
        (age, _) = zone_checks(connection, NOW + timedelta(days=3650))
    assert age.verdict is Verdict.LOOK


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_an_unsafe_postgresql_is_wrong(name: str, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = database_module._shown
    monkeypatch.setattr(database_module, "_shown", lambda c, asked: "off" if asked == name else shown(c, asked))
    (safety,) = [check for check in database_checks(postgres_engine, MINE) if check.what == "database: safety"]
    assert (safety.verdict, name in safety.said) == (Verdict.WRONG, True)


def test_settings_that_somebody_should_look_at() -> None:
    assert verdicts(settings_checks(MINE)) == {"settings: secret key": Verdict.LOOK}
    open_staff = MINE.model_copy(update={"secret_key": SecretStr("s" * 32), "staff_host": "192.0.2.1"})
    assert verdicts(settings_checks(open_staff)) == {"settings: staff pages": Verdict.LOOK}
    live = MINE.model_copy(update={"secret_key": SecretStr("s" * 32), "delivery": "live"})
    found = verdicts(settings_checks(live))
    assert found["settings: sender"] is Verdict.WRONG
    assert found["settings: guest list"] is Verdict.LOOK


def test_clocks_that_differ_and_a_server_that_is_away_are_wrong() -> None:
    now = datetime.now(UTC)
    one = ProcessSeen("b", "there", "1", {}, None, now, now, -2500, silent=False, leads=True)
    around = Surroundings([one], prefect=PrefectSeen("http://127.0.0.1:9/api", up=False, ahead_seconds=None))
    assert [check.said for check in clock_checks(around)] == ["there's and the database's differ by -2.5 s"]
    assert verdicts(prefect_checks(around))["Prefect"] is Verdict.WRONG
    assert verdicts(clock_checks(replace(around, processes=[replace(one, ahead_ms=300)]))) == {"clocks": Verdict.OK}


class Twilio(BaseHTTPRequestHandler):
    """An account resource that a test words."""

    status, body = 200, '{"sid": "AC", "status": "active", "type": "Full"}'
    asked: tuple[str, str] = ("", "")

    def do_GET(self) -> None:
        type(self).asked = (self.command, self.path)
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def twilio() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), type("Mine", (Twilio,), {}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def account(port: int) -> Account:
    return Account("AC" + "1" * 32, "t", "+442079460000", f"http://127.0.0.1:{port}", timeout=3)


@pytest.mark.parametrize(
    ("status", "body", "well"),
    [
        (200, Twilio.body, True),
        (200, '{"sid": "AC", "status": "suspended", "type": "Full"}', False),
        (401, '{"code": 20003, "message": "Authenticate", "status": 401}', False),
        (200, "no json", False),
        (500, "{}", False),
    ],
)
def test_twilio_is_asked_for_the_account_and_nothing_else(
    twilio: HTTPServer, status: int, body: str, well: bool
) -> None:
    handler: Any = twilio.RequestHandlerClass
    handler.status, handler.body = status, body
    assert ask_twilio(account(twilio.server_port)).well is well
    assert handler.asked == ("GET", f"/2010-04-01/Accounts/AC{'1' * 32}.json")


def test_a_twilio_that_is_away_is_said() -> None:
    probe = ask_twilio(account(9))
    assert (probe.well, "does not answer" in probe.said) == (False, True)


def test_the_mail_server_is_greeted_and_no_mail_is_begun() -> None:
    with PostRoom(smtp_user="u", smtp_password="p", login_needed=True) as room:
        server = MailServer(host=room.host, port=room.smtp_port, sender="care@shop.example", starttls=False, timeout=5)
        assert ask_mail_server(replace(server, user="u", password="p")).well
        refused = ask_mail_server(replace(server, user="u", password="wrong"))
        assert (refused.well, "login" in refused.said) == (False, True)
        assert not ask_mail_server(replace(server, starttls=True)).well, "no TLS where it is asked for"
        assert len(room.ledger) == 0
    assert "connect" in ask_mail_server(server).said


def test_the_public_address_is_ours_only_with_our_key(sqlite_engine: Engine) -> None:
    now = datetime.now(UTC)
    app = App(MINE, sqlite_engine, wall_clock, parts=Parts())
    with Pages(app) as pages:
        web = ProcessSeen(
            "b", "h", "1", {"web": {"address": pages.url}}, None, now, now, None, silent=False, leads=False
        )
        around = Surroundings([web])
        assert verdicts(public_checks(MINE, around)) == {"public address": Verdict.OK}
        another = MINE.model_copy(update={"secret_key": SecretStr("another")})
        (check,) = public_checks(another, around)
        assert (check.verdict, "somebody else" in check.said) == (Verdict.WRONG, True)
    assert verdicts(public_checks(MINE, around)) == {"public address": Verdict.WRONG}
    assert verdicts(public_checks(MINE, Surroundings())) == {"public address": Verdict.LOOK}


def test_nobody_outside_is_contacted_unless_it_was_asked_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[Any] = []
    connected = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            reached.append(address)
        connected(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    words = {"var": tmp_path, "public_url": "https://shop.example", "smtp_host": "mail.shop.example"}
    checks = list(examine(App(MINE.model_copy(update=words), engine, wall_clock), Asked()))
    assert [address for address in reached if address[0] not in ("127.0.0.1", "::1")] == []
    assert {check.verdict for check in checks if check.what == "providers"} == {Verdict.OK}
    assert all(check.do for check in checks if check.verdict is not Verdict.OK), "each says what to do"


def test_a_database_that_is_away_is_one_line_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    away = connect("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    checks = list(examine(App(MINE.model_copy(update={"var": tmp_path}), away, wall_clock), Asked()))
    found = verdicts(checks)
    assert found["database"] is Verdict.WRONG
    assert (found["rules"], found["versions"]) == (Verdict.OK, Verdict.OK)


def test_old_tables_are_said_and_not_changed(tmp_path: Path) -> None:
    from models.database import is_current, migrate

    old = connect(f"sqlite:///{tmp_path / 'old.db'}")
    migrate(old, revision="0003")
    found = verdicts(examine(App(MINE.model_copy(update={"var": tmp_path}), old, wall_clock), Asked()))
    assert found["database: schema"] is Verdict.WRONG
    assert not is_current(old)
