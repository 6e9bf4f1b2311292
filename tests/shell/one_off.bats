#!/usr/bin/env bats
# framework/shell/one_off.sh: containers that run once.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # words are quoted on purpose; names are shared with the tool and helpers.bash
# shellcheck disable=SC2079 # the keys of FACTS are words

load helpers

setup() {
  prepare
  load_tool
  INFRASTRUCTURE=infra-01234567 WORKER_IMAGE_ID=worker:1 MASTER_HOST=0
  FACTS=([0.home]="$HOME" [0.uid]=1000 [0.gid]=100)
  make_project p
  stub docker
  PROJECT_PATH="$TOOL/tasks/p" PROJECT_SOURCE="$TOOL/tasks/p" PROJECT_NAME=p
}

teardown() {
  remove_stage
  close_connections
}

# assert_called COMMAND: the one call of docker, for the framework's COMMAND on the staged project.
assert_called() {
  assert_equal "$(<"$CALLS")" "docker 'run' '--rm' '--network' 'none' '--user' '$(id -u):$(id -g)' '--cap-drop' 'ALL' \
'--security-opt' 'no-new-privileges' '--read-only' '--memory' '1024m' '--pids-limit' '128' \
'--mount' 'type=bind,source=$STAGE,target=/code/current,readonly' \
'--mount' 'type=bind,source=$STAGE/beside,target=/project,readonly' '--mount' 'type=bind,source=$STAGE/project,target=/project/p,readonly' '--workdir' '/project' \
'--entrypoint' 'timeout' 'worker:1' '--kill-after' '5' '300' '/usr/local/bin/framework' '$1' './p'"
}

@test "validate_project_in_image: the exit code tells an invalid project from a failure" {
  stage_code
  stub docker 'echo "p/project.yml:1:1: wrong" >&2; exit 2'
  capture validate_project_in_image
  assert_equal "$status" 2
  assert_line 'p/project.yml:1:1: wrong'
  assert_part "the project $PROJECT_PATH cannot be run"
  stub docker 'exit 125'
  capture validate_project_in_image
  assert_equal "$status" 1
  assert_part 'could not be checked in the image worker:1 (exit code 125)'
  stub docker 'exit 124'
  capture validate_project_in_image
  assert_equal "$status" 1
  assert_part 'could not be read within 300 s'
  stub docker 'exit 137'
  capture validate_project_in_image
  assert_equal "$status" 1
  assert_part 'could not be read with 1024 MiB of memory'
}

@test "validate_project_in_image: the staged copy is checked, without network" {
  stage_code
  stub docker
  capture validate_project_in_image
  assert_equal "$status" 0
  assert_called plan
}

# answer TEXT: what the framework prints, written as for printf.
answer() {
  printf %b "$1" >"$BATS_TEST_TMPDIR/answer"
  stub docker "cat '$BATS_TEST_TMPDIR/answer'"
}

# needs: read_needs, then what it has set as output.
needs() {
  read_needs
  printf '%s|%s\n' "$PROJECT_IMAGE" "$NEEDS_OPTUNA"
}

@test "read_needs: what the framework says of the staged copy, without network" {
  stage_code
  answer 'optuna=no\n'
  capture needs
  assert_equal "$status $output" '0 |'
  assert_called needs
  answer 'image=a.example:5000/b/c-d_e:1.2@sha256:00\noptuna=yes\n'
  capture needs
  assert_equal "$status $output" '0 a.example:5000/b/c-d_e:1.2@sha256:00|yes'
}

@test "read_needs: variables, one a line, with the place and the file that the project names" {
  stage_code
  answer 'optuna=no\nenvironment=HF_HOME 2:15\nsecret=TOKEN 3:11\nsecret=B_2 3:17\nsecret_value=C 4:1 ~/my \0303\0266 "x"\nsecret_file=D 5:1 /d\n'
  read_needs
  assert_equal "${NEEDS[environment]}|${NEEDS[secret]}|${NEEDS[secret_value]}|${NEEDS[secret_file]}" \
    $'HF_HOME 2:15|TOKEN 3:11\nB_2 3:17|C 4:1 ~/my ö "x"|D 5:1 /d'
}

@test "read_needs: an answer that is none ends the program" {
  stage_code
  local wrong
  for wrong in '' 'image=a\n' 'image=--privileged\noptuna=no\n' 'image=a b\noptuna=no\n' 'image=\noptuna=no\n' 'optuna=no\noptuna=yes\n' \
    'image=\0303\0244\noptuna=no\n' 'optuna=maybe\n' 'secret=A\noptuna=no\n' \
    'secret=A-B 1:1\noptuna=no\n' 'environment=A 1:1 x\noptuna=no\n' 'secret_value=A 1:1\noptuna=no\n' 'secret_value=A 1:1 x\noptuna=no\n' \
    'secret_file=A 1:1 ~me/x\noptuna=no\n' 'secret_file=A 1:1 /a\tb\noptuna=no\n' \
    'mount=ro /data\noptuna=no\n' 'mount=rx /data /x\noptuna=no\n' 'mount=ro /da,ta /x\noptuna=no\n' 'mount=ro /data x\noptuna=no\n' \
    'mount=ro /data /x\ty\noptuna=no\n'; do
    answer "$wrong"
    capture needs
    assert_equal "$wrong $status|$output" "$wrong 1|"
    assert_part 'local: the answer cannot be read'
  done
}

