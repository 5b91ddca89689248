"""Features ahead of training: what fit and evaluate would make of frozen steps, made before, by any number of processes."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from affectkit.cluster import Call, Cluster
from affectkit.data.splits import open_split, open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import CHUNK, Perceiver
from affectkit.encode.steps import Steps
from affectkit.errors import InputError, Problem
from affectkit.files import Say, track
from affectkit.model.model import build, build_steps, data_targets
from affectkit.plan.graph import CachePlan
from affectkit.plan.plan import Plan
from affectkit.sample import Sample
from affectkit.train.run_folder import saved_tokenizer, starting_run
from affectkit.train.start import load_initial_weights
from affectkit.train.trainer import device

FeatureChunk = tuple[int, bytes, bool, tuple[int, ...]]
"""A place among the chunks, samples (pickled) that run through the steps together, whether mirrored, and the numbers of the cache
plans that want them."""
Filled = tuple[int, int, dict[str, str]]
"""Entries that were made, entries that were there, and the samples that cannot be decoded."""


@dataclass(frozen=True)
class FeatureNeed:
    """The features that one part of a run reads."""

    part: str
    """`evaluate`, or the stage."""
    split: str
    samples: Sequence[Sample]
    flips: tuple[bool, ...]
    cache_plan: CachePlan


@dataclass
class FeaturesBuilt:
    """What came of it."""

    made: int = 0
    there: int = 0
    """Entries that were there before."""
    broken: dict[str, str] = field(default_factory=dict)
    """Samples that cannot be decoded, and why."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By part and step, why its features cannot be made ahead."""
    seconds: float = 0.0


def ranks() -> tuple[int, int]:
    """(rank, world) of this process, as torchrun or srun says; (0, 1) where neither started it. Raises InputError."""
    # SLURM_NTASKS is there in a batch script, too, which is one process: the tasks of a step are only in what srun started
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in os.environ and world in os.environ:
            try:
                here, all_ = int(os.environ[rank]), int(os.environ[world])
            except ValueError:
                here, all_ = 0, 0
            if not 0 <= here < all_:
                what = f"{rank}={os.environ[rank]} of {world}={os.environ[world]} is no rank"
                raise InputError(Problem("environment", what, "start it by torchrun or srun, or unset both"))
            return here, all_
    return 0, 1


def built_steps(plan: Plan, say: Say) -> tuple[Steps, Plan]:
    """The steps of a recipe with the weights that training starts from. The LLM is built only where nothing else tells its width,
    or a run to start from has to fit."""
    targets = data_targets(plan)
    if not plan.run.start and (plan.alone or plan.width is not None):
        return build_steps(plan, list(plan.graph.steps), plan.width, targets=targets)
    model, plan = build(plan, None, saved_tokenizer(starting_run(plan)) if plan.run.start else None, targets)
    if plan.run.start:
        load_initial_weights(model, starting_run(plan), say)
    return model.steps, plan


def feature_needs(
    plan: Plan, steps: Steps, trained: bool, splits: Collection[str] = ()
) -> tuple[list[FeatureNeed], dict[str, str]]:
    """The features that a run would read of frozen steps, in its order; and by part and step why others cannot be made ahead.
    `trained` means that its stages are done. Raises InputError for a split that no part reads."""
    needs: list[FeatureNeed] = []
    left: dict[str, str] = {}
    seen: dict[str, None] = {}
    changed: dict[str, str] = {}

    def add(part: str, split: str, samples: Sequence[Sample], flips: tuple[bool, ...], wanted: CachePlan) -> None:
        seen.setdefault(split)
        if splits and split not in splits:
            return
        found, why = _ahead(plan, wanted, changed)
        left.update({f"{part}: {address}": said for address, said in why.items()})
        if len(samples) and (found.blocks or found.ports):
            needs.append(FeatureNeed(part, split, samples, flips, found))

    random = any(getattr(v.settings, "flip", "never") == "random" for v in plan.graph.views.values())
    for name, stage in {} if trained else plan.stages.items():
        opened, wanted = open_splits(plan, stage), plan.demand(stage)
        fits = stage.objective in plan.graph.steps and hasattr(steps.module(stage.objective), "fit")
        add(name, "train", opened.train, (False, True) if random and not fits else (False,), wanted)
        if not fits:
            add(name, "val", opened.val, (False,), wanted)
        changed.update(dict.fromkeys(plan.learning(stage.trains), name))
    asked = [plan.demand(None, (), head) for head in plan.heads] + ([] if plan.alone else [plan.demand()])
    for split in plan.score.splits:
        samples = open_split(plan.data, split, plan.recipe.place(("score", "splits")))
        for wanted in asked:
            add("evaluate", split, samples, (False,), wanted)
    if unread := [split for split in splits if split not in seen]:
        what = f"no part of the run reads the split {unread[0]!r}"
        raise InputError(Problem("--split", what, "name another, or add it to score.splits", tuple(seen)))
    return needs, left


def _ahead(plan: Plan, wanted: CachePlan, changed: Mapping[str, str]) -> tuple[CachePlan, dict[str, str]]:
    """What can be made of a cache plan before the stages that train steps (`changed`: step to stage), and why the rest cannot."""
    graph, left = plan.graph, dict[str, str]()
    blocks: dict[str, tuple[str, ...]] = {}
    for address, names in wanted.blocks.items():
        moving = next((a for a in graph.upstream([address]) if a in changed), None)
        if moving is not None:
            left[address] = f"{'' if moving == address else f'reads {moving}, which '}trains in {changed[moving]}"
        elif graph.steps[address].cache == "memory":
            left[address] = "`cache: memory` keeps nothing for other processes"
        else:
            blocks[address] = names
    kinds = {port: graph.steps[port.partition(":")[0]].cache for port in wanted.ports}
    left |= {p: f"`cache: {kind}` keeps nothing of it" for p, kind in kinds.items() if kind != "disk"}
    running = {*graph.upstream([*blocks])}
    heads = [a for a in wanted.heads if a in running] if left else wanted.heads
    ports = [port for port, kind in kinds.items() if kind != "memory"]
    return replace(wanted, heads=heads, blocks=blocks, ports=ports), left


