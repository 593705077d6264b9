# SPDX-License-Identifier: GPL-2.0-only
# bash completion for dlgroup(8)

_dlgroup_groups()
{
	local root
	root=$(findmnt -n -o TARGET -t cgroup2 2>/dev/null | head -n 1)
	[ -n "$root" ] || return
	(cd "$root" && find . -mindepth 1 -type d 2>/dev/null | cut -c 2-)
}

_dlgroup()
{
	local verbs='set show list save apply rm run attach detach vm irq net container features doctor check design fit simulate gen'
	local vm_verbs='attach detach show list run profile tune watch' container_verbs='setup unset'
	local irq_verbs='list attach detach' # and of net
	local global='--help --version --json --root --cgroup-root'
	local reservation='--runtime --period --deadline --cpus'
	local policy='--fifo --rr'
	local model='--sched --prio --period --latency'
	local question="$model --cpus --explain"
	local families='uni-light uni-medium uni-heavy bimo-light bimo-medium bimo-heavy'
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local verb='' options="$global" word i
	COMPREPLY=()

	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [ "$word" = -- ]; then
			# The command to run, and its arguments.
			((i + 1 == COMP_CWORD)) && mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			[[ $cur == -* ]] && COMPREPLY=()
			return
		fi
		if [[ -z $verb && " $verbs " == *" $word "* ]]; then
			verb=$word
		elif [[ $verb == vm && " $vm_verbs " == *" $word "* ]]; then
			verb="vm $word"
		elif [[ ($verb == irq || $verb == net) && " $irq_verbs " == *" $word "* ]]; then
			verb+=" $word"
		elif [[ $verb == container && " $container_verbs " == *" $word "* ]]; then
			verb="container $word"
		fi
	done

	case $verb in
	set) options+=" $reservation $policy --plan --dry-run" ;;
	run) options+=" $reservation $policy --name --dry-run" ;;
	attach) options+=" $policy --dry-run" ;;
	apply | detach | rm | 'container '*) options+=' --dry-run' ;;
	list) options+=' --headroom' ;;
	'vm attach' | 'vm run') options+=" $reservation --profile --dry-run" ;;
	'vm profile') options+=' --period --duration --margin' ;;
	'vm tune') options+=' --runtime --window --duration --margin --restore --dry-run' ;;
	'vm detach' | 'vm watch' | 'irq detach' | 'net detach') options+=' --dry-run' ;;
	'irq list') options+=' --interval' ;;
	'irq attach' | 'net attach') options+=' --fifo --shared --dry-run' ;;
	doctor) options+=' --irq' ;;
	check) options+=" $question --runtime --sensitivity --plot" ;;
	design) options+=" $question --overhead" ;;
	fit) options+=" $reservation --for --plan" ;;
	simulate) options+=" $model --runtime --duration --supply --releases --gantt --plot" ;;
	gen) options+=' --utilisation --tasks --shares --periods --deadlines --seed' ;;
	esac

	case $prev in
	--root | --cgroup-root)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--plan | --gantt | --plot | --profile)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--for)
		mapfile -t COMPREPLY < <(compgen -W "$(_dlgroup_groups)" -- "$cur")
		return
		;;
	--sched)
		mapfile -t COMPREPLY < <(compgen -W 'edf fp' -- "$cur")
		return
		;;
	--prio)
		mapfile -t COMPREPLY < <(compgen -W 'dm rm' -- "$cur")
		return
		;;
	--supply)
		mapfile -t COMPREPLY < <(compgen -W 'worst early random:' -- "$cur")
		return
		;;
	--releases)
		mapfile -t COMPREPLY < <(compgen -W 'synchronous sporadic:' -- "$cur")
		return
		;;
	--shares)
		mapfile -t COMPREPLY < <(compgen -W "$families" -- "$cur")
		return
		;;
	--periods)
		mapfile -t COMPREPLY < <(compgen -W 'uni-short uni-moderate uni-long' -- "$cur")
		return
		;;
	--deadlines)
		mapfile -t COMPREPLY < <(compgen -W 'implicit constrained' -- "$cur")
		return
		;;
	--runtime | --period | --deadline | --cpus | --fifo | --rr | --name | --latency | --overhead | \
		--duration | --utilisation | --tasks | --seed | --interval | --margin | --window)
		return
		;;
	esac

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	elif [ -z "$verb" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur")
	elif [ "$verb" = vm ]; then
		mapfile -t COMPREPLY < <(compgen -W "$vm_verbs" -- "$cur")
	elif [[ $verb == irq || $verb == net ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$irq_verbs" -- "$cur")
	elif [[ ($verb == 'irq attach' || $verb == 'net attach') && $prev == attach ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_dlgroup_groups)" -- "$cur")
	elif [[ $verb == 'irq attach' || $verb == 'irq detach' ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cd /proc/irq 2>/dev/null && echo [0-9]*)" -- "$cur")
	elif [[ $verb == 'net attach' || $verb == 'net detach' ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cd /sys/class/net 2>/dev/null && echo *)" -- "$cur")
	elif [ "$verb" = container ]; then
		mapfile -t COMPREPLY < <(compgen -W "$container_verbs" -- "$cur")
	elif [[ $verb == 'container '* && $prev == "${verb#container }" ]]; then
		mapfile -t COMPREPLY < <(compgen -W 'docker podman containerd lxc' -- "$cur")
	elif [[ $verb == 'vm '* && $prev == "${verb#vm }" && " attach detach show profile tune " == *" $prev "* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(pgrep -d ' ' '^qemu-' 2>/dev/null)" -- "$cur")
	elif [[ $prev == "$verb" && " set show rm attach doctor " == *" $verb "* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_dlgroup_groups)" -- "$cur")
	elif [[ " save apply check design simulate " == *" $verb "* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	elif [[ $verb == attach || $verb == detach ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur")
	fi
}

# Run by the completions of zsh and fish: the words up to the one to complete.
if [ "$0" = "${BASH_SOURCE[0]}" ]; then
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	_dlgroup
	[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
else
	complete -F _dlgroup dlgroup
fi
