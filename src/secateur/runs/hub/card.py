"""The model card: what a run's report says, as a page of the Hub with the facts that its search reads on top."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml


def card(
    report: Mapping[str, Any],
    config: Mapping[str, Any],
    exports: Mapping[str, Any],
    bench: Mapping[str, Any] | None,
    *,
    licence: str | None = None,
    repo: str = "",
) -> str:
    """README.md of a repository.

    Args:
        report: Content of ``report.json``, without paths of the machine.
        config: The configuration, the same.
        exports: Exported file to its facts.
        bench: Content of ``bench.json`` where it was timed.
        licence: As the Hub spells it, such as ``mit``.
        repo: Where it goes.
    """
    top = yaml.safe_dump(_front(report, config, exports, licence, repo), sort_keys=False, allow_unicode=True)
    split = "validation" if report.get("split") == "val" else "test"
    parts = [
        f"---\n{top}---",
        f"# {repo.rpartition('/')[2] or report['name']}",
        _summary(report, config),
        f"## Results\n\nOn the {split} split of `{config['data']['name']}`.\n\n{_metrics(report)}",
        _sizes(report),
        _times(bench),
        _files(exports),
        _use(config, repo),
        _origin(report),
        f"Licence: {licence}." if licence else "No licence is stated.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _use(config: Mapping[str, Any], repo: str) -> str:
    package = str(config["model"]["name"]).partition(".")[0] if "." in str(config["model"]["name"]) else ""
    trust = f" --trust {package}" if package else ""
    return (
        f"## Use\n\n```\nsecateur pull {repo or 'REPO'} --out run\nsecateur evaluate run{trust}\nsecateur predict run photos --out seen{trust}\n```\n\n"
        + (f"The network is `{config['model']['name']}`, whose code is not here. " if package else "")
        + "`PATH` in `config.yaml` stands for a folder of the machine that trained; `secateur pull --root DIR` names that of the data here."
    )


def _front(
    report: Mapping[str, Any],
    config: Mapping[str, Any],
    exports: Mapping[str, Any],
    licence: str | None,
    repo: str,
) -> dict[str, Any]:
    metrics = list(dict.fromkeys(metric for found in report["tasks"].values() for metric in found))
    tags = [
        "secateur",
        "pruning",
        "sparsity",
        "multi-task-learning",
        "pytorch",
        *(str(e["format"]) for e in exports.values()),
    ]
    results = [
        {
            "task": {"type": "other", "name": task},
            "dataset": {"type": str(config["data"]["name"]), "name": str(config["data"]["name"])},
            "metrics": [
                {"type": metric, "name": metric, "value": value}
                for metric, value in found.items()
                if _is_number(value)
            ],
        }
        for task, found in report["tasks"].items()
    ]
    return {
        **({"license": licence} if licence else {}),
        "library_name": "secateur",
        "tags": list(dict.fromkeys(tags)),
        "metrics": metrics,
        "model-index": [
            {
                "name": repo.rpartition("/")[2] or str(report["name"]),
                "results": [r for r in results if r["metrics"]],
            }
        ],
    }


def _summary(report: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    kept = report["density"]["overall"]
    how = (
        "not pruned"
        if report["dense"]
        else f"pruned, {kept:.1%} of its prunable weights are left, and trained by {report['method']}"
    )
    return (
        f"One network `{config['model']['name']}` for the tasks {', '.join(report['tasks'])}, {how}. Trained with "
        "secateur, which finds what each task cost."
    )


def _metrics(report: Mapping[str, Any]) -> str:
    rows = ["| task | metric | value |", "| --- | --- | ---: |"]
    for task, found in report["tasks"].items():
        for metric, value in found.items():
            better = "↑" if report["higher_is_better"][task][metric] else "↓"
            rows.append(f"| {task} | {metric} {better} | {f'{value:.4g}' if _is_number(value) else 'n/a'} |")
    delta = report.get("delta_t") or {}
    if _is_number(delta.get("mean")) and not report["dense"]:
        by_task = ", ".join(f"{task} {value:+.2f} %" for task, value in delta["tasks"].items())
        rows.append(
            f"\nΔT against its dense network: {delta['mean']:+.2f} % ({by_task}); positive is better."
        )
    return "\n".join(rows)


def _sizes(report: Mapping[str, Any]) -> str:
    params, macs = report["params"], report["macs"]
    rows = ["| | all | not zero |", "| --- | ---: | ---: |"]
    rows.append(f"| parameters | {params['total']:,.0f} | {params['nonzero']:,.0f} |")
    rows.append(f"| multiply-accumulates of a pass | {macs['dense']:,.0f} | {macs['sparse']:,.0f} |")
    rows += [
        f"| density of {part} | 100 % | {kept:.1%} |"
        for part, kept in report["density"]["components"].items()
    ]
    return "## Size\n\n" + "\n".join(rows)


def _times(bench: Mapping[str, Any] | None) -> str:
    """Milliseconds in each engine that it was timed in, on which machine."""
    try:
        own, found = str((bench or {})["network"]), (bench or {})["bench"]
        rows = [
            f"| {engine} | {by[own]['p50']:.3g} | {by[own]['speedup']:.2f} |"
            for engine, by in found["measures"].items()
            if own in by
        ]
        where = found.get("machine", {})
        said = (
            where
            if isinstance(where, str)
            else ", ".join(f"{k} {v}" for k, v in where.items() if not isinstance(v, dict))
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    if not rows:
        return ""
    table = "\n".join(["| engine | ms | times as fast as dense there |", "| --- | ---: | ---: |", *rows])
    return f"## Time\n\n{table}\n\nMedian of a pass{f', on {said}' if said else ''}."


def _files(exports: Mapping[str, Any]) -> str:
    if not exports:
        return ""
    rows = [f"| {name} | {facts['format']} | {facts['bytes']:,} |" for name, facts in exports.items()]
    return "## Exported files\n\n" + "\n".join(["| file | format | bytes |", "| --- | --- | ---: |", *rows])


def _origin(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"## Where it comes from\n\n```\n{report['command']}\n```\n\nSeed {report['seed']}; {report['hardware']}; {versions}."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
