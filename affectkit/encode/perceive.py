"""Heads: the frozen, deterministic steps at the start of streams. They run once a sample, and the cache keeps the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from affectkit import weights
from affectkit.blocks import Block, TokenBlock
from affectkit.data.faces import merge_notices
from affectkit.data.views import LoadedViews, look_at
from affectkit.encode.cache import Cache, CacheEntry, Keys, Note, digest
from affectkit.encode.faults import blamed_on, blocks_in_words, place_of
from affectkit.encode.steps import Steps, blocks_of, stack_views, unstack
from affectkit.errors import AffectkitError, InputError, MediaError, Problem
from affectkit.files import track
from affectkit.plan.graph import CachePlan
from affectkit.plan.plan import Plan, Stage
from affectkit.raw import RawPixels, RawView
from affectkit.sample import Fact, Sample

CHUNK = 16
"""Samples that run through the heads together and lie in one shard. Fixed, so that a chunk's composition, and with it
the last bit of its floats, does not depend on where an earlier run was killed."""

SEEN = "seen"
"""The name under which it is kept that the views of a sample could be decoded, where nothing else of them is kept."""

PreparedViews = dict[str, dict[str, Tensor] | None]
"""By `address:port`, a sample's view as the step wants it (`values`, `mask` …); None where the sample has none."""
FactRows = list[dict[str, Fact]]
"""Estimated facts by name, one dict a row."""


class HasSteps(Protocol):
    """A model: its plan and its built steps."""

    @property
    def plan(self) -> Plan: ...

    @property
    def steps(self) -> Steps: ...


