"""Which gains of the field are taken: those that its model says more of than noise does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from peel.gains import Key, Solved, chi_squared
from peel.recipe import FIELD_MODEL, RESIDUAL
from peel.work_files import STEPS, Work
from uvstack.io.output import write_json

#: By how much, over what a parameter takes of noise, χ² has to fall for each gain of the field.
_PER_GAIN = 2.0


def that_matters(work: Work, solved: Solved, number: int) -> Solved:
    """Gains of the field, without those of fields and windows whose χ² they lower by no more than noise does.

    Lower than without them, and than without the field's model: where all that CLEAN finds is noise, or
    images leave long baselines out and it is wrong for these, gains would make up for the model.
    """
    path = work.folder / STEPS / f"chi-squared-field-{number}.json"
    if not path.exists():
        work.need(RESIDUAL, FIELD_MODEL)
        sums: dict[Key, NDArray] = {}
        for part in work.passes.parts([RESIDUAL, FIELD_MODEL]):
            data, model = part.values[RESIDUAL], part.values[FIELD_MODEL]
            seen, _ = part.through(model, lambda *of: solved.of_field(*of).or_one())
            one = sums.setdefault(part.key, np.zeros(4))
            one += (chi_squared(data, part.weight), chi_squared(data - model, part.weight),
                    chi_squared(data - seen, part.weight), 2.0 * np.count_nonzero(part.weight > 0))
        write_json(path, [(*key, *map(float, one)) for key, one in sums.items()])
    n_gains: dict[Key, int] = {}
    for cell, terms in solved.cells.items():
        # Of two receptors.
        n_gains[cell[:2]] = n_gains.get(cell[:2], 0) + sum(
            2 * int(np.count_nonzero(one.good)) for one in terms.values())
    return replace(solved, refused=frozenset(
        (field, window) for field, window, none, before, after, n
        in json.loads(path.read_text(encoding="utf-8"))
        if not min(none, before) - after > (_PER_GAIN * n_gains.get((field, window), 0) * after
                                            / max(n, 1))))
