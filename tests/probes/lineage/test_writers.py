"""TensorBoard's writers: their folders are told."""

from __future__ import annotations

import os

import pytest

from capture.probes.lineage import writers


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Give what is told of writers."""
    monkeypatch.chdir(tmp_path)
    folders = []
    writers.attach(lambda framework, path: folders.append((framework, path)))
    yield folders
    writers.detach()


def test_tensorboardx_tells_its_folder(told, tmp_path):
    """Curves lie in a folder that nobody finds again unless the record names it."""
    tensorboardX = pytest.importorskip("tensorboardX")
    with tensorboardX.SummaryWriter("logs/a") as writer:
        writer.add_scalar("loss", 0.5, 1)
    with tensorboardX.SummaryWriter(logdir=str(tmp_path / "b"), flush_secs=1) as writer:
        assert isinstance(writer, tensorboardX.SummaryWriter)
    with tensorboardX.SummaryWriter(comment="-c"):
        pass
    assert told[:2] == [("tensorboardX", str(tmp_path / "logs" / "a")), ("tensorboardX", str(tmp_path / "b"))]
    assert told[2][1].startswith(str(tmp_path / "runs") + os.sep) and told[2][1].endswith("-c")
    assert all(os.path.isdir(path) for _, path in told)


def test_a_writer_that_writes_nothing_has_no_folder(told):
    """Ranks above the first often make such ones."""
    tensorboardX = pytest.importorskip("tensorboardX")
    tensorboardX.SummaryWriter("logs/none", write_to_disk=False).close()
    assert told == []


def test_torch_tells_its_folder(told, tmp_path):
    """The same, of torch's writer."""
    pytest.importorskip("torch")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    class Mine(tensorboard.SummaryWriter):
        pass

    with Mine("logs/t") as writer:
        writer.add_scalar("loss", 0.5, 1)
    assert told == [("torch", str(tmp_path / "logs" / "t"))]


def test_a_callback_that_fails_costs_no_training(told, tmp_path, caplog):
    """The run matters more than the note of where its curves are."""
    tensorboardX = pytest.importorskip("tensorboardX")
    writers.attach(lambda framework, path: 1 / 0)
    tensorboardX.SummaryWriter("logs/a").close()
    assert "was not recorded" in caplog.text
    writers.detach()
    tensorboardX.SummaryWriter("logs/b").close()
    assert told == []
