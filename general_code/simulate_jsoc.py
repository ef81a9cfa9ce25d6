r"""A JSOC of our own on this machine: the export service's CGIs, its data links and a page like its export page.

Everything is served from the loopback interface; nothing leaves the machine. Shapes of answers, states and faults
are those of JSOC (http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect), the numbers in them are made up. The page has
the element ids and the behaviour of JSOC's pages of 2018 and 2021, in HTML and JavaScript of our own.

Reads
    image_dir    `NNNN/*.fits`, handed out as cut-outs
    srs_dir      region summaries, for the table of active regions

Writes
    nothing

Usage
    python general_code/simulate_archive.py
    python general_code/SRS_Parse.py --srs-dir data/simulated_archive/SRS --ar-list data/simulated_archive/ARList.txt
    python general_code/simulate_jsoc.py --srs-dir data/simulated_archive/SRS
    (and meanwhile, from another terminal)
    python general_code/JSOC_Driver.py --base-url http://127.0.0.1:8901 --email me@example.edu --poll-seconds 1 \
        --ar-list data/simulated_archive/ARList.txt --image-dir data/simulated_download
"""

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import Field

from general_code.simulator.series import Faults, SimulatedSeries
from general_code.simulator.server import JsocSimulator
from general_code.stage.files import UserError, counted, is_set, require_folder
from general_code.stage.run import OptionalPath, Settings, command_line, stage_main


## User Definitions
class UserDefinitions(Settings):
    image_dir: Path = "data/simulated_archive/active_regions"  # folder of NNNN/*.fits to hand out
    srs_dir: OptionalPath = ""  # region summaries for the table of active regions; "" makes positions up
    port: Annotated[int, Field(ge=0, le=65535)] = 8901  # on 127.0.0.1; 0 takes a free one
    faults: Faults = Faults()  # what goes wrong, a switch each
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Serve until Ctrl-C."""
    require_folder(user.image_dir, "image_dir")
    if is_set(user.srs_dir):
        require_folder(user.srs_dir, "srs_dir")
    series = SimulatedSeries(user.image_dir, user.srs_dir)
    if not series.files:
        raise UserError(f"image_dir: expected images NNNN/hmi.M_720s.*.fits in '{user.image_dir}', found none")
    with JsocSimulator(series, user.faults, user.port) as simulator:
        images = sum(map(len, series.files.values()))
        print(f"Simulated JSOC at {simulator.url} with {counted(len(series.files), 'regions')}, "
              f"{counted(images, 'images')}; Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):  # the usual end of a service
            threading.Event().wait()


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
