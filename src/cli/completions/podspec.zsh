#compdef podspec
# zsh completion for podspec(1), made by `podspec completions zsh`
_podspec() {
    local line tab=$'\t'
    local -a values shown whole shown_whole
    for line in "${(@f)$(podspec __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        # A directory is to go on: no space behind it.
        if [[ ${line%%$tab*} == */ ]]; then
            values+=("${line%%$tab*}")
            shown+=("${line/$tab/  -- }")
        else
            whole+=("${line%%$tab*}")
            shown_whole+=("${line/$tab/  -- }")
        fi
    done
    (( ${#whole} )) && compadd -l -d shown_whole -a whole
    (( ${#values} )) && compadd -l -S '' -d shown -a values
}
if [[ ${funcstack[1]} == _podspec ]]; then
    _podspec "$@"
else
    compdef _podspec podspec
fi
