#!/bin/sh
# Runs each target under libFuzzer for FUZZ_SECONDS and says what came of it; ends with 1 if an input failed.
# FUZZ names one target; FUZZ_KEEP=1 keeps the shortest of what was found in tests/fuzz/corpus.
fuzz=$1
work=$2
failed=0
printf '%-14s %10s %8s %8s  %s\n' target tried covered inputs outcome
CORPUS=list "$fuzz" > "$work/list" 2> /dev/null || exit 2
while read -r name longest; do
  [ -z "$FUZZ" ] || [ "$FUZZ" = "$name" ] || continue
  export FUZZ_TARGET="$name"
  corpus=$work/corpus/$name
  CORPUS=unpack FOLDER=$corpus "$fuzz" 2> /dev/null || exit 2
  log=$work/$name.log
  outcome=well
  "$fuzz" -max_total_time="${FUZZ_SECONDS:-60}" -max_len="$longest" -timeout=5 -rss_limit_mb=1024 \
    -artifact_prefix="$work/failed-$name-" -print_final_stats=1 "$corpus" > "$log" 2>&1 || {
    outcome="FAILED: see $log"
    failed=1
  }
  tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  printf '%-14s %10s %8s %8s  %s\n' "$name" "${tried:--}" "${covered:--}" "$(find "$corpus" -type f | wc -l)" "$outcome"
  if [ -n "$FUZZ_KEEP" ] && [ "$outcome" = well ]; then
    rm -rf "$work/merged" && mkdir -p "$work/merged"
    "$fuzz" -merge=1 -max_len="$longest" "$work/merged" "$corpus" > /dev/null 2>&1
    CORPUS=pack FOLDER=$work/merged "$fuzz" 2> /dev/null || exit 2
  fi
done < "$work/list"
exit $failed
