"""Small archives for the tests of the activity features: flares, summaries, and the features of one image."""

from datetime import date

import numpy as np
import pandas as pd

from classifier_SVM.activity_features import activity_features, flares_of_reports
from classifier_SVM.flare_history import Flares
from general_code.noaa_archive import EventArchive
from general_code.noaa_reports import SummaryRow, parse_event_report, parse_region_summary

T = np.datetime64("2014-03-10T12:00", "s")
MINUTE, HOUR = np.timedelta64(60, "s"), np.timedelta64(3600, "s")
EVENT_ROW = "{number:4}       {begin}   {max}      {end}  G15  5   XRA  1-8A      {name:<4}    1.9E-03   {region:<4}"


def flares(*rows):
    """Flares from (hours before T, region, peak flux)."""
    hours, regions, fluxes = zip(*rows, strict=True) if rows else ((), (), ())
    times = T - (np.array(hours, dtype=float) * 3600).astype("timedelta64[s]")
    return Flares(times, np.array(regions, dtype=np.int64), np.array(fluxes, dtype=float))


def summary(day, *rows):
    """Lines of a region summary and its date."""
    lines = ["Joint USAF/NOAA Solar Region Summary", "I.  Regions with Sunspots.  Locations Valid at 10/2400Z",
             "Nmbr Location  Lo  Area  Z   LL   NN Mag Type", *rows, "IA. H-alpha Plages without Spots.", "None",
             "II. Regions Due to Return", "None"]
    return parse_region_summary(lines, day, f"{day:%Y%m%d}SRS.txt")


def table_of(*summaries, issued=None):
    """The table and days of a summary archive; `issued`: the clock of the last summary's issue, on its date."""
    rows = [row for s in summaries for row in s.rows]
    table = pd.DataFrame(rows, columns=SummaryRow._fields).astype({"region": "str", "date": "datetime64[s]"})
    if issued:
        last = summaries[-1].date
        table["issued"] = np.where(table["date"] == np.datetime64(last, "s"), np.datetime64(f"{last}T{issued}", "s"),
                                   np.datetime64("NaT", "s"))
    return table, [s.date for s in summaries]


THREE_DAYS = (
    summary(date(2014, 3, 8), "2001 N10E40   100  0010 Axx  01   02 Alpha",
            "2002 S20W10   150  0100 Hsx  02   01 Alpha"),
    summary(date(2014, 3, 9), "2001 N10E27   100  0110 Dso  05   08 Beta"),
    summary(date(2014, 3, 10), "2001 N10E14   100  0200 Fkc  12   30 Beta-Gamma-Delta"))


def features(known=None, time=T, region="2001", summaries=None):
    """The features of one image."""
    archive = table_of(*THREE_DAYS) if summaries is None else summaries
    return activity_features([region], np.array([time]), flares() if known is None else known, *archive).iloc[0]


def reported(end, region="2001", name="C2.0", begin="1130", peak="1140", day=date(2014, 3, 10), delay_minutes=60.0):
    """The flares of a report with one flare, and the problems."""
    row = EVENT_ROW.format(number=10, begin=begin, max=peak, end=end, name=name, region=region)
    report = parse_event_report(["#Event    Begin", row], day, f"{day:%Y%m%d}events.txt")
    return flares_of_reports(EventArchive([report], []), delay_minutes)
