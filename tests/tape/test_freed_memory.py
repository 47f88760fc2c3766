"""Whoever set the thresholds of the allocator by the environment keeps them."""

import sys

import pytest

from thalweg.tape._freed_memory import keep_freed_memory


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_environment_says_stands(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory.__wrapped__()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_freed_memory.__wrapped__()
