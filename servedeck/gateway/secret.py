"""The secret of a gateway: that of the settings, or one that is made beside a SQLite file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from servedeck.atomic_file import NewFile
from servedeck.gateway.identity import MIN_SECRET_BYTES, Identity
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError
from servedeck.gateway.stores.opening import SQLITE_SCHEME


def open_identity(settings: GatewaySettings) -> Identity:
    """Blocks for the time of some file operations. Raises GatewaySettingsError."""
    file = settings.secret_file
    if file is None:
        if not settings.store.startswith(SQLITE_SCHEME):
            raise GatewaySettingsError(
                "secret_file must name a file with at least 32 random bytes: all gateways on a"
                " Valkey need the same secret."
            )
        database = Path(settings.store.removeprefix(SQLITE_SCHEME))
        file = database.with_name(f"{database.name}.secret")
        _make_secret(file)
    try:
        return Identity(file.read_bytes())
    except OSError as error:
        raise GatewaySettingsError(f"secret_file: {file}: {error.strerror}.") from None
    except ValueError as error:
        raise GatewaySettingsError(f"secret_file: {file}: {error}.") from None


def _make_secret(file: Path) -> None:
    """Make it if it is not there; only its owner can read it. It appears as a whole: of two
    processes that make it at once, both use that of the first."""
    if file.exists():
        return
    try:
        new = NewFile(file, overwrite=False)
        try:
            new.file.write(secrets.token_bytes(2 * MIN_SECRET_BYTES))
            with suppress(FileExistsError):
                new.commit()
            # Else a power cut could take the secret, and with it the owners of stored tasks.
            directory = os.open(new.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            new.discard()
    except FileExistsError:
        return
    except OSError as error:
        raise GatewaySettingsError(
            f"secret_file: a secret cannot be made at {file}: {error.strerror}."
        ) from None
