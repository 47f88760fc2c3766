"""How far a step moved the parameters, as a share of what they are."""

from __future__ import annotations

from collections.abc import Mapping

from thalweg.monitor._moment import Moment, by_layer, norms, spread


class Updates:
    """‖Δ‖/‖θ‖ of all parameters and of each layer: `update_ratio`, `update_ratio/layer`; and `lr`.

    Layers whose parameters were all zero before the step are left out, and parameters whose
    learning rate is 0.

    Cost: copies every parameter once, and reads each three times.

    Source: the habit of Karpathy's lectures; about 1e-3 is usual.
    """

    name, guess, is_paired, needs_before = "updates", 0.0, False, True

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The ratios and the first group's learning rate."""
        lr = moment.optimizer.param_groups[0].get("lr")
        values = {} if lr is None else {"lr": float(lr)}
        if not moment.before:
            return values
        still = {
            id(p)
            for group in moment.optimizer.param_groups
            if group.get("lr", 1.0) == 0
            for p in group["params"]
        }
        updates = {n: d for n, d in moment.updates.items() if id(moment.parameters[n]) not in still}
        if not updates:
            return values
        moved = by_layer(norms(updates))
        former = by_layer(norms({name: moment.before[name] for name in updates}))
        ratios = {k: moved[k] / norm for k, norm in former.items() if norm != 0}
        return {**spread("update_ratio", ratios), **values}
