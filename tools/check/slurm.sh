#!/usr/bin/env bash
# Checks `dream submit slurm` on a real Slurm of one node, started here and stopped at the end: shards that
# are requeued, told of their time limit and killed in the middle must end at the digests of one process.
#
#     apt-get install slurm-wlm munge        # Debian's packages; their services need not run
#     tools/check/slurm.sh path/to/dream [FOLDER]
#
# Everything it writes is below FOLDER (a new one without it), which is kept when something fails.
set -euo pipefail
program=$(realpath "$1")
data=$(realpath "${DREAM_DATA:-$(dirname "$0")/../../data}")
here=${2:-$(mktemp -d)}
mkdir -p "$here" && cd "$here"
export SLURM_CONF=$here/slurm.conf DREAM_DATA=$data
say() { echo "== $(date +%T) $*" >&2; }
dream() { "$program" "$@"; }

# --- the cluster --------------------------------------------------------------------------------------------
user=$(id -un)
mkdir -p munge state spool && chmod 700 munge
head -c 1024 /dev/urandom > munge/key && chmod 400 munge/key
cat > slurm.conf <<CONF
ClusterName=check
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$here/munge/socket,cred_expire=5
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=20
MinJobAge=300
GresTypes=gpu
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
# Files stand for two GPUs: what is checked is that each task asks for one.
touch gpu0 gpu1
echo "Name=gpu File=$here/gpu[0-1]" > gres.conf
stop() {
    code=$?
    for daemon in slurmd slurmctld munge/d; do
        [ -s $daemon.pid ] && kill "$(cat $daemon.pid)" 2>/dev/null || true
    done
    if [ $code -ne 0 ]; then say "failed; what there is lies in $here"; fi
}
trap stop EXIT
munged --force --key-file=munge/key --socket="$here/munge/socket" --pid-file="$here/munge/d.pid" \
    --log-file="$here/munge/log" --seed-file="$here/munge/seed"
slurmctld -c
slurmd -N "$(hostname)" -c
for _ in $(seq 30); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 1; done
sinfo >&2

# --- one process --------------------------------------------------------------------------------------------
sed -e "s#\"\.\./#\"$data/#" -e 's/^per_class = .*/per_class = 48/' \
    -e 's/^epochs = .*/epochs = 1/' -e 's/^name = "quick"/name = "check"/' \
    -e '/sneaker\|letters\|objects\|textures/d' "$data/presets/quick.toml" > check.toml
digests() { dream --store "$1" --format csv sql 'SELECT stage, run, digest FROM runs ORDER BY 1, 2'; }
say "one process"
dream -q --store one.redb run check.toml > one.txt
digests one.redb > one.csv

# --- Slurm --------------------------------------------------------------------------------------------------
queue() { squeue -h -r "$@"; }
wait_empty() {
    for _ in $(seq 600); do [ -z "$(queue)" ] && return; sleep 1; done
    queue >&2
    say "the queue does not empty"
    return 1
}
# Waits until a task of the job imagine has stored pictures, and prints its number.
in_the_middle() {
    for _ in $(seq 600); do
        id=$(queue -n check-imagine -t R -o %A | head -n 1 || true)
        store=$(ls job/stores/imagine-*-of-*.redb 2>/dev/null | head -n 1 || true)
        if [ -n "$id" ] && [ -n "$store" ]; then
            count=$(dream -q --store "$store" --format csv sql 'SELECT count(*) FROM images' 2>/dev/null \
                | tail -n 1 || true)
            if [ "${count:-0}" -gt 0 ]; then echo "$id"; return; fi
        fi
        sleep 0.2
    done
    return 1
}
submit() {
    dream --store many.redb --batch-size 2 --threads 1 submit slurm check.toml --shards 2 --folder job \
        --cpus 1 --gres gpu:1 "$@"
}
say "submitted"
submit > submitted.txt
cat submitted.txt >&2
if submit > again.txt 2>&1; then say "a job in the queue was submitted again"; exit 1; fi
grep -q "in the queue" again.txt

say "requeued in the middle (scontrol requeue: SIGTERM)"
id=$(in_the_middle)
scontrol requeue "$id"
sleep 5
say "told of the time limit in the middle (SIGUSR1: queues itself again)"
id=$(in_the_middle)
scancel --batch --signal=USR1 "$id"
sleep 5
say "killed in the middle (SIGKILL: the task fails, what waits for it goes)"
id=$(in_the_middle)
kill -KILL $(pgrep -f "submit task $here/job imagine" | head -n 1)
wait_empty
grep -h -c "143\|interrupted" job/logs/imagine-*.log >&2 || true
[ ! -e many.redb ] || { say "the store was written before the last job"; exit 1; }

say "submitted again: what is missing"
submit > submitted.txt
wait_empty
digests many.redb > many.csv
diff one.csv many.csv
cat job/logs/merge-*.log > merged.txt
grep -q evaluate-plain merged.txt
dream --store many.redb -q verify
say "once more: nothing is left to do"
submit | grep -q "everything is in the store already"
grep -h "Gres\|gres" job/imagine.sh >&2

say "scancel: ends the pictures in hand, and does not come back"
dream -q --store half.redb embed --preset check.toml > /dev/null
sed -i 's/^per_class = .*/per_class = 96/' check.toml
rm -r job
submit > submitted.txt
id=$(in_the_middle)
scancel $(awk '/tasks/ { print $1 }' submitted.txt)
wait_empty
sleep 2
[ -z "$(queue)" ]
grep -h "interrupted" job/logs/imagine-*.log >&2
say "all is well"
[ -n "${2:-}" ] || rm -r "$here"
