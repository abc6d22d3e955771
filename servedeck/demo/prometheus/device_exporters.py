"""What the exporters of accelerators say: NVIDIA's dcgm-exporter and Furiosa's.

Sources: the default counters of https://github.com/NVIDIA/dcgm-exporter (etc/default-counters.csv)
and https://developer.furiosa.ai/latest/en/cloud_native_toolkit/kubernetes/metrics_exporter.html.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping

from servedeck.demo.prometheus.exporters import (
    ExportedSeries,
    Exporter,
    InstanceExporter,
    sorted_labels,
)
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.instance_history import PastInstance

_MEBIBYTES = 1024
"""Of one GiB."""
_FULL_CONCURRENCY = 6.0
"""Requests in progress at which an accelerator is busy for 63 % of the time."""
_HEAT_WEIGHTS = ((0.0, 0.3), (20.0, 0.25), (45.0, 0.2), (80.0, 0.15), (120.0, 0.1))
"""How the utilization of so many seconds ago counts for power and temperature now."""
_BOARD_POWER = {"H200": 700.0, "H100": 700.0, "A100": 400.0, "L40S": 350.0, "L4": 72.0}
"""Watts, from the makers' data sheets."""
_RNGD_POWER = 180.0
_RNGD_CORES = 8
_LOADING_UTILIZATION = 0.04
_IDLE_MEMORY_GIB = 0.004


class DeviceState:
    """An accelerator of an instance at one time (seconds since the epoch)."""

    __slots__ = ("_heat", "_index", "_instance", "time")

    def __init__(self, instance: SimulatedInstance, index: int, time: float) -> None:
        self._instance = instance
        self._index = index
        self.time = time
        self._heat: float | None = None

    @property
    def utilization(self) -> float:
        """Share of the time in which it computes, 0 to 1."""
        return self._utilization_at(self.time)

    @property
    def heat(self) -> float:
        """The utilization of the last two minutes, 0 to 1: what power and temperature follow."""
        if self._heat is None:
            self._heat = sum(
                weight * self._utilization_at(self.time - delay) for delay, weight in _HEAT_WEIGHTS
            )
        return self._heat

    def temperature(self, usual: float) -> float:
        """°C, given the temperature that follows from its heat."""
        return max(
            (
                usual + max(0.0, spell.celsius - usual) * spell.height(self.time)
                for spell in self._instance.hot_spells
            ),
            default=usual,
        )

    @property
    def used_memory(self) -> float:
        """GiB."""
        instance = self._instance
        if instance.ended is not None and self.time >= instance.ended:
            return _IDLE_MEMORY_GIB
        elapsed = self.time - instance.started
        weights = instance.server.weights_gib
        if self.time < instance.ready_at:
            expected = instance.ready_at - instance.started
            share = min(1.0, elapsed / (expected if math.isfinite(expected) else 90.0))
            return min(0.5 + weights * share, instance.device_memory)
        return max(weights, instance.device_memory * instance.server.utilization)

    @property
    def total_memory(self) -> float:
        """GiB."""
        return self._instance.device_memory

    def _utilization_at(self, time: float) -> float:
        instance = self._instance
        if time < instance.started or (instance.ended is not None and time >= instance.ended):
            return 0.0
        if not instance.listens(time):
            return _LOADING_UTILIZATION
        busy = 1 - math.exp(-instance.concurrency(time) / _FULL_CONCURRENCY)
        wave = math.sin(time / (11.0 + self._index) + self._index)
        return min(0.99, busy * (0.96 + 0.04 * wave))


DeviceValue = Callable[[DeviceState], float]
_DeviceSeries = Mapping[str, tuple[tuple[Mapping[str, str], DeviceValue], ...]]
"""By name: what each series adds to the labels of the device, and its value."""


class DeviceExporter(InstanceExporter):
    """One accelerator of one instance; the Pod keeps it when the instance has ended. The labels of
    the Pod come as `exported_…`, since those of the target win (honorLabels false)."""

    def __init__(
        self,
        target: str,
        past: PastInstance,
        index: int,
        labels: Mapping[str, str],
        values: _DeviceSeries,
    ) -> None:
        self._index = index
        series = {
            name: tuple(
                ExportedSeries(sorted_labels({**labels, **more}), value) for more, value in entries
            )
            for name, entries in values.items()
        }
        super().__init__(target, past, series)

    @property
    def end(self) -> float:
        return self.past.replaced

    def state(self, time: float) -> DeviceState:
        return DeviceState(self.past.instance, self._index, time)


