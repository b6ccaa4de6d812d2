"""The SQLite file that MLflow uses where there is no server."""

from __future__ import annotations

import logging
from pathlib import Path

_SCHEME = "sqlite:///"
_LOCK_SECONDS = 120


def names(uri: str) -> bool:
    """Return whether `uri` is that of a SQLite file."""
    return uri.startswith(_SCHEME)


def database(uri: str) -> Path:
    """Return the file that `uri` names."""
    return Path(uri.removeprefix(_SCHEME).partition("?")[0]).absolute()


def artifacts(uri: str) -> str | None:
    """Return where the artifacts of a new experiment go: beside the SQLite file, for a server where the server says."""
    return (database(uri).parent / "mlartifacts").as_uri() if names(uri) else None


def initialise(path: Path) -> None:
    """Make the SQLite file, once, however many ask at the same time.

    It is made under another name and renamed when complete: creating it takes seconds, and MLflow can neither use nor
    mend a file whose creation was cut short.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS):
        if path.exists() and path.stat().st_size:
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        unfinished = path.with_name(f".{path.name}.part")
        unfinished.unlink(missing_ok=True)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        store = SqlAlchemyStore(f"{_SCHEME}{unfinished}", (path.parent / "mlartifacts").as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        unfinished.replace(path)
