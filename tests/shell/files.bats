#!/usr/bin/env bats
# framework/shell/files.sh: a version arrives whole or not at all, and what is there already is not sent.

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

@test "what a version holds" {
  mkdir -p "$PROJECT_PATH/sub dir"
  echo hello >"$PROJECT_PATH/sub dir/a file"
  ln -s "sub dir/a file" "$PROJECT_PATH/link"
  touch "$TOOL/framework/code.py"
  stage
  push_code 1 2>/dev/null
  cd "$HOME/far home/my tasks/code/$PROJECT_NAME"
  assert_equal "$(readlink current)" "$CODE_VERSION"
  assert_equal "$(find "$CODE_VERSION" ! -type d -printf '%P %M\n' | LC_ALL=C sort)" "FILES -r--r--r--
VERSION -r--r--r--
framework/code.py -r--r--r--
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
  assert_equal "$messages" "local: sending version $CODE_VERSION of framework and project: 3 of 4 files, 10 bytes
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

@test "a broken transfer leaves no new version, and current unchanged; the next push leaves nothing of it" {
  stage
  push_code 0
  local before=$CODE_VERSION
  touch "$PROJECT_PATH/new"
  stage
  stub cmp 'exit 1'
  capture push_code 0
  assert_equal "$status" 1
  assert_part 'local: the files did not arrive as they were sent; run this again'
  assert_equal "$(readlink "$CODE/current")" "$before"
  [[ ! -e $CODE/$CODE_VERSION ]]
  rm "$STUBS/cmp"
  hash -r
  touch "$PROJECT_PATH/another"
  mkdir "$CODE/.c0123456789ab.infra-76543210" # of somebody else, who may push now
  stage
  push_code 0
  assert_equal "$(readlink "$CODE/current")" "$CODE_VERSION"
  assert_equal "$(ls -A "$CODE")" ".c0123456789ab.infra-76543210
$(printf '%s\n' "$before" "$CODE_VERSION" | sort)
current"
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

# sent: the paths that the last push_code has sent to the far host, but for directories and links.
sent() {
  tr '\0' '\n' <"$STAGE/names.1" | grep -vxF "$(cd "$STAGE" && find framework project ! -type f)" | LC_ALL=C sort | tr '\n' ' '
}

@test "files that the host has are not sent: the new version has links to them" {
  local there="$HOME/far home/my tasks/code/$PROJECT_NAME" name
  mkdir -p "$PROJECT_PATH/data/sub dir" "$PROJECT_PATH/gone/x"
  for name in data/big 'data/sub dir/-a b' 'data/quote"s' 'data/back\slash' data/größe data/tool gone/x/y swap; do
    echo "$name" >"$PROJECT_PATH/$name"
  done
  ln -s big "$PROJECT_PATH/data/link"
  stage
  push_code 1
  local before=$CODE_VERSION
  assert_equal "$(sent | wc -w)" "$(wc -l <"$STAGE/FILES" | awk '{ print $1 + 3 }')" # a name of three words; VERSION
  echo new >"$PROJECT_PATH/train.py"
  echo other >"$PROJECT_PATH/project.yml"
  chmod +x "$PROJECT_PATH/data/tool"
  rm -r "$PROJECT_PATH/gone" "$PROJECT_PATH/swap" "$PROJECT_PATH/data/link"
  mkdir "$PROJECT_PATH/swap" "$PROJECT_PATH/empty"
  ln -s quote\"s "$PROJECT_PATH/data/link"
  touch "$PROJECT_PATH/gone"
  stage
  capture push_code 1
  assert_equal "$status" 0
  assert_line "far: sending version $CODE_VERSION of framework and project: 4 of 10 files, 20 bytes"
  assert_equal "$(sent)" 'VERSION project/data/tool project/gone project/project.yml project/train.py '
  assert_equal "$(cd "$there/current" && find project -printf '%p %M %l\n' | sort)" \
    "$(cd "$STAGE" && find project -printf '%p %M %l\n' | sort)"
  for name in data/big 'data/sub dir/-a b' 'data/quote"s' 'data/back\slash' data/größe parameters.yml; do
    [[ "$there/$before/project/$name" -ef "$there/current/project/$name" ]]
    assert_equal "$(stat -c %a "$there/current/project/$name")" 444
  done
  diff -r "$STAGE/project" "$there/current/project"
  assert_equal "$(ls "$there/current")" $'FILES\nVERSION\nframework\nproject'
  assert_equal "$(cat "$there/$before/project/project.yml")" 'command: python run.py'
}

@test "files that somebody has changed on the host are sent again" {
  local there="$HOME/far home/my tasks/code/$PROJECT_NAME" name
  for name in written touched writable longer same; do
    echo "$name" >"$PROJECT_PATH/$name"
  done
  stage
  push_code 1
  chmod u+w "$there/current/project"/{written,touched,writable,longer}
  echo WRITTEN >"$there/current/project/written"
  touch "$there/current/project/touched"
  echo more >>"$there/current/project/longer"
  touch -d @0 "$there/current/project/longer"
  chmod u-w "$there/current/project"/{written,touched,longer}
  touch "$PROJECT_PATH/new"
  stage
  push_code 1
  assert_equal "$(sent)" 'VERSION project/longer project/new project/touched project/writable project/written '
  diff -r "$STAGE/project" "$there/current/project"
}

@test "a host whose disk has no such links gets all files" {
  stage
  push_code 1
  touch "$PROJECT_PATH/new"
  stage
  stub cp 'echo "cp: cannot create hard link" >&2; exit 1'
  capture push_code 1
  assert_equal "$status" 0
  assert_line "far: sending version $CODE_VERSION of framework and project: 3 of 3 files, 33 bytes"
  diff -r "$STAGE/project" "$HOME/far home/my tasks/code/$PROJECT_NAME/current/project"
}

@test "a host can ask for files of this version only, by their numbers" {
  stage
  local numbers
  for numbers in 0 x -1 '1 2' 1/../../etc $'1\n\n../x' 99999999999; do
    capture missing_files 1 "$numbers"
    assert_equal "$numbers: $status" "$numbers: 1"
    assert_part 'far: the answer cannot be read'
  done
  assert_equal "$(missing_files 1 $'2\n7\n2' | cut -d ' ' -f 4)" project/project.yml
  assert_equal "$(missing_files 1 '')" ''
}

@test "more than SEND_LIMIT is sent only when asked for, whichever host lacks it" {
  head -c 3000000 /dev/zero >"$PROJECT_PATH/data"
  SEND_LIMIT=2
  stage
  capture ask_about_size 0 1
  assert_equal "$status" 2
  assert_part '2.8 MiB would be sent to local, which is more than SEND_LIMIT (2 MiB): -y sends it'
  ASSUME_YES=yes capture ask_about_size 0 1
  assert_equal "$status" 0
  push_code 0
  touch "$PROJECT_PATH/new"
  stage
  capture ask_about_size 0 # it has the data
  assert_equal "$status" 0
  capture ask_about_size 0 1
  assert_equal "$status" 2
  assert_part '2.8 MiB would be sent to far,'
  [[ ! -e "$HOME/far home" ]]
  DRY_RUN=yes capture ask_about_size 0 1
  assert_equal "$status" 0
}

@test "versions that nothing uses are removed, but the newest" {
  local versions=() number in_use
  for number in 1 2 3 4 5 6; do
    echo "$number" >"$PROJECT_PATH/number"
    stage
    send_code 0
    switch_code 0
    versions+=("$CODE_VERSION")
  done
  ln -sfn "${versions[1]}" "$CODE/current"
  mkdir -p "$CODE"/{c11111111111,note} # an earlier form of the tool has pushed the first
  exec {in_use}<"$CODE/${versions[2]}/VERSION"
  flock --shared "$in_use"
  capture remove_old_versions 0
  assert_equal "$status" 0
  assert_line 'local: removed 1 earlier version, which nothing uses'
  assert_equal "$(find "$CODE" -mindepth 1 -maxdepth 1 -printf '%f\n' | LC_ALL=C sort)" "$(printf '%s\n' "${versions[@]:1}" c11111111111 current note | LC_ALL=C sort)"
  exec {in_use}<&-
  capture remove_old_versions 0
  assert_line 'local: removed 1 earlier version, which nothing uses'
  [[ -e $CODE/${versions[1]}/project/number && ! -e $CODE/${versions[2]} ]]
  capture remove_old_versions 0
  assert_equal "$status$messages" 0
  DRY_RUN=yes capture remove_old_versions 0
  assert_equal "$status" 0
}

@test "a dry run writes nothing" {
  DRY_RUN=yes
  stage
  capture push_code 1
  assert_equal "$status" 0
  assert_part "' receive '$HOME/far home/my tasks/code/it'\\''s a \"project\"/.$CODE_VERSION.infra-01234567' "
  assert_line "far: sending version $CODE_VERSION of framework and project"
  [[ ! -e "$HOME/far home" ]]
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
