# bash completion for podspec(1), made by `podspec completions bash`
_podspec() {
    local line value word last=$2 rest=$COMP_LINE words=()
    # Bash cuts words at `:` and `=`: what stands together on the line is put together again.
    [[ ${COMP_WORDS[COMP_CWORD]} == [:=]* ]] && last=${COMP_WORDS[COMP_CWORD]}
    for word in "${COMP_WORDS[@]:0:COMP_CWORD}" "$last"; do
        if [[ ${#words[@]} -eq 0 || $rest == [[:space:]]* ]]; then
            words+=("$word")
        else
            words[-1]+=$word
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
    # Bash replaces what is behind its last cut.
    local kept=${words[-1]%"$2"}
    COMPREPLY=()
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        value=${value#"$kept"}
        [[ -n $value ]] || continue
        case ${COMP_WORDS[COMP_CWORD]} in
            # Behind a quote a name stands as it is, or cannot stand.
            [\'\"]*) [[ $value != *[\'\"\\\$\`!]* ]] || continue ;;
            *) printf -v value %q "$value" ;;
        esac
        COMPREPLY+=("$value")
    done < <(podspec __complete "${words[@]:1}" 2>/dev/null)
    # A directory, an option or a container's name that is to go on gets no space behind it.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]]; then
        compopt -o nospace
    fi
}
complete -F _podspec podspec
