"""Models of Hugging Face at random parameters, against the same written out by hand.

Causal models compute their loss, and Llama its norms and angles, in float32 whatever their dtype:
hence the tolerances.
"""

import sys

import pytest
import torch

import dense
from problems import Known, Params, attention, cut, draw_classes, initialised, log_softmax, pick
from problems import padded_tokens as tokens
from thalweg import Problem, RandomModelError, Surface
from traces import assert_no_trace, trace_of

# A torchvision that was built for another torch would stop their import.
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]
transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 5, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-4, "atol": 1e-5}


def norm(p: Params, name: str, h, eps: float):
    centred = h - h.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def heads(h, num_heads: int):
    return h.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def dense_layer(p: Params, name: str, h):
    return h @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def bert() -> Known:
    config = transformers.BertConfig(
        **SIZES, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=3, max_position_embeddings=6, type_vocab_size=2,
    )  # fmt: skip
    batch = {**tokens(), "labels": draw_classes(3, 7, seed=3)}
    model = initialised(transformers.BertForSequenceClassification(config)).eval()

    def output(p: Params):
        at, layer = "bert.embeddings.", "bert.encoder.layer.0."
        h = p[f"{at}word_embeddings.weight"][batch["input_ids"]]
        h = h + p[f"{at}position_embeddings.weight"] + p[f"{at}token_type_embeddings.weight"][0]
        h = norm(p, f"{at}LayerNorm", h, 1e-12)
        q, k, v = (
            heads(dense_layer(p, f"{layer}attention.self.{n}", h), 2)
            for n in ("query", "key", "value")
        )
        hidden = (batch["attention_mask"] == 0)[:, None, None]
        mixed = attention(q, k, v, hidden).transpose(1, 2).flatten(2)
        mixed = dense_layer(p, f"{layer}attention.output.dense", mixed)
        h = norm(p, f"{layer}attention.output.LayerNorm", h + mixed, 1e-12)
        inner = dense_layer(p, f"{layer}intermediate.dense", h)
        inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
        inner = dense_layer(p, f"{layer}output.dense", inner)
        h = norm(p, f"{layer}output.LayerNorm", h + inner, 1e-12)
        return dense_layer(p, "classifier", dense_layer(p, "bert.pooler.dense", h[:, 0]).tanh())

    def loss(z):
        return -pick(log_softmax(z), batch["labels"]).sum() / 7

    return Known(Problem(model, None, batch), output, loss)


def next_tokens(batch):
    def loss(z):
        z, target = z[:, :-1], batch["labels"][:, 1:]
        kept = target != -100
        return -pick(log_softmax(z[kept]), target[kept]).sum() / kept.sum()

    return loss


def unseen(batch):
    """What a causal model does not look at: later tokens and padding."""
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    return later | (batch["attention_mask"] == 0)[:, None, None]


def gpt2() -> Known:
    config = transformers.GPT2Config(
        **SIZES, n_positions=6, n_embd=4, n_layer=1, n_head=2, n_inner=3
    )
    batch = tokens()
    model = initialised(transformers.GPT2LMHeadModel(config)).eval()

    def output(p: Params):
        def conv1d(name, h):
            return h @ p[f"{name}.weight"] + p[f"{name}.bias"]

        block = "transformer.h.0."
        h = p["transformer.wte.weight"][batch["input_ids"]] + p["transformer.wpe.weight"]
        qkv = conv1d(f"{block}attn.c_attn", norm(p, f"{block}ln_1", h, 1e-5))
        q, k, v = (heads(t, 2) for t in qkv.chunk(3, -1))
        mixed = attention(q, k, v, unseen(batch)).transpose(1, 2).flatten(2)
        h = h + conv1d(f"{block}attn.c_proj", mixed)
        inner = conv1d(f"{block}mlp.c_fc", norm(p, f"{block}ln_2", h, 1e-5))
        cubic = (2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)
        h = h + conv1d(f"{block}mlp.c_proj", inner * (1 + cubic.tanh()) / 2)
        # The decoder is tied to the embedding.
        return norm(p, "transformer.ln_f", h, 1e-5) @ p["transformer.wte.weight"].T

    return Known(Problem(model, None, batch), output, next_tokens(batch))


