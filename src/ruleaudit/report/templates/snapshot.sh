#!/bin/sh
# ruleaudit-snapshot: what `ruleaudit capacity --snapshot DIR` reads, saved on a host that has no ruleaudit.
#
#   sh snapshot.sh [DIR]      DIR is made, and nothing is written elsewhere; nothing is changed
#
# It takes about five seconds, however full the table is. Root reads more than others: what could not be read
# stands in DIR/unread. Files lie in DIR where they lie in /proc; the first 20,000 entries are in DIR/table.
# Addresses of clients are among them, and the rules of the firewall: send DIR to whom you trust.

LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
umask 077
pause=3
entries=20000
full='(nf|ip)_conntrack: table full.*dropping packet'

case ${1-} in
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) echo "$0: no option $1; usage: sh snapshot.sh [DIR]" >&2; exit 2 ;;
esac
dir=${1:-ruleaudit-snapshot-$(date +%Y%m%d-%H%M%S)}
if [ -e "$dir" ] || ! mkdir "$dir"; then
    echo "$0: $dir: must be a new folder" >&2
    exit 2
fi
cd "$dir" || exit 2

unread() { # FILE WHY
    echo "$1: $2" >>unread
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# a program that hangs is given up, where timeout(1) is there and has the usual arguments
limited() {
    if timeout 1 true >/dev/null 2>&1; then timeout 20 "$@"; else "$@"; fi
}

# copy /FILE to FOLDER/FILE
copied() { # FOLDER FILE
    mkdir -p "$1/$(dirname "$2")"
    if [ ! -e "/$2" ]; then
        unread "$2" "there is no such file"
    elif ! head -c 1000000 "/$2" >"$1/$2" 2>/dev/null; then
        rm -f "$1/$2"
        unread "$2" "only root may read it"
    fi
}

moment() { # FOLDER
    for file in proc/uptime proc/sys/net/netfilter/nf_conntrack_count proc/net/stat/nf_conntrack; do
        copied "$1" "$file"
    done
}

# the output of a program, kept in FILE if it succeeds
output() { # FILE PROGRAM...
    file=$1
    shift
    if ! has "$1"; then
        unread "$file" "$1 is not installed"
    elif ! limited "$@" >"$file" 2>error; then
        unread "$file" "$1: $(head -n 1 error)"
        rm -f "$file"
    fi
    rm -f error
}

moment .
for file in /proc/sys/net/netfilter/nf_conntrack_* /proc/sys/net/nf_conntrack_max; do
    case $file in
    *_count | *'*') ;;
    */net/nf_conntrack_max) [ ! -e "$file" ] || copied . "${file#/}" ;;
    *) copied . "${file#/}" ;;
    esac
done
for file in proc/sys/kernel/osrelease proc/net/sockstat; do
    copied . "$file"
done

if grep -E '^(slabinfo|# name|(nf|ip)_conntrack)' /proc/slabinfo >slabinfo 2>/dev/null; then
    mv slabinfo proc/slabinfo
else
    rm -f slabinfo
    unread proc/slabinfo "only root may read it, or it has no line of conntrack"
fi

# the first entries, in the order of the hash: as good as drawn by lot
if [ -e proc/sys/net/netfilter/nf_conntrack_count ]; then
    head -n "$entries" /proc/net/nf_conntrack >table 2>/dev/null
    if [ ! -s table ] && has conntrack; then
        # 20,000 lines, and the pipe is closed
        limited conntrack -L 2>error | head -n "$entries" >table
    fi
    if [ ! -s table ] && [ "$(cat proc/sys/net/netfilter/nf_conntrack_count)" != 0 ]; then
        unread table "only root may read it, or /proc/net/nf_conntrack and conntrack are missing"
    fi
    [ -s table ] || rm -f table
    rm -f error
fi

# lines of a full table, wherever the kernel's messages are
if dmesg >messages 2>/dev/null; then :; else unread log "dmesg: only root may read it"; fi
for file in /var/log/kern.log /var/log/messages; do
    [ -r "$file" ] && tail -c 2000000 "$file" >>messages 2>/dev/null
done
grep -E "$full" messages | tail -n 100 >log
rm -f messages

output rules.v4 iptables-save
output rules.v6 ip6tables-save
# rules of the older kind, beside those that iptables-save shows
if has iptables-legacy-save && ! grep -q '^-A' rules.v4 2>/dev/null; then output rules.v4 iptables-legacy-save; fi
if has ip6tables-legacy-save && ! grep -q '^-A' rules.v6 2>/dev/null; then output rules.v6 ip6tables-legacy-save; fi
output ruleset.nft nft -s list ruleset
output ip-addr ip addr
output netns readlink /proc/self/ns/net
output listeners ss -lntup

sleep "$pause"
moment later

if [ -s unread ]; then
    echo "$dir: saved, without these:" >&2
    sed 's/^/  /' unread >&2
else
    echo "$dir: saved" >&2
fi
echo "read it with: ruleaudit capacity --snapshot $dir" >&2
