"""How Prefect is set: environment variables, computed before prefect is imported (it reads them at import)."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

LOOPBACK = "127.0.0.1"
POOL = "beforehand"
HEAVY_LIMIT = "beforehand-heavy"
"""Prefect's global concurrency limit for work that takes the machine for a while."""
PARENT = "BEFOREHAND_PARENT"
"""The variable that tells the server which process it belongs to."""
THEIRS = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
"""What opens a server that runs already; with a server of our own they stay out as every other variable does."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")


def api_url(port: int) -> str:
    """The address of the API of the Prefect server that we start on ``port``."""
    return f"http://{LOOPBACK}:{port}/api"


def ui_url(port: int, path: str = "") -> str:
    """An address in Prefect's UI (V2) on ``port``: ``path`` is what follows ``/v2/``."""
    return ui_of(api_url(port), path)


def ui_of(api: str, path: str = "") -> str:
    """An address in the UI (V2) of the Prefect server behind ``api``."""
    return f"{api.rstrip('/').removesuffix('/api')}/v2/{path}"


def existing_api(setting: str, environment: Mapping[str, str] | None = None) -> str:
    """The API of a Prefect server that runs already: the setting's, else ``PREFECT_API_URL``'s; empty: none is."""
    source = os.environ if environment is None else environment
    return (setting or source.get("PREFECT_API_URL", "")).strip().rstrip("/")


def guest_environment(home: Path, api: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables for a process that works with the Prefect server behind ``api``, which is not ours to set up.

    What opens it (:data:`THEIRS`) comes through from the ``environment``.
    """
    source = os.environ if environment is None else environment
    ours = {name: value for name, value in prefect_environment(home, 0).items() if "_SERVER_" not in name}
    return {**ours, "PREFECT_API_URL": api, **{name: source[name] for name in THEIRS if source.get(name)}}


def prefect_environment(home: Path, port: int, *, days: int = 30) -> dict[str, str]:
    """The variables for the server and for the process that runs flows against it.

    ``home`` is Prefect's own folder (database, profiles); ``days`` is how long finished runs are kept. Reasons and
    measurements: docs/discussions/clocks.md.
    """
    return {
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_PROFILES_PATH": str(home.resolve() / "profiles.toml"),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        **_QUIET,
        **_BATCHES,
        **_kept(days),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }


SERVER_ONLY = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
"""What differs in the server's process: its console is its log file."""

_QUIET = {  # nothing calls home, nothing is advertised
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
_BATCHES = {  # the recorder writes in batches: a quarter of the work
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "200",
}
DAY = 86_400
EVENT_DAYS = 7
"""Events are most of what Prefect stores; a run's own story is in its states and logs, which stay with it."""


def _kept(days: int) -> dict[str, str]:
    """Old runs with their logs and artifacts, old events, and what a deleted run left behind are cleared away."""
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(days * DAY),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(days, EVENT_DAYS)}D",
    }


def put_in_place(values: Mapping[str, str], environment: MutableMapping[str, str] | None = None) -> None:
    """Make ``values`` the whole of Prefect's environment here: variables of the user's own Prefect are dropped.

    Also keeps proxies away from the loopback address. To be called before anything imports prefect.
    """
    target = os.environ if environment is None else environment
    for name in [name for name in target if name.upper().startswith("PREFECT_")]:
        del target[name]
    target.update(values)
    for name in ("NO_PROXY", "no_proxy"):
        told = [part for part in target.get(name, "").split(",") if part]
        target[name] = ",".join(dict.fromkeys([*told, LOOPBACK, "localhost", "::1"]))


def drop_proxies(environment: MutableMapping[str, str] | None = None) -> None:
    """Take every proxy out of the environment: for a run in which nothing leaves this machine anyway."""
    target = os.environ if environment is None else environment
    for name in [name for name in target if name.lower() in PROXIES]:
        del target[name]
