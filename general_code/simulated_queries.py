"""The simulated JSOC's queries: series, records, keywords, the table of active regions.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (jsoc_info: series_struct, rs_summary, rs_list).
"""

import re
from typing import Any

from general_code.cutout_requests import record_time
from general_code.export_positions import UNKNOWN_LONGITUDE
from general_code.image_names import SERIES
from general_code.simulated_faults import Faults
from general_code.simulated_series import Record, SimulatedSeries, parse_record_set, records_with_faults

REGION_TABLES = ("jsoc.noaa_active_regions", "su_rsb.noaa_activeregions")
CONSTANTS = {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "LVL_NUM": "Invalid KeyLink", "T_REC_step": "720.000000",
             "CDELT1": "0.504", "CAR_ROT": "2106", "CRLN_OBS": "45.0", "CRLT_OBS": "-6.7", "*online*": "Y",
             "*size*": "15000000"}
STRUCTURE = {
    "note": "line-of-sight magnetogram with a cadence of 720 seconds.", "retention": 10000, "stagingretention": 3,
    "unitsize": 120, "archive": 1, "tapegroup": 1001, "primekeys": ["T_REC", "CAMERA"],
    "primekeysinfo": [{"name": "T_REC", "slotted": 1, "step": "720.000000"}, {"name": "CAMERA", "slotted": 0}],
    "dbindex": ["T_REC_index", "CAMERA"],
    "keywords": [{"name": "T_REC", "type": "time", "recscope": "variable", "defval": "-4712.01.01_11:59_TAI",
                  "units": "TAI", "note": "nominal time"},
                 {"name": "CAMERA", "type": "int", "recscope": "variable", "defval": "1", "units": "none", "note": ""},
                 {"name": "QUALITY", "type": "int", "recscope": "variable", "defval": "-2147483648", "units": "none",
                  "note": "QUALITY index"}],
    "segments": [{"name": "magnetogram", "type": "int", "units": "Gauss", "protocol": "fits", "dims": "4096x4096",
                  "note": "magnetogram"}],
    "links": [], "runtime": 0.013, "status": 0}


