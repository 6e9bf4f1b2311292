#!/usr/bin/env bats
# framework/shell/staging.sh: what is pushed, and under which name.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2030,SC2031,SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567
  HOSTS=(local far) HOST_NAMES=(local far) SSH_DESTINATIONS=('' far) SSH_PORTS=('' '')
  FACTS=([0.home]="$HOME" [1.home]="$HOME/far home")
  REMOTE_PATH="my tasks"
  stub ssh 'exec sh -c "${@: -1}"'
  prepare_ssh
  make_project "it's a \"project\""
  RUNNER_IMAGE_ID=infrainit-runner:0123456789ab
  WORKER_IMAGE_ID=infrainit-worker:0123456789ab
  stub docker
  PROJECT_NAME="it's a \"project\"" PROJECT_PATH="$TOOL/tasks/it's a \"project\""
  CODE="$HOME/my tasks/code/$PROJECT_NAME"
}

# stage: a version that can be pushed.
stage() {
  stage_code
  name_version
}

teardown() {
  remove_stage
  close_connections
}

@test "the version follows from the content, not from times, owners, or who may write" {
  local first
  mkdir "$PROJECT_PATH/a"
  stage
  first=$CODE_VERSION
  [[ $first =~ ^c[0-9a-f]{12}$ ]]
  touch -d '1 year ago' "$PROJECT_PATH/parameters.yml"
  chmod g+w "$PROJECT_PATH/parameters.yml"
  mkdir -p "$PROJECT_PATH/results" "$TOOL/framework/__pycache__"
  touch "$PROJECT_PATH/results/x" "$TOOL/framework/shell/x.sh" "$TOOL/framework/x.pyc"
  stage
  assert_equal "$CODE_VERSION" "$first"
}

@test "other content, names, modes or framework make another version" {
  local seen
  stage
  seen=$CODE_VERSION
  change() {
    "$@"
    stage
    [[ $seen != *$CODE_VERSION* ]]
    seen+=" $CODE_VERSION"
  }
  change sed -i s/2/3/ "$PROJECT_PATH/parameters.yml"
  change mv "$PROJECT_PATH/parameters.yml" "$PROJECT_PATH/x"
  change chmod +x "$PROJECT_PATH/x"
  change touch "$TOOL/framework/new.py"
  change mkdir -p "$PROJECT_PATH/a/results" # a directory results is left out only at the top
  change ln -s x "$PROJECT_PATH/link"
  change eval RUNNER_IMAGE_ID=infrainit-runner-p:0123456789ab
}

@test "the framework says in a container what belongs to the project: without network, and with nothing else of this machine" {
  WORKER_IMAGE_ID=worker:1
  stage_code
  assert_equal "$(<"$BATS_TEST_TMPDIR/listings")" "'run' '--rm' '--network' 'none' '--user' '$(id -u):$(id -g)' '--cap-drop' 'ALL' \
'--security-opt' 'no-new-privileges' '--read-only' '--memory' '1024m' '--pids-limit' '128' \
'--mount' 'type=bind,source=${TOOL//\'/\'\\\'\'}/framework,target=/code/current/framework,readonly' \
'--mount' 'type=bind,source=$STAGE/above,target=/project,readonly' \
'--mount' 'type=bind,\"source=${TOOL//\'/\'\\\'\'}/tasks/it'\\''s a \"\"project\"\"\",\"target=/project/it'\\''s a \"\"project\"\"\",readonly' \
'--workdir' '/project' '--entrypoint' 'timeout' 'worker:1' '--kill-after' '5' '300' '/usr/local/bin/framework' 'files' './it'\\''s a \"project\"'"
}

@test "only what the framework names is staged; a directory without its files" {
  mkdir -p "$PROJECT_PATH/data/deep"
  touch "$PROJECT_PATH/data/deep/x" "$PROJECT_PATH/data/-y" "$PROJECT_PATH/z"
  printf '%s\0' ./data ./data/deep ./data/-y ./parameters.yml >"$BATS_TEST_TMPDIR/answer.files"
  stage_code
  assert_equal "$(cd "$STAGE/project" && find . -mindepth 1 | LC_ALL=C sort | tr '\n' ' ')" './data ./data/-y ./data/deep ./parameters.yml '
}

@test "a listing that names anything else ends the program" {
  local name
  for name in /etc/passwd ../x ./../x ./a/../../x ./ x '' $'./a\nb' --checkpoint=1; do
    printf '%s\0' ./project.yml "$name" >"$BATS_TEST_TMPDIR/answer.files"
    capture stage_code
    assert_equal "$name: $status" "$name: 1"
    assert_part 'local: the answer cannot be read'
  done
}

@test "of the git repository above the project, the .gitignore files are there, and nothing else" {
  mkdir -p repo/{.git,a/b/project} repo/outside
  touch repo/{.gitignore,secret} repo/a/.gitignore repo/a/b/project/.gitignore
  ln -s /etc/passwd repo/a/b/.gitignore
  PROJECT_PATH=$PWD/repo/a/b/project
  STAGE=$(mktemp -d)
  stage_above
  assert_equal "$(cd "$STAGE/above" && find . -mindepth 1 -printf '%P %y\n' | LC_ALL=C sort)" ".git f
.gitignore f
a d
a/.gitignore f
a/b d
a/b/project d"
  rm -r "$STAGE" repo/.git
  mkdir "$STAGE"
  stage_above
  assert_equal "$(cd "$STAGE/above" && find . -mindepth 1 -printf '%P ')" 'project '
  rm -r "$STAGE"
  mkdir "$STAGE" repo/a/b/.git
  touch repo/a/b/.gitignore.x
  rm repo/a/b/.gitignore
  mv repo/a/b/.gitignore.x repo/a/b/.gitignore
  stage_above
  assert_equal "$(cd "$STAGE/above" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | tr '\n' ' ')" '.git .gitignore project '
  rm -r "$STAGE"
  mkdir "$STAGE" repo/a/b/project/.git
  stage_above
  assert_equal "$(cd "$STAGE/above" && find . -mindepth 1 -printf '%P ')" 'project '
}

@test "how many files the project has, and how large they are" {
  head -c 2097152 /dev/zero >"$PROJECT_PATH/a big file"
  capture stage_code
  assert_line 'the project: 3 files, 2.0 MiB; largest a big file 2.0 MiB'
}

@test "an invalid project ends the program with 2" {
  stub docker # the listing comes before
  printf '#!/bin/sh\necho "p: has a control character in its name" >&2\nexit 2\n' >"$STUBS/docker"
  capture stage_code
  assert_equal "$status" 2
  assert_part 'p: has a control character in its name'
}

@test "what is beside the project is known by name only, and not sent" {
  mkdir "$TOOL/tasks/data [1]"
  echo secret >"$TOOL/tasks/data [1]/x"
  echo secret >"$TOOL/tasks/- a file"
  stage
  assert_equal "$(cd "$STAGE/beside" && find . -printf '%P %y\n' | LC_ALL=C sort)" " d
- a file f
data [1] f
it's a \"project\" d"
  assert_equal "$(find "$STAGE/beside" -type f -size +0)" ''
  push_code 0
  assert_equal "$(ls "$CODE/current")" $'FILES\nVERSION\nframework\nproject'
}

@test "a project that cannot be read completely is not pushed" {
  stub tar 'echo "tar: ./x: Cannot open: Permission denied" >&2; exit 2'
  capture stage_code
  assert_equal "$status" 1
  assert_part 'could not be copied'
}
