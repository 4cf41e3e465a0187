# shellcheck shell=bash
# The one file that a site edits. `alignmlm launch` reads it before it calls sbatch, each job before it starts.

SITE_PARTITION=""               # where jobs go; empty: the cluster's default
SITE_ACCOUNT=""                 # who pays; empty: the user's default
SITE_MODULES=""                 # what to `module load`, such as "gcc/13 cuda/12.8"
SITE_VENV=".venv"               # the Python environment; empty, or .venv where there is none: that of the submission
SITE_CONTAINER=""               # what starts Python on every node, such as "apptainer exec --nv alignmlm.sif"; empty: nothing
SITE_SCRATCH="/tmp"             # on a disk of each node, for what is compiled there
SITE_INTERFACE=""               # network interface between the nodes, as in `ip link`; empty: chosen automatically
SITE_MASTER=""                  # address of the first node; empty: its name in SLURM
export ALIGNMLM_DATA="${ALIGNMLM_DATA:-../shared/data}"  # what recipes call $ALIGNMLM_DATA

# Nothing below depends on the site.

[ -z "$SITE_PARTITION" ] || export SBATCH_PARTITION="$SITE_PARTITION"
[ -z "$SITE_ACCOUNT" ] || export SBATCH_ACCOUNT="$SITE_ACCOUNT"
for each in $SITE_MODULES; do
    module load "$each"
done
if [ -n "$SITE_VENV" ] && { [ "$SITE_VENV" != .venv ] || [ -d .venv ]; }; then
    # shellcheck source=/dev/null
    . "$SITE_VENV/bin/activate" || exit 2
fi
if [ -n "$SITE_INTERFACE" ]; then
    export GLOO_SOCKET_IFNAME="$SITE_INTERFACE" NCCL_SOCKET_IFNAME="$SITE_INTERFACE"
fi
export TORCH_EXTENSIONS_DIR="$SITE_SCRATCH/alignmlm-$UID/torch" # a lock left by a dead node would hang a run
export TRITON_CACHE_DIR="$SITE_SCRATCH/alignmlm-$UID/triton"
# shellcheck disable=SC2034 # the batch scripts put it before python
read -ra container <<<"$SITE_CONTAINER"
export SITE_MASTER
