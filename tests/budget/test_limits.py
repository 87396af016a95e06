"""What may be asked, in words and in numbers."""

from __future__ import annotations

import pytest

from secateur.budget.limits import Budget, over

DENSE = {"ms": 40.0, "mb": 8.0, "macs": 1e9, "params": 2e6}


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("30 ms", {"ms": 30.0}),
        ("0.5x ms", {"ms": 20.0}),
        ("25% ms", {"ms": 10.0}),
        ("0.3 macs", {"macs": 3e8}),
        ("300 M macs", {"macs": 3e8}),
        ("8 MB and 1.5M params", {"mb": 8.0, "params": 1.5e6}),
        ("50 % of params + 1e-3G macs", {"params": 1e6, "macs": 1e6}),
        ("0.5X Macs", {"macs": 5e8}),
        ("30\u00a0ms  AND\t4 MB", {"ms": 30.0, "mb": 4.0}),
        ("1e+06 macs", {"macs": 1e6}),
        ("7e+6 macs+2e+6 params", {"macs": 7e6, "params": 2e6}),
    ],
)
def test_read(text: str, limits: dict[str, float]) -> None:
    assert Budget.parse(text).absolute(DENSE) == pytest.approx(limits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "30",
        "ms",
        "30 s",
        "30 ms, 20 ms",
        "-3 ms",
        "0 ms",
        "2x ms",
        "nan ms",
        "5 param\u017f",
        "5 \u212a macs",
    ],
)
def test_what_cannot_be_read_is_refused_with_a_form_that_can(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as|positive"):
        Budget.parse(text)


def test_numbers() -> None:
    assert Budget(ms=0.4).absolute(DENSE) == {"ms": 0.4}  # of milliseconds and megabytes no number is a share
    assert Budget(macs=0.4, params=1000).absolute(DENSE) == {"macs": 4e8, "params": 1000.0}
    for bad in ({}, {"ms": -1}, {"macs": "1.5x"}, {"mb": "much"}, {"macs": 10**400}, {"ms": 3, "threads": 0}):
        with pytest.raises(ValueError, match="Budget"):
            Budget(**bad)
    for bad in ("0.5%x", "0.5xx", "5x%", "x", "5%%"):
        with pytest.raises(ValueError, match=r"such as '0\.5x'"):
            Budget(macs=bad)


def test_one_that_is_given_twice_is_said() -> None:
    with pytest.raises(ValueError, match="limits macs twice; give one limit of each kind, such as the lower"):
        Budget.parse("0.5 macs and 0.6 macs")


def test_two_budgets_have_two_names() -> None:
    budgets = [
        Budget.parse(text)
        for text in ("6000001 macs", "6000000 macs", "0.50000001 macs", "50% macs", "1e+16 macs")
    ]
    names = [str(budget) for budget in budgets]
    assert names == ["6000001 macs", "6e+06 macs", "0.50000001x macs", "0.5x macs", "1e+16 macs"]
    assert [Budget.parse(name) for name in names[:2]] == budgets[:2]


def test_time_is_met_to_five_percent_and_the_rest_exactly() -> None:
    assert not over({"ms": 10.0, "macs": 100.0}, {"ms": 10.4, "macs": 100.0})
    assert over({"ms": 10.0, "macs": 100.0}, {"ms": 10.6, "macs": 101.0}) == pytest.approx(
        {"ms": 1.06, "macs": 1.01}
    )
