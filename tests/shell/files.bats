#!/usr/bin/env bats
# framework/shell/files.sh: what is pushed, under which name, and that it arrives whole or not at all.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

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
  mkdir -p "$PROJECT_PATH/results" "$PROJECT_PATH/a/.git" "$PROJECT_PATH/a/__pycache__" "$TOOL/framework/__pycache__"
  touch "$PROJECT_PATH/results/x" "$PROJECT_PATH/a/.git/x" "$PROJECT_PATH/x.pyc" "$TOOL/framework/shell/x.sh" "$TOOL/framework/x.pyc"
  mkdir -p "$PROJECT_PATH/.venv/lib"
  touch "$PROJECT_PATH/.venv/pyvenv.cfg" "$PROJECT_PATH/.venv/lib/x"
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

@test "what a version holds" {
  mkdir -p "$PROJECT_PATH/sub dir"
  echo hello >"$PROJECT_PATH/sub dir/a file"
  ln -s "sub dir/a file" "$PROJECT_PATH/link"
  touch "$TOOL/framework/code.py"
  stage
  push_code 1 2>/dev/null
  cd "$HOME/far home/my tasks/code/$PROJECT_NAME"
  assert_equal "$(readlink current)" "$CODE_VERSION"
  assert_equal "$(find "$CODE_VERSION" ! -type d -printf '%P %M\n' | LC_ALL=C sort)" "VERSION -r--r--r--
framework/code.py -r--r--r--
framework/project/excluded_files -r--r--r--
project/link lrwxrwxrwx
project/parameters.yml -r--r--r--
project/project.yml -r--r--r--
project/sub dir/a file -r--r--r--"
  assert_equal "$(cut -d = -f 1 "$CODE_VERSION/VERSION" | tr '\n' ' ')" 'framework project image '
  assert_equal "$(tail -n 1 "$CODE_VERSION/VERSION")" image=infrainit-runner:0123456789ab
  assert_equal "$(cat current/project/link)" hello
}

@test "nothing is sent to a host that has the version" {
  stage
  push_code 0
  : >"$CALLS"
  stub tar
  hash -r # bash remembers the real one
  capture push_code 0
  assert_equal "$status" 0
  assert_line "local: has version $CODE_VERSION already"
  assert_equal "$(<"$CALLS")" ''
}

@test "changed files are listed, with the host" {
  stage
  push_code 0
  sed -i s/2/3/ "$PROJECT_PATH/parameters.yml"
  mkdir "$PROJECT_PATH/new dir"
  touch "$PROJECT_PATH/new dir/file" "$PROJECT_PATH/and so on"
  local before=$CODE_VERSION
  stage
  capture push_code 0
  assert_equal "$messages" "local: sending version $CODE_VERSION of framework and project
local: version $CODE_VERSION instead of $before
local:   added project/and so on
local:   added project/new dir
local:   changed project/parameters.yml"
  before=$CODE_VERSION
  rm -r "$PROJECT_PATH/new dir"
  stage
  capture push_code 0
  assert_line "local:   removed project/new dir"
}

@test "a version that an earlier form of the tool pushed, without the letter, is compared with the new one" {
  stage
  push_code 0
  mv "$CODE/$CODE_VERSION" "$CODE/123e45678901"
  ln -sfn 123e45678901 "$CODE/current"
  touch "$PROJECT_PATH/new"
  stage
  capture push_code 0
  assert_line "local: version $CODE_VERSION instead of 123e45678901"
  assert_line 'local:   added project/new'
  assert_equal "$(readlink "$CODE/current")" "$CODE_VERSION"
}

@test "of many changes some are listed and the others counted" {
  stage
  push_code 0
  touch "$PROJECT_PATH"/{1..25}
  stage
  capture push_code 0
  assert_equal "$(grep -c ' added ' <<<"$messages")" 20
  assert_line 'local:   and 5 more'
}

@test "a broken transfer leaves no new version, and current unchanged" {
  stage
  push_code 0
  local before=$CODE_VERSION
  touch "$PROJECT_PATH/new"
  stage
  stub find 'exit 1'
  hash -r # bash remembers the real one
  capture push_code 0
  assert_equal "$status" 1
  assert_equal "$(readlink "$CODE/current")" "$before"
  [[ ! -e $CODE/$CODE_VERSION ]]
  rm "$STUBS/find"
  hash -r
  push_code 0
  assert_equal "$(readlink "$CODE/current")" "$CODE_VERSION"
  assert_equal "$(find "$CODE" -mindepth 1 -maxdepth 1 | wc -l)" 3 # two versions and current
}

@test "a version gets its name only after its files are on the disk" {
  stub sync "[[ -e \${*: -1}/project/project.yml ]] && ls -A \"\$(dirname \"\${*: -1}\")\" >'$BATS_TEST_TMPDIR/at-sync'"
  hash -r # bash remembers the real one
  stage
  push_code 0
  local new="$CODE/.$CODE_VERSION.infra-01234567"
  assert_equal "$(grep '^sync' "$CALLS")" "sync '--file-system' ${new@Q}"
  assert_equal "$(<"$BATS_TEST_TMPDIR/at-sync")" ".$CODE_VERSION.infra-01234567"
  stub sync 'echo "no space left" >&2; exit 1'
  touch "$PROJECT_PATH/new"
  stage
  capture push_code 0
  assert_equal "$status" 1
  [[ ! -e $CODE/$CODE_VERSION ]]
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
  assert_equal "$(ls "$CODE/current")" $'VERSION\nframework\nproject'
}

@test "virtual environments are not sent, and a message says so when something is sent" {
  mkdir -p "$PROJECT_PATH"/{.venv,env}
  touch "$PROJECT_PATH"/{.venv,env}/pyvenv.cfg
  stage
  capture push_code 1
  assert_line 'far: left out: the virtual environment env,.venv; list packages in requirements.txt'
  [[ ! -e "$HOME/far home/my tasks/code/$PROJECT_NAME/current/project/.venv" ]]
  capture push_code 1
  refute_part 'left out'
  rm -r "$PROJECT_PATH"/{.venv,env}
  stage
  capture push_code 0
  refute_part 'left out'
}

@test "a dry run writes nothing" {
  DRY_RUN=yes
  stage
  capture push_code 1
  assert_equal "$status" 0
  assert_part "far\$ tar --extract --file - --directory '$HOME/far home/my tasks/code/it'\\''s a \"project\"/.$CODE_VERSION.infra-01234567'"
  [[ ! -e "$HOME/far home" ]]
}

@test "a project that cannot be read completely is not pushed" {
  stub tar 'echo "tar: ./x: Cannot open: Permission denied" >&2; exit 2'
  capture stage_code
  assert_equal "$status" 1
  assert_part 'could not be copied'
}

@test "the directory on a host is for its user alone, whatever the umask is there; one that is there keeps its mode" {
  umask 000
  stage
  push_code 1
  assert_equal "$(stat -c %a "$HOME/far home/my tasks")" 700
  mkdir -m 755 "$HOME/my tasks"
  push_code 0
  assert_equal "$(stat -c %a "$HOME/my tasks")" 755
}
