"""The composed graph in the terminal: steps with shapes, parameters, tokens, memory."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from affectkit.heads import HEADS
from affectkit.model.model import Model
from affectkit.model.sizes import Sizes, build_on_meta, memory, sizes
from affectkit.plan.check import matching
from affectkit.plan.forecast import COLUMNS, forecast, forecast_rows
from affectkit.plan.plan import Plan
from affectkit.plan.summary import aim_text, shape_text, slot_tokens, trained_text
from affectkit.report.terminal import table


def show_graph(plan: Plan) -> None:
    """Print everything that `affectkit show` says of a recipe."""
    model, plan = build_on_meta(plan)
    found = sizes(model)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(_tree(plan, found))
    _stages(plan, model, found)
    kept = forecast(plan)
    if kept:
        table("the feature cache will hold about", COLUMNS, forecast_rows(kept))
    if plan.alone:
        return
    counts = [(s, slot_tokens(plan, s)) for s in plan.slots]
    known = sum(n or 0 for _, n in counts)
    text = ", ".join(f"{s} {'?' if n is None else n}" for s, n in counts)
    console.print(f"tokens a sample: at most {known} from streams ({text}), and the words of the prompt")


def show_stage(plan: Plan, name: str) -> None:
    """Print what `affectkit show --stage` says: each address that trains in a stage, at which rate, and what rests."""
    model, plan = build_on_meta(plan)
    found = sizes(model)
    stage = plan.stages[name]
    s = stage.settings
    rows = []
    for address, count in found.parameters.items():
        rate = next((r for p, r in reversed(s.lrs.items()) if matching(p, [address])), s.lr)
        trains = found.trainable[name].get(address)
        used = address in plan.needed(stage) or (plan.asks(stage) and address.startswith("backbone."))
        said = f"trains at {rate:g}" if trains else "frozen"
        rows.append([address, number(count), said if used else f"{said}, not used in this stage"])
    total = sum(found.trainable[name].values())
    title = (
        f"stage {name}: {aim_text(stage)}; {number(total)} of {number(sum(found.parameters.values()))} parameters train"
    )
    table(title, ["address", "parameters", "in this stage"], rows)
    length = f"{s.epochs} epochs" if s.max_steps is None else f"{s.epochs} epochs, at most {s.max_steps} steps"
    needs = sum(memory(model, name).values())
    print(
        f"{stage.data.piece.name}: {length} of batches of {s.batch} x {s.accumulate}; memory about {needs / 1e9:.2f} GB"
    )


def _tree(plan: Plan, found: Sizes) -> Tree:
    root = Tree(f"[bold]{escape(plan.name)}[/bold]  {escape(plan.recipe.get('about') or '')}")
    views = root.add("[bold]views[/bold]")
    for name, view in plan.graph.views.items():
        views.add(f"{name}: {view.use}, {shape_text(view.shape)}")
    for stream in dict.fromkeys(a.split(".")[0] for a in plan.graph.steps):
        branch = root.add(f"[bold]{stream}[/bold]" + (" -> prompt" if stream in plan.slots else ""))
        for address, step in plan.graph.steps.items():
            if step.stream != stream:
                continue
            eats = ", ".join(f"{p}={r}" for p, r in step.inputs.items())
            count = found.parameters.get(address, 0)
            leaf = branch.add(
                f"{address.split('.')[1]}: {step.piece.kind} [cyan]{step.piece.name}[/cyan]({eats})  {number(count)} parameters"
                + (f", answers {plan.heads[step.name]}" if stream == HEADS else "")
            )
            for block, shape in step.shapes.items():
                leaf.add(f"{block}  {shape_text(shape)}")
    if plan.alone:
        root.add("no language model: the heads answer alone")
        return root
    parts = root.add("[bold]prompt[/bold]")
    for name, use in plan.parts.items():
        parts.add(f"{name}: {use.piece.name}")
    llm = root.add("[bold]backbone[/bold]")
    for address in ("backbone.model", "backbone.lora"):
        if found.parameters.get(address):
            name = plan.backbone.piece.name if plan.backbone else ""
            llm.add(f"{address}: {name}, {plan.width} wide, {number(found.parameters[address])} parameters")
    return root


def _stages(plan: Plan, model: Model, found: Sizes) -> None:
    rows = []
    for name, stage in plan.stages.items():
        trains = sum(found.trainable[name].values())
        needs = memory(model, name)
        rows.append(
            [
                name,
                aim_text(stage),
                trained_text(stage.trains, found.parameters),
                number(trains),
                f"{sum(needs.values()) / 1e9:.2f} GB",
            ]
        )
    total = sum(found.parameters.values())
    table(
        f"{number(total)} parameters in all",
        ["stage", "trains for", "what trains", "trainable", "memory, about"],
        rows,
    )


def number(count: int) -> str:
    """1,234 as it is; above a million with one letter."""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if count >= size:
            return f"{count / size:.2f} {letter}"
    return f"{count:,}"
