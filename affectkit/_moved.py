"""Names of modules as they were before the rooms, for plugins written then: each resolves to what lies in its place now and
says so in a DeprecationWarning. Goes with version 0.3."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MOVED: dict[str, tuple[str, ...]] = {
    "access": ("evaluation.clients",),
    "answer": ("evaluation.predict",),
    "answer_files": ("labels.answers",),
    "answer_rows": ("labels.answers",),
    "asking": ("commands.predict", "evaluation.user_input"),
    "assemble": ("model.packing",),
    "bars": ("train.trainer",),
    "bias": ("evaluation.bias",),
    "bias_ask": ("evaluation.bias",),
    "bias_draws": ("evaluation.groups",),
    "bias_pages": ("report.bias",),
    "bias_set_pages": ("report.bias",),
    "bias_sets": ("evaluation.bias",),
    "bootstrap": ("evaluation.bootstrap",),
    "built": ("model.model",),
    "cache": ("encode.cache",),
    "cache_keys": ("encode.cache",),
    "card": ("interop.export",),
    "checkpoints": ("studies.suite_checkpoints",),
    "clients": ("evaluation.clients",),
    "comparison": ("report.compare",),
    "confusion_files": ("labels.answers",),
    "convert": ("interop.checkpoint",),
    "convert_network": ("interop.checkpoint",),
    "converters": ("interop.contract",),
    "cross_bias": ("studies.cells",),
    "cross_cells": ("studies.cells",),
    "cross_pages": ("studies.cross",),
    "cross_run": ("studies.cross_run",),
    "crossing": ("studies.cross", "studies.matrix"),
    "curves": ("train.loop",),
    "data_check": ("data.check",),
    "data_duplicates": ("data.duplicates",),
    "data_tables": ("data.check",),
    "decoded": ("data.image",),
    "demands": ("plan.graph",),
    "devices": ("studies.sweep_run",),
    "drawing": ("commands._show_graph",),
    "estimates": ("encode.perceive",),
    "evaluation": ("evaluation.run",),
    "export": ("interop.export",),
    "extraction": ("labels.extraction",),
    "extraction_files": ("labels.submission",),
    "extraction_words": ("labels.extraction",),
    "faces": ("data.faces",),
    "features": ("interop.feature_files",),
    "fitting": ("api",),
    "folds": ("studies.folds",),
    "forecast": ("plan.forecast",),
    "frame_folders": ("data.image",),
    "heads": ("encode.steps",),
    "hub": ("weights",),
    "interpolation": ("recipe.interpolate",),
    "keeper": ("train.checkpoint",),
    "label_names": ("studies.cross",),
    "layouts": ("plan.slots",),
    "leaving_out": ("plan.check",),
    "loading": ("train.run_folder", "api"),
    "looks": ("recipe.views",),
    "marked_yaml": ("recipe.marked_yaml",),
    "media": ("data.video",),
    "merging": ("recipe.merge", "recipe.marked_yaml"),
    "meta": ("model.sizes",),
    "model": ("model.model",),
    "noticed": ("data.faces",),
    "npz": ("labels.npz",),
    "npz_rows": ("labels.npz",),
    "one_sample": ("commands._show_sample",),
    "order": ("model.batch",),
    "outcome": ("report.run",),
    "overrides": ("recipe.overrides",),
    "pages": ("report.page", "report.render"),
    "pages_html": ("report.render",),
    "perceive": ("encode.perceive",),
    "pictures": ("report.pictures",),
    "piece_pages": ("commands._piece_pages",),
    "plan": ("plan.plan", "plan.check"),
    "profile_pages": ("report.run",),
    "profiling": ("train.profile",),
    "progress": ("files",),
    "promises": ("data.video",),
    "protocols": ("evaluation.protocol",),
    "recipe": ("recipe.recipe", "recipe.load"),
    "recipe_views": ("plan.graph",),
    "references": ("plan.references",),
    "report": ("report.run", "report.render"),
    "resampling": ("data.video",),
    "results": ("report.results",),
    "rows": ("model.batch",),
    "runs": ("train.run_folder",),
    "scaffold": ("commands._scaffold",),
    "score": ("evaluation.prediction", "evaluation.score"),
    "sections": ("recipe.sections",),
    "sensitivity": ("report.run", "evaluation.sensitivity"),
    "sentiment": ("labels.sentiment",),
    "settings": ("recipe.settings",),
    "slots": ("plan.use", "plan.slots"),
    "sources": ("plan.summary", "weights"),
    "splits": ("data.splits",),
    "stage_keys": ("studies.sweep_run",),
    "stage_training": ("train.stage",),
    "stages": ("plan.plan", "plan.stages"),
    "starting": ("train.start",),
    "steps": ("encode.steps",),
    "stills": ("data.image",),
    "submissions": ("labels.submission",),
    "suite_ask": ("studies.suite_figures", "studies.suite_run"),
    "suite_bias": ("studies.suite_run",),
    "suite_figures": ("studies.suite_figures", "studies.matrix"),
    "suite_pages": ("report.suite",),
    "suite_run": ("studies.suite_run",),
    "suites": ("studies.suite",),
    "summary": ("plan.summary",),
    "surveys": ("plan.survey",),
    "sweep_figures": ("studies.sweep_page",),
    "sweep_jobs": ("studies.sweep_run",),
    "sweep_pages": ("studies.sweep_page",),
    "sweep_plan": ("studies.sweep_page",),
    "sweep_run": ("studies.sweep_run",),
    "sweep_share": ("studies.sweep_run",),
    "sweeps": ("studies.sweep",),
    "terminal": ("report.terminal",),
    "testing": ("testing.promises",),
    "testing_backbone": ("testing.backbone",),
    "testing_clients": ("testing.others",),
    "testing_convert": ("testing.others",),
    "testing_gradients": ("testing.steps",),
    "testing_inputs": ("testing.inputs",),
    "testing_light": ("testing.light",),
    "testing_media": ("testing.media",),
    "testing_priors": ("testing.steps",),
    "testing_record": ("testing.record",),
    "testing_steps": ("testing.bench", "testing.steps"),
    "testing_text": ("testing.text",),
    "train": ("train.loop",),
    "trainers": ("train.trainer",),
    "uses": ("plan.use",),
    "views": ("data.views",),
    "wanted": ("plan.metrics",),
    "warned": ("report.run",),
    "wheels": ("labels.wheels",),
    "wiring": ("plan.graph",),
    "yaml_words": ("recipe.settings",),
}
"""Module to the modules that hold its names now, the first that has one is right."""
RENAMED: dict[str, str] = {
    "access.granted": "access_for",
    "answer.Answering": "AnswerModule",
    "answer.Question": "AnswerOptions",
    "answer_rows.Row": "AnswerRow",
    "asking.Asked": "Predictor",
    "asking.tell": "print_answers",
    "bias.Known": "People",
    "bias.answered_of": "answered_only",
    "bias.known": "known_people",
    "bias_ask.Trial": "BiasProbe",
    "bias_draws.Drawn": "GroupDraws",
    "bias_sets.OfSet": "SetAnswers",
    "built.check_told": "check_methods",
    "built.told_at": "place_errors",
    "cache.Entry": "CacheEntry",
    "checkpoints.Weights": "CheckpointedRun",
    "clients.Asker": "CachedClient",
    "convert.shown": "shown_name",
    "cross_cells.Hangs": "Fingerprint",
    "cross_cells.Kept": "CellStore",
    "cross_pages.tell": "print_matrix",
    "cross_pages.write": "write_matrix",
    "crossing.Column": "MatrixColumn",
    "crossing.Shared": "SharedLabels",
    "crossing.opened": "open_columns",
    "data_check.looked_at": "used_views",
    "data_duplicates.Found": "Duplicate",
    "data_duplicates.Opened": "Split",
    "decoded.Decoded": "DecodedMedia",
    "demands.Demand": "CachePlan",
    "demands.asked_of": "question_steps",
    "demands.demand_of": "cache_plan_of",
    "estimates.Estimates": "FactRows",
    "evaluation.asker": "predictor_for",
    "evaluation.tell_untaught": "print_untaught",
    "extraction.How": "ReadMethod",
    "extraction.Read": "LabelReading",
    "extraction.Reader": "LabelReader",
    "extraction.listed": "parse_list",
    "extraction.sentence_told": "summary_sentence",
    "extraction_files.told": "extraction_summary",
    "features.Written": "FeatureExport",
    "forecast.Kept": "CacheForecast",
    "label_names.mapped": "map_labels",
    "loading.Loaded": "LoadedRun",
    "loading.evaluated": "evaluated_run",
    "loading.started": "starting_run",
    "loading.tell_weights": "print_weights",
    "looks.View": "ViewSettings",
    "merging.Marked": "MarkedValues",
    "model.under": "with_plan",
    "noticed.Noticed": "Notices",
    "noticed.face": "face_notices",
    "noticed.people": "people_notices",
    "noticed.sound": "sound_notices",
    "noticed.told": "merge_notices",
    "npz_rows.Row": "NpzRow",
    "outcome.tell_outcome": "print_outcome",
    "pages.Block": "PageBlock",
    "pages.Side": "SideBySide",
    "pages.Words": "Paragraph",
    "pages.counted": "count_text",
    "pages.spoken": "spoken_name",
    "perceive.prepared": "prepare_view",
    "protocols.Answer": "SplitPredictor",
    "protocols.Wanted": "BuiltMetric",
    "protocols.compared": "with_reference",
    "protocols.settled": "finalise",
    "recipe.shipped": "shipped_recipes",
    "references.Names": "Addresses",
    "resampling.Sound": "SoundResampler",
    "results.Results": "RunFiles",
    "rows.Asking": "Prompter",
    "score.noted": "note_counts",
    "sensitivity.Trial": "SensitivityProbe",
    "sensitivity.Variant": "SensitivityVariant",
    "starting.take_over": "load_initial_weights",
    "starting.tell_origin": "set_origin",
    "submissions.chosen": "submission_set",
    "suite_ask.Answered": "CheckpointAnswers",
    "suite_ask.Job": "SuiteJob",
    "suite_pages.tell": "print_suite",
    "suites.Entry": "SuiteSet",
    "suites.Published": "PublishedFigures",
    "suites.parted": "split_overrides",
    "summary.escaped": "escape_references",
    "sweep_jobs.Job": "SweepJob",
    "sweep_pages.tell": "print_comparison",
    "sweep_plan.tell_planned": "print_planned",
    "sweep_plan.trained": "stages_to_train",
    "sweep_share.take_over": "adopt_stages",
    "sweeps.Variant": "SweepVariant",
    "testing_backbone.Bench": "BackboneBench",
    "testing_clients.Built": "BuiltClient",
    "testing_steps.Bench": "StepBench",
    "train.Keeper": "CheckpointWriter",
    "views.Looked": "LoadedViews",
    "wanted.Asked": "Query",
    "wanted.asked_by": "query_of",
    "wanted.held_against": "references",
    "wanted.read_from": "columns_of",
    "warned.warned": "shared_warnings",
    "wheels.Wanted": "FormsChoice",
    "wheels.imported": "imported_tables",
}
"""Names that are other names now, by the former module."""


class Moved(ModuleType):
    """A module by its old name, or a room that bears the name of a former module. Where a public function has the same name
    (`affectkit.score`), importing the module puts it in the function's place: so it can be called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.__wrapped__(*given, **named)

    def __getattr__(self, name: str) -> Any:
        own, whole = self.__name__.removeprefix("affectkit."), f"{self.__name__}.{name}"
        public: dict[str, str] = vars(sys.modules["affectkit"])["_WHERE"]
        if name == "__wrapped__" and own in public:
            return getattr(importlib.import_module(f"affectkit.{public[own]}"), own)
        # A module of the room comes first: the import statement asks here before it looks for one.
        a_module = PathFinder.find_spec(whole, vars(self).get("__path__", ()))
        for place in () if a_module or name.startswith("__") else MOVED[own]:
            there = importlib.import_module(f"affectkit.{place}")
            found = RENAMED.get(f"{own}.{name}", name)
            if hasattr(there, found):
                what = f"affectkit.{own}.{name} is affectkit.{place}.{found} now; the old name goes with version 0.3"
                warnings.warn(what, DeprecationWarning, stacklevel=2)
                return getattr(there, found)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class MovedLoader(Loader):
    """Makes the old module; a room is loaded by its own loader first."""

    def __init__(self, room: Loader | None) -> None:
        self.room = room

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None if self.room else Moved(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if self.room:
            self.room.exec_module(module)
            module.__class__ = Moved


class OldNames(MetaPathFinder):
    """Finds a module by its former name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.removeprefix("affectkit.") not in MOVED or not name.startswith("affectkit."):
            return None
        room = PathFinder.find_spec(name, path, target)
        if room is None:
            return ModuleSpec(name, MovedLoader(None))
        room.loader = MovedLoader(room.loader)
        return room


def install() -> None:
    """Let the import statement find the old names; done once."""
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldNames())
