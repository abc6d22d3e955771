"""The table of failure causes: why a Pod fails or does not start, ordered by how much each tells.

Of all that is known about a Pod, the first row that fits is the failure reason; later rows are
symptoms of it. "k8s" in a source is kubernetes v1.36; "k8s#61076" is an issue of kubernetes. How a
row is matched and its text filled in: `FailureCause`.
"""

from __future__ import annotations

from servedeck.serving.status.cause import FailureCause
from servedeck.serving.status.container_causes import (
    CONTAINER_CAUSES,
    IMAGE_CAUSES,
    READINESS_CAUSES,
)
from servedeck.serving.status.pod_causes import (
    CREATION_CAUSES,
    REJECTED_POD_CAUSES,
    SCHEDULING_CAUSES,
    SETUP_CAUSES,
)

FAILURE_CAUSES: tuple[FailureCause, ...] = (
    *REJECTED_POD_CAUSES,
    *CONTAINER_CAUSES,
    *IMAGE_CAUSES,
    *SCHEDULING_CAUSES,
    *SETUP_CAUSES,
    *READINESS_CAUSES,
    *CREATION_CAUSES,
)
