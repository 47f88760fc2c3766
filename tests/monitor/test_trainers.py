"""Inside Lightning and transformers, against the same training by hand."""

import logging
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from loops import batches, network, sgd
from torch import nn

from thalweg import Monitor, ThalwegError, monitor

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore"),  # of the packages' own
]

ALL = {"every": 1, "overhead": math.inf}


def package(name):
    """The package, or the test is skipped aloud: absent, or broken by what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=Exception)


def by_hand(given, accumulate=1, clip=None):
    """The records of a plain loop."""
    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, **ALL) as watch:
        for i, (x, y) in enumerate(given, 1):
            value = F.cross_entropy(model(x), y)
            watch.see((x, y), value)
            (value / accumulate).backward()
            if i % accumulate == 0:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return model, watch.history


def assert_alike(history, expected, rel=1e-9):
    assert [record.step for record in history] == [record.step for record in expected]
    for record, other in zip(history, expected, strict=True):
        values = {name.replace("/model.", "/"): v for name, v in record.values.items()}
        assert values.keys() == other.values.keys()
        for name, value in other.values.items():
            assert values[name] == pytest.approx(value, rel=rel, abs=1e-9), name


# -- Lightning --------------------------------------------------------------------------------


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (1, 0.01), (2, None)])
def test_lightning(accumulate, clip):
    lightning = package("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def forward(self, x):
            return self.model(x)

        def training_step(self, batch, _):
            x, y = batch
            return F.cross_entropy(self(x), y)

        def configure_optimizers(self):
            return sgd(self)

    given = batches(4)
    callback = monitor.for_lightning(F.cross_entropy, **ALL)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        callbacks=[callback],
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(given, batch_size=None))
    model, expected = by_hand(given, accumulate, clip)
    assert torch.equal(module.model[0].weight, model[0].weight)
    assert not callback.monitor.notes
    assert_alike(callback.monitor.history, expected)
    assert not module._forward_hooks


def test_numbers_go_to_the_trainers_loggers(tmp_path):
    lightning = package("lightning.pytorch")
    loggers = package("lightning.pytorch.loggers")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return sgd(self)

    callback = monitor.for_lightning(instruments=monitor.cheap(), **ALL)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=loggers.CSVLogger(tmp_path),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(batches(3), batch_size=None))
    (path,) = tmp_path.glob("**/metrics.csv")
    assert "thalweg/gradient_norm" in path.read_text().splitlines()[0]
    assert callback.monitor.history[0].values["loss"] > 0


# -- transformers -----------------------------------------------------------------------------


class Samples(torch.utils.data.Dataset):
    def __init__(self, given):
        self.x = torch.cat([x for x, _ in given])
        self.y = torch.cat([y for _, y in given])

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "labels": self.y[index]}


class OwnLoss(nn.Module):
    """A model that returns its loss, as those of transformers do."""

    def __init__(self):
        super().__init__()
        self.model = network()

    def forward(self, x, labels=None):
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize(("accumulate", "clip"), [(1, 0.0), (1, 0.01), (2, 0.01)])
def test_transformers(accumulate, clip, tmp_path):
    transformers = package("transformers")
    package("accelerate")
    given = batches(4)
    callback = monitor.for_transformers(**ALL)
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=24,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=clip,
        num_train_epochs=1,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    own = OwnLoss()
    trainer = InOrder(
        model=own, args=args, train_dataset=Samples(given), callbacks=[callback],
        optimizers=(sgd(own), None),
    )  # fmt: skip
    trainer.train()
    model, expected = by_hand(given, accumulate, clip or None)
    torch.testing.assert_close(own.model[0].weight, model[0].weight)
    assert not callback.monitor.notes
    assert_alike(callback.monitor.history, expected, rel=1e-6)
    assert not own._forward_hooks


def test_a_language_model_that_divides_by_all_tokens(tmp_path):
    """A real one: of what is accumulated, its losses are parts of one mean."""
    transformers = package("transformers")
    package("accelerate")
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
    tokens = torch.randint(20, (16, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    callback = monitor.for_transformers(**ALL)
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    transformers.Trainer(model=model, args=args, train_dataset=data, callbacks=[callback]).train()
    history = callback.monitor.history
    assert [record.step for record in history] == [1, 2]
    # A network that knows nothing yet: ln 20 for each of 7 tokens, divided by all 8.
    assert history[0].values["loss"] == pytest.approx(math.log(20) * 7 / 8, rel=0.02)
    assert history[0].values["preconditioned_sharpness"] > 0
    assert not callback.monitor.notes


def test_what_is_missing_is_said(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    from thalweg.monitor import _lightning, _transformers

    monkeypatch.setattr(_lightning, "import_module", absent)
    monkeypatch.setattr(_transformers, "import_module", absent)
    with pytest.raises(ThalwegError, match="monitor-lightning"):
        monitor.for_lightning()
    with pytest.raises(ThalwegError, match="monitor-transformers"):
        monitor.for_transformers()
