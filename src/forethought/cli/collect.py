"""`forethought collect`: record any Gymnasium environment, at random or by one of our scripted behaviours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import Debug, Json, Seed, Show, emit, guarded, interrupts

TWO_ROOM = "forethought/TwoRoom-v1"


def collect(
    env: Annotated[str, typer.Argument(help="A Gymnasium id, such as forethought/TwoRoom-v1 or CartPole-v1.")],
    out: Annotated[Path, typer.Option(help="The log to write or to go on with (.h5, or a folder for NPZ).")],
    episodes: Annotated[int, typer.Option(min=1, help="How many the log has in the end.")] = 100,
    policy: Annotated[str, typer.Option(help="random, or scripted:NAME, such as scripted:wander.")] = "random",
    steps: Annotated[int, typer.Option(min=1, help="Longest episode.")] = 200,
    layout: Annotated[str, typer.Option(help="For forethought/TwoRoom-v1: fixed or random.")] = "fixed",
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Record episodes; killed and started again, it goes on after the last complete one.

    \b
    Examples:
      forethought collect CartPole-v1 --out pole.h5 --episodes 200
      forethought collect forethought/TwoRoom-v1 --out rooms.h5 --policy scripted:wander --layout random
    """
    guarded(lambda: _collect(env, out, episodes, policy, steps, layout, seed, json), debug)


def _collect(env: str, out: Path, episodes: int, policy: str, steps: int, layout: str, seed: int, json: bool) -> None:
    from forethought.errors import unknown_name

    if layout not in ("fixed", "random"):
        raise unknown_name("layout", layout, ["fixed", "random"])
    interrupts.patient = True
    with Show() as show:
        if policy.startswith("scripted:") or env == TWO_ROOM:
            place = f"{env}/{layout}" if env == TWO_ROOM and layout != "fixed" else env
            added = _scripted(place, out, episodes, policy.removeprefix("scripted:"), steps, seed, show)
        else:
            added = _gymnasium(env, out, episodes, policy, steps, seed, show)
    emit({"log": str(out), "added": added, "episodes": episodes}, json, f"{out}: {added} episodes added, {episodes} in all")


def _scripted(env: str, out: Path, episodes: int, policy: str, steps: int, seed: int, show: Show) -> int:
    from forethought.data import open_writer
    from forethought.envs.scripted import script

    chosen = script(env, policy)
    writer = open_writer(out, chosen.spec())
    have = len(writer)
    for index, episode in enumerate(chosen.record(have, episodes, steps, seed), have):
        writer.append(episode)
        show.count("collect", index + 1, episodes)
    writer.close()
    return max(0, episodes - have)


def _gymnasium(env: str, out: Path, episodes: int, policy: str, steps: int, seed: int, show: Show) -> int:
    import gymnasium

    import forethought.envs  # noqa: F401  (registers our ids)
    from forethought.data import open_writer
    from forethought.data.record import collect, random_policy, spec_of
    from forethought.errors import UsageError, unknown_name

    if policy != "random":
        raise unknown_name("policy for this environment", policy, ["random"])

    def make() -> Any:
        try:
            return gymnasium.make(env)
        except gymnasium.error.Error as error:
            raise UsageError(f"cannot make '{env}': {error}; check the id, and that its package is installed") from None

    example = make()
    writer = open_writer(out, spec_of(example))
    example.close()
    added = collect(
        make, random_policy, episodes, writer, seed=seed, max_steps=steps,
        progress=lambda index, episode: show.count("collect", index + 1, episodes),
    )  # fmt: skip
    writer.close()
    return added
