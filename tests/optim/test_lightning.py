"""Inside Lightning, whose loop is somebody else's: automatic and manual optimization."""

import logging
import warnings

import pytest
import torch
import torch.nn.functional as F
from optimizers import LOOKING, OPTIMIZERS, PLAIN, data, flat, loss_of, network
from torch.utils.data import DataLoader, TensorDataset

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its own imports
        import lightning.pytorch as lightning
except Exception as error:  # it imports much that may be broken, torchvision for one
    pytest.skip(f"lightning cannot be imported: {error}", allow_module_level=True)

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore"),  # about workers, loggers and its own deprecations
]

NUM_STEPS = 3


def trained(module):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    x, y = data()
    trainer = lightning.Trainer(
        max_epochs=NUM_STEPS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        barebones=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=7))
    assert trainer.global_step == NUM_STEPS
    return flat(module.model)


def by_hand(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(NUM_STEPS):
        optimizer.step(loss_of(model))
    return flat(model)


class Automatic(lightning.LightningModule):
    """Lightning's own loop, whose closure calls backward."""

    def __init__(self, name):
        super().__init__()
        self.model, self.name = network(), name

    def configure_optimizers(self):
        return OPTIMIZERS[self.name](self.model.parameters())

    def training_step(self, batch, _):
        x, y = batch
        return F.mse_loss(self.model(x), y)


class Manual(Automatic):
    """A loop that hands over the loss: bound, or as a closure."""

    def __init__(self, name, is_bound):
        super().__init__(name)
        self.automatic_optimization = False
        self.is_bound = is_bound

    def training_step(self, batch, _):
        x, y = batch
        optimizer = self.optimizers()
        if self.is_bound:
            optimizer.optimizer.bind(self.model, F.mse_loss, (x, y))
            optimizer.step()
        else:
            optimizer.step(lambda: F.mse_loss(self.model(x), y))
        self.log("ratio", optimizer.optimizer.record.ratio or 0.0)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_optimizers_run_in_its_own_loop(name):
    torch.testing.assert_close(trained(Automatic(name)), by_hand(name), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("is_bound", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_manual_optimization(name, is_bound):
    found = trained(Manual(name, is_bound))
    torch.testing.assert_close(found, by_hand(name), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LOOKING)
def test_its_own_loop_is_told_that_its_closure_calls_backward(name):
    with pytest.raises(Exception, match=r"closure calls backward\(\)"):
        trained(Automatic(name))
