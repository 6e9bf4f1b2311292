# shellcheck shell=bash
# Values that `notify:` of a project wants of this machine, for the master alone: with its secrets, in .infra/secrets/master/notify.
# The master reads the file when it starts; a container with other values is replaced, as with any other secret.

# collect_notify_values: writes what read_needs has learnt, or removes the file. Ends the program with 2 if something is missing.
collect_notify_values() {
  # shellcheck disable=SC2034 # collect_user_value adds to it
  local USER_VALUES=() key line file
  for key in notify notify_value; do
    while IFS='' read -r line; do
      [[ ! $line ]] || collect_user_value "$key" "$line"
    done <<<"${NEEDS[$key]:-}"
  done
  stop_on_problems 2
  [[ $MASTER && ! $DRY_RUN ]] || return 0
  file=$(secrets_path)/master/notify
  if ((${#USER_VALUES[@]} > 0)); then
    (umask 077 && print_user_values | write_secret "$file")
  else
    rm -f -- "$file"
  fi
}
