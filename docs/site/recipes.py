"""Writes docs/api/recipes.md: for each packaged recipe the Python call that does the same.

python docs/site/recipes.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from secateur.runs.options import recipe_path, recipes

PAGE = Path(__file__).resolve().parents[1] / "api" / "recipes.md"
HEAD = """# Recipes as calls

A recipe of the command line is a method, a weighting and their settings; in Python they are arguments of `fit`. `secateur train RECIPE`
takes 2,000 steps unless told otherwise, `fit` wants to be told: `steps=` or `epochs=`. What the recipes are: [methods](../methods.md#recipes).

```python
from secateur import *
from secateur import data, zoo
from secateur.pruning.schedules import constant, staircase
```

"""
DECAYS = {"constant": "constant", "staircase": "staircase()"}
ADAM = {"lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0.0}


def call(name: str) -> str:
    """The call of ``fit`` that trains as the recipe ``name`` does."""
    recipe = yaml.safe_load(recipe_path(name).read_text(encoding="utf-8"))
    parts = ["problem", _made(recipe["method"]), _made(recipe.get("weighting", {"name": "Equal"}))]
    if any(key in recipe for key in ADAM):
        lr, betas, decay = ({**ADAM, **recipe}[key] for key in ADAM)
        given = [f"{float(lr):g}", str(tuple(betas)), f"{float(decay):g}"]
        count = max(i for i, key in enumerate(ADAM) if key in recipe) + 1
        parts.append(f"optimizer=adam({', '.join(given[:count])})")
    if "decay" in recipe:
        parts.append(f"schedule={DECAYS[recipe['decay']]}")
    return f"fit({', '.join([*parts, 'steps=' + str(recipe.get('steps', 2000))])})"


def beside(name: str) -> str:
    """What else the recipe says, which is no argument of ``fit``."""
    recipe = yaml.safe_load(recipe_path(name).read_text(encoding="utf-8"))
    said = []
    if "model" in recipe:
        said.append(f"model `zoo.{recipe['model']['name']}(tasks)`")
    if "batch" in recipe:
        said.append(f"batches of {recipe['batch']}")
    if recipe.get("map_error") == "squared":
        said.append("`data.squared_errors(tasks)`")
    return ", ".join(said)


def table() -> str:
    """The page."""
    rows = ["| recipe | call |", "| --- | --- |"]
    for name in recipes():
        more = beside(name)
        rows.append(f"| `{name}` | `{call(name)}`{', on ' + more if more else ''} |")
    return HEAD + "\n".join(rows) + "\n"


def _made(part: dict[str, Any]) -> str:
    settings = {key: value for key, value in part.items() if key != "name"}
    return f"{part['name']}({', '.join(f'{key}={_value(value)}' for key, value in settings.items())})"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"({', '.join(_value(v) for v in value)})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
