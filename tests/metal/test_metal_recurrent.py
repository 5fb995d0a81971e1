# SPDX-License-Identifier: MIT
"""Recurrent layers on the double: the shared cases, states, offsets, predicates, training.

Run by tools/run_metal_double.py, with the module that is built against the double.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/python")]

import test_recurrent as recurrent_tests  # noqa: E402
import test_recurrent_layers as layer_tests  # noqa: E402
import test_recurrent_states as state_tests  # noqa: E402
import test_recurrent_training as training_tests  # noqa: E402
from cases.recurrent import RECURRENT_CASES, Cell, RecurrentCase  # noqa: E402
from recurrent_nets import data_sources, descriptor_of, make_weights, matrices  # noqa: E402

import mpsnn as mps  # noqa: E402


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


@pytest.mark.parametrize("case", RECURRENT_CASES, ids=recurrent_tests.identify)
def test_cases(device: mps.Device, case: RecurrentCase) -> None:
    recurrent_tests.check_case(device, case)


@pytest.mark.parametrize(
    "test",
    [
        state_tests.test_a_sequence_may_be_cut_and_go_on_from_its_state,
        state_tests.test_output_states_are_written_where_they_are_given,
        state_tests.test_output_states_after_each_step,
        state_tests.test_output_states_of_images,
        layer_tests.test_a_decoder_stops_where_its_predicate_says,
        layer_tests.test_weights_that_change_are_seen_at_the_next_encode,
        layer_tests.test_windows_that_change_are_seen_at_the_next_encode,
        layer_tests.test_a_window_is_placed_by_the_size_of_the_images,
        layer_tests.test_offsets_and_row_strides_leave_the_rest_alone,
        layer_tests.test_results_may_lie_over_the_sources,
    ],
    ids=lambda test: test.__name__,
)
def test_layers(device: mps.Device, test: Callable[[mps.Device], None]) -> None:
    test(device)


@pytest.mark.parametrize("kind", ["single", "lstm", "gru"])
def test_float16_is_float32_rounded(device: mps.Device, kind: str) -> None:
    layer_tests.test_float16_is_float32_rounded(device, Cell(kind, 3, 4))


def test_optimizers_step_the_weights_of_a_layer(device: mps.Device) -> None:
    training_tests.test_optimizers_step_the_weights_of_a_layer(device, "adam")


def test_rows_that_no_image_holds_are_refused(device: mps.Device) -> None:
    cell = Cell("lstm", 1, 1)
    weights = data_sources(cell, make_weights(cell, np.random.default_rng(3)))
    layer = mps.RNNMatrixInferenceLayer(device, descriptor_of(cell, weights))
    x, y = (matrices(device, [np.zeros((16385, 1), np.float32)]) for _ in "xy")
    commands = mps.CommandBuffer(device.command_queue())
    with pytest.raises(
        mps.UnsupportedError, match=re.escape("at most 16384 rows and columns, which are images'")
    ):
        layer.encode_sequence(commands, x, y)
