"""Ports: another one where the wanted one is taken, by a server or by a house that is only starting."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from beforehand.parts import PartName
from beforehand.runtime.opening import with_free_ports
from beforehand.runtime.ports import NoPortError, free_port, is_free, keep, let_go
from beforehand.settings import Settings

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> socket.socket:
    one = socket.socket()
    one.bind((HOST, 0))
    one.listen()
    return one


def test_a_taken_port_gives_way_to_the_next(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    assert not is_free(HOST, port)
    found = free_port(HOST, port)
    assert port < found < port + 50
    let_go(found)
    taken.close()


def test_a_port_is_kept_before_anybody_listens(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    taken.close()
    assert keep(port)
    asked = f"import sys; from beforehand.runtime.ports import keep; sys.exit(keep({port}))"
    root = Path(__file__).resolve().parent.parent.parent
    assert subprocess.run([sys.executable, "-c", asked], cwd=root, check=False).returncode == 0, "the other gets it not"
    let_go(port)
    assert subprocess.run([sys.executable, "-c", asked], cwd=root, check=False).returncode == 1


def test_no_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beforehand.runtime.ports.is_free", lambda _host, _port: False)
    with pytest.raises(NoPortError, match="set another one in the settings"):
        free_port(HOST, 47000)


def test_settings_get_ports_that_are_free_and_say_so(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    said: list[str] = []
    before = Settings(_env_file=None, prefect_port=port, post_room_port=port, post_room_smtp_port=port)
    after = with_free_ports(before, said.append)
    ports = [after.prefect_port, after.post_room_port, after.post_room_smtp_port]
    assert len(set(ports)) == 3
    assert port not in ports
    assert after.smtp_port == after.post_room_smtp_port, "mail goes where the post room is"
    assert f"Port {port} is in use: the Prefect server takes {ports[0]}." in said
    for one in ports:
        let_go(one)
    taken.close()


def test_a_process_takes_ports_for_its_own_parts_alone(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    before = Settings(_env_file=None, prefect_port=port, web_port=port, post_room_port=port, post_room_smtp_port=port)
    after = with_free_ports(before, lambda _: None, [PartName.WORKER, PartName.DISPATCHER])
    names = ("prefect_port", "web_port", "post_room_port", "post_room_smtp_port")
    assert {getattr(after, name) for name in names} == {port}, "another process listens there, and we go to it"
    assert after.staff_port >= before.staff_port
    let_go(after.staff_port)
    elsewhere = with_free_ports(before, lambda _: None, [PartName.PREFECT], server=False)
    assert elsewhere.prefect_port == port, "the server that runs already is not moved"
    let_go(elsewhere.staff_port)


def test_our_pages_take_another_port_and_their_address_follows(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    after = with_free_ports(Settings(_env_file=None, web_port=port), lambda _: None)
    assert after.web_port != port
    assert after.public_url == after.callback_url == f"http://127.0.0.1:{after.web_port}"
    elsewhere = with_free_ports(
        Settings(_env_file=None, web_port=port, public_url="https://shop.example"), lambda _: None
    )
    assert elsewhere.public_url == "https://shop.example"
    assert elsewhere.callback_url.startswith("http://127.0.0.1:"), "what is not live tells nobody outside"
    for one in (after, elsewhere):
        for name in ("web_port", "prefect_port", "post_room_port", "post_room_smtp_port"):
            let_go(getattr(one, name))


def test_a_live_house_does_not_move_from_where_it_is_reached(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    live = Settings(_env_file=None, web_port=port).model_copy(update={"delivery": "live"})
    with pytest.raises(NoPortError, match=f"port {port} is in use, and BEFOREHAND_PUBLIC_URL leads to it"):
        with_free_ports(live, lambda _: None)
    for name in ("prefect_port", "post_room_port", "post_room_smtp_port"):
        let_go(getattr(live, name))
