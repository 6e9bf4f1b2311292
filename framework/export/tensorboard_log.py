"""TensorBoard event files of a sweep: curves, texts, and the HParams dashboard."""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from framework.export.sweep_results import SweepResults, TaskRun
from framework.journal.results_csv import shown
from framework.messages.metrics import as_number

_SUFFIX = ".infrainit"  # of files written here


def export(results: SweepResults, target: Path) -> str:
    """Write a run for each task into a directory of its own below `target`, named by number and task.

    Event files of earlier exports are removed. The step of a value says how many have been printed before
    it; its time is the end of the task, as output has no times. Raises OSError.
    """
    for earlier in target.rglob(f"events.out.tfevents.*{_SUFFIX}"):
        earlier.unlink()
    experiment = _experiment(results)
    texts = {info.name for info in experiment.hparam_infos if info.type == api_pb2.DATA_TYPE_STRING}
    summary = _hparams(metadata.EXPERIMENT_TAG, experiment=experiment)
    _write(target, results.sweep["written"], [(summary, 0)])
    for run in results.runs():
        moment = run.ended or run.started or results.sweep["written"]
        _write(target / run.name, moment, _summaries(run, texts))
    return shlex.join(["tensorboard", "--logdir", str(target)])


def _write(directory: Path, moment: float, summaries: Iterable[tuple[Summary, int]]) -> None:
    writer = EventFileWriter(str(directory), filename_suffix=_SUFFIX)
    for summary, step in summaries:
        writer.add_event(Event(wall_time=moment, step=step, summary=summary))
    writer.close()


def _summaries(run: TaskRun, texts: Container[str]) -> Iterator[tuple[Summary, int]]:
    """The summaries of a task, each with its step; the metaparameters `texts` are texts."""
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=run.started or 0.0, group_name=run.name)
    for name, value in run.parameters.items():
        start.hparams[name].CopyFrom(_value(shown(value) if name in texts else value))
    yield _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start), 0
    for name, values in run.curves.items():
        for step, number in enumerate(values):
            yield scalar_pb(name, number), step
    for name, text in {**run.facts, **run.texts}.items():
        yield text_pb(name, text), 0
    status = api_pb2.STATUS_SUCCESS if run.state in ("done", "pruned") else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.ended or 0.0)
    yield _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end), 0


def _experiment(results: SweepResults) -> api_pb2.Experiment:
    experiment = api_pb2.Experiment(description="\n\n".join(results.notes()))
    for name in results.sweep["parameters"]:
        values = [task["parameters"][name] for task in results.tasks if name in task["parameters"]]
        experiment.hparam_infos.append(_hparam_info(name, values))
    reported = [task["metrics"] for task in results.tasks]
    for name in results.sweep["metrics"]:
        if not any(as_number(metrics.get(name)) is not None for metrics in reported):
            continue  # a text
        experiment.metric_infos.append(api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)))
    return experiment


def _hparam_info(name: str, values: Sequence[Any]) -> api_pb2.HParamInfo:
    """A metaparameter with its values: all numbers, all booleans, or texts."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float}:
        return api_pb2.HParamInfo(name=name, type=api_pb2.DATA_TYPE_FLOAT64)
    kind = api_pb2.DATA_TYPE_BOOL if kinds == {bool} else api_pb2.DATA_TYPE_STRING
    domain = dict.fromkeys(value if kinds == {bool} else shown(value) for value in values)
    info = api_pb2.HParamInfo(name=name, type=kind)
    info.domain_discrete.CopyFrom(ListValue(values=[_value(value) for value in domain]))
    return info


def _value(value: bool | float | str) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _hparams(tag: str, **content: Any) -> Summary:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    summary = Summary()
    summary.value.add(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
    return summary
