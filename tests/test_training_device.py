"""The device is chosen from facts; and nothing is left behind on the CPU, which the `meta` device shows without any GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import small_config

from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.windows import block_actions
from forethought.errors import UsageError
from forethought.objectives.regulariser import Regulariser
from forethought.training.alike import settle, spread
from forethought.training.bundle import build_parts, load_agent
from forethought.training.device import Compute, Device, Facts, Precision, choose, look
from forethought.training.distributed import Ranks
from forethought.training.dynamics import DynamicsStage
from forethought.training.graphs import Graph, imagine_graph
from forethought.training.heads import HeadsStage
from forethought.training.latents import Latents
from forethought.training.predict import PredictStage

HOPPER, TURING, APPLE, PLAIN = Facts(2, True, False), Facts(1, False, False), Facts(0, False, True), Facts()


@pytest.mark.parametrize(
    ("facts", "rank", "expected"),
    [
        (HOPPER, 0, Compute("cuda:0", True, True)),
        (HOPPER, 1, Compute("cuda:1", True, True)),
        (HOPPER, 3, Compute("cuda:1", True, True)),
        (TURING, 0, Compute("cuda:0", False, True)),
        (APPLE, 0, Compute("mps")),
        (PLAIN, 0, Compute("cpu")),
    ],
)
def test_auto_takes_the_fastest_there_is(facts: Facts, rank: int, expected: Compute) -> None:
    assert choose(Device.AUTO, Precision.AUTO, facts, rank) == expected


def test_what_is_asked_for_is_done_or_refused() -> None:
    assert choose(Device.CPU, Precision.AUTO, HOPPER, 0) == Compute("cpu")
    assert choose(Device.CPU, Precision.BFLOAT16, PLAIN, 0) == Compute("cpu", True)
    assert choose(Device.AUTO, Precision.FLOAT32, HOPPER, 0) == Compute("cuda:0", False, True)
    with pytest.raises(UsageError, match="got device 'cuda', this machine has: mps, cpu"):
        choose(Device.CUDA, Precision.AUTO, APPLE, 0)


def test_this_machine_is_looked_at(run: Path) -> None:
    chosen = choose(facts=look(), local_rank=0)
    assert load_agent(run).device == torch.device(chosen.device)


def test_half_precision_and_layout_reach_the_encoder_alone() -> None:
    convolution = torch.nn.Conv2d(3, 4, 3)
    compute = Compute("cpu", bfloat16=True, channels_last=True)
    compute.place(convolution)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    with compute.autocast():
        assert convolution(torch.rand(1, 3, 8, 8)).dtype == torch.bfloat16
    with Compute("cpu").autocast():
        assert convolution(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_bfloat16_trains_in_float32_outside_the_encoder(log: Path) -> None:
    data = Dataset.load(open_log(log))
    parts = build_parts(data.spec, small_config())
    stage = PredictStage(data, parts.encoder, parts.first_dynamics, small_config(), Ranks(), Compute("cpu", bfloat16=True))
    loss, _ = stage.loss(0)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in stage.trained())


META = Compute("meta")


@pytest.mark.parametrize("regulariser", Regulariser)
def test_stage_predict_leaves_nothing_on_the_cpu(log: Path, regulariser: Regulariser) -> None:
    from dataclasses import replace

    config = small_config()
    config = replace(config, predict=replace(config.predict, regulariser=regulariser, straighten=0.1, num_frames=3))
    data = Dataset.load(open_log(log))
    parts = build_parts(data.spec, config)
    META.place(*parts.trees())
    stage = PredictStage(data, parts.encoder, parts.first_dynamics, config, Ranks(), META)
    loss, logged = stage.loss(0)
    loss.backward()
    stage.after_update(0)
    assert {t.device.type for t in (loss, *logged.values())} == {"meta"}


def latents_of(data: Dataset, size: int) -> Latents:
    import numpy as np

    actions = torch.from_numpy(block_actions(data, np.arange(data.num_rows), 1))
    return Latents(torch.randn(data.num_rows, size), actions, data.starts, data.lengths, 1, 4)


def test_stages_on_latents_leave_nothing_on_the_cpu(log: Path) -> None:
    config, data = small_config(), Dataset.load(open_log(log))
    parts = build_parts(data.spec, config)
    latents = latents_of(data, parts.encoder.latent_size)
    META.place(*parts.trees())
    dynamics = DynamicsStage(latents, parts.model.dynamics, config, Ranks())
    loss, _ = dynamics.loss(0)
    loss.backward()
    state, scene, actions = (torch.zeros(shape, device="meta") for shape in ((2, 16, 8), (2, 4), (5, 2)))
    assert spread(state, 4).device.type == "meta"
    settled = settle(parts.model.dynamics, scene, state, data.spec.action_space)
    graph = imagine_graph(parts.model.dynamics, scene, settled, actions, 2)
    assert graph.distance_GNN.device.type == "meta"
    moved = Graph(graph.scene_GC.clone(), graph.state_GNE.clone(), graph.distance_GNN.clone())
    loss, _ = HeadsStage(latents, moved, parts.model.dynamics, parts.critic, parts.habit, config).loss(0)
    loss.backward()
    assert loss.device.type == "meta"
