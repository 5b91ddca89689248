"""The promises of each kind, for plugin authors."""

from affectkit.testing.promises import BrokenPromise, keeps_its_promises, missing

__all__ = ["BrokenPromise", "keeps_its_promises", "missing"]
