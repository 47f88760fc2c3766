"""The page of an examination, opened in a browser: sick, healthy, large and small networks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import thalweg
from browser import check_page
from thalweg.passes import along_time
from thalweg.problems import deep_sigmoid_digits, relu_digits


def diverging():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1))
    x = torch.randn(90, 6)
    return thalweg.Problem(
        model,
        nn.functional.mse_loss,
        (x, x[:, :1]),
        optimizer=lambda params: torch.optim.SGD(params, lr=30.0),
        batch_size=30,
    )


@pytest.fixture(scope="module")
def vanishing():
    return thalweg.examine(deep_sigmoid_digits(depth=6, width=32), budget="200g")


def check(examination, heading, folder):
    path = examination.save(folder / "report.html")
    assert heading in path.read_text(encoding="utf-8")
    check_page(path)


def test_the_page_of_a_deep_network_read_by_lanczos(vanishing, tmp_path):
    check(vanishing, "Vanishing gradient", tmp_path)


@pytest.mark.parametrize(
    ("make", "heading"),
    [(diverging, "Not finite"), (lambda: relu_digits(depth=2, width=8), "Trained as it is")],
    ids=["broken down", "healthy"],
)
def test_the_page_of_a_small_network_read_by_all_eigenvalues(make, heading, tmp_path):
    check(thalweg.examine(make(), budget="700g"), heading, tmp_path)


def test_what_was_tried_against_a_suspicion_that_was_cleared_is_shown(vanishing):
    lost = tuple(
        replace(r, gain=r.gain and replace(r.gain, is_proved=False)) for r in vanishing.remedies
    )
    page = replace(vanishing, findings=(), remedies=lost).page()
    (section,) = [each for each in page.sections if each.title == "Trained as it is"]
    assert section.sentence.endswith("is proved to help.")
    told = [row[0] for row in section.blocks[0].rows]
    assert told == ["as it is", *(remedy.name for remedy in lost)]
    (healthy,) = [
        each
        for each in replace(vanishing, findings=(), remedies=()).page().sections
        if each.title == "Trained as it is"
    ]
    assert "tried" not in healthy.sentence


def test_a_training_that_learns_little_for_no_known_reason_is_no_good_news(vanishing):
    told = replace(vanishing, findings=(), learned=0.007, num_watched=184, is_learning=False)
    page = told.page()
    assert page.tone is thalweg.report.Tone.UNSURE
    assert page.verdict == "This training learns little, and no rule says why"
    assert page.lead.startswith("In 184 steps it learned 1% of what simple learners find")
    good = replace(told, is_learning=True).page()
    assert (good.tone, good.verdict) == (
        thalweg.report.Tone.GOOD,
        "Nothing ails this training",
    )
    assert good.lead.startswith("Trained as it is")


def test_what_the_watched_training_learned_is_told(vanishing):
    """Nothing, where gradients vanish; most, where nothing ails."""
    assert not vanishing.is_learning
    assert abs(vanishing.learned) < 0.1
    sound = thalweg.examine(relu_digits(depth=2, width=16), budget="700g")
    assert sound.is_learning
    assert sound.learned > 0.5
    assert sound.num_watched > 0


def test_every_finding_has_a_picture_and_a_sentence(vanishing):
    page = vanishing.page()
    for finding, section in zip(vanishing.findings, page.sections, strict=False):
        assert section.sentence == finding.sentence
        assert any(isinstance(block, thalweg.report.Figure) for block in section.blocks)
    titles = [section.title for section in page.sections]
    assert "What it cost" in titles
    assert any(title.startswith("The place on the loss surface") for title in titles)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(3, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def test_what_is_found_along_time_is_shown_step_by_step(vanishing, tmp_path):
    torch.manual_seed(0)
    data = (torch.randn(20, 12, 3), torch.randn(20, 1))
    (passed,) = along_time(thalweg.Problem(Last(), nn.functional.mse_loss, data))
    found = replace(vanishing.findings[0], in_time=thalweg.signal.TimeSignal.of(passed))
    told = replace(vanishing, findings=(found,))
    sections = told.page().sections
    figure = next(block for block in sections[0].blocks if isinstance(block, thalweg.report.Figure))
    assert list(figure.data[0]["x"]) == list(range(12))
    assert figure.data[0]["y"][0] < figure.data[0]["y"][-1]
    # The gradient through depth is told by no finding now, so that it stands with the signal.
    depth = next(each for each in sections if each.title == "Signal through depth")
    pictures = [block.alt for block in depth.blocks if isinstance(block, thalweg.report.Figure)]
    assert any(alt.startswith("Gradient norm") for alt in pictures)
    check(told, "step in time", tmp_path)