class SimulatedQueries:
    """Answers of the CGIs that only read.

    Parameters
    ----------
    series : SimulatedSeries
        The archive.
    faults : Faults
        Switches.
    """

    def __init__(self, series: SimulatedSeries, faults: Faults) -> None:
        self.series, self.faults = series, faults

    def answer(self, cgi: str, arguments: dict[str, str]) -> dict[str, Any] | None:
        """Return a CGI's answer.

        Parameters
        ----------
        cgi : str
            Last part of its path.
        arguments : dict of str to str
            Of the GET or the form.

        Returns
        -------
        dict or None
            The JSON object; None when the CGI is none of these.
        """
        if cgi in ("jsoc_info", "jsocextinfo", "jsoc_info_jsoc2"):
            return self._info(arguments)
        if cgi == "show_series":
            row = {"name": SERIES, "primekeys": "T_REC,CAMERA", "note": STRUCTURE["note"]}
            return {"status": 0, "n": 1, "names": [row] if _matches(arguments) else []}
        if cgi == "showextseries":
            row = {SERIES: {"description": STRUCTURE["note"]}} if arguments.get("info") == "1" else SERIES
            return {"errMsg": "", "seriesList": [row] if _matches(arguments) else []}
        if cgi == "drms_parserecset":
            return self._parse(arguments.get("spec", ""))
        if cgi == "series_info":
            return self._series_info(arguments.get("series", ""))
        return None

    def _info(self, arguments: dict[str, str]) -> dict[str, Any]:
        """Return the answer of jsoc_info."""
        operation, text = arguments.get("op"), arguments.get("ds", "")
        name = re.split(r"[\[{]", text)[0].lower()
        if name in REGION_TABLES and operation == "rs_list":
            return self._region_rows(text, arguments)
        if name != SERIES.lower() or self.faults.series_unknown:
            return {"status": 1, "error": "series not found"}
        if operation == "series_struct":
            return STRUCTURE
        try:
            records = records_with_faults(self.series, parse_record_set(text), self.faults)
        except ValueError as error:
            return {"status": 1, "error": str(error)}
        if operation == "rs_summary":
            return {"count": len(records), "runtime": 0.0123, "status": 0}
        if operation == "rs_list":
            return _record_rows(records, arguments, self.faults.missing_values)
        return {"status": 1, "error": "Bad QUERY_STRING"}

    def _region_rows(self, text: str, arguments: dict[str, str]) -> dict[str, Any]:
        """Return the rows of a region in the table of active regions."""
        if self.faults.table_unavailable:
            return {"status": 1, "error": "series not found"}
        number = re.findall(r"\[(\d+)\]", text)
        rows = self.series.table.get(f"{int(number[-1]) % 10000:04d}", []) if number else []
        if not rows or self.faults.region_unknown:
            return {"count": 0, "runtime": 0.01, "status": 0}
        unknown = f"{UNKNOWN_LONGITUDE:g}" if self.faults.longitude_unknown else None
        columns = {"ObservationTime": [row.t_ref for row in rows], "LatitudeHG": [row.y for row in rows],
                   "LongitudeCM": [unknown or row.x for row in rows]}
        keys = [{"name": key, "values": columns.get(key, ["Invalid KeyLink"] * len(rows))}
                for key in arguments.get("key", "").split(",")]
        return {"keywords": keys, "segments": [], "links": [], "count": len(rows), "runtime": 0.02, "status": 0}

    def _parse(self, text: str) -> dict[str, Any]:
        """Return the answer of the record-set parser."""
        try:
            wanted = parse_record_set(text)
        except ValueError:
            return {"spec": text, "atfile": False, "hasfilts": None, "nsubsets": None, "subsets": None,
                    "errMsg": f"unable to parse {text}"}
        filters = "".join(f"[{part}]" for part in wanted.filters)
        subset = {"spec": text, "settype": "drms", "seriesname": wanted.series, "filter": filters,
                  "seriesns": wanted.series.partition(".")[0], "segments": None, "autobang": False}
        return {"spec": text, "atfile": False, "hasfilts": bool(wanted.filters), "nsubsets": 1, "subsets": [subset],
                "errMsg": None}

    def _series_info(self, name: str) -> dict[str, Any]:
        """Return the answer of series_info."""
        if name.lower() != SERIES.lower() or self.faults.series_unknown:
            return {"errMsg": f"series {name} does not exist"}
        return {"errMsg": None, name.lower(): {
            "attributes": {"drmsprimekey": ["T_REC_index", "CAMERA"]},
            "keywords": {"t_rec": {"data-type": "time", "constant-value": "na"}},
            "segments": {"magnetogram": {"segment-number": 0, "number-axes": 2}}}}


def _matches(arguments: dict[str, str]) -> bool:
    """Tell whether the filter of a list of series lets ours pass."""
    return re.search(arguments.get("filter", ""), SERIES, re.IGNORECASE) is not None


def _record_rows(records: list[Record], arguments: dict[str, str], missing_values: int) -> dict[str, Any]:
    """Return keywords and segments of records by column, all as text; from the second on, some are MISSING."""
    if "n" in arguments and int(arguments["n"]):
        count = int(arguments["n"])
        records = records[:count] if count > 0 else records[count:]
    if not records:
        return {"count": 0, "runtime": 0.01, "status": 0}
    names = [f"{SERIES}[{record_time(record.time)}][{record.camera}]" for record in records]
    columns = {"T_REC": [record_time(record.time) for record in records],
               "CAMERA": [str(record.camera) for record in records], "*spec*": names,
               "QUALITY": [f"{record.quality & 0xFFFFFFFF:#010x}" for record in records]}
    for name in ("T_REC", "QUALITY"):
        columns[name][1:1 + missing_values] = ["MISSING"] * len(records[1:1 + missing_values])
    columns |= {name: [value] * len(records) for name, value in CONSTANTS.items()}
    keys = [{"name": key, "values": columns.get(key, ["Invalid KeyLink"] * len(records))}
            for key in arguments.get("key", "").split(",") if key]
    answer = {"keywords": keys, "segments": [], "links": [], "count": len(records), "runtime": 0.02, "status": 0}
    if arguments.get("seg"):
        answer["segments"] = [{"name": name, "values": [f"/SUM42/D1/S00000/{name}.fits"] * len(records),
                               "dims": ["4096x4096"] * len(records)} for name in arguments["seg"].split(",")]
    if arguments.get("R") == "1":
        answer["recinfo"] = [{"name": name, "online": 1} for name in names]
    return answer
