#!/usr/bin/env bats
# framework/shell/git_commit.sh: tasks can ask git for the commit of the project's checkout.

# shellcheck disable=SC2016,SC2034,SC2154 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
  INFRASTRUCTURE=infra-01234567
  HOSTS=(far) HOST_NAMES=(far) SSH_DESTINATIONS=(far) SSH_PORTS=('')
  FACTS=([0.home]="$HOME/far home")
  REMOTE_PATH="my tasks"
  stub ssh 'exec sh -c "${@: -1}"'
  prepare_ssh
  make_project digits
  stub docker
  RUNNER_IMAGE_ID=infrainit-runner:0123456789ab WORKER_IMAGE_ID=infrainit-worker:0123456789ab
  PROJECT_NAME=digits PROJECT_PATH="$TOOL/tasks/digits"
  CODE="$HOME/far home/my tasks/code/digits"
}

teardown() {
  remove_stage
  close_connections
}

# commit: makes the project's directory a repository with one commit more, which changes no file.
commit() {
  git -C "$PROJECT_PATH" init --quiet
  git -C "$PROJECT_PATH" -c user.name=a -c user.email=b commit --quiet --allow-empty --message 'a message'
}

# push: a version, to the host; sets HEAD to the commit, and makes task/.git, as in a task.
push() {
  stage_code
  name_version
  push_code 0
  HEAD=$(git -C "$PROJECT_PATH" rev-parse HEAD 2>/dev/null || true)
  mkdir -p task
  ln -sfn "$CODE/$CODE_VERSION/git" task/.git
}

@test "a task asks git for the commit, which is no part of the version" {
  local version
  commit
  commit
  push
  version=$CODE_VERSION
  assert_equal "$(git -C task rev-parse HEAD)" "$HEAD"
  assert_equal "$(git -C task log --format='%H %s')" "$HEAD a message"
  assert_equal "$(git -C task describe --always)" "${HEAD:0:7}"
  git -C "$PROJECT_PATH" -c user.name=a -c user.email=b commit --quiet --allow-empty --message other
  push
  assert_equal "$CODE_VERSION" "$version"
  assert_equal "$(git -C task log --format='%H %s')" "$HEAD other"
  assert_equal "$(find "$CODE/$CODE_VERSION/git" -name '*.new')" ''
  : >"$CALLS"
  stub tar 'exit 9'
  send_commit 0
  assert_equal "$(grep --count '^tar' "$CALLS" || true)" 0
}

@test "of a new version, its commit is not among the changed files" {
  commit
  push
  commit
  mkdir "$PROJECT_PATH/git"
  echo 1 >"$PROJECT_PATH/git/HEAD"
  echo '# changed' >>"$PROJECT_PATH/project.yml"
  stage_code
  name_version
  capture push_code 0
  assert_part $'added project/git\nfar:   changed project/project.yml'
  refute_part 'changed git'
  refute_part 'added git'
  refute_part 'added objects'
}

@test "without a repository, a commit, or git there is none" {
  push
  [[ ! -e $CODE/current/git ]]
  git -C "$PROJECT_PATH" init --quiet
  push
  [[ ! -e $CODE/current/git ]]
  commit
  stub git 'exit 127'
  push
  [[ ! -e $CODE/current/git ]]
}

@test "a worktree, whose .git is a file, has the commit of its branch" {
  commit
  git -C "$PROJECT_PATH" worktree add --quiet "$TOOL/tasks/other"
  cp "$PROJECT_PATH"/*.yml "$TOOL/tasks/other"
  PROJECT_PATH="$TOOL/tasks/other"
  git -C "$PROJECT_PATH" -c user.name=a -c user.email=b commit --quiet --allow-empty --message 'on a branch'
  push
  assert_equal "$(git -C task log --format=%s)" 'on a branch'
  assert_equal "$(git -C task rev-parse HEAD)" "$HEAD"
}

@test "a dry run sends none" {
  commit
  DRY_RUN=yes
  push 2>/dev/null
  [[ ! -e "$HOME/far home" ]]
}
