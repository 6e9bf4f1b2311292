#!/usr/bin/env bats
# framework/shell/project_directory.sh: which project is meant.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash

load helpers

setup() {
  prepare
  load_tool
  make_project digits
}

@test "project: a name under tasks/, or a path" {
  read_all -d digits -m local
  assert_equal "$PROJECT_PATH" "$TOOL/tasks/digits"
  mkdir -p 'my project'
  cp "$TOOL/tasks/digits"/* 'my project'
  read_all -d 'my project' -m local
  assert_equal "$PROJECT_PATH|$PROJECT_NAME" "$PWD/my project|my project"
}

@test "project: this directory" {
  cd "$TOOL/tasks/digits"
  read_all -d . -m local
  assert_equal "$PROJECT_PATH|$PROJECT_NAME" "$TOOL/tasks/digits|digits"
}

@test "project: without its files" {
  rm "$TOOL/tasks/digits/parameters.yml"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'has no readable parameters.yml'
}

@test "project: a W&B sweep file stands for both of its files" {
  rm "$TOOL/tasks/digits/project.yml" "$TOOL/tasks/digits/parameters.yml"
  echo 'program: train.py' >"$TOOL/tasks/digits/sweep.yaml"
  capture read_all -d digits -m local
  assert_equal "$status" 0
  rm "$TOOL/tasks/digits/sweep.yaml"
  capture read_all -d digits -m local
  assert_equal "$status" 2
  assert_part 'has no readable project.yml'
  assert_part 'has no readable parameters.yml'
}

@test "a directory with a sweep file: project.yml comes before it; the project's name is that of the directory" {
  touch "$TOOL/tasks/digits/sweep.yaml" "$TOOL/tasks/digits/sweep.yml"
  read_all -d digits -m local
  assert_equal "$SWEEP_FILE|$PROJECT_PATH" "|$TOOL/tasks/digits"
  rm "$TOOL/tasks/digits/project.yml"
  read_all -d digits -m local
  assert_equal "$SWEEP_FILE|$PROJECT_PATH|$PROJECT_NAME" "$TOOL/tasks/digits/sweep.yaml||digits"
}

# make_sweep DIRECTORY FILE: a sweep file.
make_sweep() {
  mkdir -p "$1"
  echo 'program: train.py' >"$1/$2"
}

@test "a sweep file of any name: the project's name is its own, without its ending" {
  local file
  for file in 'wide and.deep.yaml' sweep.yml x.json; do
    make_sweep 'my repo' "$file"
    read_all -d "my repo/$file" -m local
    assert_equal "$SWEEP_FILE|$PROJECT_NAME|$PROJECT_PATH" "$PWD/my repo/$file|${file%.*}|"
  done
  make_sweep 'my repo/sweeps' wide.yml
  cd 'my repo/sweeps'
  read_all -d wide.yml -m local --root .. --run-cap=20
  assert_equal "$SWEEP_FILE|$PROJECT_NAME|$PROJECT_PATH|$RUN_CAP" "$PWD/wide.yml|wide|$BATS_TEST_TMPDIR/my repo|20"
}

@test "a sweep file, --root and --run-cap: what is wrong with them" {
  make_sweep repo/sweeps wide.yaml
  mkdir other
  touch repo/train.py
  wrong() {
    capture read_all -m local "${@:2}"
    assert_equal "$status" 2
    assert_part "error: $1"
  }
  wrong '-d: there is no directory or W&B sweep file' -d repo/train.py
  wrong '-d: there is no directory or W&B sweep file' -d repo/sweeps/no.yaml
  wrong "--root: there is no directory $PWD/no" -d repo/sweeps/wide.yaml --root no
  wrong "--root: $PWD/repo/sweeps/wide.yaml is not in $PWD/other" -d repo/sweeps/wide.yaml --root other
  wrong '--root: goes with a W&B sweep file' -d digits --root other
  wrong "-d: $TOOL holds this copy of the tool" -d repo/sweeps/wide.yaml --root "$TOOL"
  for number in 0 -1 1.5 1e3 'a[0]' 9999999999; do
    wrong '--run-cap' -d digits --run-cap="$number"
  done
  rm -r other
  make_sweep "$TOOL" wide.yaml
  wrong "-d: $TOOL holds this copy of the tool" -d "$TOOL/wide.yaml"
}

@test "a sweep file, --root and --run-cap are kept in config.sh and in the record" {
  make_sweep repo/sweeps wide.yaml
  read_all -d repo/sweeps/wide.yaml --root repo --run-cap 20 -m local
  write_config
  PROJECT='' ROOT='' RUN_CAP=''
  cd /
  read_all -f
  assert_equal "$SWEEP_FILE|$PROJECT_PATH|$RUN_CAP" "$BATS_TEST_TMPDIR/repo/sweeps/wide.yaml|$BATS_TEST_TMPDIR/repo|20"
  stub docker
  good_host 0
  load_infrastructure
  record_after 0
  rm -r "$BATS_TEST_TMPDIR/repo" # get_results.sh works without it
  PROJECT='' ROOT='' RUN_CAP='' PROJECT_NAME='' PROJECT_PATH='' SWEEP_FILE=''
  use_record
  assert_equal "$SWEEP_FILE|$PROJECT_PATH|$PROJECT_NAME|$RUN_CAP" \
    "$BATS_TEST_TMPDIR/repo/sweeps/wide.yaml|$BATS_TEST_TMPDIR/repo|wide|20"
}

@test "search_top: up to the git repository, or else the current directory; never to one that holds this tool" {
  mkdir -p a/b/c
  local here=$PWD
  cd a
  assert_equal "$(search_top "$here/a/b/c")" "$here/a"
  cd /
  assert_equal "$(search_top "$here/a/b/c")" "$here/a" # the test's own directory holds the copy of the tool
  mkdir "$here/a/.git"
  cd "$here/a/b/c"
  assert_equal "$(search_top "$here/a/b/c")" "$here/a"
  touch "$here/a/b/.git" # a submodule
  assert_equal "$(search_top "$here/a/b/c")" "$here/a/b"
  mkdir -p "$TOOL/.git" "$TOOL/tasks/x"
  assert_equal "$(search_top "$TOOL/tasks/x")" "$TOOL/tasks"
  assert_equal "$(search_top /usr/bin)" /usr/bin
}

@test "a project that holds this copy of the tool is refused, by whatever name" {
  local path
  echo 'command: x' >"$TOOL/project.yml"
  echo 'n: 1' >"$TOOL/parameters.yml"
  cp "$TOOL/project.yml" "$TOOL/parameters.yml" "$BATS_TEST_TMPDIR"
  ln -s "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/link"
  for path in .. "$TOOL" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/link"; do
    capture read_all -d "$path" -m local
    assert_equal "$path: $status" "$path: 2"
    assert_part "holds this copy of the tool ($TOOL), whose passwords and keys would go to every host; put one of them elsewhere"
  done
  cp "$TOOL/project.yml" "$TOOL/parameters.yml" "$TOOL/tasks"
  mkdir "$TOOL-2"
  cp "$TOOL/project.yml" "$TOOL/parameters.yml" "$TOOL-2"
  for path in digits "$TOOL/tasks" "$TOOL-2"; do
    capture read_all -d "$path" -m local
    assert_equal "$path: $status" "$path: 0"
  done
}
