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

FORMER = {
    "commands._piece_pages": "piece_pages",
    "commands._scaffold": "scaffold",
    "commands._show_graph": "drawing",
    "commands._show_sample": "one_sample",
    "commands.predict": "asking",
    "data.check": "data_check data_tables",
    "data.duplicates": "data_duplicates",
    "data.faces": "faces noticed",
    "data.image": "decoded frame_folders stills",
    "data.splits": "splits",
    "data.sound": "resampling",
    "data.video": "media promises",
    "data.views": "views",
    "encode.cache": "cache cache_keys",
    "encode.perceive": "estimates perceive",
    "encode.steps": "heads steps",
    "evaluation.bias": "bias bias_ask bias_sets",
    "evaluation.bootstrap": "bootstrap",
    "evaluation.clients": "access clients",
    "evaluation.groups": "bias_draws",
    "evaluation.predict": "answer",
    "evaluation.prediction": "score",
    "evaluation.protocol": "protocols",
    "evaluation.run": "evaluation",
    "evaluation.score": "score",
    "evaluation.user_input": "asking",
    "files": "progress",
    "interop.checkpoint": "convert convert_network",
    "interop.contract": "converters",
    "interop.export": "card export",
    "interop.feature_files": "features",
    "labels.answers": "answer_files answer_rows",
    "labels.extraction": "extraction extraction_words",
    "labels.npz": "npz npz_rows",
    "labels.scoring": "confusion_files",
    "labels.sentiment": "sentiment",
    "labels.submission": "extraction_files submissions",
    "labels.wheels": "wheels",
    "model.batch": "order rows",
    "model.model": "built model",
    "model.packing": "assemble",
    "model.sizes": "meta",
    "plan.forecast": "forecast",
    "plan.graph": "demands recipe_views wiring",
    "plan.metrics": "wanted",
    "plan.plan": "plan stages",
    "plan.check": "leaving_out plan",
    "plan.references": "references",
    "plan.stages": "stages",
    "plan.summary": "sources summary",
    "plan.survey": "surveys",
    "plan.use": "slots uses",
    "plan.slots": "layouts slots",
    "recipe.interpolate": "interpolation",
    "recipe.merge": "merging",
    "recipe.marked_yaml": "marked_yaml merging",
    "recipe.overrides": "overrides",
    "recipe.recipe": "recipe",
    "recipe.load": "recipe",
    "recipe.sections": "sections",
    "recipe.settings": "settings yaml_words",
    "recipe.views": "looks",
    "report.bias": "bias_pages bias_set_pages",
    "report.compare": "comparison",
    "report.page": "pages",
    "report.pictures": "pictures",
    "report.results": "results",
    "report.run": "outcome profile_pages report sensitivity warned",
    "evaluation.sensitivity": "sensitivity",
    "report.render": "pages pages_html report",
    "report.suite": "suite_pages",
    "report.terminal": "terminal",
    "studies.cells": "cross_bias cross_cells",
    "studies.cross": "cross_pages crossing label_names",
    "studies.cross_run": "cross_run",
    "studies.folds": "folds",
    "studies.suite": "suites",
    "studies.suite_checkpoints": "checkpoints",
    "studies.suite_figures": "suite_ask suite_figures",
    "studies.matrix": "crossing suite_figures",
    "studies.suite_run": "suite_ask suite_bias suite_run",
    "studies.sweep": "sweeps",
    "studies.sweep_page": "sweep_figures sweep_pages sweep_plan",
    "studies.sweep_run": "devices stage_keys sweep_jobs sweep_run sweep_share",
    "testing.backbone": "testing_backbone",
    "testing.bench": "testing_steps",
    "testing.inputs": "testing_inputs",
    "testing.light": "testing_light",
    "testing.media": "testing_media",
    "testing.others": "testing_clients testing_convert",
    "testing.promises": "testing",
    "testing.record": "testing_record",
    "testing.steps": "testing_gradients testing_priors testing_steps",
    "testing.text": "testing_text",
    "train.checkpoint": "keeper",
    "train.loop": "curves train",
    "train.profile": "profiling",
    "train.run_folder": "loading runs",
    "api": "fitting loading",
    "train.stage": "stage_training",
    "train.start": "starting",
    "train.trainer": "bars trainers",
    "weights": "hub sources",
}
"""Module to the former modules whose names it holds now. Where several hold those of one, the first that has a name is right."""
MOVED: dict[str, tuple[str, ...]] = {}
"""Former module to the modules that hold its names now."""
for _module, _former in FORMER.items():
    for _name in _former.split():
        MOVED[_name] = (*MOVED.get(_name, ()), _module)
