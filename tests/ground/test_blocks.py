"""Shapes that annotations state are checked while tests run, and cost nothing otherwise."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from stated_shapes import SHAPED

from affectkit.blocks import TokenBlock


def test_a_block_whose_mask_does_not_fit_its_tokens_is_refused():
    with pytest.raises(TypeCheckError, match=r"affectkit\.blocks\.TokenBlock"):
        TokenBlock("tokens", torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 5, dtype=torch.bool))
    with pytest.raises(TypeCheckError, match=r"affectkit\.blocks\.TokenBlock"):
        TokenBlock("tokens", torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4))


def test_every_kind_of_step_states_shapes():
    assert {"affectkit.blocks", "affectkit.model.packing"} <= set(SHAPED)
    kinds = {name.split(".")[1] for name in SHAPED if name.startswith("affectkit_plugins.")}
    assert {"encoders", "miners", "adapters", "fusions", "projectors"} <= kinds
    assert len(SHAPED) >= 25


def test_outside_of_tests_nothing_is_checked():
    code = (
        "import sys, torch, affectkit_plugins.adapters._masked as m; from affectkit.blocks import TokenBlock; "
        "TokenBlock('x', torch.zeros(1), torch.zeros(2)); m.clean(torch.zeros(2, 3), torch.ones(2, 1).bool()[:, 0]); "
        "print('beartype' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
