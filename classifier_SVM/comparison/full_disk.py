"""Forecasts of a flare anywhere on the disk, scored day by day: official ones beside ours, climatology and persistence.

Ours begins with P = 1 - (1 - p0) prod(1 - p) over the regions that have an image in the hours before the issue; p0, the
rate of flares near the limb and without a region, is fitted by likelihood. A logistic regression on the logit of P and
the X-ray flux of all flares of the Sun, each flare fading with its age, makes the probability. Both are fitted on days
of training and validation images, which all lie before the days that are scored. The predictors were chosen on days
before 2014, by cross-validation and by forecasts of 2013 from the years before.

References
----------
Murray et al. 2017, Space Weather 15, 577 (full-disk probabilities); Crown 2012, Space Weather 10, S06006 (SWPC).
"""

import re
import textwrap
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logit

from classifier_SVM.comparison import forecasts as tables
from classifier_SVM.comparison.forecasts import Forecast, with_intervals
from general_code.evaluation.report import COLOURS, GREY, new_figure, save_figure
from general_code.evaluation.scores import BRIER_TERMS, brier_scores, format_score, reliability_curve, score_forecast
from general_code.images.label_file import FlareTarget
from general_code.noaa.flares import FLARE_CLASS, EventList, peak_flux
from general_code.stage.files import UserError, counted, read_lines
from general_code.stage.run import StageRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUR = np.timedelta64(3600, "s")
LATEST_ISSUE = 3 * HOUR  # after 00:00, for a forecast of the day
OLDEST_IMAGE = 4 * HOUR  # before the issue, for a region that counts as on the disk
FADING_H = (6, 24, 96)  # times in which a flare's share of the Sun's flux falls to 1/e
LOOK_BACK = FADING_H[-1] * HOUR  # that the event reports have to cover
PENALTY = 0.1  # C of the logistic regression
FEWEST_DAYS, FEWEST_FLARING = 100, 10  # to fit
BLOCK_DAYS, FEWEST_BLOCKS = 27, 10  # a rotation, whose days are drawn together; fewer blocks have no interval
RARE = 0.1  # share of days with a flare below which the interval of BSS is too narrow (tests/benchmarks/disk_coverage)
P0_RANGE = (1e-4, 0.5)
CLIMATOLOGY = "climatology"
COMPILED_SIZES = ("M1.0", "X1.0")  # halves of a line of the compiled text
USUAL_WINDOW_H = 24.0  # of the compiled text
COLUMNS = ("issue_time", "window_hours", "flare_size", "probability")
SCORES = ("BSS", "AUC", "Brier", "TSS")
OWN_RATE = "BSS_of_these_days"
DISK_COLUMNS = ("flare_size", "window_hours", "forecast", "against", "days", "flaring_days", "first_day", "last_day",
                CLIMATOLOGY, *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")), *BRIER_TERMS,
                OWN_RATE)
NOTES = f"""\
Forecasts of a flare anywhere on the disk, on the days that all of them have:

- Of each day the first forecast issued from 00:00 to {LATEST_ISSUE / HOUR:02g}:00 UT counts.
- The truth is a flare that peaks within the window from 00:00 UT on, in a known region or not.
- Ours knows what was public at 00:00 UT, but in NOAA's edited reports: flares got their regions with hindsight.
- A region without images, as near the limb, has no forecast; the fit allows for its flares.
- BSS is the skill over climatology, the rate of the training and validation days; in the last column, over the rate of
  the days compared. TSS: a flare is forecast where the probability is above climatology.
- In brackets: 95 % interval of a bootstrap over blocks of {BLOCK_DAYS} days, paired for differences; none for BSS where
  less than {100 * RARE:g} % of the days have a flare, as it would be too narrow.
"""
_EXPECTED = (f"expected a CSV with the columns {', '.join(COLUMNS)}, or lines of year month day hour minute and "
             "percentages separated by blanks, as many for M1.0 as for X1.0")


# ---- official forecasts


