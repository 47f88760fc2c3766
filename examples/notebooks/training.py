# %% [markdown]
# # My network does not train
#
# Ten layers of sigmoid on handwritten digits: the loss does not move. What is wrong, and what helps? Hand
# over the model, the loss, the data and how you train; thalweg examines a copy, names what it finds with
# its evidence, and proposes a remedy only after trying it.

# %%
import copy
import importlib.util
import logging
import warnings

import torch
import torch.nn.functional as F

import thalweg

problem = thalweg.problems.deep_sigmoid_digits(depth=8, width=64)
examination = thalweg.examine(problem, budget="1500g")
print(examination)

# %% [markdown]
# The page for it, with pictures, in one file that opens offline:

# %%
examination.save("examination.html")
for finding in examination.findings:
    print(f"- {finding.sentence}")

# %% [markdown]
# ## Apply what was proved
#
# A remedy is a function from problem to problem; its source edit is shown as code.

# %%
proved = examination.proved
for remedy in proved:
    print(f"{remedy.name}: {remedy.outcome}")
    print(remedy.code)

# %% [markdown]
# ## The same inside Lightning
#
# There the loop is not yours. A `LightningModule` is a module like any other, so `examine` takes it as it is;
# and while it trains, a callback watches the loop from the optimizer's own hooks. (This part needs
# `pip install "thalweg[notebooks]"`, which brings Lightning and transformers; without them it says so.)

# %%
warnings.filterwarnings("ignore")  # of the trainers' own


def in_lightning(network, epochs=2):
    """Trains a copy of a network on the digits by a Lightning trainer, watched."""
    import lightning.pytorch as lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Digits(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = copy.deepcopy(network)

        def forward(self, x):
            return self.network(x)

        def training_step(self, batch, _):
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    watch = thalweg.monitor.for_lightning(F.cross_entropy, every=4, overhead=float("inf"))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_model_summary=False, callbacks=[watch], **quiet
    )
    lightning.seed_everything(0, verbose=False)
    data = torch.utils.data.TensorDataset(*problem.data)
    module = Digits()
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=64, shuffle=True))
    with torch.no_grad():
        x, y = problem.test
        accuracy = (module(x).argmax(1) == y).double().mean()
    print(f"held-out accuracy {accuracy:.1%}")
    last = watch.monitor.history[-1].values
    norms = [(name, value) for name, value in last.items() if name.startswith("gradient_norm/")]
    for name, value in (norms[0], norms[-1]):
        print(f"at the end, {name} {value:.1e}")
    for alert in watch.monitor.alerts:
        print(f"step {alert.step}, {alert.ailment}: {alert.sentence}")
    return module


if importlib.util.find_spec("lightning"):
    module = in_lightning(problem.model)
    for finding in thalweg.examine(
        thalweg.Problem(module, F.cross_entropy, problem.data, test=problem.test), budget="1000g"
    ).findings:
        print(f"- {finding.sentence}")
else:
    print("Lightning is not installed: pip install 'thalweg[notebooks]'")

# %% [markdown]
# The remedy that was proved above, applied to a copy, in the same trainer:

# %%
if importlib.util.find_spec("lightning"):
    mended = proved[0].apply(problem.copied(), torch.Generator().manual_seed(0))
    print(proved[0].name)
    in_lightning(mended.model)

# %% [markdown]
# ## And inside Hugging Face's Trainer
#
# A model of transformers computes its own loss: the problem says `None` for it, and its batches are dicts. A
# small transformer reads which of two halves of a sequence holds the larger sum, with a learning rate that
# somebody copied from a network with other units.


# %%
def sequences(size, seed):
    """Token sequences of 8, labelled by which half has the larger sum."""
    tokens = torch.randint(0, 20, (size, 8), generator=torch.Generator().manual_seed(seed))
    left, right = tokens[:, :4].sum(1), tokens[:, 4:].sum(1)
    return {"input_ids": tokens, "labels": (left > right).long()}


def in_transformers(lr, steps=60):
    """A tiny BERT in a Trainer with plain SGD, watched; its problem, and what the monitor said."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    transformers.set_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_labels=2,
        intermediate_size=64, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    given = sequences(256, 0)
    rows = [{name: values[i] for name, values in given.items()} for i in range(256)]
    settings = transformers.TrainingArguments(
        output_dir="trained", max_steps=steps, per_device_train_batch_size=32, learning_rate=lr,
        optim="sgd", lr_scheduler_type="constant", report_to=[], save_strategy="no",
        disable_tqdm=True, use_cpu=True, logging_strategy="no", max_grad_norm=0.0,
    )  # fmt: skip
    watch = thalweg.monitor.for_transformers(every=4, overhead=float("inf"))
    untrained = copy.deepcopy(model)
    trainer = transformers.Trainer(model, settings, train_dataset=rows, callbacks=[watch])
    trainer.train()
    print(f"lr {lr}: loss at the end {watch.monitor.history[-1].values['loss']:.4g}")
    for alert in watch.monitor.alerts:
        print(f"  step {alert.step}, {alert.ailment}: {alert.sentence}")
    batches = [
        {name: values[i : i + 32] for name, values in given.items()} for i in range(0, 256, 32)
    ]
    return thalweg.Problem(
        untrained, None, batches, optimizer=lambda params: torch.optim.SGD(params, lr=lr),
        name="a tiny BERT",
    )  # fmt: skip


if importlib.util.find_spec("transformers") and importlib.util.find_spec("accelerate"):
    sick = in_transformers(lr=5.0)
    examination = thalweg.examine(sick, budget="900g")
    for finding in examination.findings:
        print(f"- {finding.sentence}")
    for remedy in examination.proved:
        print(f"{remedy.name}: {remedy.outcome}")
else:
    print("transformers is not installed: pip install 'thalweg[notebooks]'")