@test "read_needs: each key that it may say, and no other value" {
  stage_code
  answer 'build=docker/Dockerfile\ncopied=.\ncopied=my tools\npackage=g++\npackage=libgl1\nrequirements=requirements.txt\nlocal=wheels\ndependency=click>=7 ; x == "y"\nvariable=TOKEN\ndocker_option=--ulimit=memlock=-1\ndocker_option=--device=/dev/dri/card0:rwm\ndocker_option=--dns=::1\noptuna=no\n'
  read_needs
  assert_equal "${NEEDS[copied]}|${NEEDS[package]}|${NEEDS[dependency]}" $'.\nmy tools|g++\nlibgl1|click>=7 ; x == "y"'
  assert_equal "${NEEDS[docker_option]}" $'--ulimit=memlock=-1\n--device=/dev/dri/card0:rwm\n--dns=::1'
  local wrong
  for wrong in build=../x build=a/../../x build=/x copied=.. requirements=x/.. local=/etc 'build=a\nbuild=b' package=-o package=A 'package=a b' \
    dependency=--index-url=x 'dependency=a\0001' variable=a variable=1 docker_option=--privileged docker_option=--volume=/:/x \
    docker_option=--device=/dev/sda docker_option=--network=host 'docker_option=--shm-size=$(id)' docker_option=--shm-size=--privileged; do
    answer "$wrong\noptuna=no\n"
    capture needs
    assert_equal "$wrong $status|$output" "$wrong 1|"
    assert_part 'local: the answer cannot be read'
  done
}

@test "read_needs: an invalid project ends the program with 2, a failure with 1" {
  stage_code
  stub docker 'echo "p/project.yml:1:1: wrong" >&2; exit 2'
  capture needs
  assert_equal "$status" 2
  assert_line 'p/project.yml:1:1: wrong'
  assert_part "the project $PROJECT_PATH cannot be run"
  stub docker 'exit 125'
  capture needs
  assert_equal "$status" 1
  assert_part 'could not be checked in the image worker:1 (exit code 125)'
}

# root_of_sweep SWEEP: find_root for this sweep file, then the project's directory as output.
root_of_sweep() {
  PROJECT_PATH='' SWEEP_FILE=$1 PROJECT_SOURCE=$1
  find_root
  printf '%s\n' "$PROJECT_PATH"
}

@test "find_root: the framework says it, of what can be the project" {
  mkdir -p repo/.git 'repo/a/my sweeps'
  touch 'repo/a/my sweeps/wide.yaml'
  local file="$PWD/repo/a/my sweeps/wide.yaml"
  answer 'root=.\n'
  capture root_of_sweep "$file"
  assert_equal "$status $output" "0 $PWD/repo"
  assert_line "the project is $PWD/repo, where the sweep's program is; --root DIR names another"
  grep -q "'type=bind,source=$PWD/repo,target=/project/repo,readonly' .* 'root' './a/my sweeps/wide.yaml'$" "$CALLS"
  answer 'root=a/my sweeps\n'
  capture root_of_sweep "$file"
  assert_equal "$status $output" "0 $PWD/repo/a/my sweeps"
  assert_equal "$messages" ''
  mv repo/.git repo/a
  capture root_of_sweep "$file"
  assert_equal "$status" 1 # repo/a/a/my sweeps is not there
  assert_part 'local: the answer cannot be read'
}

@test "find_root: nothing is asked if the directory is known; a dry run takes that of the file" {
  stub docker 'exit 1'
  find_root
  assert_equal "$PROJECT_PATH|$(<"$CALLS")" "$TOOL/tasks/p|"
  mkdir -p repo/a
  touch repo/a/wide.yaml
  DRY_RUN=yes
  capture root_of_sweep "$PWD/repo/a/wide.yaml"
  assert_equal "$status $output" "0 $PWD/repo/a"
  assert_part "docker run --rm"
  assert_part "the project may be a directory above $PWD/repo/a"
}

@test "find_root: an answer that is none ends the program, and so does a sweep file that is wrong" {
  mkdir -p repo/a
  touch repo/a/wide.yaml
  local wrong
  for wrong in '' '.\n' 'root=..\n' 'root=a/../..\n' 'root=no\n' 'root=.\nroot=.\n' 'root=/\n/..'; do
    answer "$wrong"
    capture root_of_sweep "$PWD/repo/a/wide.yaml"
    assert_equal "$wrong $status|$output" "$wrong 1|"
    assert_part 'local: the answer cannot be read'
  done
  stub docker 'echo "a/wide.yaml:1:10: program: there is no train.py" >&2; exit 2'
  capture root_of_sweep "$PWD/repo/a/wide.yaml"
  assert_equal "$status" 2
  assert_part "the project $PWD/repo/a/wide.yaml cannot be run"
}

@test "recover_journal: the framework reads the master's data directory; a failure names the host" {
  stub docker
  capture recover_journal 0
  assert_equal "$status" 0
  assert_equal "$(<"$CALLS")" "docker 'run' '--rm' '--network' 'none' '--user' '1000:100' '--cap-drop' 'ALL' \
'--security-opt' 'no-new-privileges' '--env' 'PROJECT=p' '--mount' 'type=bind,source=$HOME/celery_tasks/code/p,target=/code,readonly' \
'--mount' 'type=bind,source=$HOME/celery_tasks/master/p,target=/data' 'worker:1' 'recover' '/data/recovered'"
  stub docker 'exit 1'
  capture recover_journal 0
  assert_equal "$status" 1
  assert_part 'local: the journal could not be rebuilt'
}
