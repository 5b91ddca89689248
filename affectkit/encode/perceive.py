"""Heads: the frozen, deterministic steps at the start of streams. They run once a sample, and the cache keeps the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from affectkit.blocks import Block, TokenBlock
from affectkit.data.faces import merge_notices
from affectkit.data.views import LoadedViews, look_at
from affectkit.encode.cache import Cache, CacheEntry, Keys, digest
from affectkit.encode.faults import blamed_on, blocks_in_words, place_of
from affectkit.encode.steps import Steps, stack_views, unstack
from affectkit.errors import AffectkitError, InputError, MediaError, Problem
from affectkit.plan.graph import CachePlan
from affectkit.plan.plan import Plan, Stage
from affectkit.raw import RawPixels, RawView
from affectkit.sample import Fact, Sample

CHUNK = 16
"""Samples that run through the heads together and lie in one shard. Fixed, so that a chunk's composition, and with it
the last bit of its floats, does not depend on where an earlier run was killed."""

NOTHING: Mapping[str, str] = {}

SEEN = "seen"
"""The name under which it is kept that the views of a sample could be decoded, where nothing else of them is kept."""


class HasSteps(Protocol):
    """A model: its plan and its built steps."""

    @property
    def plan(self) -> Plan: ...

    @property
    def steps(self) -> Steps: ...


class Perceiver:
    """Fills the cache for a demand and reads it."""

    def __init__(self, plan: Plan, steps: Steps, cache: Cache, device: torch.device, cache_plan: CachePlan) -> None:
        self.plan, self.steps, self.cache, self.device, self.cache_plan = plan, steps, cache, device, cache_plan
        self.names = Keys(plan, steps, cache.memo)
        self.keys = {a: digest(self.names.step(a), blocks) for a, blocks in cache_plan.blocks.items()}
        self.port_keys = {p: self.names.port(p) for p in cache_plan.ports}
        self.broken: dict[str, str] = {}
        """Sample id to what is wrong with its media."""
        self.partial: dict[str, str] = {}
        """Sample id to what is missing of its media, where they are broken but some of them decoded."""
        self.notices: dict[str, dict[str, str]] = {}
        """Sample id to what else there is to say of what was looked at."""
        self.decoded = 0
        """Samples whose media were decoded by this object: 0 on a second run."""
        self._detectors: dict[str, Callable[..., Any]] = {}

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
        from affectkit.files import track

        if not (self.cache_plan.blocks or self.cache_plan.ports):
            return
        targets = self._targets()
        starts = [(flip, i) for flip in flips for i in range(0, len(samples), CHUNK)][ranks[0] :: ranks[1]]
        for flip, start in track(starts, f"perceive {what}".strip()):
            chunk = [samples[i] for i in range(start, min(start + CHUNK, len(samples)))]
            self._fill_chunk(chunk, flip, targets)

    def _targets(self) -> list[tuple[str, str, str]]:
        """(name, key, cache kind) of everything that is kept."""
        steps = self.plan.graph.steps
        kept = [(a, self.keys[a], steps[a].cache) for a in self.cache_plan.blocks]
        ports = [(p, self.port_keys[p], steps[p.split(":")[0]].cache) for p in self.cache_plan.ports]
        known = [t for t in ports if t[2] != "none"]
        # views that are not kept are looked at once all the same, so that a broken file shows before it is asked for
        seen = [] if len(known) == len(ports) else [(SEEN, self.names.views(self._eaten()), "disk")]
        return kept + known + seen

    def _fill_chunk(self, chunk: Sequence[Sample], flip: bool, targets: Sequence[tuple[str, str, str]]) -> None:
        named: list[tuple[Sample, str]] = []
        for sample in chunk:
            try:
                named.append((sample, self.names.sample(sample, flip)))
            except MediaError as error:
                self.broken[sample.id] = str(error)
        self.names.keep()
        missing = False
        for sample, key in named:
            for _, step_key, _ in targets:
                note = self.cache.note(step_key, key)  # not `get`: a warm start reads no tensor
                if note is None:
                    missing = True
                else:
                    self._note(sample, note.error, note.partial, note.noticed)
        if not missing:
            return
        views: list[LoadedViews | None] = []
        errors: dict[str, str] = {}
        for sample, key in named:
            try:
                loaded = self.load_views(sample, flip)
                views.append(loaded)
                self._note(sample, "", loaded.partial, merge_notices(loaded.notices))
            except MediaError as error:
                views.append(None)
                errors[key] = str(error)
                self._note(sample, errors[key])
        self.decoded += len(named)
        self.cache.encoded.update(key for _, key in named)
        self._store(named, views, errors, targets)

    def _note(self, sample: Sample, error: str, partial: str = "", notices: Mapping[str, str] = NOTHING) -> None:
        """Remember what is wrong with a sample's files; heads that look at different files may each know a part."""
        if error:
            self.broken[sample.id] = error
        if notices:
            self.notices[sample.id] = {**self.notices.get(sample.id, {}), **notices}
        if partial:
            known = self.partial.get(sample.id, "").split("; ")
            self.partial[sample.id] = "; ".join(w for w in dict.fromkeys([*known, *partial.split("; ")]) if w)

    def _store(
        self,
        named: Sequence[tuple[Sample, str]],
        views: Sequence[LoadedViews | None],
        errors: Mapping[str, str],
        targets: Sequence[tuple[str, str, str]],
    ) -> None:
        good = [(s, k, v) for (s, k), v in zip(named, views, strict=True) if v is not None]
        prepared = [self.prepare(v.views, self._all_ports()) for _, _, v in good]
        blocks, facts = self.run_heads(prepared) if good and self.cache_plan.heads else ({}, {})
        for name, step_key, kind in targets:
            behind = self._behind(name)
            entries: dict[str, CacheEntry] = {key: CacheEntry({}, {"error": why}) for key, why in errors.items()}
            for row, (_, key, loaded) in enumerate(good):
                if name == SEEN:
                    made = CacheEntry({})
                elif ":" in name:
                    made = CacheEntry(dict(prepared[row][name] or {}))
                else:
                    made = self._entry(name, row, blocks, facts)
                entries[key] = replace(made, partial=loaded.partial, notices=merge_notices(loaded.notices, behind))
            self.cache.put(step_key, entries, kind)

    def _entry(
        self, address: str, row: int, blocks: Mapping[str, Block], facts: Mapping[str, list[dict[str, Fact]]]
    ) -> CacheEntry:
        tensors: dict[str, Tensor] = {}
        for name in self.cache_plan.blocks[address]:
            block = blocks[f"{address}.{name}"]
            assert isinstance(block, TokenBlock)
            tokens, mask = unstack(block, row)
            tensors[f"{name}/tokens"], tensors[f"{name}/mask"] = tokens.cpu(), mask.cpu()
        said = facts.get(address)
        return CacheEntry(tensors, {n: [f.value, f.probability] for n, f in said[row].items()} if said else {})

    def _all_ports(self) -> list[str]:
        heads = [
            f"{a}:{p}" for a in self.cache_plan.heads for p, r in self.plan.graph.steps[a].inputs.items() if r.view
        ]
        return [*heads, *self.cache_plan.ports]

    def run_heads(
        self, prepared: Sequence[Mapping[str, Mapping[str, Tensor] | None]]
    ) -> tuple[dict[str, Block], dict[str, list[dict[str, Fact]]]]:
        """Blocks of the heads for a batch of prepared samples, and the facts that they estimate."""
        ports = [p for p in self._all_ports() if p.split(":")[0] in self.cache_plan.heads]
        known: dict[str, Block] = {p: stack_views(p, [i[p] for i in prepared]).to(self.device) for p in ports}
        modules = [self.steps.module(a) for a in self.cache_plan.heads]
        modes = [m.training for m in modules]
        with torch.no_grad():
            for module in modules:
                module.eval()
            blocks = self.steps.run(self.cache_plan.heads, known)
            facts = {a: estimate(self.steps, a, blocks) for a in self.cache_plan.blocks}
            for module, mode in zip(modules, modes, strict=True):
                module.train(mode)
        return blocks, {a: f for a, f in facts.items() if f}

    def views_of(self, sample: Sample, flip: bool = False) -> dict[str, RawView | None]:
        """What the views that anybody eats show of a sample. Raises MediaError."""
        return self.load_views(sample, flip).views

    def _eaten(self) -> set[str]:
        return {self.plan.graph.steps[a].inputs[n].view for a, _, n in (p.partition(":") for p in self._all_ports())}

    def _behind(self, target: str) -> set[str]:
        """The views that an entry depends on: it may tell nothing of others, which may be looked at otherwise next time."""
        steps, (address, _, port) = self.plan.graph.steps, target.partition(":")
        if target == SEEN:
            return self._eaten()
        if port:
            return {steps[address].inputs[port].view}
        return {r.view for a in self.plan.graph.upstream([address]) for r in steps[a].inputs.values() if r.view}

    def load_views(self, sample: Sample, flip: bool = False) -> LoadedViews:
        """The same, with what is missing of the sample's files."""
        names = self._eaten()
        wanted = {n: v.settings for n, v in self.plan.graph.views.items() if n in names or n in self._ofs(names)}
        flips = {n: flip and getattr(s, "flip", "never") == "random" for n, s in wanted.items()}
        return look_at(sample, wanted, detector_for=self._detector, flips=flips)

    def _ofs(self, names: set[str]) -> set[str]:
        views = self.plan.graph.views
        return {str(views[n].settings.of) for n in names if getattr(views[n].settings, "of", None)}

    def _detector(self, view: str) -> Callable[..., Any]:
        if view not in self._detectors:
            self._detectors[view] = build_detector(self.plan, view)
        return self._detectors[view]

    def prepare(self, views: Mapping[str, RawView | None], ports: Sequence[str]) -> dict[str, dict[str, Tensor] | None]:
        """Raw views as each encoder wants them, by `address:port`."""
        out: dict[str, dict[str, Tensor] | None] = {}
        for port in ports:
            address, _, name = port.partition(":")
            step = self.plan.graph.steps[address]
            raw = views.get(step.inputs[name].view)
            out[port] = None if raw is None else prepare_view(step.piece.prepare, step.settings, name, raw)
        return out

    def item(
        self, sample: Sample, flip: bool = False
    ) -> tuple[dict[str, CacheEntry], dict[str, dict[str, Tensor] | None]]:
        """(entries of kept heads by address, prepared views by port) of one sample, from the cache or made now."""
        key = self.names.sample(sample, flip)
        entries = {a: self._must(a, self.keys[a], key, sample) for a in self.cache_plan.blocks}
        ports: dict[str, dict[str, Tensor] | None] = {}
        uncached = [p for p in self.cache_plan.ports if self.plan.graph.steps[p.split(":")[0]].cache == "none"]
        for port in self.cache_plan.ports:
            if port not in uncached:
                tensors = self._must(port, self.port_keys[port], key, sample).tensors
                ports[port] = dict(tensors) or None
        if uncached:
            self.decoded += 1
            self.cache.encoded[key] += 1
            ports.update(self.prepare(self.views_of(sample, flip), uncached))
        return entries, ports

    def _must(self, name: str, step: str, sample_key: str, sample: Sample) -> CacheEntry:
        entry = self.cache.get(step, sample_key)
        if entry is None:
            raise AffectkitError(
                f"the cache lost {name} of sample {sample.id!r} while the run was going; start again with --resume"
            )
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


FactRows = list[dict[str, Fact]]
"""One dict a row."""


def estimate(steps: Steps, address: str, blocks: Mapping[str, Block]) -> FactRows:
    """The facts that a step estimates from its own blocks, one dict a row; empty where it estimates none.

    Raises InputError where it gives anything else, or a value that cannot be kept.
    """
    ask = getattr(steps.module(address), "facts", None)
    if ask is None:
        return []
    own = {n.split(".")[-1]: b for n, b in blocks.items() if n.startswith(f"{address}.")}
    step = steps.graph.steps[address]
    with blamed_on(step.piece, step.source, place_of(step), "facts()", lambda: blocks_in_words(own, {})):
        given = ask(own)
    wrong = _wrong(given, next((len(b.mask) for b in own.values()), None))
    if wrong:
        piece = steps.graph.steps[address].piece
        what = f"`facts` of the {piece.kind} {piece.name!r} gave {wrong}"
        fix = 'return list[dict[str, Fact]], one dict a row: [{"age": Fact("20-29", "estimate", 0.8)}, …]'
        raise InputError(Problem(f"streams.{address.replace('.', '.steps.', 1)}", what, fix))
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
