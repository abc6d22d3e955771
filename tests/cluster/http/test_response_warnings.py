from __future__ import annotations

import pytest
from multidict import CIMultiDict

from servedeck.cluster.http.response_warnings import read_warnings


def test_each_warning_once_and_without_control_sequences() -> None:
    headers = CIMultiDict(
        [
            ("Warning", '299 - "unknown field \\"spec.x\\""'),
            ("Warning", '299 - "a\x1b[31mb", 299 kube "c\\\\d"'),
            ("Warning", '299 - "c\\\\d"'),
        ]
    )
    assert read_warnings(headers) == ('unknown field "spec.x"', "ab", "c\\d")


@pytest.mark.parametrize("value", ["", "text", '299 - "open', "299 - closed"])
def test_what_is_no_warning_is_passed_over(value: str) -> None:
    assert read_warnings({"Warning": value}) == ()
    assert read_warnings({}) == ()
