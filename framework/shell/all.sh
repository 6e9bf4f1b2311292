# shellcheck shell=bash
# Everything that the scripts at the top level share. They source this file first.

# These lines must parse in any older bash, so that it can report that it is too old.
if [ -z "${BASH_VERSINFO:-}" ] || [ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -lt 44 ]; then
  echo "this needs bash 4.4 or newer, and runs in bash ${BASH_VERSION:-(none)}: start it with a newer one" >&2
  exit 1
fi
set -euo pipefail
shopt -s inherit_errexit

CHECKOUT=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd -P) # this copy of the tool, absolute
readonly CHECKOUT

# shellcheck source=framework/shell/messages.sh
source "$CHECKOUT/framework/shell/messages.sh"
# shellcheck source=framework/shell/progress.sh
source "$CHECKOUT/framework/shell/progress.sh"
# shellcheck source=framework/shell/text.sh
source "$CHECKOUT/framework/shell/text.sh"
# shellcheck source=framework/shell/run.sh
source "$CHECKOUT/framework/shell/run.sh"
# shellcheck source=framework/shell/parallel.sh
source "$CHECKOUT/framework/shell/parallel.sh"
# shellcheck source=framework/shell/options.sh
source "$CHECKOUT/framework/shell/options.sh"
# shellcheck source=framework/shell/config.sh
source "$CHECKOUT/framework/shell/config.sh"
# shellcheck source=framework/shell/project_directory.sh
source "$CHECKOUT/framework/shell/project_directory.sh"
# shellcheck source=framework/shell/ssh.sh
source "$CHECKOUT/framework/shell/ssh.sh"
# shellcheck source=framework/shell/archives.sh
source "$CHECKOUT/framework/shell/archives.sh"
# shellcheck source=framework/shell/fetch.sh
source "$CHECKOUT/framework/shell/fetch.sh"
# shellcheck source=framework/shell/fetch_progress.sh
source "$CHECKOUT/framework/shell/fetch_progress.sh"
# shellcheck source=framework/shell/fetch_rounds.sh
source "$CHECKOUT/framework/shell/fetch_rounds.sh"
# shellcheck source=framework/shell/result_tables.sh
source "$CHECKOUT/framework/shell/result_tables.sh"
# shellcheck source=framework/shell/fetcher.sh
source "$CHECKOUT/framework/shell/fetcher.sh"
# shellcheck source=framework/shell/host_list.sh
source "$CHECKOUT/framework/shell/host_list.sh"
# shellcheck source=framework/shell/hosts.sh
source "$CHECKOUT/framework/shell/hosts.sh"
# shellcheck source=framework/shell/roles.sh
source "$CHECKOUT/framework/shell/roles.sh"
# shellcheck source=framework/shell/tolerance.sh
source "$CHECKOUT/framework/shell/tolerance.sh"
# shellcheck source=framework/shell/checks.sh
source "$CHECKOUT/framework/shell/checks.sh"
# shellcheck source=framework/shell/install.sh
source "$CHECKOUT/framework/shell/install.sh"
# shellcheck source=framework/shell/state.sh
source "$CHECKOUT/framework/shell/state.sh"
# shellcheck source=framework/shell/lock.sh
source "$CHECKOUT/framework/shell/lock.sh"
# shellcheck source=framework/shell/images.sh
source "$CHECKOUT/framework/shell/images.sh"
# shellcheck source=framework/shell/stored_images.sh
source "$CHECKOUT/framework/shell/stored_images.sh"
# shellcheck source=framework/shell/project_image.sh
source "$CHECKOUT/framework/shell/project_image.sh"
# shellcheck source=framework/shell/pip_settings.sh
source "$CHECKOUT/framework/shell/pip_settings.sh"
# shellcheck source=framework/shell/files.sh
source "$CHECKOUT/framework/shell/files.sh"
# shellcheck source=framework/shell/pki.sh
source "$CHECKOUT/framework/shell/pki.sh"
# shellcheck source=framework/shell/secrets.sh
source "$CHECKOUT/framework/shell/secrets.sh"
# shellcheck source=framework/shell/staging.sh
source "$CHECKOUT/framework/shell/staging.sh"
# shellcheck source=framework/shell/git_commit.sh
source "$CHECKOUT/framework/shell/git_commit.sh"
# shellcheck source=framework/shell/tunnel.sh
source "$CHECKOUT/framework/shell/tunnel.sh"
# shellcheck source=framework/shell/mounts.sh
source "$CHECKOUT/framework/shell/mounts.sh"
# shellcheck source=framework/shell/docker_options.sh
source "$CHECKOUT/framework/shell/docker_options.sh"
# shellcheck source=framework/shell/containers.sh
source "$CHECKOUT/framework/shell/containers.sh"
# shellcheck source=framework/shell/drain.sh
source "$CHECKOUT/framework/shell/drain.sh"
# shellcheck source=framework/shell/broker_port.sh
source "$CHECKOUT/framework/shell/broker_port.sh"
# shellcheck source=framework/shell/answers.sh
source "$CHECKOUT/framework/shell/answers.sh"
# shellcheck source=framework/shell/one_off.sh
source "$CHECKOUT/framework/shell/one_off.sh"
# shellcheck source=framework/shell/user_values.sh
source "$CHECKOUT/framework/shell/user_values.sh"
# shellcheck source=framework/shell/notify.sh
source "$CHECKOUT/framework/shell/notify.sh"
# shellcheck source=framework/shell/unchanged.sh
source "$CHECKOUT/framework/shell/unchanged.sh"
# shellcheck source=framework/shell/journal.sh
source "$CHECKOUT/framework/shell/journal.sh"
