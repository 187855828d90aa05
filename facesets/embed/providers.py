"""Sessions of onnxruntime: the provider is proven, a device has one caller, a lost device does not end the run.

A provider is part of an onnxruntime package, or a plugin: a package beside plain onnxruntime with a library of its own.
"""

import functools
import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime

from ..common.errors import Failure, SettingsError
from ..common.threads import cores
from .graph import Network

# In the order of preference of `auto`.
ORT_NAMES = {"cuda": "CUDAExecutionProvider", "dml": "DmlExecutionProvider", "coreml": "CoreMLExecutionProvider",
             "tensorrt_rtx": "NvTensorRTRTXExecutionProvider", "openvino": "OpenVINOExecutionProvider",
             "webgpu": "WebGpuExecutionProvider", "cpu": "CPUExecutionProvider"}
PLUGINS = {"tensorrt_rtx": "onnxruntime_ep_nv_tensorrt_rtx", "openvino": "onnxruntime_ep_openvino",
           "webgpu": "onnxruntime_ep_webgpu"}       # the module that knows where the library lies
ON_CPU = ("cpu", "openvino")    # inference shares the cores with decoding

# What a device that went away says: DXGI device removed, hung, reset, driver error; CUDA without context or device.
DEVICE_LOST = re.compile(r"887A000[567]|887A0020|DXGI_ERROR|device (instance )?(has been |was )?(removed|lost)"
                         r"|device is lost|device suspended|device hung|CUDA failure \d+|CUDA error"
                         r"|CUDNN_STATUS_EXECUTION_FAILED", re.IGNORECASE)

Opener = Callable[..., Any]     # onnxruntime.InferenceSession, or a stand-in for a device that is not here


def available() -> tuple[str, ...]:
    """Short names of what this onnxruntime and its plugins offer, in the order of preference."""
    built_in, ready = onnxruntime.get_available_providers(), plugins()
    return tuple(name for name, long in ORT_NAMES.items() if long in built_in or ready.get(name) == "")


@functools.cache
def plugins() -> dict[str, str]:
    """The plugins that are installed, each with why it does not work here, "" where it does. Loads them, once."""
    found = {}
    for name, module in PLUGINS.items():
        if ORT_NAMES[name] not in onnxruntime.get_available_providers() and importlib.util.find_spec(module):
            try:
                library = importlib.import_module(module).get_library_path()
                onnxruntime.register_execution_provider_library(name, library)
                found[name] = "" if _device(name) else f"{module} is installed, but finds no device here"
            except Exception as error:      # of the package, or since a library is missing that it needs
                found[name] = f"{module} is installed, but does not load: {' '.join(str(error).split())}"
    return found


def _device(name: str) -> Any:
    """What the plugin is to run on, one of its devices: the larger card, or, as `ON_CPU` says, the processor."""
    wanted = "CPU" if name in ON_CPU else "GPU"
    found = [one for one in onnxruntime.get_ep_devices()
             if one.ep_name == ORT_NAMES[name] and one.device.type.name == wanted]
    return max(found, key=lambda one: one.device.metadata.get("Discrete") == "1", default=None)


def check(wanted: str, offered: Sequence[str] | None = None) -> None:
    """Raise SettingsError unless `wanted` is `auto` or a provider that this onnxruntime offers."""
    if wanted != "auto" and wanted not in ORT_NAMES:
        raise SettingsError(f"--provider {wanted} is unknown; one of auto, {', '.join(ORT_NAMES)}")
    offered = available() if offered is None else offered
    if wanted != "auto" and wanted not in offered:
        if why := plugins().get(wanted):
            raise SettingsError(f"--provider {wanted}: {why}; see docs/providers.md, or use --provider auto")
        how = (f"install {PLUGINS[wanted].replace('_', '-')} beside it" if wanted in PLUGINS else "uninstall it and "
               f"install {({'dml': 'onnxruntime-directml', 'cuda': 'onnxruntime-gpu'}).get(wanted, 'onnxruntime')}")
        raise SettingsError(f"--provider {wanted}: the onnxruntime installed here offers only {', '.join(offered)}; "
                            f"{how}, or use --provider auto")


