"""Oracles T3 and T13: the published tables of AdapMTL (Tables 1 and 2), recomputed from their printed metrics."""

import math

import pytest

from secateur.measures import DeltaT, delta_t

NAMES = {
    "seg": ("miou", "pixel_accuracy"),
    "normal": ("mean", "median", "within_11.25", "within_22.5", "within_30"),
    "depth": ("abs", "rel", "delta_1", "delta_2", "delta_3"),
}
LOWER = {"mean", "median", "abs", "rel"}
BETTER = {task: {name: name not in LOWER for name in names} for task, names in NAMES.items()}

DENSE_R34 = "25.54 57.91  17.11 14.95 36.35 72.25 85.44  .55 .22 65.21 89.87 97.52"
DENSE_MB2 = "19.94 48.71  17.85 16.21 29.77 72.19 86.19  .64 .24 58.93 86.27 96.16"
# metrics as printed; printed dT of the three tasks and of all (sum form); overall in mean form (methods.md 7.1, 7.2)
TABLE_1 = {
    "SNIP": ("24.09 55.32  16.94 14.93 36.17 72.39 86.98  .61 .23 60.61 87.88 96.77", "-10.15 2.63 -25.49 -11.00", -3.22),
    "LTH": ("25.42 57.98  16.73 15.08 35.20 72.35 87.22  .57 .22 60.93 88.64 96.20", "-0.35 0.41 -12.92 -4.29", -0.89),
    # printed: depth -3.82 and overall -1.71, which its own metrics contradict
    "IMP": ("25.68 57.86  16.86 15.18 35.53 71.96 86.26  .56 .22 65.23 89.29 97.53", "0.46 -1.77 -2.42 -1.25", -0.20),
    "DiSparse": ("25.71 58.08  17.03 15.23 35.10 71.85 86.22  .57 .22 64.93 88.64 97.20", "0.96 -4.48 -5.76 -3.10", -0.52),
    "one threshold": ("25.59 57.53  17.26 15.75 36.21 71.53 85.91  .58 .22 62.52 87.12 96.50", "-0.46 -7.06 -13.68 -7.07", -1.46),
    "AdapMTL": ("26.28 58.29  16.92 14.91 36.36 72.97 86.29  .55 .22 65.39 89.93 97.58", "3.55 3.41 0.38 2.45", 0.85),
}  # fmt: skip
TABLE_2 = {
    "SNIP": ("18.96 46.93  18.33 16.97 28.93 71.21 85.78  .64 .25 56.75 85.71 95.33", "-8.57 -12.03 -9.38 -9.99", -2.86),
    "LTH": ("19.14 47.25  17.67 16.32 29.67 72.15 86.22  .65 .25 57.68 85.89 96.13", "-7.01 -0.03 -8.32 -5.12", -1.72),
    "IMP": ("18.76 48.12  18.71 16.68 29.63 71.76 85.91  .64 .23 59.75 86.52 96.31", "-7.13 -9.11 6.00 -3.41", -1.40),
    "DiSparse": ("19.87 48.83  17.92 16.79 29.87 71.76 85.64  .65 .24 58.42 85.72 96.28", "-0.10 -4.87 -2.94 -2.64", -0.54),
    "one threshold": ("18.93 47.51  18.16 16.87 28.37 71.53 86.63  .65 .24 58.26 85.82 95.92", "-7.53 -10.91 -3.47 -7.30", -2.21),
    "AdapMTL": ("20.16 49.14  17.53 15.96 30.16 72.36 86.51  .64 .24 59.03 86.57 96.38", "1.99 5.25 0.75 2.66", 0.73),
}  # fmt: skip
ROWS = [
    pytest.param(dense, *row, id=f"{table} {name}")
    for table, dense, rows in (("Table 1", DENSE_R34, TABLE_1), ("Table 2", DENSE_MB2, TABLE_2))
    for name, row in rows.items()
]


def results(row: str) -> dict[str, dict[str, float]]:
    values = iter(row.split())
    return {task: {name: float(next(values)) for name in names} for task, names in NAMES.items()}


@pytest.mark.parametrize(("dense", "row", "printed", "mean"), ROWS)
def test_t3_the_tables_are_sums_over_metrics(dense: str, row: str, printed: str, mean: float) -> None:
    *tasks, overall = map(float, printed.split())
    total = delta_t(results(row), results(dense), BETTER, reduce="sum")
    assert list(total.tasks) == list(NAMES)
    assert list(total.tasks.values()) == pytest.approx(tasks, abs=0.03)
    assert total.overall == pytest.approx(overall, abs=0.03)
    assert delta_t(results(row), results(dense), BETTER).overall == pytest.approx(mean, abs=0.006)


def test_t13_overall_sparsity_weighs_components_by_their_size() -> None:
    sizes = (21_267_648, 23_232_512, 23_080_960, 23_072_768)
    sparsities = (71.74, 93.18, 99.26, 96.22)  # backbone, seg, normal, depth of AdapMTL in Table 1
    overall = sum(s * n for s, n in zip(sparsities, sizes, strict=True)) / sum(sizes)
    assert overall == pytest.approx(90.47, abs=0.005)


def test_golden_by_hand() -> None:
    better = {"a": {"up": True, "down": False}, "b": {"up": True}}
    dense = {"a": {"up": 0.5, "down": 2.0}, "b": {"up": 4.0}}
    found = {"a": {"up": 0.6, "down": 2.5}, "b": {"up": 3.0}}
    assert delta_t(dense, dense, better) == DeltaT(0.0, {"a": 0.0, "b": 0.0})
    mean = delta_t(found, dense, better)  # a: (+20 - 25) / 2, b: -25
    assert mean.tasks == pytest.approx({"a": -2.5, "b": -25.0})
    assert mean.overall == pytest.approx(-13.75)
    assert delta_t(found, dense, better, reduce="sum").tasks == pytest.approx({"a": -5.0, "b": -25.0})


def test_more_is_better_below_zero_too() -> None:
    assert delta_t({"a": {"m": -1.0}}, {"a": {"m": -2.0}}, {"a": {"m": True}}).overall == 50


def test_nan_stays_and_a_task_without_metrics_is_left_out() -> None:
    better = {"a": {"m": True}, "b": {}}
    found = delta_t({"a": {"m": math.nan}, "b": {}}, {"a": {"m": 1.0}, "b": {}}, better)
    assert math.isnan(found.overall)
    assert set(found.tasks) == {"a"}


def test_errors_name_what_is_wrong() -> None:
    one, better = {"a": {"m": 1.0}}, {"a": {"m": True}}
    with pytest.raises(ValueError, match=r"dense\['a'\]\['m'\] is 0"):
        delta_t(one, {"a": {"m": 0.0}}, better)
    with pytest.raises(ValueError, match=r"results and dense differ.*'b'"):
        delta_t(one, {"a": {"m": 1.0}, "b": {}}, better)
    with pytest.raises(ValueError, match=r"results and dense differ.*'a/m'.*'a/n'"):
        delta_t(one, {"a": {"n": 1.0}}, better)
    with pytest.raises(ValueError, match="results and higher_is_better differ"):
        delta_t(one, one, {"a": {"m": True, "n": False}})
    with pytest.raises(ValueError, match="reduce is 'max'"):
        delta_t(one, one, better, reduce="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no metric"):
        delta_t({"a": {}}, {"a": {}}, {"a": {}})
