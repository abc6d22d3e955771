from __future__ import annotations

from typing import Any

import pytest

from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import RejectionReason, rejection_from_api_error

STATUS_CAUSE = {"reason": "ResourceVersionTooLarge", "field": ".spec\x1b[31m"}

MALFORMED_DETAILS = [
    5,
    "causes",
    True,
    ["causes"],
    None,
    {"causes": 5},
    {"causes": True},
    {"causes": "causes"},
    {"causes": {"field": "x"}},
    {"causes": [5, None, "x", ["field"]]},
    {"causes": [{"field": None, "reason": ["x"]}]},
    {"kind": ["namespaces"], "causes": None},
]
"""What a proxy or a webhook may send where a Status has an object with a list of objects."""


@pytest.mark.parametrize("details", MALFORMED_DETAILS)
@pytest.mark.parametrize("code", [404, 409, 422, 504])
def test_details_of_a_wrong_type_are_passed_over(details: Any, code: int) -> None:
    error = ApiError(code, "", "no", details=details)
    assert not error.resource_version_too_large
    assert all(isinstance(cause, dict) for cause in error.causes)
    assert rejection_from_api_error(error).fields == ()


def test_the_good_causes_among_bad_ones_count() -> None:
    error = ApiError(422, "Invalid", "no", details={"causes": [5, STATUS_CAUSE, {"field": 7}]})
    assert error.resource_version_too_large
    rejection = rejection_from_api_error(error)
    assert (rejection.reason, rejection.fields) == (RejectionReason.INVALID, (".spec", "7"))


def test_another_sentence_leaves_the_rejection_as_it_is() -> None:
    error = ApiError(403, "Forbidden", "no", details={"kind": "pods"}, retry_after=3.0)
    described = error.with_message("Cannot read logs.")
    assert str(described) == "Cannot read logs."
    assert vars(described) == vars(error)
