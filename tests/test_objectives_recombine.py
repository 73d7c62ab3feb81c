"""Recombined frames show the agent of one episode in the scenery of another; the state code then leaves the scenery out."""

from __future__ import annotations

import numpy as np

from forethought.envs.two_room import Layout, Painter
from forethought.objectives.recombine import recombine
from forethought.objectives.still import still_frame


def test_a_recombined_frame_is_the_frame_that_the_other_layout_would_have_shown() -> None:
    painter = Painter(64)
    here, there = (Layout(np.array([x]), np.array([y])) for x, y in ((0.35, 0.3), (0.65, 0.7)))
    path = np.stack([np.linspace(0.1, 0.25, 20), np.linspace(0.2, 0.9, 20)], 1)
    frames = painter.draw(np.repeat(painter.background(here), 20, 0), path)
    mixed = recombine(frames[:1], still_frame(frames)[None], painter.background(there))
    wanted = painter.draw(painter.background(there), path[:1])
    assert np.abs(mixed.astype(int) - wanted.astype(int)).max() <= 12
    assert not np.array_equal(frames[:1], wanted)
