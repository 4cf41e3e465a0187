"""Engine policy: what a ds_configs file may set, namely what the recipe does not own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from alignmlm.errors import ConfigError, nearest
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.typed_settings import check

FloatName = Literal["fp32", "fp16", "bf16"]
Section = dict[str, Any]  # DeepSpeed itself knows the keys, and refuses others
# torch_autocast is left out: DeepSpeed imports the modules that it names
POLICY: dict[str, Any] = {
    "zero_optimization": Section,
    "comms_logger": Section,
    "activation_checkpointing": {
        "partition_activations": bool, "contiguous_memory_optimization": bool, "profile": bool,
        "cpu_checkpointing": bool, "number_checkpoints": int | None,
        "synchronize_checkpoint_boundary": bool,
    },
    "aio": {
        "block_size": int, "queue_depth": int, "intra_op_parallelism": int, "thread_count": int,
        "single_submit": bool, "overlap_events": bool, "use_gds": bool,
    },
    "flops_profiler": {
        "enabled": bool, "profile_step": int, "module_depth": int, "top_modules": int,
        "detailed": bool, "output_file": str | None, "recompute_fwd_factor": float,
    },
    "data_types": {"grad_accum_dtype": FloatName},
    "communication_data_type": FloatName,
    "gradient_predivide_factor": float,
    "steps_per_print": float,
    "prescale_gradients": bool,
    "zero_allow_untested_optimizer": bool,
    "zero_force_ds_cpu_optimizer": bool,
    "wall_clock_breakdown": bool,
    "memory_breakdown": bool,
    "dump_state": bool,
}  # fmt: skip
OWNERS = {  # settings of the recipe that own a key
    "train_batch_size": "train.batch_rows",
    "train_micro_batch_size_per_gpu": "train.micro_rows",
    "gradient_accumulation_steps": "train.micro_rows",
    "gradient_clipping": "optimizer.clip_norm",
    "bf16": "train.precision",
    "fp16": "train.precision",
    "optimizer": "the optimizer section",
    "scheduler": "optimizer.warmup_steps",
}


def read_policy(path: Path | None) -> dict[str, Any]:
    """The settings of a ds_configs file; ZeRO 1 where there is none.

    Raises:
        ConfigError: no such file, not a JSON object, an unknown key or a value of a wrong type.
    """
    if path is None:
        return {"zero_optimization": {"stage": 1}}
    policy = read_json(path, ConfigError)
    owned = {key: value for key, value in policy.items() if key in OWNERS}
    check_keys({key: policy[key] for key in policy.keys() - owned.keys()}, POLICY, "", str(path))
    for name in ("steps_per_print", "gradient_predivide_factor"):
        if policy.get(name, 1) <= 0:
            raise ConfigError(f"{path}: {name}", policy[name], "be above 0")
    for name in ("offload_optimizer", "offload_param"):
        section = policy.get("zero_optimization", {}).get(name)
        check(Section | None, section, f"zero_optimization.{name}", str(path))
    return policy


def check_keys(values: dict[str, Any], hints: dict[str, Any], prefix: str, place: str) -> None:
    """Raise unless keys are known and their values of the right types.

    Raises:
        ConfigError: they are not.
    """
    for key, value in values.items():
        if key not in hints:
            hint = nearest(key, [*hints, *([] if prefix else OWNERS)])
            requirement = f"be left out: no such setting{hint}"
            raise ConfigError(f"{place}: {prefix}{key}", value, requirement)
        known = hints[key]
        check(Section if isinstance(known, dict) else known, value, prefix + key, place)
        if isinstance(known, dict):
            check_keys(value, known, f"{key}.", place)


@contextmanager
def deepspeed_errors_named(settings: dict[str, Any]) -> Iterator[None]:
    """Turn DeepSpeed's own refusal of its configuration into an error that names the key.

    Raises:
        ConfigError: DeepSpeed rejects the configuration.
    """
    from deepspeed.runtime.config import DeepSpeedConfigError
    from deepspeed.runtime.zero.utils import ZeRORuntimeException
    from pydantic import ValidationError

    refusals = (DeepSpeedConfigError, ZeRORuntimeException, NotImplementedError, AssertionError)
    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        requirement = f"be valid for DeepSpeed ({problem['msg']})"
        raise ConfigError(f"--deepspeed: {key}", problem["input"], requirement) from error
    except (*refusals, ValueError) as error:
        policy = {key: value for key, value in settings.items() if key in POLICY}
        raise ConfigError(
            "--deepspeed", policy, f"be a configuration that DeepSpeed accepts ({error})"
        ) from error