def chunks(needs: Sequence[FeatureNeed]) -> list[FeatureChunk]:
    """All that is to be done, each chunk of samples once, in a fixed order. They are cut as training cuts them, so that entries
    are the same to the last bit."""
    # by ids: all ranks have to count alike, and equal samples may be pickled otherwise in another process
    places: dict[tuple[tuple[str, ...], bool], int] = {}
    found: dict[tuple[int, bytes, bool], dict[int, None]] = {}
    for number, need in enumerate(needs):
        for flip in need.flips:
            for start in range(0, len(need.samples), CHUNK):
                part = [need.samples[i] for i in range(start, min(start + CHUNK, len(need.samples)))]
                place = places.setdefault((tuple(s.id for s in part), flip), len(places))
                found.setdefault((place, pickle.dumps(part), flip), {})[number] = None
    return [(*key, tuple(numbers)) for key, numbers in found.items()]


class FeatureMaker:
    """Makes chunks; one lives in each process."""

    def __init__(self, plan: Plan, steps: Steps, cache_plans: Sequence[CachePlan]) -> None:
        cache, where = Cache(plan.cache_folder), device(plan)
        steps = steps.to(where)
        self.perceivers = [Perceiver(plan, steps, cache, where, one) for one in cache_plans]

    @property
    def keys(self) -> list[dict[str, str]]:
        """The names under which entries are kept, by step and port: the same in all processes that share a cache."""
        return [{**one.keys, **one.port_keys} for one in self.perceivers]

    def __call__(self, chunk: FeatureChunk) -> Filled:
        """Make what is missing of a chunk."""
        _, part, flip, numbers = chunk
        samples: list[Sample] = pickle.loads(part)
        made = there = 0
        broken: dict[str, str] = {}
        for perceiver in map(self.perceivers.__getitem__, numbers):
            new, old = perceiver.fill_chunk(samples, flip)
            made, there = made + new, there + old
            broken.update({s.id: perceiver.broken[s.id] for s in samples if s.id in perceiver.broken})
        return made, there, broken


@dataclass(frozen=True)
class FeatureWork:
    """A maker as it travels to the workers of a cluster."""

    plan: Plan
    cache_plans: Sequence[CachePlan]
    weights: Mapping[str, Mapping[str, torch.Tensor]]
    """By step; those of others come from where the recipe has them, the seed included."""
    keys: Sequence[Mapping[str, str]]

    def __call__(self, desk: Call) -> Callable[[FeatureChunk], Filled]:
        """Raises InputError where steps come to other weights here than where the work comes from."""
        plan, steps = self.plan, self.plan.graph.steps
        named = {a for one in self.cache_plans for a in (*one.heads, *(p.partition(":")[0] for p in one.ports))}
        running = plan.graph.upstream([a for a in steps if a in named])
        targets = data_targets(plan) if plan.heads else {}
        built, _ = build_steps(plan, running, plan.width, targets=targets)
        for address, values in self.weights.items():
            built.module(address).load_state_dict(dict(values))
        maker = FeatureMaker(plan, built, self.cache_plans)
        for ours, theirs in zip(maker.keys, self.keys, strict=True):
            if other := [name for name in theirs if ours.get(name) != theirs[name]]:
                what = f"a worker has other code or weights of {other[0]}"
                raise InputError(
                    Problem("engine ray", what, "install the same versions on all machines of the cluster")
                )
        return maker


def build_ahead(
    plan: Plan, steps: Steps, trained: bool, splits: Collection[str] = (), cluster: Cluster | None = None
) -> FeaturesBuilt:
    """Fill the feature cache of a plan that is built. Each rank takes every world-th chunk; a cluster takes all of them."""
    begun = time.monotonic()
    needs, left = feature_needs(plan, steps, trained, splits)
    todo, built = chunks(needs), FeaturesBuilt(left_out=left)
    if cluster is None:
        rank, world = ranks()
        share = [chunk for chunk in todo if chunk[0] % world == rank]
        maker = FeatureMaker(plan, steps, [need.cache_plan for need in needs])
        done: Iterator[Filled] = map(maker, track(share, "features"))
    else:
        done = _spread(cluster, plan, steps, [need.cache_plan for need in needs], todo, trained)
    for made, there, broken in done:
        built.made, built.there = built.made + made, built.there + there
        built.broken.update(broken)
    built.seconds = time.monotonic() - begun
    return built


def _spread(
    cluster: Cluster,
    plan: Plan,
    steps: Steps,
    cache_plans: Sequence[CachePlan],
    todo: Sequence[FeatureChunk],
    trained: bool,
) -> Iterator[Filled]:
    """The same on the workers of a cluster, which write to the cache that they share."""
    keys = FeatureMaker(plan, steps, cache_plans).keys
    own: dict[str, Any] = {}
    if trained or plan.run.start:
        heads = dict.fromkeys(a for one in cache_plans for a in one.heads)
        own = {a: {n: t.cpu() for n, t in steps.module(a).state_dict().items()} for a in heads}
    if plan.run.accelerator != "cpu" and cluster.has_gpus():
        cluster.gpus = 1.0
    work, desk = FeatureWork(plan, cache_plans, own, keys), cluster.desk(dict)
    for _, filled in cluster.map(work, todo, desk, cluster.size(len(todo)), what="features"):
        yield filled
