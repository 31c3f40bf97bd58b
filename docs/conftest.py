"""The examples of the pages write into a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
