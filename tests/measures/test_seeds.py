"""Tests over seeds, against another implementation and by hand."""

from __future__ import annotations

import pytest
from scipy.stats import ttest_rel

from secateur.measures.seeds import corrected, differs, p_value


def test_the_p_value_is_that_of_a_paired_test_over_common_seeds() -> None:
    one, other = {0: 1.0, 1: 2.5, 2: 2.0, 7: 9.0}, {0: 0.5, 1: 1.0, 2: 1.9, 8: 1.0}
    expected = ttest_rel([1.0, 2.5, 2.0], [0.5, 1.0, 1.9]).pvalue
    assert p_value(one, other) == pytest.approx(expected)
    assert differs(one, other) == (expected < 0.05)


def test_where_there_is_no_test_there_is_no_p_value() -> None:
    assert p_value({0: 1.0}, {0: 2.0}) is None
    assert p_value({0: 1.0, 1: 2.0}, {0: 2.0, 2: 1.0}) is None
    assert p_value({0: 1.0, 1: float("nan")}, {0: 2.0, 1: 1.0}) is None
    assert p_value({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}) == 1
    assert p_value({0: 1.0, 1: 2.0}, {0: 0.0, 1: 1.0}) == 0


def test_several_tests_are_corrected_for_how_many_they_are() -> None:
    found = corrected({"a": 0.04, "b": 0.01, "none": None, "c": 0.03})
    assert found == pytest.approx({"a": 0.06, "b": 0.03, "none": None, "c": 0.06})
    assert corrected({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
