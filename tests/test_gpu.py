"""What asks for a GPU says what is missing, and its calls come in the right order without one."""

import copy
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from cmad import gpu
from cmad.cli import _group
from cmad.cli._words import in_options, speak_as
from cmad.detectors import _inputs
from cmad.ops import smooth
from cmad.testing.pretended import pretended

DEVICE = torch.device("cuda", 0)


@pytest.fixture
def with_module(monkeypatch):
    """As if this build had the kernels, and torch were built for CUDA."""
    monkeypatch.setattr(gpu, "find_spec", lambda _: object())
    monkeypatch.setattr(gpu, "import_module", lambda _: object())
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def test_a_build_without_kernels_is_named(monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda _: None)
    assert "this build of cmad does not have: build it from source with CMAD_CUDA=ON" in (
        gpu.missing()
    )


def test_a_torch_without_cuda_is_named(monkeypatch, with_module):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert f"a torch that is built for CUDA, this is {torch.__version__}:" in gpu.missing()


def test_a_machine_without_a_gpu_is_named(monkeypatch, with_module):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "an NVIDIA GPU and its driver that torch can use (it finds none)" in gpu.missing()


def test_an_old_driver_is_named_in_torchs_words(monkeypatch, with_module):
    def old():
        warnings.warn("The NVIDIA driver on your system is too old. Update it.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", old)
    assert "(The NVIDIA driver on your system is too old):" in gpu.missing()


def test_kernels_that_cannot_be_loaded_are_named(monkeypatch, with_module):
    def broken(_):
        raise ImportError("undefined symbol: x")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "import_module", broken)
    assert gpu.missing().startswith(
        "device='cuda' needs kernels that cannot be loaded (undefined symbol: x): "
    )
    monkeypatch.setattr(gpu, "import_module", lambda _: object())
    assert gpu.missing() is None


@pytest.mark.parametrize("why", ["no kernels", "no torch", "no gpu"])
def test_every_message_is_in_the_words_of_the_command_line(why, monkeypatch, with_module):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if why == "no kernels":
        monkeypatch.setattr(gpu, "find_spec", lambda _: None)
    if why == "no torch":
        monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RuntimeError) as raised:
        _inputs.device_of("CFM", "cuda")
    for command in ("fit", "evaluate", "score", "calibrate", "reproduce"):
        _group.load(command)
        speak_as(command)
        said = in_options(str(raised.value))
        assert said.startswith("CFM: --device cuda needs ")
        assert said.endswith(", or pass --device cpu")


def test_an_op_says_so_too(monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda _: None)
    with pretended() as machine:
        maps = machine.there(torch.zeros(1, 4, 4))
        monkeypatch.setitem(smooth.__globals__["native"].__globals__["MODULES"], "cuda", "cmad.no")
        monkeypatch.setattr(gpu, "missing", lambda: "device='cuda' needs this and that")
        with pytest.raises(RuntimeError, match=r"^cmad: device='cuda' needs this and that$"):
            smooth(maps)


def test_auto_is_the_cpu_and_its_precision_float32(monkeypatch):
    monkeypatch.setattr(gpu, "missing", lambda: None)
    assert _inputs.device_of("CFM", "auto") == torch.device("cpu")
    assert _inputs.precision_of("auto", torch.device("cpu")) == torch.float32
    assert _inputs.precision_of("auto", DEVICE) == torch.float16
    assert _inputs.precision_of("fp32", DEVICE) == torch.float32


def test_tensors_of_another_gpu_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=7))
    assert gpu.stream_of(DEVICE) == 7
    with pytest.raises(RuntimeError, match=r"on cuda:1, but this thread works on cuda:0: call"):
        gpu.stream_of(torch.device("cuda", 1))


def test_an_upload_is_one_copy_that_keeps_types_shapes_and_values(monkeypatch):
    sent = []

    def to_gpu(staged, device):
        sent.append(device)
        return staged.clone()

    monkeypatch.setattr(gpu, "_pinned", lambda size: torch.full((size,), 77, dtype=torch.uint8))
    monkeypatch.setattr(gpu, "_sent", to_gpu)
    given = [
        torch.arange(6, dtype=torch.uint8).view(2, 3),
        torch.tensor([True, False, True]),
        torch.randn(3, 2).T,
        torch.zeros(0, 3),
        torch.tensor([-1, 2**40]),
        torch.tensor(1.5, dtype=torch.float64),
    ]
    got = gpu.upload(given, DEVICE)
    assert sent == [DEVICE]
    for g, w in zip(got, given, strict=True):
        assert g.dtype == w.dtype
        assert torch.equal(g, w)
        assert g.is_contiguous()
    assert gpu.upload(given, gpu.CPU) == given
    assert gpu.upload([], DEVICE) == []
    assert sent == [DEVICE]


