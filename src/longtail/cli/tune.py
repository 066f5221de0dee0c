"""The tune command."""

from __future__ import annotations

import functools
import inspect
import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from longtail.cli.fit import fit, read_rows
from longtail.cli.options import DataArgument, JsonOption, SeedOption, parse_path
from longtail.cli.output import Interrupted, check_outputs, log, print_json, result
from longtail.output_files import write_table

__all__ = ["tune"]


def with_reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `fit` on how to read DATA, as its argument `reading`."""
    of_fit = inspect.signature(fit, eval_str=True).parameters
    panel = _panel(of_fit["format"])
    shared = {name: p for name, p in of_fit.items() if _panel(p) == panel}
    own = inspect.signature(command, eval_str=True).parameters
    parameters = [p for name, p in own.items() if name != "reading"] + list(shared.values())

    @functools.wraps(command)
    def run(**given: Any) -> None:
        reading = {name: given.pop(name) for name in shared}
        command(reading=reading, **given)

    signature = inspect.Signature(
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _panel(parameter: inspect.Parameter) -> str | None:
    options = get_args(parameter.annotation)[1:]
    return next((getattr(option, "rich_help_panel", None) for option in options), None)


def parse_fixed(items: list[str] | None) -> dict[str, Any]:
    """Parameters and values: "epochs=20", "features=binary", "refine_steps=[[0, 6], [20, 2]]"."""
    fixed: dict[str, Any] = {}
    for item in items or []:
        name, equals, text = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, such as epochs=20; got {item!r}")
        try:
            value = json_module.loads(text)
        except json_module.JSONDecodeError:
            value = text  # a word
        fixed[name.replace("-", "_")] = value
    return fixed


@with_reading_options
def tune(
    data: DataArgument,
    out: Annotated[
        Path, typer.Option(parser=parse_path, help="Folder for the study and the best model.")
    ],
    reading: dict[str, Any],
    task: Annotated[
        str,
        typer.Option(
            help="Kind of data: documents, recommendation, plays, codes, cells or network."
        ),
    ] = "documents",
    minutes: Annotated[float | None, typer.Option(help="Time that this search may take.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of the study, in all.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="elbo, completion, ndcg@100, recall@20 …; that of the task if not given."
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix",
            metavar="NAME=VALUE",
            help="A parameter of the model that is not searched; may be repeated.",
        ),
    ] = None,
    valid: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path, help="Validation data; otherwise a tenth of DATA is held out."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(parser=parse_path, help="Write the trials as a figure (.png, .svg, .html)."),
    ] = None,
    seed: SeedOption = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study in the folder.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Search for settings that suit the data, judged on validation rows.

    Example: longtail tune plays.parquet --task recommendation --minutes 30 --out tuned/

    The folder gets the best model (model/), all trials (trials.csv) and the study, which goes on
    with --resume after an interruption, or with more trials or minutes.
    """
    check_outputs([out / "trials.csv"], folder=out, model=out / "model", plot=plot)
    from longtail.displays import save_plot
    from longtail.tuning import tune as search

    fixed = {"counts": reading["counts"], "verbose": 1} | parse_fixed(fix)
    rows, held_out = read_rows(data, valid, reading)
    try:
        found = search(
            rows,
            task=task,
            minutes=minutes,
            trials=trials,
            metric=metric,
            valid=held_out,
            fixed=fixed,
            seed=seed,
            storage=out,
            resume=resume,
            say=log,
        )
    except Interrupted:
        raise Interrupted(
            f"Trials and whole epochs are kept in {out}: repeat the command with --resume."
        ) from None
    write_table(found.frame(), out / "trials.csv")
    if plot is not None:
        log(f"figure: {save_plot(found.plot(), plot)}")
    if json:
        print_json(found.to_dict() | {"out": str(out), "model": str(out / "model"), "seed": seed})
    else:
        result(f"{found}\nmodel: {out / 'model'}\ntrials: {out / 'trials.csv'}")