class Perceiver:
    """Runs the heads of a plan over samples, keeps what they give in the cache, and reads it from there."""

    def __init__(self, plan: Plan, steps: Steps, cache: Cache, device: torch.device, cache_plan: CachePlan) -> None:
        self.plan, self.steps, self.cache, self.device, self.cache_plan = plan, steps, cache, device, cache_plan
        self.names = Keys(plan, steps, cache.memo)
        self.keys = {a: digest(self.names.step(a), blocks) for a, blocks in cache_plan.blocks.items()}
        self.port_keys = {p: self.names.port(p) for p in cache_plan.ports}
        graph_steps = plan.graph.steps
        self.head_ports = [f"{a}:{p}" for a in cache_plan.heads for p, r in graph_steps[a].inputs.items() if r.view]
        """Ports of the heads that are fed a view, as `address:port`."""
        self.uncached = [p for p in cache_plan.ports if graph_steps[p.partition(":")[0]].cache == "none"]
        """Ports of other steps whose views are prepared anew each time."""
        self.shown = {self._view(port) for port in (*self.head_ports, *cache_plan.ports)}
        """The views that anybody is fed."""
        self.broken: dict[str, str] = {}
        """Sample id to what is wrong with its media."""
        self.partial: dict[str, str] = {}
        """Sample id to what is missing of its media, where they are broken but some of them decoded."""
        self.notices: dict[str, dict[str, str]] = {}
        """Sample id to what else there is to say of what was looked at."""
        self.decoded = 0
        """Samples whose media were decoded by this object: 0 on a second run."""
        self._detectors: dict[str, Callable[..., Any]] = {}

    def __getstate__(self) -> dict[str, object]:
        """Loader processes run no step: the networks stay here, and detectors are built where they are used."""
        return {**self.__dict__, "steps": None, "_detectors": {}}

    @classmethod
    def of(
        cls,
        model: HasSteps,
        stage: Stage | None = None,
        cache: Cache | None = None,
        device: torch.device | str = "cpu",
        changing: Collection[str] = (),
    ) -> Perceiver:
        """For what a stage of the model wants (without one: an answer to the prompt), in the recipe's cache unless another
        is given. The steps go to the device. `changing`: see `Plan.demand`."""
        plan, device = model.plan, torch.device(device)
        return cls(
            plan, model.steps.to(device), cache or Cache(plan.cache_folder), device, plan.demand(stage, changing)
        )

    @property
    def flips(self) -> tuple[bool, ...]:
        """The variants that training sees: as it is, and mirrored where a view says `flip: random`."""
        random = any(getattr(v.settings, "flip", "never") == "random" for v in self.plan.graph.views.values())
        return (False, True) if random else (False,)

    def fill(
        self,
        samples: Sequence[Sample],
        flips: Sequence[bool] = (False,),
        what: str = "",
        ranks: tuple[int, int] = (0, 1),
    ) -> None:
        """Make every entry that is missing, a chunk at a time, with a progress bar. Broken media end in `broken`.

        `ranks` is (rank, world): each process takes every world-th chunk.
        """
        if not (self.cache_plan.blocks or self.cache_plan.ports):
            return
        targets = self._targets()
        starts = [(flip, i) for flip in flips for i in range(0, len(samples), CHUNK)][ranks[0] :: ranks[1]]
        for flip, start in track(starts, f"perceive {what}".strip()):
            chunk = [samples[i] for i in range(start, min(start + CHUNK, len(samples)))]
            self.fill_chunk(chunk, flip, targets)

    def _targets(self) -> list[tuple[str, str, str]]:
        """(name, key, cache kind) of everything that is kept."""
        steps = self.plan.graph.steps
        kept = [(a, self.keys[a], steps[a].cache) for a in self.cache_plan.blocks]
        kept += [(p, k, steps[p.partition(":")[0]].cache) for p, k in self.port_keys.items() if p not in self.uncached]
        # views that are not kept are looked at once all the same, so that a broken file shows before it is asked for
        return kept + ([(SEEN, self.names.views(self.shown), "disk")] if self.uncached else [])

    def fill_chunk(
        self, chunk: Sequence[Sample], flip: bool, targets: Sequence[tuple[str, str, str]] | None = None
    ) -> tuple[int, int]:
        """Make what is missing of a chunk: what one of its samples lacks is made of all of them, in one batch. Returns how many
        entries were made, and how many were there."""
        targets = self._targets() if targets is None else targets
        named: list[tuple[Sample, str]] = []
        for sample in chunk:
            try:
                named.append((sample, self.names.sample(sample, flip)))
            except MediaError as error:
                self.broken[sample.id] = str(error)
        self.names.keep()
        lacking: set[str] = set()
        for sample, key in named:
            for name, step_key, _ in targets:
                note = self.cache.note(step_key, key)  # not `get`: a warm start reads no tensor
                if note is None:
                    lacking.add(name)
                else:
                    self._note(sample, note)
        there = len(named) * (len(targets) - len(lacking))
        if not lacking:
            return 0, there
        looked: list[tuple[str, LoadedViews]] = []
        errors: dict[str, CacheEntry] = {}
        for sample, key in named:
            try:
                loaded = self.load_views(sample, flip)
                looked.append((key, loaded))
                self._note(sample, Note("", loaded.partial, merge_notices(loaded.notices)))
            except MediaError as error:
                errors[key] = CacheEntry({}, note=Note(str(error)))
                self._note(sample, errors[key].note)
        self.decoded += len(named)
        self.cache.encoded.update(key for _, key in named)
        self._store(looked, errors, [target for target in targets if target[0] in lacking])
        return len(named) * len(lacking), there

    def _note(self, sample: Sample, note: Note) -> None:
        """Remember what is wrong with a sample's files; heads that look at different files may each know a part."""
        if note.error:
            self.broken[sample.id] = note.error
        if note.notices:
            self.notices[sample.id] = {**self.notices.get(sample.id, {}), **note.notices}
        if note.partial:
            known = [*self.partial.get(sample.id, "").split("; "), *note.partial.split("; ")]
            self.partial[sample.id] = "; ".join(what for what in dict.fromkeys(known) if what)

    def _store(
        self,
        looked: Sequence[tuple[str, LoadedViews]],
        errors: Mapping[str, CacheEntry],
        targets: Sequence[tuple[str, str, str]],
    ) -> None:
        """Make and keep the entries of a chunk, by sample key: what its views show, and what could not be decoded."""
        ports = [*self.head_ports, *self.cache_plan.ports]
        prepared = [self.prepare(one.views, ports) for _, one in looked]
        running = self.plan.graph.upstream([name for name, _, _ in targets if name in self.cache_plan.blocks])
        blocks, facts = self.run_heads(prepared, running) if looked and running else ({}, {})
        for name, step_key, kind in targets:
            behind, entries = self._behind(name), dict(errors)
            for row, (key, one) in enumerate(looked):
                note = Note("", one.partial, merge_notices(one.notices, behind))
                if name == SEEN:
                    entries[key] = CacheEntry({}, note=note)
                elif ":" in name:
                    entries[key] = CacheEntry(dict(prepared[row][name] or {}), note=note)
                else:
                    told = facts[name][row] if name in facts else {}
                    known = {n: (f.value, f.probability) for n, f in told.items()}
                    entries[key] = CacheEntry(self._tensors(name, row, blocks), known, note)
            self.cache.put(step_key, entries, kind)

    def _tensors(self, address: str, row: int, blocks: Mapping[str, Block]) -> dict[str, Tensor]:
        """What is kept of a step's blocks for one row, on the CPU."""
        tensors: dict[str, Tensor] = {}
        for name in self.cache_plan.blocks[address]:
            block = blocks[f"{address}.{name}"]
            assert isinstance(block, TokenBlock)
            tokens, mask = unstack(block, row)
            tensors[f"{name}/tokens"], tensors[f"{name}/mask"] = tokens.cpu(), mask.cpu()
        return tensors

    def run_heads(
        self, prepared: Sequence[PreparedViews], running: Sequence[str] | None = None
    ) -> tuple[dict[str, Block], dict[str, FactRows]]:
        """Blocks of the heads (of those that are named, in running order) for a batch of prepared samples, and the facts that
        they estimate."""
        heads = self.cache_plan.heads if running is None else running
        known: dict[str, Block] = {p: stack_views(p, [i[p] for i in prepared]).to(self.device) for p in self.head_ports}
        modules = [self.steps.module(a) for a in heads]
        modes = [m.training for m in modules]
        with torch.no_grad():
            for module in modules:
                module.eval()
            blocks = self.steps.run(heads, known)
            facts = {a: estimate(self.steps, a, blocks) for a in self.cache_plan.blocks if a in heads}
            for module, mode in zip(modules, modes, strict=True):
                module.train(mode)
        return blocks, {a: f for a, f in facts.items() if f}

    def _view(self, port: str) -> str:
        """The view that the step at `address:port` is fed."""
        address, _, name = port.partition(":")
        return self.plan.graph.steps[address].inputs[name].view

    def _behind(self, target: str) -> set[str]:
        """The views that an entry depends on: it may tell nothing of others, which may be looked at otherwise next time."""
        if target == SEEN:
            return self.shown
        if ":" in target:
            return {self._view(target)}
        graph = self.plan.graph
        return {r.view for a in graph.upstream([target]) for r in graph.steps[a].inputs.values() if r.view}

    def load_views(self, sample: Sample, flip: bool = False) -> LoadedViews:
        """What the views that anybody is fed show of a sample, and what is missing of its files. Raises MediaError."""
        views = self.plan.graph.views
        names = self.shown | {getattr(views[name].settings, "of", None) for name in self.shown}
        wanted = {n: v.settings for n, v in views.items() if n in names}
        flips = {n: flip and getattr(s, "flip", "never") == "random" for n, s in wanted.items()}
        return look_at(sample, wanted, detector_for=self._detector, flips=flips)

    def _detector(self, view: str) -> Callable[..., Any]:
        """The detector that a view names, built once."""
        if view not in self._detectors:
            self._detectors[view] = build_detector(self.plan, view)
        return self._detectors[view]

    def prepare(self, views: Mapping[str, RawView | None], ports: Sequence[str]) -> PreparedViews:
        """Raw views as each encoder wants them."""
        out: PreparedViews = {}
        with weights.using(self.plan.run.weights):
            for port in ports:
                address, _, name = port.partition(":")
                step, raw = self.plan.graph.steps[address], views.get(self._view(port))
                out[port] = None if raw is None else prepare_view(step.piece.prepare, step.settings, name, raw)
        return out

    def entries(self, sample: Sample, flip: bool = False) -> dict[str, CacheEntry]:
        """What the kept heads gave for a sample, by address."""
        key = self.names.sample(sample, flip)
        return {a: self._must(a, self.keys[a], key, sample) for a in self.cache_plan.blocks}

    def item(self, sample: Sample, flip: bool = False) -> tuple[dict[str, CacheEntry], PreparedViews]:
        """(entries of kept heads by address, prepared views by port) of one sample, from the cache or made now."""
        key, entries = self.names.sample(sample, flip), self.entries(sample, flip)
        ports: PreparedViews = {
            port: dict(self._must(port, step, key, sample).tensors) or None
            for port, step in self.port_keys.items()
            if port not in self.uncached
        }
        if self.uncached:
            self.decoded += 1
            self.cache.encoded[key] += 1
            ports.update(self.prepare(self.load_views(sample, flip).views, self.uncached))
        return entries, ports

    def _must(self, name: str, step: str, sample_key: str, sample: Sample) -> CacheEntry:
        """An entry that `fill` made; raises AffectkitError where it is gone."""
        entry = self.cache.get(step, sample_key)
        if entry is None:
            what = f"the cache lost {name} of sample {sample.id!r} while the run was going"
            raise AffectkitError(f"{what}; start again with --resume")
        return entry


