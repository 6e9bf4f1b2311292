# shellcheck shell=bash
# The results come home while infrainit.sh waits for the tasks, so that little is left to do at the end, and a host that dies takes
# nothing with it that had ended. get_results.sh does that beside it.

FETCHER=''         # process id of get_results.sh
FETCHER_STDIN=none # descriptor of its stdin: a line, or the end of this script, has it end with one more round

start_fetching() {
  exec {FETCHER_STDIN}> >(FOLLOW_STDIN=yes exec "$CHECKOUT/get_results.sh" --follow)
  FETCHER=$!
}

# end_fetching: fetches the rest; fails if something could not be.
end_fetching() {
  local fetcher=$FETCHER
  FETCHER=''
  if kill -0 "$fetcher" 2>/dev/null; then
    (echo >&"$FETCHER_STDIN") 2>/dev/null || true # what a subshell writes to a process that ends meanwhile ends no other
    wait "$fetcher"
  else # it has met with something that may have passed
    "$CHECKOUT/get_results.sh"
  fi
}

# stop_fetching: what it is about to fetch stays on the hosts.
stop_fetching() {
  [[ $FETCHER ]] || return 0
  kill "$FETCHER" 2>/dev/null || true # it may have ended
  wait "$FETCHER" 2>/dev/null || true # it was killed
  FETCHER=''
}