def session_options(network: Network, provider: str, threads: int, fixed: Mapping[int, int]) -> Any:
    """`fixed` gives a size to axes of the input that the file leaves open."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL   # DirectML takes no other
    options.log_severity_level = 3      # warnings about weights that are not used are no news
    if provider != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider == "dml":
        options.enable_mem_pattern = False      # DirectML refuses memory patterns
    for axis, size in fixed.items():
        name = network.shape[axis]
        if isinstance(name, str) and name:
            options.add_free_dimension_override_by_name(name, size)
    return options


def plugin_options(provider: str) -> dict[str, str]:
    if provider != "openvino":
        return {}
    lanes = {"NUM_STREAMS": str(cores()), "INFERENCE_NUM_THREADS": str(cores())}
    return {"load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32", **lanes}})}


class Session:
    """One network on one provider.

    Any number of threads may call `run`. On the CPU they run at once; on a device one thread of the session's own makes
    every call. A lock would do as well, but the device would wait wherever the scheduler is late to wake the next
    thread (benchmarks/embed_more.py device).
    """

    def __init__(self, network: Network, provider: str, threads: int = 1, fixed: Mapping[int, int] | None = None,
                 say: Callable[[str], None] = lambda line: None, opener: Opener = onnxruntime.InferenceSession) -> None:
        self.network, self.provider = network, provider
        self.losses: list[str] = []     # what the device said each time it went away
        self._threads, self._fixed, self._say, self._opener = threads, fixed or {}, say, opener
        self._caller = None if provider in ON_CPU else ThreadPoolExecutor(1, f"caller of {provider}")
        self._session = self._open(provider)

    def run(self, blob: np.ndarray) -> list[np.ndarray]:
        """The outputs, in the order of the file. A lost device gets one new session, then the CPU for the rest."""
        return self._caller.submit(self._call, blob).result() if self._caller else self._call(blob)

    def _call(self, blob: np.ndarray) -> list[np.ndarray]:
        while True:
            try:
                outputs: list[np.ndarray] = self._session.run(self.network.outputs, {self.network.input: blob})
                return outputs
            except Exception as error:      # onnxruntime's own kinds, and RuntimeError from providers
                if self.provider == "cpu" or not DEVICE_LOST.search(str(error)):
                    raise Failure(f"a model failed on {self.provider}: {' '.join(str(error).split())}") from error
                self._recover(str(error))

    def _recover(self, message: str) -> None:
        self.losses.append(message)
        if len(self.losses) == 1:
            try:
                self._session = self._open(self.provider)
                self._say(f"the {self.provider} device went away and was opened again: {message}")
                return
            except Exception as error:
                message = str(error)
        self._say(f"the {self.provider} device went away again, the rest runs on the CPU: {message}")
        self._session = self._open("cpu")
        self.provider = "cpu"

    def _open(self, provider: str) -> Any:
        """A session on the provider that is wanted. Raises Failure where onnxruntime fell back in silence."""
        wanted = ORT_NAMES[provider]
        options = session_options(self.network, provider, self._threads, self._fixed)
        if wanted not in onnxruntime.get_available_providers() and plugins().get(provider) == "":
            options.add_provider_for_devices([_device(provider)], plugin_options(provider))
            return self._proven(self._opener(self.network.source, options), wanted)
        names: list[Any] = [wanted] if provider == "cpu" else [wanted, ORT_NAMES["cpu"]]
        if provider == "openvino":      # has threads of its own, and takes half precision where it can unless told
            names[0] = (wanted, {"device_type": "CPU", "precision": "FP32",
                                 "num_of_threads": str(cores()), "num_streams": str(cores())})
        if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        return self._proven(self._opener(self.network.source, options, providers=names), wanted)

    def _proven(self, session: Any, wanted: str) -> Any:
        actual = session.get_providers()
        if not actual or actual[0] != wanted:
            raise Failure(f"{wanted} did not start, onnxruntime fell back to {actual[0] if actual else 'nothing'}; "
                          "check the driver, or use --provider auto")
        told = getattr(session, "get_provider_graph_assignment_info", None)     # onnxruntime 1.24 has none
        if told and wanted != ORT_NAMES["cpu"] and all(part.ep_name != wanted for part in told()):
            raise Failure(f"{wanted} started, but takes no part of the model: all of it would run on the CPU; "
                          "use --provider auto")
        return session
