"""Fixtures for tests of the fleet."""

from __future__ import annotations

import pytest

from tests.fleet.factories import (
    deployment,
    pod,
    replicaset,
)
from tests.fleet.fake_cluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.put(deployment(), replicaset(), pod())
    return made