class DiskForecast(NamedTuple):
    """An official forecast: its name, and by time of issue a row a size and window, `COLUMNS`, sizes in W/m2."""

    name: str
    rows: pd.DataFrame
    unit: str  # how its probabilities were read


def read_disk_forecast(setting: str) -> DiskForecast:
    """Read the file that an entry of the setting `disk_forecasts` names.

    Parameters
    ----------
    setting : str
        `NAME=PATH`: a CSV with the columns `COLUMNS` (ISO times, UTC), or the compiled text, a line an issue: year
        month day hour minute, then the percentages of a flare >= M1.0 in the first, second, ... 24 h, then those of
        >= X1.0, of which the first of each half is used. A CSV whose probabilities exceed 1 is in percent.

    Returns
    -------
    DiskForecast
        Of two forecasts for one time, size and window the first in the file. UserError for an entry of another form, a
        file of neither form, and a value that is none, with its line.
    """
    name, file = tables.named_file(setting, "disk_forecasts", "'SWPC=SWPC_fcast.txt'")
    lines = read_lines(file)
    if lines and not re.search("[a-z]", lines[0][1], re.IGNORECASE):
        rows, unit = _read_compiled(file, lines), "percent"
    else:
        rows, unit = _read_csv(file, lines)
    first = rows.drop_duplicates(list(COLUMNS[:3]))
    if len(first) < len(rows):
        unit += f"; {len(rows) - len(first):,} that repeat a time, size and window are not used"
    return DiskForecast(name, first.sort_values("issue_time", kind="stable", ignore_index=True), unit)


def _read_csv(file: Path, lines: list[tuple[int, str]]) -> tuple[pd.DataFrame, str]:
    """Return the rows of a CSV, and how its probabilities were read."""
    table, separator = tables.read_table(file, lines, COLUMNS, _EXPECTED)
    table = table[list(COLUMNS)].apply(lambda column: column.str.strip())
    texts = table[["window_hours", "probability"]]
    numbers = texts.replace(",", ".", regex=True) if separator == ";" else texts
    rows = table.assign(
        issue_time=pd.to_datetime(table["issue_time"], errors="coerce", format="ISO8601", utc=True).dt.tz_convert(None),
        flare_size=[peak_flux(text) if re.fullmatch(FLARE_CLASS, text.upper()) else np.nan
                    for text in table["flare_size"]], **numbers.apply(pd.to_numeric, errors="coerce"))
    given = rows["probability"]
    percent = bool((given > 1).any())
    # parts beside percentages, or what may be 1 % as well as certain
    wrong = (given > 0) & (given < 1) if percent else (given == 1) & given.isin((0, 1)).all()
    rows["probability"] = (given / (100 if percent else 1)).where(lambda p: p.between(0, 1) & ~wrong)
    tables.refuse_unusable(file, table, rows.isna(), "times like 2014-01-01T00:30, hours, sizes like M1.0, and "
                           "probabilities that are all parts of 1, like 0.25, or all percentages of 1 or more, like 25")
    return rows, "percent, as some exceed 1" if percent else "0 to 1"


