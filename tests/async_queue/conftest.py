"""Fixtures: a scripted API server and a connection to it."""

from tests.cluster.conftest import api, connection

__all__ = ["api", "connection"]
