"""A recipe with settings of its own, and what it comes to with the options of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.runs.config import Config, parse, resolved


@dataclass(frozen=True)
class Variant:
    """A recipe with settings of its own.

    Args:
        name: What tables and folders call it.
        recipe: Packaged name or path.
        options: Of ``secateur train``, for this one alone.
        reference: Counts as dense whatever its method, such as a penalty of strength 0.
    """

    name: str
    recipe: str
    options: tuple[str, ...] = ()
    reference: bool = False


def stem(recipe: str) -> str:
    """What folders and tables call a recipe: of a file its name."""
    path = Path(recipe)
    return path.stem if path.suffix in (".yaml", ".yml") else path.name


class Configs:
    """Configurations by their words, each parsed once: it takes a quarter of a second.

    Args:
        options: Of ``secateur train``, for all of them.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self.options = tuple(options)
        self._held: dict[tuple[str, ...], Config] = {}

    def words(self, variant: Variant, more: Sequence[str] = ()) -> tuple[str, ...]:
        """The command line of ``secateur train``."""
        return (variant.recipe, *self.options, *variant.options, *more)

    def of(self, variant: Variant, more: Sequence[str] = (), seed: int | None = None) -> Config:
        """Resolved; with a seed, of that.

        Raises:
            ValueError: If the recipe cannot be run with these options.
        """
        words = self.words(variant, more)
        if words not in self._held:
            try:
                self._held[words] = resolved(parse(words, exits=False))
            except ValueError as refused:
                raise ValueError(
                    f"Recipe {variant.recipe!r} cannot be run with {' '.join(words[1:])}: {refused}"
                ) from refused
        return self._held[words] if seed is None else {**self._held[words], "seed": seed}