def device_exporters(past: PastInstance) -> Iterator[Exporter]:
    """One exporter for each accelerator of the instance."""
    resource = past.instance.server.resource
    for index in past.devices:
        if resource.startswith("nvidia.com/"):
            yield _nvidia_exporter(past, index)
        elif resource.startswith("furiosa.ai/"):
            yield _furiosa_exporter(past, index)


def _nvidia_exporter(past: PastInstance, index: int) -> Exporter:
    target = f"{past.place.host_address}:9400"
    labels = {
        **_exported_labels(past, "nvidia-dcgm-exporter", target),
        "gpu": str(index),
        "UUID": f"GPU-{_device_uuid(past, index)}",
        "device": f"nvidia{index}",
        "modelName": past.instance.device.replace("-", " "),
        "Hostname": past.place.node,
    }
    power = next((w for key, w in _BOARD_POWER.items() if key in past.instance.device), 300.0)
    values: dict[str, DeviceValue] = {
        "DCGM_FI_DEV_GPU_UTIL": lambda state: float(round(100 * state.utilization)),
        "DCGM_FI_DEV_GPU_TEMP": lambda state: float(
            round(state.temperature(31 + index % 4 + 44 * state.heat))
        ),
        "DCGM_FI_DEV_MEMORY_TEMP": lambda state: float(round(38 + index % 4 + 46 * state.heat)),
        "DCGM_FI_DEV_POWER_USAGE": lambda state: round(power * (0.11 + 0.8 * state.heat), 3),
        "DCGM_FI_DEV_FB_USED": lambda state: float(round(state.used_memory * _MEBIBYTES)),
        "DCGM_FI_DEV_FB_FREE": lambda state: float(
            round(state.total_memory * _MEBIBYTES) - round(state.used_memory * _MEBIBYTES)
        ),
        "DCGM_FI_DEV_XID_ERRORS": lambda _: 0.0,
    }
    entries: _DeviceSeries = {name: (({}, value),) for name, value in values.items()}
    return DeviceExporter(target, past, index, labels, entries)


def _furiosa_exporter(past: PastInstance, index: int) -> Exporter:
    target = f"{past.place.host_address}:6254"
    labels = {
        **_exported_labels(past, "furiosa-metrics-exporter", target),
        "arch": "rngd",
        "device": f"npu{index}",
        "uuid": _device_uuid(past, index).upper(),
        "pci_bus_id": f"0000:{0x17 + 0x10 * index:02x}:00.0",
        "driver_version": "2026.2.0",
        "firmware_version": "2026.2.0",
        "hostname": past.place.node,
    }
    of_device: _DeviceSeries = {
        "furiosa_npu_alive": (({}, lambda _: 1.0),),
        "furiosa_npu_hw_temperature": (
            (
                {"label": "peak"},
                lambda state: round(state.temperature(34 + index + 38 * state.heat), 1),
            ),
            ({"label": "ambient"}, lambda state: round(29 + index + 11 * state.heat, 1)),
        ),
        "furiosa_npu_hw_power": (
            ({"label": "rms"}, lambda state: round(_RNGD_POWER * (0.22 + 0.7 * state.heat), 2)),
        ),
        "furiosa_npu_dram_total": (({}, lambda state: state.total_memory * 2**30),),
        "furiosa_npu_dram_usage": (({}, lambda state: state.used_memory * 2**30),),
        "furiosa_npu_core_utilization": tuple(
            ({"core": str(core)}, lambda state: round(100 * state.utilization, 1))
            for core in range(_RNGD_CORES)
        ),
    }
    return DeviceExporter(target, past, index, {"core": "0-7", **labels}, of_device)


def _exported_labels(past: PastInstance, name: str, target: str) -> dict[str, str]:
    """The target's labels, and the Pod that uses the device."""
    return {
        "container": name,
        "endpoint": "metrics",
        "exported_container": past.instance.container,
        "exported_namespace": past.instance.namespace,
        "exported_pod": past.instance.pod,
        "instance": target,
        "job": name,
        "namespace": "kube-system",
        "pod": f"{name}-{hashlib.sha256(past.place.node.encode()).hexdigest()[:5]}",
        "service": name,
    }


def _device_uuid(past: PastInstance, index: int) -> str:
    digest = hashlib.sha256(f"{past.place.node}/{index}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
