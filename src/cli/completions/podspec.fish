# fish completion for podspec(1), made by `podspec completions fish`
complete -c podspec -f -a '(podspec __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
