# Completion of bpftune for bash.
_bpftune() {
	local word words verb= current=${COMP_WORDS[COMP_CWORD]}
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word == -* || ($verb != '' && $verb != lab) ]] || verb+=${verb:+ }$word
	done
	COMPREPLY=()
	case "$verb ${COMP_WORDS[COMP_CWORD - 1]}" in
	'persist --file')
		compopt -o filenames 2> /dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	'history --since' | 'history --limit' | 'history --tunable' | 'history --netns' | 'rollback --tunable' | 'rollback --netns' | 'adopt --netns' | 'lab run --set' | 'lab run --seconds' | 'lab run --seed' | 'lab run --tuner' | 'lab compare --set' | 'lab compare --seconds' | 'lab compare --seed' | 'lab compare --tuner' | 'lab compare --repeat') return ;;
	esac
	case $verb in
	'') words='run observe check tuners tunables status history explain advise apply ignore verify rollback pause resume adopt persist watch metrics lab --json --help --version' ;;
	'run') words='--json --help' ;;
	'observe') words='--json --help' ;;
	'check') words='--json --help' ;;
	'tuners') words='--json --help' ;;
	'tunables') words='--json --help' ;;
	'status') words='--help --json' ;;
	'history') words='--help --since --limit --tunable --netns --json' ;;
	'explain') words='--help --json' ;;
	'advise') words='--help --all --json' ;;
	'apply') words='--help --json' ;;
	'ignore') words='--help --json' ;;
	'verify') words='--help --json' ;;
	'rollback') words='--help --tunable --netns --all --dry-run --json' ;;
	'pause') words='--help --json' ;;
	'resume') words='--help --json' ;;
	'adopt') words='--help --netns --json' ;;
	'persist') words='--help --dry-run --file --json' ;;
	'watch') words='--help --json' ;;
	'metrics') words='--help --json' ;;
	'lab') words='list run compare --help' ;;
	'lab list') words='--help --json' ;;
	'lab run') words='--help --set --seconds --seed --tuner --json' ;;
	'lab compare') words='--help --set --seconds --seed --tuner --repeat --json' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _bpftune bpftune
