"""What the server has done, in the text form of Prometheus."""

from collections.abc import Iterable

from cmad.serve.hub import Hub
from cmad.serve.model import Model

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(models: Iterable[Model], hub: Hub) -> str:
    """Write all metrics."""
    rows: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in KINDS}
    for model in models:
        of, counts = {"model": model.name}, hub.counts[model.name]
        for verdict, count in sorted(counts.verdicts.items()):
            rows["cmad_parts_total"].append(({**of, "verdict": verdict}, count))
        rows["cmad_judging_seconds_total"].append((of, counts.seconds))
        rows["cmad_refused_total"].append((of, counts.refused))
        rows["cmad_queue_parts"].append((of, model.waiting))
        rows["cmad_model_replaced"].append((of, model.replaced is not None))
        if model.detector.threshold is not None:
            rows["cmad_threshold"].append((of, model.detector.threshold))
        if model.drift is not None:
            monitor = model.drift.monitor
            rows["cmad_drift_alarmed"].append((of, monitor.alarmed))
            rows["cmad_drift_limit"].append((of, monitor.limit))
            for stream, stake in monitor.stakes.items():
                rows["cmad_drift_stake"].append(({**of, "stream": stream}, stake))
    lines = []
    for name, (kind, help_) in KINDS.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{{{_labels(of)}}} {float(value):.17g}" for of, value in rows[name]]
    return "\n".join(lines) + "\n"


KINDS = {
    "cmad_parts_total": ("counter", "Parts by verdict."),
    "cmad_judging_seconds_total": ("counter", "Seconds that judging them took."),
    "cmad_refused_total": ("counter", "Requests that found the queue full."),
    "cmad_queue_parts": ("gauge", "Parts that wait."),
    "cmad_model_replaced": ("gauge", "1 where the model's file is another one now."),
    "cmad_threshold": ("gauge", "Score above which a part is rejected."),
    "cmad_drift_alarmed": ("gauge", "1 where parts have stopped being like the calibration's."),
    "cmad_drift_limit": ("gauge", "Stake that alarms."),
    "cmad_drift_stake": ("gauge", "What a stake of 1 against each stream has become."),
}
"""By name type and help."""


def _labels(of: dict[str, str]) -> str:
    escaped = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in of.items()
    )
    return ",".join(f'{name}="{value}"' for name, value in escaped)