NEW_NAMES: dict[str, dict[str, str]] = {
    "access": {"granted": "access_for"},
    "answer": {"Answering": "AnswerModule", "Question": "AnswerOptions", "judge": "judge_formerly"},
    "answer_rows": {"Row": "AnswerRow"},
    "asking": {"Asked": "Predictor", "tell": "print_answers"},
    "bias": {"Known": "People", "answered_of": "labelled", "known": "known_people"},
    "bias_ask": {"Trial": "BiasProbe"},
    "bias_draws": {"Drawn": "GroupDraws"},
    "bias_sets": {"OfSet": "SetAnswers"},
    "built": {"check_told": "check_methods", "told_at": "place_errors"},
    "cache": {"Entry": "CacheEntry"},
    "checkpoints": {"Weights": "CheckpointedRun"},
    "clients": {"Asker": "CachedClient"},
    "convert": {"shown": "shown_name"},
    "cross_cells": {"Hangs": "Fingerprint", "Kept": "CellStore"},
    "cross_pages": {"tell": "print_matrix", "write": "write_matrix"},
    "crossing": {"Column": "MatrixColumn", "Shared": "SharedLabels", "opened": "open_columns"},
    "data_check": {"looked_at": "used_views"},
    "data_duplicates": {"Found": "Duplicate", "Opened": "Split"},
    "decoded": {"Decoded": "DecodedMedia"},
    "demands": {"Demand": "CachePlan", "asked_of": "question_steps", "demand_of": "cache_plan_of"},
    "estimates": {"Estimates": "FactRows"},
    "evaluation": {"asker": "predictor_for", "tell_untaught": "print_untaught"},
    "extraction": {
        "How": "ReadMethod",
        "Read": "LabelReading",
        "Reader": "LabelReader",
        "listed": "parse_list",
        "sentence_told": "summary_sentence",
    },
    "extraction_files": {"told": "extraction_summary"},
    "features": {"Written": "FeatureExport"},
    "forecast": {"Kept": "CacheForecast"},
    "label_names": {"mapped": "map_labels"},
    "loading": {
        "Loaded": "LoadedRun",
        "evaluated": "evaluated_run",
        "started": "starting_run",
        "tell_weights": "print_weights",
    },
    "looks": {"View": "ViewSettings"},
    "merging": {"Marked": "MarkedValues"},
    "model": {"under": "with_plan"},
    "noticed": {
        "Noticed": "Notices",
        "face": "face_notices",
        "people": "people_notices",
        "sound": "sound_notices",
        "told": "merge_notices",
    },
    "npz_rows": {"Row": "NpzRow"},
    "outcome": {"tell_outcome": "print_outcome"},
    "pages": {
        "Block": "PageBlock",
        "Side": "SideBySide",
        "Words": "Paragraph",
        "counted": "count_text",
        "spoken": "spoken_name",
    },
    "perceive": {"prepared": "prepare_view"},
    "protocols": {
        "Answer": "SplitPredictor",
        "Wanted": "BuiltMetric",
        "compared": "with_reference",
        "settled": "finalise",
    },
    "recipe": {"shipped": "shipped_recipes"},
    "references": {"Names": "Addresses"},
    "resampling": {"Sound": "SoundTrack"},
    "results": {"Results": "RunFiles"},
    "rows": {"Asking": "Prompter"},
    "score": {"noted": "note_counts"},
    "sensitivity": {"Trial": "SensitivityProbe", "Variant": "SensitivityVariant"},
    "starting": {"take_over": "load_initial_weights", "tell_origin": "set_origin"},
    "submissions": {"chosen": "submission_set"},
    "suite_ask": {"Answered": "CheckpointAnswers", "Job": "SuiteJob"},
    "suite_pages": {"tell": "print_suite"},
    "suites": {"Entry": "SuiteSet", "Published": "PublishedFigures", "parted": "split_overrides"},
    "summary": {"escaped": "escape_references"},
    "sweep_jobs": {"Job": "SweepJob"},
    "sweep_pages": {"tell": "print_comparison"},
    "sweep_plan": {"tell_planned": "print_planned", "trained": "stages_to_train"},
    "sweep_share": {"take_over": "adopt_stages"},
    "sweeps": {"Variant": "SweepVariant"},
    "testing_backbone": {"Bench": "BackboneBench"},
    "testing_clients": {"Built": "BuiltClient"},
    "testing_steps": {"Bench": "StepBench"},
    "train": {"Keeper": "CheckpointWriter"},
    "views": {"Looked": "LoadedViews"},
    "wanted": {"Asked": "Query", "asked_by": "query_of", "held_against": "references", "read_from": "columns_of"},
    "warned": {"warned": "shared_warnings"},
    "wheels": {"Wanted": "FormsChoice", "imported": "imported_tables"},
}
RENAMED = {f"{module}.{old}": new for module, names in NEW_NAMES.items() for old, new in names.items()}
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


class Called(ModuleType):
    """A module that bears the name of a function which its room, a module then, had: `from affectkit.plan import check`."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        own = self.__name__.rpartition(".")[2]
        what = (
            f"{self.__name__} is a module now, and the function {self.__name__}.{own}; calling it goes with version 0.3"
        )
        warnings.warn(what, DeprecationWarning, stacklevel=2)
        return vars(self)[own](*given, **named)


CALLED = ("affectkit.plan.check",)


class MovedLoader(Loader):
    """Makes the old module; a room is loaded by its own loader first."""

    def __init__(self, room: Loader | None, kind: type[ModuleType] = Moved) -> None:
        self.room, self.kind = room, kind

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None if self.room else Moved(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if self.room:
            self.room.exec_module(module)
            module.__class__ = self.kind


class OldNames(MetaPathFinder):
    """Finds a module by its former name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        called = name in CALLED
        if not called and (name.removeprefix("affectkit.") not in MOVED or not name.startswith("affectkit.")):
            return None
        room = PathFinder.find_spec(name, path, target)
        if room is None:
            return ModuleSpec(name, MovedLoader(None))
        room.loader = MovedLoader(room.loader, Called if called else Moved)
        return room


def install() -> None:
    """Let the import statement find the old names; done once."""
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldNames())