def _read_compiled(file: Path, lines: list[tuple[int, str]]) -> pd.DataFrame:
    """Return the forecasts of the first day in a compiled text."""
    rows, width = [], len(lines[0][1].split())
    for number, line in lines:
        fields = line.split()
        try:
            issued, percent = pd.Timestamp(*map(int, fields[:5])), [float(text) for text in fields[5:]]
            if len(fields) != width or not percent or len(percent) % 2 or not all(0 <= p <= 100 for p in percent):
                raise ValueError
        except (ValueError, TypeError):
            raise UserError(f"{file}, line {number}: '{line[:60]}' cannot be used; {_EXPECTED}, in all lines alike"
                            ) from None
        halves = percent[0], percent[len(percent) // 2]
        rows += [(issued, USUAL_WINDOW_H, peak_flux(size), p / 100)
                 for size, p in zip(COMPILED_SIZES, halves, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_the_day(forecast: DiskForecast, target: FlareTarget) -> pd.Series:
    """Return the probabilities by day, each of the first issue from 00:00 UT to `LATEST_ISSUE`."""
    rows = forecast.rows
    day = rows["issue_time"].dt.floor("D")
    wanted = ((rows["flare_size"] == peak_flux(target.size)) & (rows["window_hours"] == target.window_hours)
              & (rows["issue_time"] - day <= pd.Timedelta(LATEST_ISSUE)))
    return rows.assign(day=day)[wanted].drop_duplicates("day").set_index("day")["probability"]


# ---- our forecast of the disk


class SolarFlares(NamedTuple):
    """The flares of the whole Sun by time of maximum; when each became public, and its peak flux, in any order."""

    events: EventList
    public: np.ndarray
    peak_flux: np.ndarray


def known_days(images: pd.DataFrame, last_day: pd.Timestamp, target: FlareTarget, events: EventList) -> pd.DataFrame:
    """Return what happened from the first image to the last day, by day (index), as bool columns.

    `truth`, a flare in the window; `recent`, one in as many hours before; `covered`, the reports hold the window and
    the past that the predictors look at; `fitted`, covered, and within the time of the training and validation images,
    window included; `later`, after it.
    """
    window = pd.Timedelta(target.window_hours, "h")
    learned = images["time"][images["split"].isin(["training", "validation"])]
    days = pd.date_range(images["time"].min().floor("D"), max(last_day, images["time"].max().floor("D")))
    strong = pd.DatetimeIndex(events.time[events.peak_flux >= peak_flux(target.size)]).sort_values()
    after, end, before = (strong.searchsorted(days + shift, side) for shift, side in
                          ((0 * window, "right"), (window, "left"), (-window, "right")))
    covered = events.covers((days - LOOK_BACK).to_numpy(), (days + window - pd.Timedelta(1, "s")).to_numpy())
    return pd.DataFrame({"truth": end > after, "recent": after > before, "covered": covered,
                         "fitted": covered & (days >= learned.min()) & (days + window <= learned.max()),
                         "later": ~(days <= learned.max())}, index=days)


def quiet_of_regions(images: pd.DataFrame, forecast: Forecast, days: pd.DatetimeIndex,
                     latency_minutes: float) -> np.ndarray:
    """Return the logarithm of the chance that no region flares: the sum of ln(1 - p), p of its last image before 00:00.

    0 without a region; p = 1 is taken as 1 - 1e-9. NaN where the last image of a region has no forecast, or is older
    than `OLDEST_IMAGE` though later ones follow, and after all images; a region without an image in the past 24 h is
    not on the disk. An image counts from the begin of its window on, `latency_minutes` after it.
    """
    rows = pd.DataFrame({"region": images["region"], "ready": images["time"] + pd.Timedelta(latency_minutes, "min"),
                         "p": forecast.rows["probability"].reindex(images.index)})
    rows["day"] = rows["ready"].dt.ceil("D")
    rows["last"] = rows.groupby("region")["ready"].transform("max")
    rows = rows.sort_values("ready").drop_duplicates(["region", "day"], keep="last")
    recent = rows["day"] - rows["ready"] <= OLDEST_IMAGE
    rows["p"] = rows["p"].where(recent)
    rows = rows[recent | (rows["last"] >= rows["day"])]  # the others have left the disk
    by_day = np.log1p(-rows["p"].clip(upper=1 - 1e-9)).groupby(rows["day"])
    quiet = by_day.sum().where(by_day.count() == by_day.size()).reindex(days, fill_value=0.0)
    return quiet.where(days <= rows["day"].max()).to_numpy()


def solar_activity(days: pd.DatetimeIndex, flares: SolarFlares) -> np.ndarray:
    """Return what the flares of the whole Sun tell at 00:00, float64, shape (n, len(FADING_H) + 1).

    ln(1 + sum of F exp(-age / tau)) over those known by then, for the times tau of `FADING_H`, F in units of C1.0; for
    the longest also with the number of flares below C1.0, which a bright background hides, in place of F.
    """
    order = np.argsort(flares.public, kind="stable")
    public, flux = flares.public[order].astype("datetime64[s]"), flares.peak_flux[order] / peak_flux("C1.0")
    columns = np.zeros((len(days), len(FADING_H) + 1))
    for row, time in enumerate(days.to_numpy("datetime64[s]")):
        oldest, end = np.searchsorted(public, [time - 10 * LOOK_BACK, time], "right")  # exp(-10): nothing is left
        age = (time - public[oldest:end]) / HOUR
        sums = [flux[oldest:end] @ np.exp(-age / tau) for tau in FADING_H]
        columns[row] = np.log1p([*sums, (flux[oldest:end] < 1) @ np.exp(-age / FADING_H[-1])])
    return columns


def disk_probability(quiet: np.ndarray, sun: np.ndarray, truth: np.ndarray,
                     fitted: np.ndarray) -> tuple[np.ndarray, str]:
    """Fit on some days (bool), and return the probability of all, NaN where `quiet` is, and what was fitted.

    `quiet` and `sun` are as `quiet_of_regions` and `solar_activity` return them. UserError where the days are too few.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.isfinite(quiet)
    used = fitted & known
    if used.sum() < FEWEST_DAYS or not FEWEST_FLARING <= truth[used].sum() <= used.sum() - FEWEST_FLARING:
        raise UserError(f"expected {FEWEST_DAYS} days of training and validation with a forecast of every region in "
                        f"the {OLDEST_IMAGE / HOUR:g} h before 00:00 UT, {FEWEST_FLARING} of them with and "
                        f"{FEWEST_FLARING} without a flare, got {used.sum():,}, {truth[used].sum():,} with a flare")

    def cost(p0: float) -> float:
        silent = np.log1p(-p0) + quiet[used]
        return -np.where(truth[used], np.log(-np.expm1(silent)), silent).sum()

    p0 = float(minimize_scalar(cost, bounds=P0_RANGE, method="bounded").x)
    of_regions = logit(np.clip(-np.expm1(np.log1p(-p0) + quiet), None, 1 - 1e-9))
    columns = np.column_stack([of_regions, sun])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY)).fit(columns[used], truth[used])
    probability = np.full(len(quiet), np.nan)
    probability[known] = model.predict_proba(columns[known])[:, 1]
    of_regions, *of_flux, of_small = (f"{weight:+.2f}" for weight in model[-1].coef_[0])
    fading = ", ".join(f"{tau} h {weight}" for tau, weight in zip(FADING_H, of_flux, strict=True))
    return probability, (f"fitted on {used.sum():,} days\n  chance of a flare from the rest of the disk: {p0:.3f} a "
                         f"window\n  weights, of a standard deviation each: regions {of_regions}; flux of the Sun's "
                         f"flares, fading in {fading}; flares below C1.0 {of_small}")


# ---- the comparison


class DiskComparison(NamedTuple):
    """The lines of the table, then those of differences; of each size truth and probabilities by day."""

    rows: list[dict]
    differences: list[dict]
    drawn: dict[str, pd.DataFrame]

    def write(self, scores: Path, figure: Path) -> str:
        """Write the table (CSV) and the figure of the first size; return the tables of all sizes in Markdown."""
        tables.write_table(scores, self.rows + self.differences, DISK_COLUMNS)
        save_figure(disk_figure(self), figure)
        lines, columns = [NOTES], {name: name for name in (*SCORES, *BRIER_TERMS[:2])} | {"BSS of these days": OWN_RATE}
        for size in self.drawn:
            rows, pairs = ([row for row in part if row["flare_size"] == size] for part in self[:2])
            first = rows[0]
            title = (f"**>= {size} on the whole disk, {first['window_hours']:g} h from 00:00 UT** "
                     f"{counted(first['days'], 'days')} from {first['first_day']} to {first['last_day']}, "
                     f"{first['flaring_days']:,} with a flare; climatology {format_score(first[CLIMATOLOGY])}")
            lines += tables.score_tables(title, rows, pairs, SCORES, columns)
        return "\n".join(lines) + "\n"


def compare_disk(images: pd.DataFrame, forecasts: Sequence[Forecast], official: Sequence[DiskForecast],
                 targets: Sequence[FlareTarget], flares: SolarFlares, *, run: StageRun, draws: int,
                 seed: int = 0) -> DiskComparison:
    """Score the forecasts of flares of each size on the days that all of them have.

    Parameters
    ----------
    images, forecasts, official : pandas.DataFrame, sequence of Forecast, sequence of DiskForecast
        By image: `region`, `time`, `split`, of all images of the label file, `split` "" in no list; prediction files;
        official forecasts. Each counts for its own size, an official one also for its own window.
    targets, flares, run : sequence of FlareTarget, SolarFlares, StageRun
        What counts; the flares of the Sun; reports what is fitted, and excludes the days that cannot be scored.
    draws, seed : int
        Bootstrap samples over blocks of `BLOCK_DAYS`, and their seed.

    Returns
    -------
    DiskComparison
        Of the sizes of which there are official forecasts. UserError when there are none, or no day can be scored.
    """
    found = DiskComparison([], [], {})
    for target in targets:
        given = {one.name: _of_the_day(one, target) for one in official}
        lacking = [name for name in given if given[name].empty]
        if lacking:
            run.report(f"Without a forecast of flares >= {target.size} over {target.window_hours:g} h, issued from "
                       f"00:00 to 03:00 UT: {', '.join(lacking)}")
        given = {name: one for name, one in given.items() if len(one)}
        if given:
            own = [one for one in forecasts if one.flare_size == target.size]
            table = _forecasts_by_day(images, own, given, target=target, flares=flares, run=run)
            rows, pairs = _table_rows(table, target, draws, seed)
            found.rows.extend(rows)
            found.differences.extend(pairs)
            found.drawn[target.size] = table
    if not found.rows:
        sizes = " or ".join(one.size for one in targets)
        raise UserError(f"disk_forecasts: expected forecasts of flares >= {sizes} over {targets[0].window_hours:g} h, "
                        "issued from 00:00 to 03:00 UT, found none; set flare_sizes")
    return found


def _forecasts_by_day(images: pd.DataFrame, forecasts: Sequence[Forecast], official: dict[str, pd.Series],
                      target: FlareTarget, flares: SolarFlares, run: StageRun) -> pd.DataFrame:
    """Return the probabilities of all forecasts on the days that can be scored, and last the truth (0/1)."""
    days = known_days(images, max(one.index.max() for one in official.values()), target, flares.events)
    truth, fitted = days["truth"].to_numpy(), days["fitted"].to_numpy()
    if not fitted.any():
        raise UserError("disk_forecasts: no day of the training and validation images has event reports; climatology "
                        "needs some, before the days to compare; set events_dir")
    table = pd.DataFrame({CLIMATOLOGY: truth[fitted].mean(),
                          f"persistence {target.window_hours:g} h": days["recent"] * 1.0} | official, index=days.index)
    sun = solar_activity(days.index, flares)
    for forecast in forecasts:
        quiet = quiet_of_regions(images, forecast, days.index, target.latency_minutes)
        try:
            table[forecast.name], text = disk_probability(quiet, sun, truth, fitted)
            run.report(f"{forecast.name}, >= {target.size} on the whole disk: {text}")
        except UserError as error:
            run.report(f"ATTENTION: {forecast.name} is not in the table of flares >= {target.size} on the whole disk: "
                       f"{error}")
    return table.assign(truth=truth.astype(int))[_scored_days(table, days, list(official), target.size, run)]


def _scored_days(table: pd.DataFrame, days: pd.DataFrame, official: list[str], size: str, run: StageRun) -> np.ndarray:
    """Return which days have all forecasts and a truth, and exclude the others; UserError when none has."""
    issued = table[official].notna()
    reason = np.select([~issued.any(axis=1), ~issued.all(axis=1), ~days["later"], ~days["covered"],
                        table.isna().any(axis=1)],
                       ["no issue", "day without all official forecasts",
                        "day not after the training and validation images",
                        "day without event reports before it and in the window",
                        "day without a forecast of every region"], "")
    found = {name: table.index[reason == name] for name in pd.unique(reason) if name not in ("", "no issue")}
    for name, skipped in found.items():
        run.exclude(f"whole disk, {size}", name, f"{counted(len(skipped), 'days')}, {skipped[0]:%Y-%m-%d} to "
                    f"{skipped[-1]:%Y-%m-%d}", "spans of days")
    if not (reason == "").any():
        got = "; ".join(f"{len(skipped):,}: {name}" for name, skipped in found.items()) or "no day with an issue"
        raise UserError(f"disk_forecasts: no day from {table.index[0]:%Y-%m-%d} to {table.index[-1]:%Y-%m-%d} can be "
                        f"compared at {size} ({got}); expected common dates after the training and validation images "
                        "(split by time: AR_Classifier_weighted.py --validation-start --test-start, then --split-dir "
                        "here), and their reports in events_dir")
    run.count(f"days compared, whole disk, {size}", int((reason == "").sum()))
    return reason == ""


def _table_rows(table: pd.DataFrame, target: FlareTarget, draws: int, seed: int) -> tuple[list[dict], list[dict]]:
    """Return the scores of the columns of a table, and their differences; the same blocks are drawn for all."""
    truth, table = table["truth"].to_numpy(), table.drop(columns="truth")
    blocks = (table.index - table.index[0]).days.to_numpy() // BLOCK_DAYS
    climatology = table[CLIMATOLOGY].iloc[0]
    found = {name: score_forecast(truth, blocks, probability > climatology, probability, climatology=climatology,
                                  draws=draws, seed=seed, fewest=FEWEST_BLOCKS) for name, probability in table.items()}
    first, last = table.index[[0, -1]].strftime("%Y-%m-%d")
    columns = {"flare_size": target.size, "window_hours": target.window_hours, "days": len(table),
               "flaring_days": int(truth.sum()), "first_day": first, "last_day": last, CLIMATOLOGY: climatology}
    columns |= dict.fromkeys((*BRIER_TERMS, OWN_RATE))  # which differences do not have
    rows = [columns | {"forecast": name, "against": None} | with_intervals(one, SCORES)
            | {term: one.scores[term] for term in BRIER_TERMS}
            | {OWN_RATE: brier_scores(truth, table[name], truth.mean())["BSS"]} for name, one in found.items()]
    if truth.mean() < RARE:
        rows = [row | {"BSS_low": np.nan, "BSS_high": np.nan} for row in rows]
    return rows, [columns | {"forecast": name, "against": against}
                  | with_intervals(found[name], SCORES, found[against])
                  for against, name in combinations(list(table)[2:], 2)]


def disk_figure(comparison: DiskComparison) -> "Figure":
    """Draw Brier skill with intervals, and observed frequency against probability, of the first size."""
    size, table = next(iter(comparison.drawn.items()))
    rows = [row for row in comparison.rows if row["flare_size"] == size][1:]
    figure = new_figure(8.3, 2.4 + 0.5 * max(4, len(rows)))
    left, right = figure.subplots(1, 2)
    tables.plot_rows(left, rows, 20)
    left.set_xlabel(f"score (bar: 95 % interval, blocks of {BLOCK_DAYS} days)")
    for place, name in enumerate(list(table)[2:-1], 2):  # persistence is 0 or 1
        curve = reliability_curve(table["truth"], table[name]).dropna()
        right.plot(curve["probability"], curve["frequency"], "o-", color=COLOURS[place % len(COLOURS)],
                   label=textwrap.fill(name, 20))
    right.plot([0, 1], [0, 1], ":", color=GREY, label="perfectly reliable")
    right.set(xlabel="forecast probability", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    right.legend(frameon=False, loc="upper left", fontsize="small")
    figure.suptitle(f"A flare >= {size} anywhere on the disk in {rows[0]['window_hours']:g} h: "
                    f"{counted(rows[0]['days'], 'days')}, {rows[0]['first_day']} to {rows[0]['last_day']}")
    return figure
