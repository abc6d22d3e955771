"""The store that the settings name."""

from __future__ import annotations

from pathlib import Path

from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError
from servedeck.gateway.stores.group_commit import CommitObserver, observe_nothing
from servedeck.gateway.stores.store import TaskStore

SQLITE_SCHEME = "sqlite:"


def open_store(
    settings: GatewaySettings, observe_commit: CommitObserver = observe_nothing
) -> TaskStore:
    """Connects to nothing yet: its `open` does. The module of the other store is not loaded. Raises
    GatewaySettingsError."""
    if settings.store.startswith(SQLITE_SCHEME):
        from servedeck.gateway.stores.sqlite.store import SqliteStore

        path = Path(settings.store.removeprefix(SQLITE_SCHEME))
        if not path.parent.is_dir():
            raise GatewaySettingsError(f"store: the directory {path.parent} does not exist.")
        return SqliteStore(path, timeout=settings.store_timeout, observe_commit=observe_commit)
    from servedeck.gateway.stores.valkey.store import ValkeyStore
    from servedeck.gateway.stores.valkey.tls import TlsFileError, TlsFiles

    try:
        return ValkeyStore(
            settings.serving,
            settings.store,
            password=_read_password(settings.store_password_file),
            timeout=settings.store_timeout,
            wait_replicas=settings.wait_replicas,
            observe_commit=observe_commit,
            tls=TlsFiles(
                settings.store_ca_file, settings.store_certificate_file, settings.store_key_file
            ),
        )
    except TlsFileError as error:
        raise GatewaySettingsError(str(error)) from None
    except ValueError as error:
        raise GatewaySettingsError(f"store: {error}.") from None


def _read_password(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise GatewaySettingsError(f"store_password_file: {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise GatewaySettingsError(f"store_password_file: {file} is not UTF-8.") from None
