"""Which samples are asked what, in which order: the same in every process, and from any place on."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from affectkit.prompt import draw_for
from affectkit.sample import Sample


@dataclass(frozen=True)
class Key:
    """One row of an epoch: which sample, which task, mirrored or not."""

    index: int
    task: str
    epoch: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Order:
    """The order of a stage: a function of (seed, epoch, position), the same in every process."""

    samples: Sequence[Sample]
    tasks: Mapping[str, float]
    seed: int
    batch: int
    balance: str = "none"
    flips: tuple[bool, ...] = (False,)
    world: int = 1
    rank: int = 0
    one_task: bool = False
    """One task for each visit of a sample, drawn with odds as the shares are."""
    asks: Callable[[Sample, str], bool] = lambda sample, task: True
    """Whether there is anything to ask a sample in a task; it is not visited where there is not."""

    def epoch(self, epoch: int) -> list[Key]:
        """Every row of an epoch, shuffled. A share of 0.5 asks a task of every other sample and the rest next time."""
        keys = []
        for place, index in enumerate(self._drawn(epoch)):
            sample = self.samples[index]
            flip = len(self.flips) > 1 and draw_for(self.seed, epoch, sample.id)("flip").random() < 0.5
            tasks = {t: share for t, share in self.tasks.items() if self.asks(sample, t)}
            if self.one_task and tasks:
                draw = draw_for(self.seed, epoch, sample.id)(f"visit {place}")
                keys.append(Key(index, draw.choices(list(tasks), list(tasks.values()))[0], epoch, flip))
                continue
            for task, share in tasks.items():
                offset = draw_for(self.seed, 0, sample.id)(f"task {task}").random()
                times = math.floor(share * (epoch + 1) + offset) - math.floor(share * epoch + offset)
                keys += [Key(index, task, epoch, flip)] * times
        random.Random(f"{self.seed}/{epoch}/order").shuffle(keys)
        return keys

    def _drawn(self, epoch: int) -> list[int]:
        if self.balance == "none":
            return list(range(len(self.samples)))
        labels = [self.samples[i].label for i in range(len(self.samples))]
        counts = Counter(labels)
        power = 0.5 if self.balance == "sqrt" else 1.0
        weights = [counts[label] ** -power for label in labels]
        return random.Random(f"{self.seed}/{epoch}/balance").choices(range(len(labels)), weights, k=len(labels))

    def batches(self, epoch: int) -> list[list[Key]]:
        """This rank's batches. Step k of all ranks together holds the rows that one process with a batch `world` times
        as large would hold; a rest of fewer rows than ranks is left out."""
        keys = self.epoch(epoch)
        size = self.batch * self.world
        steps = [keys[i : i + size] for i in range(0, len(keys), size)]
        if steps and len(steps[-1]) < self.world:
            steps.pop()
        return [step[self.rank :: self.world] for step in steps]


class Batches(Sampler[list[Key]]):
    """The batches of one epoch from an offset on."""

    def __init__(self, batches: Sequence[list[Key]]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
