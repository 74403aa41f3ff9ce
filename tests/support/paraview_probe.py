"""Run by pvpython: opens files, or runs a script, and says as JSON what ParaView then holds."""

import json
import math
import runpy
import sys

from paraview.simple import GetSources, OpenDataFile, Xdmf3ReaderS, XDMFReader


def told(source):
    """Type, points and point data of a pipeline's output; NaN as None."""
    source.UpdatePipeline()
    data = source.GetClientSideObject().GetOutputDataObject(0)  # `Fetch` spoils rectilinear grids in 5.11
    while data.IsA("vtkCompositeDataSet"):
        data = data.GetBlock(0)
    group = data.GetPointData()
    arrays = [group.GetArray(k) for k in range(group.GetNumberOfArrays())]
    return {
        "type": data.GetClassName(),
        "points": [data.GetPoint(k) for k in range(data.GetNumberOfPoints())],
        "cells": data.GetNumberOfCells(),
        "data": {
            a.GetName(): [plain(a.GetComponent(k, 0)) for k in range(a.GetNumberOfTuples())]
            for a in arrays
            if a is not None
        },
    }


def plain(value):
    return None if math.isnan(value) else value


OPEN = {
    "xdmf2": lambda name: XDMFReader(FileNames=[name]),
    "xdmf3": lambda name: Xdmf3ReaderS(FileName=[name]),
    "any": OpenDataFile,
}

if sys.argv[1] == "run":
    script, picture = sys.argv[2:]
    sys.argv = [script, picture]
    runpy.run_path(script, run_name="__main__")
    print("\n" + json.dumps({name: told(source) for (name, _), source in GetSources().items()}))
else:
    print("\n" + json.dumps([told(OPEN[how](name)) for how, name in (a.split("=", 1) for a in sys.argv[2:])]))
