"""The bar of a stage."""

from types import SimpleNamespace

import lightning
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel

from affectkit.train import trainer


class Model(BoringModel):
    def last(self):
        return 1.5, {}


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_where_somebody_watches(watched, monkeypatch, capsys):
    monkeypatch.setattr(trainer.sys.stderr, "isatty", lambda: watched)
    found = trainer.bars(SimpleNamespace(name="align"))
    monkeypatch.undo()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "limit_val_batches": 0}
    with trainer.quiet_lightning():
        lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=3,
            callbacks=found,
            enable_progress_bar=watched,
            **quiet,
        ).fit(Model())
    out, err = capsys.readouterr()
    assert out == ""
    assert ("align: Epoch 0" in err, "3/3" in err, "loss: 1.5" in err) == (watched,) * 3, err
