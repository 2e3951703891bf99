"""The sample shop, written and read in for the demo."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from beforehand import sample
from beforehand.ingest.issues import declare
from beforehand.runtime.demo import DemoFolder, Watch
from beforehand.settings import Settings
from beforehand.wiring import App, bootstrap
from flows.hands import ingest_counts

SOURCES = Path("examples/shop/sources.yaml")


@dataclass(frozen=True)
class Loaded:
    """The shop as it was loaded: counts by table, the file of rejected rows, and the orders a known issue touches."""

    tables: Mapping[str, Mapping[str, int]]
    rejected: int
    exposures: int


def load_shop(app: App, folder: Path, watch: Watch) -> Loaded:
    """Write the sample shop as of now, read it in, and declare its known issue. Blocking, some seconds."""
    shop = (folder / "shop").resolve()
    sample.write(shop, now=app.clock())
    watch.mark("shop written")
    os.environ["BEFOREHAND_DATA"] = str(shop)  # where the mapping file, and the ingest flow after us, find it
    tables = ingest_counts(app, SOURCES)
    watch.mark("shop loaded")
    declared = declare(app.engine, app.settings.issues, app.clock())
    watch.mark("known issue declared")
    return Loaded(tables, sum(counts["rejected"] for counts in tables.values()), declared.exposures_new)


def open_shop(settings: Settings, folder: DemoFolder, watch: Watch, say: Callable[[str], None]) -> tuple[App, Loaded]:
    """The wired application over the demo's database; a new one is filled."""
    app = bootstrap(settings)
    if not folder.is_new:
        os.environ["BEFOREHAND_DATA"] = str((folder.path / "shop").resolve())
        say("Going on with the shop of the last demo.")
        return app, Loaded({}, 0, 0)
    return app, load_shop(app, folder.path, watch)