def prepare_view(prepare: Callable[..., Any] | None, settings: Any, port: str, raw: RawView) -> dict[str, Tensor]:
    """One raw view as `{"values", "mask"[, "boxes"]}`; without a `prepare`, arrays pass as they are."""
    if isinstance(raw, np.ndarray):
        return {"values": torch.from_numpy(np.ascontiguousarray(raw)), "mask": torch.ones(len(raw), dtype=torch.bool)}
    if prepare is None:
        raise InputError(f"port {port!r} eats a view, but its piece has no `prepare`")
    values = torch.from_numpy(np.ascontiguousarray(prepare(settings, port, raw)))
    mask = torch.ones(len(values), dtype=torch.bool)
    out = {"values": values, "mask": mask}
    if isinstance(raw, RawPixels):
        out["indices"] = torch.from_numpy(np.asarray(raw.indices, dtype=np.int64)[: len(values)].copy())
        out["mask"] = torch.from_numpy(np.asarray(raw.valid, dtype=bool)[: len(values)].copy())
        if raw.boxes is not None and raw.frame_size is not None:
            height, width = raw.frame_size
            scale = torch.tensor([width, height, width, height], dtype=torch.float32)
            boxes = torch.nan_to_num(torch.from_numpy(np.asarray(raw.boxes, dtype=np.float32)))
            out["boxes"] = boxes / scale
            out["frame_size"] = torch.tensor([height, width])
    return out


