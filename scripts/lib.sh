# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the scripts beside it: where things are, and how a script fails.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
kernel=$build/kernel
# The git tree of the base with the series on top, one commit a patch.
src=$kernel/src
series_dir=$root/kernel-patches/v6.12
configs=$root/kernel-patches/configs
# What the test machines need, below the series.
vm_dir=$root/kernel-patches/vm
export root build kernel src series_dir configs vm_dir

# die SENTENCE
die()
{
	echo "${0##*/scripts/}: $1" >&2
	exit 1
}

# need_disk MB: below the build directory.
need_disk()
{
	local free

	mkdir -p "$build" || die "$build cannot be made"
	free=$(df -Pm "$build" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] || die "$build has $free MB left on its disk, $1 MB are needed"
}

# need_tool COMMAND...
need_tool()
{
	local tool

	for tool; do
		command -v "$tool" >/dev/null || die "$tool is not installed; scripts/deps installs what is needed"
	done
}

# base_field NAME: a line of the file that pins the base.
base_field()
{
	[ -r "$series_dir/base" ] || die "$series_dir/base is missing: it names the version and SHA-256 of the base"
	awk -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }' "$series_dir/base" ||
		die "$series_dir/base has no line '$1'"
}

# KERNEL_SOURCE: another tree than $src.
# kernel_make DIRECTORY ARGUMENTS...: the same result on every machine, so that ccache finds it again.
kernel_make()
{
	local dir=$1

	shift
	KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026' KBUILD_BUILD_USER=dlgroup KBUILD_BUILD_HOST=dlgroup \
		CCACHE_BASEDIR=$build CCACHE_NOHASHDIR=1 \
		make -C "${KERNEL_SOURCE:-$src}" O="$dir" CC='ccache gcc' HOSTCC='ccache gcc' LOCALVERSION=-dlgroup "$@"
}

config_names()
{
	awk '!/^#/ && NF { printf "%s%s", sep, $1; sep = " " }' "$configs/list"
}

# fragments NAME: the files of a configuration, in order.
fragments()
{
	local name=$1 fragment list

	list=$(awk -v name="$name" '$1 == name { $1 = ""; print }' "$configs/list")
	[ -n "$list" ] || die "there is no configuration '$name'; there are: $(config_names)"
	for fragment in $list; do
		echo "$configs/$fragment.config"
	done
}

# Every symbol a fragment sets must have that value afterwards: a dependency that is not met drops it without a word.
check_config()
{
	local config=$1 wrong

	shift
	wrong=$(cat "$@" | awk -v config="$config" '
		/^CONFIG_[A-Z0-9_]+=/ { name = $0; sub(/=.*/, "", name); want[name] = $0 }
		/^# CONFIG_[A-Z0-9_]+ is not set$/ { want[$2] = $2 "=n" }
		END {
			while ((getline line <config) > 0)
				if (line ~ /^CONFIG_/) { name = line; sub(/=.*/, "", name); have[name] = line }
			for (name in want) {
				value = name in have ? have[name] : name "=n"
				if (value != want[name]) print want[name]
			}
		}' | sort) || die "$config cannot be checked"
	local symbol line known=
	for line in $wrong; do
		symbol=${line#CONFIG_}
		# The base does not know the symbols that the series brings.
		if (cd "${KERNEL_SOURCE:-$src}" && grep -rqE --include='Kconfig*' "^[[:space:]]*(menu)?config ${symbol%%=*}\$" .); then
			known="$known $line"
		else
			echo "this source does not know CONFIG_${symbol%%=*}" >&2
		fi
	done
	[ -z "$known" ] || die "the kernel's configuration refuses:$known"
}

# merge_config NAME DIRECTORY
merge_config()
{
	local name=$1 dir=$2 log=$2/config.log files new=$2/.config.new

	files=$(fragments "$name") || exit 1
	mkdir -p "$dir" || die "$dir cannot be made"
	# shellcheck disable=SC2086 # lists of words
	(
		export KCONFIG_CONFIG=$new
		kernel_make "$dir" tinyconfig &&
			(cd "$dir" && "${KERNEL_SOURCE:-$src}/scripts/kconfig/merge_config.sh" -m "$new" $files) &&
			kernel_make "$dir" olddefconfig
	) >"$log" 2>&1 </dev/null || die "the configuration '$name' cannot be made (log: $log)"
	# shellcheck disable=SC2086
	check_config "$new" $files
	cmp -s "$new" "$dir/.config" || mv "$new" "$dir/.config"
	rm -f "$new" "$new.old"
}