def test_a_download_waits_once_and_keeps_no_pinned_memory(monkeypatch):
    calls, pinned = [], torch.empty(28, dtype=torch.uint8)
    monkeypatch.setattr(gpu, "_pinned", lambda size: pinned[:size])
    monkeypatch.setattr(gpu, "_wait", calls.append)
    given = [torch.tensor(3.0), torch.arange(6.0).view(2, 3)]
    there = [_Elsewhere(t) for t in given]
    monkeypatch.setattr(torch, "cat", lambda ts: _Elsewhere(torch.concat([t.of for t in ts])))
    monkeypatch.setattr(torch.Tensor, "copy_", _copied, raising=True)
    got = gpu.download(there)
    assert calls == [DEVICE]
    pinned.zero_()
    assert all(torch.equal(g, w) for g, w in zip(got, given, strict=True))
    assert gpu.download(given) == given


class _Elsewhere:
    """A tensor that says it is on a GPU."""

    device = DEVICE

    def __init__(self, of):
        self.of, self.dtype, self.nbytes, self.shape = of, of.dtype, of.nbytes, of.shape

    def detach(self):
        return self

    def flatten(self):
        return _Elsewhere(self.of.flatten())

    def numel(self):
        return self.of.numel()


def _copied(self, source, non_blocking=False, before=torch.Tensor.copy_):
    return before(self, source.of if isinstance(source, _Elsewhere) else source)


class _Stream:
    """Notes what is asked of it."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def wait_stream(self, other):
        self.notes.append(f"{self.name} waits for {other.name}")


class _Used:
    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def record_stream(self, stream):
        self.notes.append(f"{self.name} used in {stream.name}")


def test_a_branch_waits_for_what_it_uses_and_is_waited_for(monkeypatch):
    notes = []
    main, side = _Stream("main", notes), _Stream("side", notes)
    monkeypatch.setattr(gpu, "_side_stream", lambda _: side)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda s: nullcontext(notes.append(f"in {s.name}")))
    branch = gpu.Branch(DEVICE)
    with branch.apart([_Used("cloud", notes)]):
        notes.append("work")
    branch.join([_Used("features", notes)])
    assert notes == [
        "side waits for main",
        "cloud used in side",
        "in side",
        "work",
        "main waits for side",
        "features used in main",
    ]


class _Event:
    def record(self, _):
        """Nothing to wait for."""


@pytest.fixture
def graphs(monkeypatch):
    """Graphs that are captured and replayed on the CPU; returns what happened, and how it is."""
    said = SimpleNamespace(captured=0, replayed=0, factor=1.0, error=None)

    def capture(function, tensors):
        if said.error:
            raise said.error
        said.captured += 1
        taken = [t.clone() for t in tensors]
        made = function(*taken)

        def replay():
            said.replayed += 1
            made.copy_(function(*taken) * said.factor)

        return gpu._Captured(taken, made, replay, _Event())

    stream = SimpleNamespace(wait_event=lambda _: None)
    monkeypatch.setattr(gpu, "_capture", capture)
    monkeypatch.setattr(gpu, "_on_cpu", lambda _: False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    return said


def test_a_graph_is_captured_after_some_calls_for_each_shape(graphs):
    plain = []
    run = gpu.Graphed(lambda x: plain.append(len(x)) or x * 2)
    for i in range(gpu.WARM):
        assert run(torch.full((3,), float(i))).tolist() == [2.0 * i] * 3
    assert graphs.captured == 0
    for i in range(4):
        assert run(torch.full((3,), float(i + 1))).tolist() == [2.0 * (i + 1)] * 3
    assert graphs.captured == 1
    run(torch.zeros(5))
    assert (graphs.captured, plain[-1]) == (1, 5)


def test_results_of_a_graph_are_not_overwritten_by_the_next(graphs):
    run = gpu.Graphed(lambda x: x + 1)
    made = [run(torch.tensor([float(i)])) for i in range(gpu.WARM + 3)]
    assert [float(m) for m in made] == [i + 1 for i in range(gpu.WARM + 3)]


@pytest.mark.parametrize("wrong", ["cannot be captured", "other results", "not a number"])
def test_a_graph_that_is_of_no_use_is_given_up_with_a_warning(graphs, wrong):
    graphs.error = RuntimeError("operation not permitted") if "captured" in wrong else None
    graphs.factor = {"other results": 1.01, "not a number": float("nan")}.get(wrong, 1.0)
    run = gpu.Graphed(lambda x: x * 2)
    for _ in range(gpu.WARM):
        run(torch.ones(2))
    with pytest.warns(UserWarning, match="a CUDA graph cannot be used"):
        assert run(torch.ones(2)).tolist() == [2, 2]
    replayed = graphs.replayed
    assert run(torch.ones(2)).tolist() == [2, 2]
    assert graphs.replayed == replayed


def test_a_copy_captures_graphs_of_its_own(graphs):
    run = gpu.Graphed(torch.neg)
    for _ in range(gpu.WARM + 1):
        run(torch.ones(2))
    other = copy.deepcopy(run)
    other(torch.ones(2))
    assert graphs.captured == 1


def test_on_the_cpu_nothing_is_captured():
    run = gpu.Graphed(lambda x: x + 1)
    for _ in range(gpu.WARM + 2):
        assert run(torch.ones(1)).tolist() == [2]
