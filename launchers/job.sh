# shellcheck shell=bash
# What the batch scripts share: a job step that saves when time is nearly up, and the job's next start.

# shellcheck disable=SC2034 # the batch scripts put it before python; env.sh fills it
container=()
REQUEUE_EXIT_CODE=85 # "saved because of a signal, start me again": alignmlm/errors.py

# The job's id. That of an array's last element stands for the whole array, so elements are named instead.
job="$SLURM_JOB_ID"
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"

say() {
    echo "$(date +%FT%T) job $job, start $((${SLURM_RESTART_COUNT:-0} + 1)): $*"
}

# Only SLURM and the site's file say what the ranks are, not the shell that called sbatch.
clean_environment() {
    unset RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT
    export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
    # srun does not inherit this one from sbatch by itself
    [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
}

# USR1 comes before the time limit: the ranks save and end. srun passes it on to every rank.
told=0
ask_to_save() {
    told=1
    say "asked to save"
    if [ "${ELASTIC:-0}" = 1 ]; then
        scancel --signal=TERM "$job" # torchrun passes this one on, and restarts nothing
    else
        kill -USR1 "$step"
    fi
}

# TERM comes with scancel, the time limit and preemption, and reaches the ranks too: wait until they have saved.
cancelled=0
wait_for_ranks() {
    cancelled=1
    say "being ended; waiting for the ranks"
}

# Run a job step; its exit code is left in $code.
run_step() {
    trap ask_to_save USR1
    trap wait_for_ranks TERM
    "$@" &
    step=$!
    while true; do
        wait "$step" # a signal ends the wait, not the step
        code=$?
        kill -0 "$step" 2>/dev/null || break
    done
    say "the ranks ended with exit code $code"
}

# Start the job again if it saved because of a signal; else it ends with the step's exit code.
end_job() {
    if [ "$cancelled" = 1 ] || [ "$code" = 0 ]; then
        exit "$code"
    fi
    # after a signal a rank may also have been ended before it could say that all have saved
    if [ "$code" = "$REQUEUE_EXIT_CODE" ] || [ "$told" = 1 ]; then
        say "going on in the next start"
        scontrol requeue "$job" || say "could not be requeued; submit it again by hand"
    fi
    exit "$code"
}
