"""Metrics in a line of output, and what is none."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.messages.metric_lines import parse_metrics
from framework.messages.metrics import Metric, metric_problem


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        ("Training: accuracy=0.97, f1=0.96", {"accuracy": 0.97, "f1": 0.96}),
        ("accuracy=0.97", {"accuracy": 0.97}),
        ("a=1,b=2", {"a": 1, "b": 2}),
        ("  loss = 1e-3 , step=+5 \r\n", {"loss": 1e-3, "step": 5}),
        ("Epoch 3/10: loss=.5", {"loss": 0.5}),
        ("2024-01-01 10:00:00 INFO: val/acc@1=50, val.loss-x=5.", {"val/acc@1": 50, "val.loss-x": 5.0}),
        ("x=nan, y=-Inf, z=infinity, w=1e999", {"x": "nan", "y": "-inf", "z": "inf", "w": "inf"}),
        ("x=-nan, y=+nan, z=-NaN, w=+inf", {"x": "nan", "y": "nan", "z": "nan", "w": "inf"}),
        ("status=ok, share=93%, rest=6.5%", {"status": "ok", "share": 0.93, "rest": 0.065}),
        (f"x=1, x=2, y=1{'0' * 400}", {"x": 2, "y": "inf"}),
        ("accuracy=tensor(0.9300, device='cuda:0')", {"accuracy": 0.93}),
        ("a=np.float64(0.5), b=tensor([2.5], device='cpu')", {"a": 0.5, "b": 2.5}),
        ("a=np.float64(0.5), b=np.int64(-7), c=torch.tensor(nan)", {"a": 0.5, "b": -7, "c": "nan"}),
        ("l=tensor(2e-3, grad_fn=<NllLossBackward0>), m=1", {"l": 2e-3, "m": 1}),
        ("l=tf.Tensor(0.25, shape=(), dtype=float32), m=Decimal('1.50')", {"l": 0.25, "m": 1.5}),
        ("\x1b[1;32mEpoch 1: accuracy=0.93\x1b[0m", {"accuracy": 0.93}),
        ("\x1b]0;title\x07loss=\x1b[31m2\x1b[0m\x1b[K", {"loss": 2}),
    ],
)
def test_a_metrics_line(line: str, metrics: dict[str, Metric]) -> None:
    found = parse_metrics(line)
    assert found == metrics
    assert [type(value) for value in found.values()] == [type(value) for value in metrics.values()]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Training has begun.",
        "use lr=0.1",
        "Training: accuracy=",
        "=1",
        "a==1",
        "a=1, and so on",
        "a=1, b",
        "if x = y then",
        "a=1 b",
        "a=1 b=2 is all",
        "if a=1 b=2",
        "train loss=1 val loss=2",
        "http://example.org/?a=1",
        "Title:a=1",
        "1a=2",
        "a=1,",
        f"{'x' * 300}=1",
        f"x={'y' * 300}",
    ],
)
def test_anything_else(line: str) -> None:
    assert parse_metrics(line) == {}


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        # logfmt
        ("epoch=1 loss=0.1 accuracy=0.9", {"epoch": 1, "loss": 0.1, "accuracy": 0.9}),
        ('level=info msg="it is = done, so" loss=2e-1  step=7', {"loss": 0.2, "step": 7}),
        ("Epoch 3: loss=0.1 val/acc=90%", {"loss": 0.1, "val/acc": 0.9}),
        ("Epoch 3/10 | loss=0.1 | acc=0.9", {"loss": 0.1, "acc": 0.9}),
        ("[step 300] loss=0.1", {"loss": 0.1}),
        ("loss=0.1; acc=0.9 - time=3s", {"loss": 0.1, "acc": 0.9}),
        # after a count
        ("Epoch 3: accuracy=0.93, val loss=2", {"accuracy": 0.93, "val loss": 2}),
        ("Epoch [3/10], Step [5/9], Loss: 0.1, time: 3 s, accuracy: 93%", {"Loss": 0.1, "accuracy": 0.93}),
        ("Epoch 3 | train loss: 0.1 | val accuracy: 0.93", {"train loss": 0.1, "val accuracy": 0.93}),
        ("Step: 3, val accuracy = tensor(0.93), f1=2", {"val accuracy": 0.93, "f1": 2}),
        # Keras
        ("10/10 - 1s - loss: 0.1 - accuracy: 0.9123", {"loss": 0.1, "accuracy": 0.9123}),
        ("loss: 0.1 - accuracy: 9e-1", {"loss": 0.1, "accuracy": 0.9}),
        ("10/Unknown - 1s 5ms/step - loss: nan", {"loss": "nan"}),
        (
            "\x1b[1m7/7\x1b[0m \x1b[32m━━━━\x1b[0m \x1b[1m1s\x1b[0m 5ms/step - a: 0.5 - b: 2\x08\x08",
            {"a": 0.5, "b": 2},
        ),
        # JSON, and Python's dictionaries
        (
            '{"accuracy": 0.9, "epoch": 3, "level": "info", "ok": true}',
            {"accuracy": 0.9, "epoch": 3, "ok": 1},
        ),
        ('{"loss": NaN, "val": {"f1": 0.5, "per class": [1, 2]}, "x": null}', {"loss": "nan", "val.f1": 0.5}),
        ('  {"val accuracy":0.9}  ', {"val accuracy": 0.9}),
        (f'{{"x": 1{"0" * 400}, "y": -1{"0" * 400}}}', {"x": "inf", "y": "-inf"}),
        ("{'eval_loss': 0.25, 'epoch': 1.0, 'note': 'fine'}", {"eval_loss": 0.25, "epoch": 1.0}),
        ("{'loss': np.float64(0.5), 'grad_norm': nan}", {"loss": 0.5, "grad_norm": "nan"}),
        # loggers
        ("INFO:root:accuracy=0.9", {"accuracy": 0.9}),
        ("WARNING:a.b:Epoch 1: accuracy=0.9, loss=1", {"accuracy": 0.9, "loss": 1}),
        ("2026-01-31 10:00:00,123 - root - INFO - accuracy=0.9", {"accuracy": 0.9}),
        ("2026-01-31 10:00:00,123 - root - INFO - loss: 0.1 - accuracy: 0.9", {"loss": 0.1, "accuracy": 0.9}),
        ("[2026-01-31 10:00:00,123][__main__][INFO] - accuracy=0.9", {"accuracy": 0.9}),
        ("2026-01-31 10:00:00.1 | INFO     | __main__:main:12 - a=1, b=2", {"a": 1, "b": 2}),
        ("I0131 10:00:00.123456 140 train.py:12] a=1, b=2", {"a": 1, "b": 2}),
        ("2026-01-31T10:00:00Z accuracy=0.9", {"accuracy": 0.9}),
        ('INFO:root:{"accuracy": 0.9}', {"accuracy": 0.9}),
    ],
)
def test_other_forms_of_lines_hold_numbers(line: str, metrics: dict[str, Metric]) -> None:
    found = parse_metrics(line)
    assert found == metrics
    assert [type(value) for value in found.values()] == [type(value) for value in metrics.values()]


@pytest.mark.parametrize(
    "line",
    [
        "Namespace(accuracy=0.1, lr=0.2, epochs=3)",
        "Namespace(lr=0.2, accuracy=0.1, epochs=3)",
        "Config(lr=np.float64(0.1))",
        "losses: tensor([0.1, 0.2])",
        "GET http://example.org/a?lr=0.1&accuracy=2",
        "see https://example.org/?a=1 b=2",
        " 50%|█████     | 5/10 [00:01<00:01, 4.5it/s, loss=0.1, accuracy=0.9]",
        "Epoch 1:  50%|███| 5/10 [00:01<00:01, 4.50it/s]",
        "Epoch 1:  50%|███| 5/10 [00:01<00:01, 4.50it/s, loss=0.1, accuracy=0.9]",
        "Step 1: we read 5 files, port: 80",
        "Epoch 2 begins",
        "Step 3/5 : FROM python:3.13",
        "Step 3: loading data: 50%",
        "Step 1: pip install accuracy==0.9",
        "Total params: 1,234",
        "port: 8080",
        "Loaded 10 files - size: 5",
        "best accuracy: 0.97",
        "the loss was low, accuracy: 0.9, so we stop",
        "train accuracy: 0.99",
        "train accuracy=0.99",
        "baseline accuracy: 0.5, val f1: 0.2",
        "accuracy: high",
        "accuracy: 0.9 is what we want",
        "Accuracy: 0.9",
        '  File "train.py", line 3, in f',
        "model = Sequential(accuracy=1)",
        '<img width="5" height="3">',
        "CC=gcc CFLAGS=-O2",
        "if x == 1: accuracy",
        "{",
        "{}",
        '["accuracy", 0.9]',
        '{"accuracy": "high"}',
        "{accuracy: 0.9}",
        "{'accuracy': 0.9, 'lr'}",
    ],
)
def test_prose_is_not_read(line: str) -> None:
    assert parse_metrics(line) == {}
    assert parse_metrics(line, "accuracy") == {}


@pytest.mark.parametrize(
    ("line", "ranked", "value"),
    [
        ("accuracy: 0.93", "accuracy", 0.93),
        ("INFO:root:accuracy: 93%", "accuracy", 0.93),
        ("Validation: accuracy: 0.93", "accuracy", 0.93),
        ("Epoch 3: accuracy: 0.93", "accuracy", 0.93),
        ("loss: 0.1, accuracy: 0.93, time: 3 s", "accuracy", 0.93),
        ("val accuracy=0.93", "val accuracy", 0.93),
        ("Validation: val accuracy = tensor(0.93), f1=2", "val accuracy", 0.93),
        ("val/accuracy@1: -nan", "val/accuracy@1", "nan"),
        ("[10]\ttrain-rmse:0.51\teval-rmse:0.62", "eval-rmse", 0.62),
        ("[10]\tvalid_0's auc: 0.9\tvalid_0's l2: 0.1", "valid_0's auc", 0.9),
    ],
)
def test_the_metric_that_results_are_ranked_by_is_read_in_more_forms(
    line: str, ranked: str, value: Metric
) -> None:
    assert parse_metrics(line, ranked) == {ranked: value}
    assert parse_metrics(line) == {}


@given(st.one_of(st.text(), st.text("a1=:, .-e+\0\ud800"), st.text("{}'\": a1,[]()\x1b|")))
def test_parsing_never_raises_and_gives_only_metrics(line: str) -> None:
    for name, value in parse_metrics(line, "a").items():
        assert metric_problem(name, value) is None


@pytest.mark.parametrize(
    ("part", "end"),
    [
        ("a", ""), ("a=", ""), ("a=1,", "?"), (": ", "="), ("-", "=1"), (" ", "a=1,"), ("T: ", "a"),
        ("a=1 ", "?"), ("a=1 - ", "?"), ("a: 1 - ", "?"), (" - ", "a: 1"), ("a: 1, ", "="), ("tensor(1,", ""),
        ("tensor(1", ")="), ("array", "(="), ("\x1b]", "="), ("\x1b[0", "="), ("{'a': ", "}"), ('{"a":', ""),
        ("INFO", ":a=1"), ("INFO: ", "a=1, ?"), ("step 1 ", "a=1 ?"), ("x=1, (", "="), ("a='", ""),
        ("step 1 ", "a: 1, a"), ("step 1, a: 1, ", "?"), ("epoch 1: a ", ": 1 ?"),
    ],
)  # fmt: skip
def test_the_time_for_a_line_grows_with_its_length_alone(part: str, end: str) -> None:
    line = part * 10**5 + end
    began = time.process_time()
    assert parse_metrics(line, "a") == {}
    assert time.process_time() - began < 5, "with the square of the length it takes minutes"
