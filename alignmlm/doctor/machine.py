"""Checks of this machine: versions, devices, launchers, network, disk, data."""

import os
import platform
import shutil
import socket
import subprocess
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import alignmlm_kernels
import xxhash

import alignmlm
from alignmlm.corpus.sources import expand_path
from alignmlm.data.store import Store
from alignmlm.doctor.report import Check, Report
from alignmlm.errors import AlignMLMError
from alignmlm.ranks.cores import usable_cores
from alignmlm.ranks.devices import name_accelerator
from alignmlm.ranks.network import OUTSIDE, addresses, host_address, interface_towards
from alignmlm.storage.variables import expanded

GIB = 2**30
FEW_GIB, TOO_FEW_GIB = 20, 1  # of free disk
BUILDING_S = 600  # no C++ extension takes longer to compile
LIBRARIES = ("torch", "transformers", "numpy")


def this_machine(store: str | None) -> Report:
    """All checks of this machine; `store` is a data.store setting."""
    import torch

    checks = [
        Check("alignmlm", "ok", f"{alignmlm.__version__}, source {source_id()}"),
        Check("python", "ok", platform.python_version()),
        *(library(name) for name in LIBRARIES),
        deepspeed(),
        device(),
        triton(),
        mpi(),
        slurm(),
        network(),
        disk(Path.cwd()),
        extension_locks(extensions_folder()),
    ]
    if store is not None:
        checks.append(data_store(store))
    name = interface_towards(OUTSIDE)
    return Report(
        socket.gethostname(),
        checks,
        None if name is None else addresses()[name],
        torch.cuda.device_count(),
    )


def source_id() -> str:
    """A hash of the Python files of alignmlm and its kernels, independent of their location."""
    digest = xxhash.xxh3_64()
    for package in (alignmlm, alignmlm_kernels):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def library(name: str) -> Check:
    """The version of an installed library."""
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "problem", "not installed", f"pip install {name}")


def deepspeed() -> Check:
    """Whether DeepSpeed is installed and can be imported."""
    name_accelerator()
    try:
        import_module("deepspeed")
    except Exception as error:  # whatever a broken installation raises
        remedy = "install it after torch: DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed"
        return Check("deepspeed", "problem", f"import fails: {error!r}"[:200], remedy)
    return library("deepspeed")


def device() -> Check:
    """The device that the model will run on."""
    import torch

    if not torch.cuda.is_available():
        return Check("device", "ok", f"CPU, {usable_cores()} cores")
    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    kinds = ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))
    if torch.cuda.get_device_capability(0) < (8, 0):
        remedy = "set train.precision: fp32; bf16 needs compute capability 8.0"
        return Check("device", "warning", kinds, remedy)
    return Check("device", "ok", kinds)


def triton() -> Check:
    """Whether the GPU kernels can be compiled."""
    import torch

    if not torch.cuda.is_available():
        return Check("triton", "ok", "not used on CPU")
    try:
        import_module("triton")
    except ImportError as error:
        remedy = "pip install 'alignmlm[gpu]'; without it the losses run in plain PyTorch"
        return Check("triton", "warning", str(error), remedy)
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        return Check(
            "triton", "problem", "no C compiler", "install gcc: Triton's launchers need it"
        )
    return library("triton")


def mpi() -> Check:
    """The versions of mpirun and mpi4py; only runs started by mpirun need them."""
    if shutil.which("mpirun") is None:
        return Check("MPI", "ok", "no mpirun")
    version_line = first_line("mpirun", "--version")
    try:
        return Check("MPI", "ok", f"{version_line}; mpi4py {version('mpi4py')}")
    except PackageNotFoundError:
        remedy = "pip install 'alignmlm[mpi]', or set MASTER_ADDR and MASTER_PORT for mpirun"
        return Check("MPI", "warning", f"{version_line}; no mpi4py", remedy)


def slurm() -> Check:
    """The version of SLURM; only runs started by srun need it."""
    if shutil.which("srun") is None:
        return Check("SLURM", "ok", "no srun")
    version_line = first_line("srun", "--version")
    return Check(
        "SLURM",
        "ok",
        version_line if version_line.startswith("slurm") else "srun without its SLURM",
    )


def first_line(*command: str) -> str:
    """The first line that a program prints, or what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} fails: {error}"
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def network() -> Check:
    """The interface that leads to the other nodes."""
    name = interface_towards(OUTSIDE)
    if name is None:
        return Check("network", "warning", "loopback only", "one machine can train, several cannot")
    interface = f"{name} {addresses()[name]}"
    if chosen := os.environ.get("GLOO_SOCKET_IFNAME"):
        if not set(chosen.split(",")) <= addresses().keys():
            remedy = f"set GLOO_SOCKET_IFNAME to one of {', '.join(sorted(addresses()))}"
            return Check("network", "problem", f"GLOO_SOCKET_IFNAME={chosen}", remedy)
        return Check("network", "ok", f"{chosen} (GLOO_SOCKET_IFNAME)")
    if host_address().startswith("127."):
        remedy = f"/etc/hosts leads the host's name to {host_address()}; gloo is told to use {name}"
        return Check("network", "warning", interface, remedy)
    return Check("network", "ok", interface)


def disk(folder: Path) -> Check:
    """Free space where runs are written."""
    free_gib = shutil.disk_usage(folder).free / GIB
    free_space, remedy = f"{free_gib:.0f} GiB", f"make room in {folder}, or set run.dir elsewhere"
    if free_gib < TOO_FEW_GIB:
        return Check("free disk", "problem", free_space, remedy)
    return Check("free disk", "warning" if free_gib < FEW_GIB else "ok", free_space, remedy)


def extensions_folder() -> Path:
    """Where torch keeps the C++ extensions that it compiles."""
    default = expanded("~/.cache/torch_extensions")
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or default)


def extension_locks(folder: Path) -> Check:
    """Locks of killed compilations: every later run waits for them silently."""
    now, name = time.time(), "extensions"
    locks = [path for pattern in ("*/lock", "*/*/lock") for path in folder.glob(pattern)]
    old = [str(lock) for lock in locks if now - lock.stat().st_mtime > BUILDING_S]
    if old:
        return Check(name, "problem", f"{len(old)} stale locks", f"remove {' '.join(old)}")
    if locks:
        remedy = "if nothing compiles now, remove " + " ".join(map(str, locks))
        return Check(name, "warning", f"{len(locks)} locks", remedy)
    return Check(name, "ok", "no lock")


def data_store(setting: str) -> Check:
    """The hash of a store's manifest."""
    try:
        return Check("data store", "ok", Store(expand_path(setting)).manifest.data_id)
    except (AlignMLMError, OSError) as error:
        remedy = f"build or copy it to {setting}: alignmlm data build"
        return Check("data store", "problem", str(error)[:200], remedy)
