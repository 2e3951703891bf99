"""Write the next migration from what the models say: ``make migration SAY="why"``. Read it before you commit it."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from models.database import MIGRATIONS, alembic_config, connect, migrate

PLAINER = {
    "sqlmodel.sql.sqltypes.AutoString": "sa.String",
    "astext_type=Text()": "",
    "UTCDateTime(timezone=True)": "UTCDateTime()",
}


def main() -> None:
    """Compare a database at the newest migration with the models, and write the difference."""
    number = f"{len(list((MIGRATIONS / 'versions').glob('[0-9]*.py'))) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(f"sqlite:///{folder}/scratch.db")
        migrate(engine)
        config = alembic_config()
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message=sys.argv[1], autogenerate=True, rev_id=number)
        engine.dispose()
    written = next((MIGRATIONS / "versions").glob(f"{number}_*.py"))
    source = written.read_text()
    for ours, plain in PLAINER.items():
        source = source.replace(ours, plain)
    Path(written).write_text(source)


if __name__ == "__main__":
    main()