def build_detector(plan: Plan, view: str) -> Callable[..., Any]:
    """The detector that a view of the recipe names. Raises InputError if it names none."""
    detector = plan.graph.views[view].detector
    if detector is None:
        what = "a sample has no face box, and the view names no detector"
        fix = f"set views.{view}.detector.use, or views.{view}.whole=always"
        raise InputError(Problem(f"views.{view}", what, fix, tuple(plan.registry.names("detector"))))
    built: Callable[..., Any] = detector.piece.build(detector.settings)
    return built


def estimate(steps: Steps, address: str, blocks: Mapping[str, Block]) -> FactRows:
    """The facts that a step estimates from its own blocks, one dict a row; empty where it estimates none.

    Raises InputError where it gives anything else, or a value that cannot be kept.
    """
    ask = getattr(steps.module(address), "facts", None)
    if ask is None:
        return []
    own = blocks_of(address, blocks)
    step = steps.graph.steps[address]
    with blamed_on(step.piece, step.source, place_of(step), "facts()", lambda: blocks_in_words(own, {})):
        given = ask(own)
    wrong = _wrong(given, next((len(b.mask) for b in own.values()), None))
    if wrong:
        what = f"`facts` of the {step.piece.kind} {step.piece.name!r} gave {wrong}"
        fix = 'return list[dict[str, Fact]], one dict a row: [{"age": Fact("20-29", "estimate", 0.8)}, …]'
        raise InputError(Problem(place_of(step), what, fix))
    return list(given)


def _wrong(given: object, rows: int | None) -> str:
    """What is wrong with the facts that a module gave for so many rows, in words."""
    if not isinstance(given, list | tuple) or not all(isinstance(row, Mapping) for row in given):
        return f"{_short(given)}, not a list of dicts"
    if rows is not None and len(given) != rows:
        return f"{len(given)} dicts for {rows} rows"
    for row in given:
        for name, fact in row.items():
            if not isinstance(fact, Fact):
                return f"{_short(fact)} for {name!r}, not a Fact"
            try:
                json.dumps([fact.value, fact.probability])
            except (TypeError, ValueError):
                return f"{_short(fact)} for {name!r}; only words, numbers and lists of them can be kept"
    return ""


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:59]}…"


def facts_of(entry: CacheEntry) -> dict[str, Fact]:
    """Estimated facts of a cache entry."""
    return {n: Fact(v, "estimate" if v is not None else "missing", p) for n, (v, p) in entry.facts.items()}
