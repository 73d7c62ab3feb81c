"""`forethought config`: what a training would be configured with, and what `train` and it have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from forethought.cli.output import Debug, emit, guarded, write

if TYPE_CHECKING:
    from forethought.training.config import TrainConfig

Recipe = Annotated[str | None, typer.Option(help="A recipe's name, such as two-room-random; `forethought config` lists them.")]
File = Annotated[Path | None, typer.Option("--config", help="A configuration in JSON, such as a run's config.json.")]
Size = Annotated[str | None, typer.Option(help="xs, s, m or l. Default: the recipe's.")]
Time = Annotated[str | None, typer.Option(help="Wall clock to keep to, such as 90s, 5m, 1h. Default: fixed updates.")]
Frameskip = Annotated[int | None, typer.Option(min=1, help="Environment actions in one block. Default: the recipe's, or 1.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of all randomness. Default: 0.")]
Threads = Annotated[
    int | None, typer.Option(min=0, help="Torch threads; 0 leaves torch's choice. Default: the recipe's, or 0.")
]


@final
@dataclasses.dataclass(frozen=True)
class Asked:
    """What was said on the command line; None where nothing was."""

    recipe: str | None = None
    config: Path | None = None
    size: str | None = None
    time: str | None = None
    frameskip: int | None = None
    seed: int | None = None
    threads: int | None = None


def config(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name; without one, the names are listed.")] = None,
    file: File = None,
    size: Size = None,
    time: Time = None,
    frameskip: Frameskip = None,
    seed: Seed = None,
    threads: Threads = None,
    json: Annotated[bool, typer.Option("--json", help="The list of recipes as JSON; a configuration always is.")] = False,
    debug: Debug = False,
) -> None:
    """Print a configuration in full, to read, change, and give to `forethought train --config`.

    \b
    Examples:
      forethought config
      forethought config two-room-random --size m > mine.json
      forethought train rooms.h5 --out runs/rooms --config mine.json
    """
    asked = Asked(recipe, file, size, time, frameskip, seed, threads)
    guarded(lambda: _config(asked, json), debug)


def _config(asked: Asked, json: bool) -> None:
    from forethought.config import to_json

    if asked == Asked():
        found = {name: (recipe.__doc__ or "").partition("\n")[0] for name, recipe in recipes().items()}
        emit(found, json, "\n".join(f"{name:<20}{line}" for name, line in found.items()))
        return
    write(to_json(resolve(asked)))


def recipes() -> dict[str, Callable[[int], TrainConfig]]:
    """Every function of `training/recipes.py`, by the name it has on the command line."""
    import inspect

    from forethought.training import recipes as module

    own = inspect.getmembers(module, lambda member: inspect.isfunction(member) and member.__module__ == module.__name__)
    return {name.replace("_", "-"): function for name, function in own if not name.startswith("_")}


def resolve(asked: Asked) -> TrainConfig:
    """The recipe or the file, then what was said beside it. Raises ConfigError and UsageError."""
    from forethought.config import checked
    from forethought.training.config import parse_time, sized, timed

    chosen = _begin(asked)
    chosen = dataclasses.replace(
        chosen,
        frameskip=chosen.frameskip if asked.frameskip is None else asked.frameskip,
        seed=chosen.seed if asked.seed is None else asked.seed,
        threads=chosen.threads if asked.threads is None else asked.threads,
    )
    if asked.size is not None:
        chosen = sized(chosen, asked.size)
    if asked.time is not None:
        nothing_said = asked.size is None and asked.recipe is None and asked.config is None
        chosen = timed(chosen, parse_time(asked.time), fit_model=nothing_said)
    return checked(chosen)


def _begin(asked: Asked) -> TrainConfig:
    from forethought.config import read_json
    from forethought.errors import UsageError, unknown_name
    from forethought.training.config import TrainConfig

    if asked.config is not None and asked.recipe is not None:
        raise UsageError("got a recipe and a configuration file; give one of them, a configuration is complete")
    if asked.config is not None:
        return read_json(TrainConfig, asked.config)
    if asked.recipe is None:
        return TrainConfig()
    known = recipes()
    if asked.recipe not in known:
        raise unknown_name("recipe", asked.recipe, known)
    return known[asked.recipe](asked.seed or 0)
