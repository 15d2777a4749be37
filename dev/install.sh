#!/usr/bin/env bash
# Installs skep, its man page and its shell completions; `--remove` takes them away again.
#
#   dev/install.sh target/release/skep /usr/local
#   dev/install.sh --remove /usr/local
set -euo pipefail

source=$1
prefix=$2
man=$prefix/share/man/man1
bash=$prefix/share/bash-completion/completions/skep
zsh=$prefix/share/zsh/site-functions/_skep
fish=$prefix/share/fish/vendor_completions.d/skep.fish

sudo=()
probe=$prefix
while [ ! -e "$probe" ]; do probe=$(dirname "$probe"); done
[ -w "$probe" ] || sudo=(sudo)
root() { ${sudo[0]+"${sudo[@]}"} "$@"; }

if [ "$source" = --remove ]; then
    root rm -f "$prefix/bin/skep" "$man"/skep*.1 "$bash" "$zsh" "$fish"
    echo "removed skep from $prefix"
    exit
fi

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$source" completions bash >"$made/bash"
"$source" completions zsh >"$made/zsh"
"$source" completions fish >"$made/fish"
mkdir "$made/man"
"$source" man >"$made/man/skep.1"
for command in $(grep -oE 'skep\\-[a-z\-]+\(1\)' "$made/man/skep.1" | tr -d '\\' | sed 's/^skep-//; s/(1)$//' | sort -u); do
    [ "$command" = help ] || "$source" man "$command" >"$made/man/skep-$command.1"
done

root install -Dm755 "$source" "$prefix/bin/skep"
root install -Dm644 -t "$man" "$made"/man/*.1
root install -Dm644 "$made/bash" "$bash"
root install -Dm644 "$made/zsh" "$zsh"
root install -Dm644 "$made/fish" "$fish"
echo "installed $prefix/bin/skep"
