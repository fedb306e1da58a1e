parts=nft
saved=$parts

choose_programs() {
    for variant in iptables-legacy ip6tables-legacy; do
        if has $variant-save && $variant-save 2> /dev/null | grep -q '^-A'; then
            die "nothing was changed: there are rules of $variant, too; they were not looked at"
        fi
    done
}

live() { nft list ruleset; }
check() { nft -c -f -; }
load() { nft -f -; }
loader() { say "nft -f -"; }

# Without counters, comments, and what dynamic sets have learned: rules that mean the same.
normal() {
    sed -e 's/counter packets [0-9]* bytes [0-9]*/counter/' -e '/^[[:space:]]*#/d' -e '/^[[:space:]]*$/d' | awk '
        /^\t(set|map) / { learning = 0 }
        /^\t\tflags .*(dynamic|timeout)/ { learning = 1 }
        learning && /^\t\telements = / { skipping = 1 }
        !skipping { print }
        /\}$/ { skipping = 0 }
        /^\t\}/ { learning = 0 }'
}

# As nft writes them: loaded in a network namespace of their own, with interfaces of the same names, and listed.
spelled() {
    # shellcheck disable=SC2016,SC2046
    unshare -n sh -c 'for name do ip link add "$name" type dummy; done; nft -f - && nft list ruleset' sh \
        $(ip -o link | awk -F '[:@ ]+' '{ print $2 }') 2> /dev/null
}

with_the_way_back() { printf 'flush ruleset\n%s\n' "$rules"; }

persist() {
    for file in /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/nftables.nft; do
        [ -e "$file" ] || continue
        { cp -p "$file" "$file.old" && cp -p "$file" "$file.new"; } || die "$file.old cannot be written"
        { { say '#!/usr/sbin/nft -f'; new nft; } > "$file.new" && mv "$file.new" "$file"; } ||
            die "$file cannot be written"
        touch persisted
        say "The new rules are in $file for the next boot; what it was is $file.old"
        return
    done
    die "no file is known from which this host loads its rules: save them yourself, nft list ruleset"
}
