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

# in_project FILE…: makes them.
in_project() {
  local file
  for file in "$@"; do
    mkdir -p "$(dirname "$PROJECT_PATH/$file")"
    touch "$PROJECT_PATH/$file"
  done
}

# staged: the files of the project that would be pushed.
staged() {
  stage_code
  (cd "$STAGE/project" && find . ! -type d -printf '%P ' | xargs -n 1 | LC_ALL=C sort | tr '\n' ' ')
  remove_stage
}

@test "exclusion_options: each rule of excluded_files as options of tar" {
  local options
  read_words options exclusion_options
  [[ "${options[*]}" == "--no-wildcards-match-slash --no-anchored --exclude=__pycache__ --no-anchored --exclude=*.pyc \
--no-anchored --exclude=.git --no-anchored --exclude=.infra --no-anchored --exclude=.DS_Store "*" --anchored --exclude=./results --exclude-tag-all=pyvenv.cfg" ]]
}

@test "what belongs to a project: no caches, no .git, no secrets of this tool, no results at the top, no virtual environments" {
  read_all -d digits -m local
  in_project .venv/pyvenv.cfg .venv/lib/x sub/env/pyvenv.cfg sub/.git/x sub/.infra/secrets/key a/__pycache__/x a/x.pyc results/x .git
  in_project .DS_Store sub/.train.py.swp sub/train.py~ 'sub/#train.py#' '.#train.py' .vscode/x .pytest_cache/x/y
  in_project sub/results/kept a.pyc.txt x.git resultsx .hidden sub/pyvenv.cfg.txt
  assert_equal "$(staged)" '.hidden a.pyc.txt parameters.yml project.yml resultsx sub/pyvenv.cfg.txt sub/results/kept x.git '
}

@test "what belongs to a project: patterns are for single names, and read from excluded_files" {
  read_all -d digits -m local
  printf '%s\n' '# a comment' '' 'top *.log' 'anywhere [ab]?' >"$TOOL/framework/project/excluded_files"
  in_project x.log sub/x.log a1 sub/b2/x sub/c3 results/kept
  assert_equal "$(staged)" 'parameters.yml project.yml results/kept sub/c3 sub/x.log '
}

@test "what belongs to a project that is a virtual environment itself" {
  read_all -d digits -m local
  in_project pyvenv.cfg bin/python
  assert_equal "$(staged)" 'bin/python parameters.yml project.yml pyvenv.cfg '
}

@test "an invalid rule in excluded_files is an error" {
  read_all -d digits -m local
  echo 'everywhere x' >>"$TOOL/framework/project/excluded_files"
  capture stage_code
  assert_equal "$status" 1
  assert_part 'excluded_files: everywhere is no kind of rule'
}

@test "environments_of_project: those at the top" {
  read_all -d digits -m local
  assert_equal "$(environments_of_project)" ''
  in_project 'my env/pyvenv.cfg' .venv/pyvenv.cfg sub/env/pyvenv.cfg other/x
  ln -s .venv "$PROJECT_PATH/link"
  assert_equal "$(environments_of_project)" 'my env,.venv'
}

@test "settings_of_project: project.yml comes before a sweep file" {
  read_all -d digits -m local
  touch "$PROJECT_PATH/sweep.yaml" "$PROJECT_PATH/sweep.yml"
  assert_equal "$(settings_of_project)" project.yml
  rm "$PROJECT_PATH/project.yml"
  assert_equal "$(settings_of_project)" sweep.yaml
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
