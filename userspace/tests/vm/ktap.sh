# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What tests in the virtual machine share. A test is a function test_NAME; it has failed if it has called fail. Before each, and after
# the last, clean is called, which whoever sources this defines.

CGROUP=/sys/fs/cgroup
WORK=$(mktemp -d)
WHY=''

fail()
{
	WHY+="# $*"$'\n'
	return 1
}

# expect STATUS COMMAND...: keeps its output in OUT and ERR
expect()
{
	local wanted=$1 got
	shift
	"$@" >"$WORK/out" 2>"$WORK/err" </dev/null
	got=$?
	OUT=$(cat "$WORK/out")
	ERR=$(cat "$WORK/err")
	[ "$got" = "$wanted" ] || fail "$*: status $got, wanted $wanted: $OUT $ERR"
}

says()
{
	case "$OUT$ERR" in
	*"$1"*) ;;
	*) fail "no '$1' in: $OUT $ERR" ;;
	esac
}

same()
{
	[ "$1" = "$2" ] || fail "got '$1', wanted '$2'"
}

# No groups, and the cpu and cpuset controllers enabled.
clean_cgroups()
{
	local directory
	for directory in "$CGROUP"/*/; do
		[ -d "$directory" ] || continue
		echo 1 >"$directory/cgroup.kill"
		while grep -q 'populated 1' "$directory/cgroup.events"; do
			sleep 0.01
		done
	done
	find $CGROUP -mindepth 1 -depth -type d -exec rmdir {} +
	echo '+cpu +cpuset' >$CGROUP/cgroup.subtree_control
}

# run_tests [NAME...]: all, unless some are named
run_tests()
{
	local tests name number=0 failed=0
	tests=$(declare -F | awk '$3 ~ /^test_/ { print $3 }')
	[ $# -eq 0 ] || tests=$(printf 'test_%s\n' "$@")
	echo 'KTAP version 1'
	echo "1..$(echo "$tests" | wc -l)"
	for name in $tests; do
		number=$((number + 1))
		WHY=''
		clean
		$name
		if [ -z "$WHY" ]; then
			echo "ok $number ${name#test_}"
		else
			printf '%s' "$WHY"
			echo "not ok $number ${name#test_}"
			failed=$((failed + 1))
		fi
	done
	clean
	echo "# Totals: pass:$((number - failed)) fail:$failed xfail:0 xpass:0 skip:0 error:0"
	rm -rf "$WORK"
	[ $failed -eq 0 ]
}
