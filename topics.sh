#!/usr/bin/env bash
# Creates the topics that are missing, with the settings that they need, and reports those that differ.
#
#   ./topics.sh           ask the broker; what exists is left as it is
#   ./topics.sh --print   print each topic and its settings; asks no broker
#
# Environment, with the defaults:
#   BOOTSTRAP_SERVERS   localhost:9092
#   SCHEDULES_TOPICS    schedules               separated by commas
#   HISTORY_TOPIC       history
#   DEAD_LETTER_TOPIC   dead-letters
#   RESULTS_TOPIC       results
#   CLUSTERS            cluster-a,cluster-b     each makes the topics <cluster> and <cluster>-retry
#   PARTITIONS          8                       the most replicas that can share the work
#   REPLICATION_FACTOR  1                       3 in production
#   COMMAND_CONFIG      -                       properties file for Kafka's tools, where the broker asks for TLS or SASL
#
# Uses Kafka's own kafka-topics.sh; where there is none, `scheduler topics --create` does the same.
set -euo pipefail
cd "$(dirname "$0")"

export BOOTSTRAP_SERVERS=${BOOTSTRAP_SERVERS:-localhost:9092}
PARTITIONS=${PARTITIONS:-8}
REPLICATION_FACTOR=${REPLICATION_FACTOR:-1}
MINUTE=60000
HOUR=$((60 * MINUTE))
DAY=$((24 * HOUR))

settings() { # settings KIND: one setting a line
  case $1 in
  schedules)
    # The store: the last version of each schedule stays for as long as it takes.
    echo cleanup.policy=compact
    echo retention.ms=-1
    # An update that a firing crossed stays readable this long, so that the next owner can mend it after a crash.
    echo min.compaction.lag.ms=$((10 * MINUTE))
    # A quiet topic is compacted too: payloads of fired and cancelled schedules are gone after a week.
    echo max.compaction.lag.ms=$((7 * DAY))
    # A restore has to finish within this time, or a tombstone may be gone before the schedule under it was read.
    echo delete.retention.ms=$DAY
    # The newest segment is never compacted: roll it often, so that a restart does not read a week of fired schedules.
    echo segment.ms=$((6 * HOUR))
    # Compact at a tenth of waste, not at half: costs the broker some reading, makes restores short.
    echo min.cleanable.dirty.ratio=0.1
    # message.timestamp.type stays CreateTime: a relative delay and `scheduler-timestamp` mean the moment the client
    # asked, also after the topic was mirrored or restored. A client's clock that runs ahead holds up compaction by an
    # hour at most, because Kafka 4 refuses later timestamps.
    ;;
  history)
    # The audit: what became of every schedule, for a month; stamped by the brokers, whose clock it can hold on to.
    echo cleanup.policy=delete
    echo retention.ms=$((30 * DAY))
    echo message.timestamp.type=LogAppendTime
    ;;
  results)
    # What became of every attempt, for a month.
    echo cleanup.policy=delete
    echo retention.ms=$((30 * DAY))
    ;;
  dead-letters)
    # Nobody else has these any more: kept until someone deals with them.
    echo cleanup.policy=delete
    echo retention.ms=-1
    ;;
  cluster)
    # Workers that are down for a week lose nothing.
    echo cleanup.policy=delete
    echo retention.ms=$((7 * DAY))
    ;;
  esac
  # With three replicas, one may be down and no acknowledged record is on a single disk.
  if [ "$REPLICATION_FACTOR" -ge 3 ]; then echo min.insync.replicas=2; fi
}

names() { # names LIST: a comma list, one name a line
  printf '%s' "$1" | tr -d ' ' | tr ',' '\n' | grep . || true
}

plan() { # one topic a line: name, then its settings
  local name
  {
    for name in $(names "${SCHEDULES_TOPICS:-schedules}"); do echo "$name schedules"; done
    echo "${HISTORY_TOPIC:-history} history"
    echo "${DEAD_LETTER_TOPIC:-dead-letters} dead-letters"
    echo "${RESULTS_TOPIC:-results} results"
    for name in $(names "${CLUSTERS:-cluster-a,cluster-b}"); do printf '%s cluster\n' "$name" "$name-retry"; done
  } | while read -r name kind; do echo "$name" "$(settings "$kind" | paste -s -d ' ' -)"; done
}

tool() { # tool NAME ARGUMENT...: one of Kafka's own scripts, against the broker
  local name=$1 said
  shift
  # They write their errors to standard output. They get no input, or they would eat the plan.
  if said=$("$TOOLS/$name" --bootstrap-server "$BOOTSTRAP_SERVERS" \
    ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} "$@" </dev/null); then
    echo "$said"
  else
    said=$(grep -m 1 '^Error' <<<"$said" || tail -n 3 <<<"$said")
    echo "topics.sh: $name $1 failed at $BOOTSTRAP_SERVERS: $said" >&2
    return 1
  fi
}

report() { # report TOPIC SETTING...: what the broker says otherwise; the settings in force come on standard input
  local topic=$1 setting actual found
  shift
  found=$(sed -n "/^All configs for topic $topic are:/,/^All configs for topic/p" | sed -E 's/^ *([^ ]+) .*/\1/')
  for setting in "$@"; do
    actual=$(grep -m 1 "^${setting%%=*}=" <<<"$found" || true)
    if [ "$actual" != "$setting" ]; then
      echo "$topic: ${actual:-${setting%%=*} is not known to this broker}, and should be ${setting#*=}" >&2
    fi
  done
}

for number in PARTITIONS REPLICATION_FACTOR; do
  if ! [[ ${!number} =~ ^[1-9][0-9]*$ ]]; then
    echo "topics.sh: $number is '${!number}'; it is a whole number from 1." >&2
    exit 2
  fi
done

case ${1:-} in
'') ;;
--print)
  plan
  exit
  ;;
*)
  sed -n '2,5p' topics.sh >&2
  exit 2
  ;;
esac

TOOLS=
for folder in "$(dirname "$(command -v kafka-topics.sh || true)")" "${KAFKA_HOME:-/opt/kafka}/bin" /opt/kafka/bin; do
  if [ -x "$folder/kafka-topics.sh" ]; then TOOLS=$folder && break; fi
done
if [ -z "$TOOLS" ]; then
  for scheduler in scheduler .venv/bin/scheduler; do
    if command -v "$scheduler" >/dev/null; then exec "$scheduler" topics --create; fi
  done
  echo "topics.sh: neither kafka-topics.sh nor scheduler was found: set KAFKA_HOME, or run make install." >&2
  exit 1
fi

existing=$(tool kafka-topics.sh --list)
known=
plan | while read -r topic wanted; do
  if grep -qxF "$topic" <<<"$existing"; then
    known=${known:-$(tool kafka-configs.sh --describe --all --entity-type topics)}
    echo "$topic: exists"
    # shellcheck disable=SC2086 # the settings are words
    report "$topic" $wanted <<<"$known"
  else
    # shellcheck disable=SC2046,SC2086
    tool kafka-topics.sh --create --if-not-exists --topic "$topic" --partitions "$PARTITIONS" \
      --replication-factor "$REPLICATION_FACTOR" $(printf ' --config %s' $wanted) >/dev/null
    echo "$topic: created"
  fi
done
