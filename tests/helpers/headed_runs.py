"""Runs that answer by heads: one label, ratings or several labels; and recipes of an LLM that is asked for the same."""

from affectkit import evaluate, fit

KINDS = ("heads", "numbers", "several labels")
"""What a tool is tried on: a head of labels, one of ratings, one of several labels."""
METRICS = {"heads": "uar", "numbers": "mae", "several labels": "multilabel_f1"}
TASKS = {"heads": "label", "numbers": "numbers", "several labels": "labels"}
_HEADS = {"heads": "classifier", "numbers": "regression", "several labels": "multi_label"}
_QUESTIONS = {
    "numbers": "{use: numbers_question, numbers: {valence: [-1, 1]}, wording: 'Rate:'}",
    "several labels": "{use: labels_question, wording: 'Which of {options}?'}",
}
DATA = "{use: puppets, count: 42, val: 0.2, test: 0.3}"


def recipe(kind):
    """A recipe of heads alone: one that trains, and a probe beside it."""
    task, metric = TASKS[kind], METRICS[kind]
    return f"""
name: {kind.replace(" ", "_")}
data: {DATA}
views: {{wave: {{use: wave, seconds: 2}}, frame: {{use: frames, pick: middle, count: 1}}}}
streams:
  audio: {{steps: {{encoder: {{use: log_mel, wave: wave}}, adapter: {{use: mean}}}}}}
  scene: {{steps: {{encoder: {{use: image_patches, pixels: frame}}, adapter: {{use: mean}}}}}}
backbone: null
heads:
  first: {{use: {_HEADS[kind]}, tokens: [audio.adapter, scene.adapter]}}
  probe: {{use: linear_probe, answer: {task}, tokens: audio.adapter, folds: 2, strengths: [1.0]}}
stages:
  first: {{train: [heads.first], objective: heads.first, epochs: 2, batch: 8, lr: 0.01}}
  probe: {{train: [heads.probe], objective: heads.probe}}
score: {{metrics: {{{metric}: {metric}}}, resamples: 20}}
run: {{accelerator: cpu}}
"""


def asking(kind):
    """A recipe of an LLM that is asked for ratings or several labels."""
    return f"""
name: asking
data: {DATA}
views: {{wave: {{use: wave, seconds: 2}}}}
streams:
  audio: {{steps: {{encoder: {{use: log_mel, wave: wave}}, adapter: {{use: mean}}, projector: {{use: mlp}}}}}}
prompt: {{use: template, parts: {{audio: {{use: slot, stream: audio}}, ask: {_QUESTIONS[kind]}}}}}
backbone: {{use: causal_lm, width: 32, heads: 2, layers: 1}}
stages:
  tune: {{train: [streams.audio.projector, backbone.model], max_steps: 2, tasks: {{{TASKS[kind]}: 1}}}}
score: {{metrics: {{{METRICS[kind]}: {METRICS[kind]}}}, resamples: 20, max_new_tokens: 4}}
run: {{accelerator: cpu}}
"""


def quiet(_):
    """Says nothing."""


class Runs:
    """Runs in a folder, each made when it is wanted first."""

    def __init__(self, folder):
        self.folder, self._made = folder, {}

    def fit(self, kind):
        """The run of a kind."""
        return self._once(kind, lambda: fit(recipe(kind), self.at(kind), say=quiet))

    def probe(self, kind):
        """The same answered by its probe."""
        own = [f"run.folder={self.folder / 'probes'}", "score.method=probe"]
        return self._once((kind, "probe"), lambda: evaluate(self.fit(kind).folder, own, say=quiet))

    def llm(self, kind):
        """A run of an LLM."""
        return self._once((kind, "llm"), lambda: fit(asking(kind), self.at(kind), say=quiet))

    def at(self, kind):
        """Where its folders are."""
        return [f"run.folder={self.folder / kind}", f"run.cache={self.folder / 'cache'}"]

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]
