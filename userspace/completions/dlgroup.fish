# SPDX-License-Identifier: GPL-2.0-only
# fish completion for dlgroup(8): what that of bash answers. Wherever share/ is, both are below it.
set -g __dlgroup_bash (status dirname)/../../bash-completion/completions/dlgroup

function __dlgroup_complete
    bash $__dlgroup_bash (commandline -opc) (commandline -ct) 2>/dev/null
end

complete -c dlgroup -f -a '(__dlgroup_complete)'
