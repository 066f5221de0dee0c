"""The plan command: what a fit would cost, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.cli.options import JsonOption, number_or, parse_path, parse_refine_steps
from longtail.cli.output import check_outputs, log, print_json, result

if TYPE_CHECKING:
    from longtail.costs import CostEstimate, CostPlan, Machine

__all__ = ["plan"]

_MODEL, _MACHINE = "Model and training", "Machine"


def _workers(text: str) -> list[int]:
    """Several whole numbers: "1,4,16"."""
    try:
        return [int(n) for n in str(text).split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers such as 1,4,16; got {text!r}") from None


def _size(text: str | float) -> float:
    """A number that may be written as 1e8 or 100_000_000."""
    try:
        return float(str(text))
    except ValueError:
        raise typer.BadParameter(f"expected a number such as 1e8; got {text!r}") from None


def plan(
    rows: Annotated[Any, typer.Option(parser=_size, metavar="N", help="Rows of the data.")],
    features: Annotated[Any, typer.Option(parser=_size, metavar="V", help="Features.")],
    non_zeros: Annotated[
        Any, typer.Option(parser=_size, metavar="N", help="Features that a row has, on average.")
    ],
    workers: Annotated[
        Any, typer.Option(parser=_workers, metavar="N,…", help="Numbers of workers to plan for.")
    ] = "1",
    streamed: Annotated[
        bool, typer.Option("--streamed", help="Rows are read from disk in each epoch.")
    ] = False,
    choose: Annotated[
        bool,
        typer.Option("--choose", help="Weigh batch sizes and samples of features; take the best."),
    ] = False,
    machine: Annotated[
        str,
        typer.Option(
            help="A worker's constants: laptop, server, gpu, or a file.", rich_help_panel=_MACHINE
        ),
    ] = "laptop",
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure this machine first.", rich_help_panel=_MACHINE),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="Write the machine's constants to this file.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(help="Memory of a worker.", rich_help_panel=_MACHINE)
    ] = None,
    network_gb: Annotated[
        float | None,
        typer.Option(help="Gigabytes a second between workers.", rich_help_panel=_MACHINE),
    ] = None,
    n_components: Annotated[int, typer.Option(rich_help_panel=_MODEL)] = 100,
    likelihood: Annotated[str, typer.Option(rich_help_panel=_MODEL)] = "multinomial",
    n_hidden: Annotated[int, typer.Option(rich_help_panel=_MODEL)] = 400,
    encoder_layers: Annotated[int, typer.Option(rich_help_panel=_MODEL)] = 2,
    decoder_layers: Annotated[int, typer.Option(rich_help_panel=_MODEL)] = 2,
    epochs: Annotated[int, typer.Option(rich_help_panel=_MODEL)] = 60,
    batch_size: Annotated[
        int, typer.Option(help="Over all workers.", rich_help_panel=_MODEL)
    ] = 500,
    refine_steps: Annotated[
        Any,
        typer.Option(parser=parse_refine_steps, metavar="M|auto|EPOCH:M,…", rich_help_panel=_MODEL),
    ] = "auto",
    importance_samples: Annotated[
        Any, typer.Option(parser=number_or("auto"), metavar="S|auto", rich_help_panel=_MODEL)
    ] = "auto",
    refine_features: Annotated[
        Any,
        typer.Option(parser=number_or("auto", "all"), metavar="N|auto|all", rich_help_panel=_MODEL),
    ] = "auto",
    theta_features: Annotated[
        Any,
        typer.Option(parser=number_or("auto", "all"), metavar="N|auto|all", rich_help_panel=_MODEL),
    ] = "all",
    json: JsonOption = False,
) -> None:
    """Estimate time, memory and network of a fit, and name the bottleneck.

    Example: longtail plan --rows 1e6 --features 20000 --non-zeros 50 --workers 1,4 --machine server

    Nothing is fitted. The constants of a machine are nominal, or measured with --calibrate, which
    takes a few seconds.
    """
    parameters = {
        name: value
        for name, value in locals().items()
        if name
        in (
            "n_components", "likelihood", "n_hidden", "encoder_layers", "decoder_layers", "epochs",
            "batch_size", "refine_steps", "importance_samples", "refine_features", "theta_features",
        )
    }  # fmt: skip
    check_outputs([save])
    from longtail.costs import plan_cost

    found = _machine(machine, calibrate, memory_gb, network_gb)
    if save is not None:
        found.save(save)
        log(f"machine: {save}")
    plan = plan_cost(
        rows,
        _whole("features", features),
        non_zeros,
        machine=found,
        workers=workers,
        streamed=streamed,
        choose=choose,
        **parameters,
    )
    if json:
        print_json(plan.to_dict())
    else:
        result(_text(plan))


def _whole(name: str, value: float) -> int:
    if not value.is_integer():  # infinity and NaN are not
        raise typer.BadParameter(f"expected a whole number; got {value:g}", param_hint=name)
    return int(value)


def _machine(
    name: str, measure: bool, memory_gb: float | None, network_gb: float | None
) -> Machine:
    from dataclasses import replace

    from longtail.costs import calibrate, find_machine

    if measure:
        log("measuring this machine: a few seconds")
    found = calibrate() if measure else find_machine(name)
    if memory_gb is not None:
        found = replace(found, memory=memory_gb * 1e9)
    return found if network_gb is None else replace(found, network=network_gb * 1e9)


def _text(plan: CostPlan) -> str:
    load, machine = plan.load, plan.machine
    tables = ", ".join(f"{name} {n / 1e6:,.1f} M" for name, n in load.parameters.items())
    lines = [
        f"{load.rows:,.0f} rows × {load.features:,} features, {load.non_zeros:g} a row; K = "
        f"{load.components}, H = {load.hidden}, batches of {load.batch_size:,}, M = "
        f"{load.refine_steps:.3g} on {load.refine_features:,} features, S = {load.draws:.3g}, θ on "
        f"{load.theta_features:,} features",
        f"parameters: {load.n_parameters / 1e6:,.1f} M ({tables})",
        f"a worker ({machine.name}): {machine.flops / 1e9:,.0f} GFLOP/s, "
        f"{machine.stream / 1e9:,.1f} GB/s in order and {machine.gather / 1e9:,.1f} by rows, "
        f"{machine.memory / 1e9:,.0f} GB, network {machine.network / 1e9:,.2f} GB/s",
    ]
    if plan.choices:
        best = plan.choices[0]
        lines.append(
            f"chosen: batch_size={best.batch_size}, theta_features="
            f"{best.theta_features if best.theta_features < load.features else 'all'}"
            + ("" if best.allowed else " (nothing that was weighed is within all limits)")
        )
    for cost in plan.estimates:
        lines += ["", *_lines(cost)]
    return "\n".join(lines)


def _lines(cost: CostEstimate) -> list[str]:
    load = cost.load
    lines = [
        f"{cost.workers} worker{'s' if cost.workers > 1 else ''}: "
        f"{_time(cost.update_seconds)} an update, {load.updates:,} updates and "
        f"{_time(cost.epoch_seconds)} an epoch, {_time(load.epochs * cost.epoch_seconds)} for "
        f"{load.epochs} epochs; bottleneck: {cost.bottleneck}"
    ]
    for row in cost.frame().iter_rows(named=True):
        if row["share"] >= 0.001:
            lines.append(
                f"  {row['part']:18} {_time(row['seconds']):>10} {row['share']:6.1%}  "
                f"{row['tera_flops']:12,.1f} TFLOP {row['memory_gb']:12,.1f} GB memory "
                f"{row['network_gb']:10,.1f} GB network"
            )
    parts = sorted(cost.memory.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts if size >= 1e7)
    verdict = "fits" if cost.fits else f"does not fit into {cost.machine.memory / 1e9:,.0f} GB"
    lines.append(f"  memory: {cost.peak_bytes / 1e9:.2f} GB a worker, which {verdict} ({shown})")
    if cost.shards is not None:
        s = cost.shards
        lines.append(
            f"  split by features over {s.of} workers ({s.groups} groups; a design, not in the "
            f"library): {s.memory / 1e9:.2f} GB a worker, {s.network / 1e6:,.0f} MB sent an "
            f"update, {_time(s.seconds)} an epoch"
        )
    elif not cost.fits:
        lines.append("  more workers would be needed to split its tables by features")
    return lines


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or (unit == "s" and seconds >= 1):
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds * 1000:,.1f} ms"
