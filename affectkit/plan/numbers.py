"""Number formats that cannot be trained in, as far as a recipe says which machine it is for."""

from __future__ import annotations

from affectkit.errors import Problem
from affectkit.plan.plan import Plan


def number_problems(plan: Plan, on_cpu: bool) -> list[Problem]:
    """float16 on a CPU, where sums overflow; and weights in float16 that train, whose small changes vanish."""
    found = []
    if on_cpu and plan.run.precision == "16-mixed":
        what = "float16 (16-mixed) needs a GPU, and this run has none"
        found.append(Problem(plan.recipe.place(("run", "precision")), what, "say 32-true or bf16-mixed"))
    if plan.backbone is None or getattr(plan.backbone.settings, "dtype", "") != "float16":
        return found
    place = plan.recipe.place(("backbone", "dtype"))
    if on_cpu:
        what = "float16 weights need a GPU: on a CPU sums overflow, and losses are no numbers"
        found.append(Problem(place, what, "say float32 or bfloat16"))
        return found
    for name, stage in plan.stages.items():
        if "backbone.model" in stage.trains:
            what = f"stage {name} trains weights in float16, in which small changes vanish"
            found.append(Problem(place, what, "say float32 or bfloat16, or train backbone.lora"))
    return found