def llama() -> Known:
    config = transformers.LlamaConfig(
        **SIZES, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=3, max_position_embeddings=6,
    )  # fmt: skip
    batch = tokens()
    model = initialised(transformers.LlamaForCausalLM(config)).eval()
    angle = torch.arange(6, dtype=torch.float64)[:, None]  # heads of two: a single frequency of 1

    def rotated(t):
        a, b = t.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    def rms(p, name, h):
        return h / (h.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.weight"]

    def output(p: Params):
        layer = "model.layers.0."
        h = p["model.embed_tokens.weight"][batch["input_ids"]]
        x = rms(p, f"{layer}input_layernorm", h)
        q, k, v = (
            heads(x @ p[f"{layer}self_attn.{n}_proj.weight"].T, num_heads)
            for n, num_heads in (("q", 2), ("k", 1), ("v", 1))
        )
        mixed = attention(rotated(q), rotated(k), v, unseen(batch)).transpose(1, 2).flatten(2)
        h = h + mixed @ p[f"{layer}self_attn.o_proj.weight"].T
        x = rms(p, f"{layer}post_attention_layernorm", h)
        gate, up = (x @ p[f"{layer}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        h = h + (gate * gate.sigmoid() * up) @ p[f"{layer}mlp.down_proj.weight"].T
        return rms(p, "model.norm", h) @ p["lm_head.weight"].T

    return Known(Problem(model, None, batch), output, next_tokens(batch))


MODELS = {"bert": (bert, EXACT), "gpt2": (gpt2, SINGLE), "llama": (llama, SINGLE)}


@pytest.mark.parametrize("name", MODELS)
def test_curvature_is_that_of_the_model_written_by_hand(name, unchecked):
    """Ragged batches of padded dicts, the loss the model's own."""
    make, tolerance = MODELS[name]
    known = make()
    owned = (known.problem.model, known.problem.data)
    before = trace_of(*owned)
    point = Surface(known.problem.with_data(cut(known.problem.data, 5, 2))).here()
    tensors = {**dense.held(known.problem), **dense.leaves(known.problem)}
    assert point.value == pytest.approx(known.plain(tensors).item(), rel=tolerance["rtol"])
    slope = dense.gradient(known.plain, known.problem)
    torch.testing.assert_close(point.gradient_vector, slope, **tolerance)
    H = dense.hessian(known.plain, known.problem)
    torch.testing.assert_close(point.hessian().to_dense(), H, **tolerance)
    z = known.output(tensors).detach()
    J = dense.jacobian(known.output, known.problem)
    G = J.T @ dense.hessian_by(known.loss, z) @ J
    torch.testing.assert_close(point.ggn().to_dense(), G, **tolerance)
    assert "attention by the math kernel" in point.notes
    assert_no_trace(before, *owned)


@pytest.mark.parametrize("name", MODELS)
def test_microbatches_and_samples(name):
    make, tolerance = MODELS[name]
    known = make()
    whole = Surface(known.problem).here()
    small = Surface(known.problem.in_microbatches(1)).here()
    torch.testing.assert_close(small.gradient_vector, whole.gradient_vector, **tolerance)
    v = whole.gradient_vector
    along = whole.empirical_fisher() @ v
    torch.testing.assert_close(small.empirical_fisher() @ v, along, **tolerance)
    assert along @ v > 0


def test_dropout_in_training_mode_is_refused_by_name():
    problem = gpt2().problem
    problem.model.train()
    with pytest.raises(RandomModelError, match=r"'transformer\.drop' \(Dropout\)"):
        Surface(problem)
    assert Surface(problem.in_eval_mode()).here().value > 0
