# shellcheck shell=bash
# Everything the scripts at the top level share. They source this file first.

# Must be readable for any older bash, so that it can say what is wrong.
if [ -z "${BASH_VERSINFO:-}" ] || [ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -lt 44 ]; then
  echo "this needs bash 4.4 or newer, and runs in bash ${BASH_VERSION:-(none)}: start it with a newer one" >&2
  exit 1
fi
set -euo pipefail
shopt -s inherit_errexit

CHECKOUT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P) # this copy of the tool, absolute
readonly CHECKOUT

# shellcheck source=framework/shell/messages.sh
source "$CHECKOUT/framework/shell/messages.sh"
# shellcheck source=framework/shell/run.sh
source "$CHECKOUT/framework/shell/run.sh"
# shellcheck source=framework/shell/remote.sh
source "$CHECKOUT/framework/shell/remote.sh"
# shellcheck source=framework/shell/settings.sh
source "$CHECKOUT/framework/shell/settings.sh"
# shellcheck source=framework/shell/hosts.sh
source "$CHECKOUT/framework/shell/hosts.sh"
# shellcheck source=framework/shell/checks.sh
source "$CHECKOUT/framework/shell/checks.sh"
# shellcheck source=framework/shell/install.sh
source "$CHECKOUT/framework/shell/install.sh"
# shellcheck source=framework/shell/record.sh
source "$CHECKOUT/framework/shell/record.sh"
# shellcheck source=framework/shell/images.sh
source "$CHECKOUT/framework/shell/images.sh"
# shellcheck source=framework/shell/secrets.sh
source "$CHECKOUT/framework/shell/secrets.sh"
# shellcheck source=framework/shell/files.sh
source "$CHECKOUT/framework/shell/files.sh"
# shellcheck source=framework/shell/containers.sh
source "$CHECKOUT/framework/shell/containers.sh"
