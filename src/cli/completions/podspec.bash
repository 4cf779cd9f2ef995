# bash completion for podspec(1), made by `podspec completions bash`
_podspec() {
    local line value
    COMPREPLY=()
    while IFS= read -r line; do
        printf -v value %q "${line%%$'\t'*}"
        COMPREPLY+=("$value")
    done < <(podspec __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$2" 2>/dev/null)
    # A directory or an option that is to go on gets no space behind it.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace
    fi
}
complete -F _podspec podspec
