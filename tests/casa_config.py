"""CASA's site configuration for the tests: measures from casadata, no network, no log files."""

import importlib.util
import os

_spec = importlib.util.find_spec("casadata")
measurespath = os.path.join(list(_spec.submodule_search_locations)[0],
                            "__data__") if _spec else "/nonexistent"
datapath = [measurespath]
measures_auto_update = False
data_auto_update = False
nologfile = True
# `nologfile` alone still leaves a casa-*.log behind where casatools is imported without CASA's
# shell.
logfile = os.devnull
log2term = False
nogui = True
nologger = True
