#!/usr/bin/env bats
# framework/shell/project_directory.sh: which project is meant, and which of its entries belong to it.

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
