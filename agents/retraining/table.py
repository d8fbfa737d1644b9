"""The history of a champion as people read it."""

from rich.console import Console
from rich.text import Text

from agents.retraining.folder import ChampionFolder
from agents.retraining.record import Record
from agents.run_folder import RunError
from hftgym.tables import number, plus_minus, terminal_table

_HEADS = ("", "entry", "time (UTC)", "period", "what", "J champion", "J challenger", "difference", "z", "gap closed")
_LEGEND = (
    "J: mean per held-out episode, without the price term where that is mere noise; difference: challenger less "
    "champion on equal seeds, ± half the 95 % interval; gap closed: by the entry's own model, from the best constant "
    "quote to the exact optimum."
)


def print_history(folder: ChampionFolder, *, console: Console | None = None) -> int:
    """Print the history as a table, what the champion is, and what is wrong; return 0, or 1 if something is."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    try:
        records = folder.records()
    except RunError as error:
        console.print(Text(f"error: {error}"))
        return 1
    if not records:
        console.print(Text(f"no history in {folder.path} yet"))
        return 0
    champion = records[-1].champion
    rows = [_cells(record, champion) for record in records]
    console.print(terminal_table(_HEADS, rows, gap=2), crop=False)
    console.print(Text(_LEGEND, style="dim"))
    compared = [record for record in records if record.comparison and "level" in record.comparison]
    if compared:
        chance = sum(record.comparison["level"] for record in compared if record.comparison)
        promoted = sum(record.action == "promoted" for record in compared)
        console.print(
            Text(
                f"{len(compared)} comparison{'s' * (len(compared) > 1)}, {promoted} promoted; if no challenger had "
                f"been better, {chance:.2g} would have been, by chance."
            )
        )
    return _print_state(folder, records, console)


def _print_state(folder: ChampionFolder, records: list[Record], console: Console) -> int:
    """Say whether the champion's file is what the history says."""
    last = records[-1]
    try:
        if folder.unsettled(records) is not None:
            console.print(
                Text(f"entry {last.number} is being carried out, or its process ended: the next run finishes")
            )
        elif folder.check_champion(records):
            console.print(Text(f"champion: entry {last.champion}, {folder.champion}, whole"))
        else:
            console.print(Text(f"{folder.champion} is whole, but not entry {last.champion}: the next run takes it in"))
    except RunError as error:
        console.print(Text(f"error: {error}"))
        return 1
    return 0


def _cells(record: Record, champion: int) -> list[str]:
    found = record.comparison or {}
    test, own = found.get("episodes"), found.get("challenger", {})
    gap = own.get("gap_closed")
    return [
        "*" if record.number == champion else "",
        str(record.number),
        record.time[:16].replace("T", " "),
        record.period,
        record.action + (f" to {record.champion}" if record.action == "rolled back" else ""),
        number(found.get("champion", {}).get("j")),
        number(own.get("j")),
        plus_minus(test["difference"], test["low"], test["high"]) if test else "-",
        number(test["z"], 1) if test else "-",
        "-" if gap is None else f"{number(100 * gap, 1)} %",
    ]
