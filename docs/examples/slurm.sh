#!/bin/bash
#SBATCH --job-name=calvin-abc-d
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120

set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate
export CALVIN_ASSETS=/shared/calvin
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID        # short, and on a local disk

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)   # head would break the pipe
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname -I | awk '{print $1}'):6379

srun --nodes=1 --ntasks=1 -w "$head" ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 15
if (( SLURM_JOB_NUM_NODES > 1 )); then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

# On the head's own node: a driver that joins as part of the cluster.
vla-bench run benchmark=calvin_abc_d policy=my_policy.py:MyPolicy \
    run.address="$address" run.workers=$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK)) \
    run.name=my-policy-abc-d run.results=/shared/results &
driver=$!
trap 'kill -TERM $driver' TERM
wait $driver || wait $driver                    # the trap ends the first wait
