parts='{{ parts }}'
saved=$parts

# Which program holds the rules: $v4, $v6.
choose_programs() {
    v4=$(holder iptables) && v6=$(holder ip6tables) || exit 1
    if has ip6tables-save; then saved='v4 v6'; fi
    has nft || return 0
    others=$(nft list tables 2> /dev/null | grep -Ev '^table ip6? (raw|mangle|nat|filter|security)$')
    [ -z "$others" ] || say "These tables of nft were not looked at; their rules apply, too:" "$others"
}

holder() {
    found=
    for variant in nft legacy; do
        has "$1-$variant-save" || continue
        [ -z "$("$1-$variant-save" 2> /dev/null | normal)" ] || found="$found $1-$variant"
    done
    case $found in
    *' '*' '*) die "nothing was changed: there are rules of $1-nft and of $1-legacy; it must be one of them" ;;
    esac
    say "${found:- $1}" | tr -d ' '
}

program() { if [ "$1" = v4 ]; then say "$v4"; else say "$v6"; fi; }
live() { "$(program "$1")-save" -c; }
check() { "$(program "$1")-restore" --test; }
load() { "$(program "$1")-restore"; }
loader() { say "$(program "$1")-restore -c"; }

# Without counters and comments, chain by chain: rules that mean the same.
normal() {
    awk '/^#/ || /^COMMIT/ || NF == 0 { next }
        /^\*/ { table = substr($1, 2); next }
        /^:/ { if ($2 != "ACCEPT") print table, substr($1, 2), 0, $1, $2; next }
        { sub(/^\[[0-9]+:[0-9]+\] */, ""); print table, $2, 1000000 + NR, $0 }' |
        sort | sed 's/^\([^ ]*\) [^ ]* [0-9]* /\1 /'
}

# As the programs of this host write them: loaded in a network namespace of their own, and listed.
spelled() {
    # shellcheck disable=SC2016
    unshare -n sh -c 'ipset restore <&3; "$1-restore" && "$1-save"' sh "$(program "$1")" 2> /dev/null 3<< SETS
$(ipset save 2> /dev/null)
SETS
}

# The saved text empties the tables that only the new rules have.
with_the_way_back() {
    case " $parts " in *" $1 "*) ;; *) say "$rules"; return ;; esac
    for table in $(new "$1" | sed -n 's/^\*//p'); do
        say "$rules" | grep -q "^\*$table" || printf '*%s\nCOMMIT\n' "$table"
    done
    say "$rules"
}

persist() {
    if has netfilter-persistent; then
        netfilter-persistent save || die "netfilter-persistent save failed"
    else
        for part in $parts; do
            name=iptables digit=
            if [ "$part" = v6 ]; then name=ip6tables digit=6; fi
            file=
            for known in "sysconfig/$name" "iptables/$name.rules" "iptables/rules$digit-save" "iptables/rules.$part"; do
                [ -z "$file" ] && [ -e "/etc/$known" ] && file=/etc/$known
            done
            [ "$file" ] || die "no file is known from which this host loads its $part rules: save them yourself"
            { live "$part" > "$file.new" && mv "$file.new" "$file"; } || die "$file cannot be written"
        done
    fi
    touch persisted
    say "The new rules are saved for the next boot."
}
