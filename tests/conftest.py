"""For every test: shapes that annotations state are checked; no network, no home folder, one cache of puppet clips for
the session, one thread (a tiny model is slower on several, much slower where other processes use the machine too)."""

import gc
import os
import socket
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for the processes that tests start

if sys.dont_write_bytecode:
    # Else each worker and each process that a test starts compiles torch and its friends anew, ten seconds each.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import pytest
import small_weights
from jaxtyping import install_import_hook
from stated_shapes import SHAPED

CHECKS = install_import_hook(SHAPED, "beartype.beartype")  # before any of them is imported
gc.disable()  # until all is imported: nearly everything stays, and is looked through time and again


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz", type=int, default=1, help="try N times as many cases in tests/fuzz, other ones each time"
    )


def pytest_collection_finish(session):
    """What the imports made lives as long as the session: no later collection looks at it again."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config):
    gc.unfreeze()  # else libraries that count their objects tell of leaks when Python ends


HOMES = ("HOME", "XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "MPLCONFIGDIR")
LOCAL = ("127.", "::1", "localhost")


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory):
    """A home and a cache that live as long as the session, for what is made once."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "puppets").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in HOMES:
            patch.setenv(name, str(tmp_path_factory.getbasetemp() / "home"))
        patch.setenv("AFFECTKIT_CACHE", str(cache))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, shared_cache, monkeypatch):
    """The test's own cache, of which only the puppets are the session's."""
    own = tmp_path_factory.mktemp("own_cache")
    (own / "puppets").symlink_to(shared_cache / "puppets")
    monkeypatch.setenv("AFFECTKIT_CACHE", str(own))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """A connection to anywhere but this machine fails at once, with its address."""
    real = socket.socket.connect

    def connect(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(LOCAL):
            raise OSError(f"a test tried to connect to {address}: tests need no network")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def one_thread():
    """So small a model is slower on several threads, much slower where others use the machine too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small():
    """`small(name)` is the folder of a small pretrained network that a registry's package carries; where it was not made the
    test is skipped, and fails in CI."""

    def folder(name):
        why = small_weights.absent(name)
        if why and os.environ.get("CI"):
            pytest.fail(why)
        if why:
            pytest.skip(why)
        return small_weights.ROOT / name

    return folder
