"""Headers of every request: user agent, compression and impersonation."""

from __future__ import annotations

from urllib.parse import quote

from servedeck import __version__
from servedeck.cluster.auth.kubeconfig import (
    KubeconfigContext,
)
from servedeck.cluster.http.errors import (
    ConfigError,
)

USER_AGENT = f"servedeck/{__version__}"


_HEADER_NAME_SYMBOLS = "!#$&'*+-.^_`|~"
"""Symbols allowed in header names (RFC 9110) that are not escaped in the key of an extra
attribute."""


def make_headers(context: KubeconfigContext) -> list[tuple[str, str]]:
    """Headers of every request, including impersonation. Raises ConfigError for incomplete
    impersonation settings: ignoring them would grant the user's own permissions."""
    user = context.user
    headers = [("User-Agent", USER_AGENT)]
    if not context.cluster.compression_enabled:
        headers.append(("Accept-Encoding", "identity"))
    name, groups, uid, extra = (
        user.get_str("as"),
        user.impersonate_groups,
        user.get_str("as-uid"),
        user.impersonate_extra,
    )
    if (groups or uid or extra) and not name:
        raise ConfigError(
            f"The user {user.name!r} in {user.file} has as-groups, as-uid or as-user-extra without"
            " `as`; name the user to act as."
        )
    if name:
        headers.append(("Impersonate-User", name))
    if uid:
        headers.append(("Impersonate-Uid", uid))
    headers += [("Impersonate-Group", group) for group in groups]
    for key, values in extra.items():
        headers += [
            (f"Impersonate-Extra-{quote(key, safe=_HEADER_NAME_SYMBOLS)}", value)
            for value in values
        ]
    if not all(_is_header_value(value) for _, value in headers):
        raise ConfigError(
            f"The user {user.name!r} in {user.file} impersonates a name, group or attribute with a"
            " line break or another control character; correct it."
        )
    return headers


def _is_header_value(text: str) -> bool:
    """As in Go (x/net/http/httpguts, ValidHeaderFieldValue)."""
    return all(char == "\t" or (char >= " " and char != "\x7f") for char in text)
