#!/bin/sh
# New firewall rules with a way back. Written by ruleaudit {{ version }} from {{ names }}.
#
#   sh apply.sh try [SECONDS]         load the new rules; after 60 s the old ones come back by themselves, unless you
#   sh apply.sh confirm [--persist]   keep them: from a NEW ssh session; --persist: after a reboot, too
#   sh apply.sh rollback              go back to the old rules, at any later time
#   sh apply.sh status                say what is loaded
#
# No longer tracked: {{ freed }}.
{% for doubt in doubts %}
# Assumed, and not confirmed: {{ doubt }}
{% endfor %}
# Nothing is changed where the rules of this host are not those that the new ones were made from.
# The old rules are kept in /var/lib/ruleaudit/before (RULEAUDIT_STATE names another folder than /var/lib/ruleaudit),
# with a script that brings them back: rollback. The texts of the rules stand at the end of this file.
set -u
umask 077
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s\n' "$*"; }
die() { printf 'apply: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }

try() {
    case $seconds in '' | *[!0-9]* | 0*) die "try SECONDS: $seconds is no number of seconds" ;; esac
    waiting && die "another try waits for its confirm; sh $0 rollback ends it"
    for part in $parts; do unchanged "$part"; done
    for part in $parts; do
        { [ "$(new "$part")" ] && new "$part" | check "$part"; } ||
            die "nothing was changed: this host does not take the new $part rules (above)"
    done
    keep
    start_timer
    touch "pending.$token" || die "nothing was changed: $state cannot be written"
    for part in $parts; do
        new "$part" | load "$part" || undo "the new $part rules could not be loaded (above)"
    done
    { fingerprint > loading && mv loading loaded; } || undo "$state cannot be written"
    waiting || undo "loading took longer than $seconds s"
    say "The new rules are loaded. In $seconds s the old ones come back, unless you run, from a NEW ssh session:"
    say "    sh $0 confirm"
    warn_if_not_loose
    if loose; then forget_entries; fi
    say "Several hosts: take one out of the rotation, drain it, try, confirm, watch the error counters of the"
    say "proxy for 5 minutes; then the next one."
}

confirm() {
    [ -e loaded ] || die "there is nothing to confirm: the new rules are not loaded, or the old ones are back"
    [ "$(fingerprint)" = "$(cat loaded)" ] || say "Since then somebody else has changed the rules, too: sh $0 status"
    if waiting; then
        mv pending.* confirmed || die "$state cannot be written: the old rules will come back"
        say "Confirmed: the new rules stay."
    fi
    forget_entries
    if [ "$persist" ]; then persist; else say "A reboot brings the old rules back: sh $0 confirm --persist"; fi
}

rollback() {
    [ -e before/rollback ] || die "there is nothing to go back to: the rules were never replaced"
    if [ -e persisted ]; then say "The new rules are in the files for the next boot: put the old ones there, too."; fi
    if [ -e loaded ] && [ "$(fingerprint)" != "$(cat loaded)" ]; then
        for part in $parts; do live "$part" > "replaced.$part"; done
        say "Since then somebody else has changed the rules, too; what they were is in $state, replaced.*"
    fi
    warn_if_not_loose
    go_back || die "the old rules could not be loaded, see $state/log; they are in $state/before"
    say "The old rules are back."
}

status() {
    if waiting; then say "The new rules were loaded for a try; nobody has confirmed them yet."
    elif [ -e loaded ]; then say "The new rules were loaded and confirmed."
    else say "The new rules are not loaded."; fi
    if [ -e loaded ] && [ "$(fingerprint)" != "$(cat loaded)" ]; then
        say "Since then somebody else has changed the rules ('-' was loaded, '+' is there now):"
        fingerprint | diff -U 0 loaded - | changed_lines
    fi
    if has conntrack; then say "Connections in the table: $(conntrack -C)"; fi
    warn_if_not_loose
    if [ -s log ]; then tail -n 3 log; fi
}

# -- the way back

# Whether a try waits for its confirm.
waiting() { for file in pending.*; do [ -e "$file" ] && return 0; done; return 1; }

# The rules that are loaded now, into the folder `before`, complete; with a script that brings them back.
keep() {
    { rm -rf before.new && mkdir before.new; } || die "nothing was changed: $state cannot be written"
    for part in $saved; do
        if ! rules=$(live "$part"); then
            case " $parts " in *" $part "*) die "nothing was changed: the $part rules cannot be listed" ;; esac
            continue
        fi
        rules=$(with_the_way_back "$part")
        say "$rules" > "before.new/$part"
        [ "$(cat "before.new/$part")" = "$rules" ] ||
            die "nothing was changed: the $part rules could not be saved in $state; is the disk full?"
        check "$part" < "before.new/$part" || die "nothing was changed: the saved $part rules would not load (above)"
    done
    way_back > before.new/rollback
    [ "$(tail -n 1 before.new/rollback)" = '# the end' ] ||
        die "nothing was changed: $state cannot be written; is the disk full?"
    { rm -rf before && mv before.new before; } || die "nothing was changed: $state cannot be written"
    rm -f loaded confirmed persisted
}

way_back() {
    cat << END
#!/bin/sh
# The way back to the rules of $(date). With SECONDS and the name of a try: then, unless it is confirmed meanwhile.
cd "\$(dirname "\$0")/.." || exit 1
PATH='$PATH'
if [ \$# -gt 0 ]; then
    echo \$\$ > timer
    sleep "\$1"
    exec 9< lock
    n=0
    until flock -n 0 <&9 || [ \$n -ge 30 ]; do sleep 1; n=\$((n + 1)); done
    [ -e "pending.\$2" ] || exit 0
fi
replaced=
for file in loaded pending.*; do [ -e "\$file" ] && replaced=yes; done
$(for part in $parts; do say "load_$part() { $(loader "$part") < before/$part; }"; done)
failed=
for part in $parts; do
    n=0
    until load_\$part; do
        n=\$((n + 1))
        [ \$n -lt 30 ] || { failed=yes; break; }
        sleep 1
    done
done
[ -z "\$failed" ] || exit 1
rm -f pending.* loaded
echo "\$(date): the old rules are back"
[ "\$replaced" ] && [ "\$(cat /proc/sys/net/netfilter/nf_conntrack_tcp_loose)" = 1 ] || exit 0
{
    $(forgetting)
} > /dev/null 2>&1
exit 0
# the end
END
}

# Whatever becomes of this shell and its terminal, the command goes on; called with &.
detached() {
    trap '' HUP
    if has setsid; then exec setsid "$@"; else exec "$@"; fi
}

# The lock is its own, too (9<&9: a ksh would close it), until the rules are back.
go_back() {
    detached sh before/rollback < /dev/null >> log 2>&1 9<&9 &
    wait $!
}

undo() {
    go_back || die "$1; the old rules could not be loaded either, see $state/log: the timer tries again"
    die "$1; the old rules are back"
}

# Runs before anything is loaded.
start_timer() {
    if [ -d /run/systemd/system ] && has systemd-run; then
        systemd-run --quiet --unit "ruleaudit-$token" --on-active "$seconds" --timer-property AccuracySec=1s \
            sh "$state/before/rollback" 0 "$token" && return
    fi
    rm -f timer
    detached sh before/rollback "$seconds" "$token" < /dev/null >> log 2>&1 9>&- &
    n=0
    until [ -e timer ]; do
        [ $n -lt 50 ] || die "nothing was changed: the timer does not start, see $state/log"
        sleep 0.1 2> /dev/null || sleep 1
        n=$((n + 1))
    done
}

# -- the rules

# Goes on only where the rules of this host are those that the new ones were made from.
unchanged() {
    now=$(live "$1" | normal)
    made=$(old "$1" | normal)
    [ "$made" = "$now" ] && return
    made=$(old "$1" | spelled "$1" | normal)
    [ "$made" = "$now" ] && return
    [ "$(new "$1" | spelled "$1" | normal)" != "$now" ] || die "the new $1 rules are loaded already"
    [ "$made" ] || made=$(old "$1" | normal)
    say "The $1 rules of this host are not those of {{ names }} ('-' is in the file, '+' in the kernel):"
    diff -U 0 /dev/fd/3 /dev/fd/4 3<< MADE 4<< NOW | changed_lines
$made
MADE
$now
NOW
    die "nothing was changed: save the rules of this host again ({{ saving }}), and have the script made anew"
}

changed_lines() { sed -n '/^--- /d; /^+++ /d; /^[-+]/p'; }

fingerprint() { for part in $parts; do live "$part" | normal; done; }

{% include backend %}

# -- the table of connections

# A connection that is no longer tracked leaves its entry behind, for up to 5 days; it lives on without. After the way
# back it is picked up anew, where that is allowed; by the entry of before, its packets would be out of the window.
loose() { [ "$(cat /proc/sys/net/netfilter/nf_conntrack_tcp_loose 2> /dev/null)" != 0 ]; }

warn_if_not_loose() {
    loose || say "net.netfilter.nf_conntrack_tcp_loose is 0: going back cuts connections; set it to 1 before."
}

forget_entries() {
    if has conntrack; then
        forgetting | sh > /dev/null 2>&1
        say "The entries of what is no longer tracked are out of the table; entries now: $(conntrack -C)"
    else
        say "Entries of what is no longer tracked leave as they time out: conntrack is not installed."
    fi
}

forgetting() {
    cat << 'END'
{% if entries %}
ip -o addr show | awk '$2 != "lo" { sub("/.*", "", $4); print $4 }' | while read -r address; do
    case $address in
{% if entries.ipv6 %}
    *:*)
{% for line in entries.ipv6 %}
        conntrack -D -f ipv6 {{ line }}
{% endfor %}
        ;;
{% else %}
    *:*) ;;
{% endif %}
{% if entries.ipv4 %}
    *)
{% for line in entries.ipv4 %}
        conntrack -D -f ipv4 {{ line }}
{% endfor %}
        ;;
{% endif %}
    esac
done
{% else %}
: # none that could be named in few words
{% endif %}
END
}

# -- the texts
{% for text in texts %}

{{ text.function }}() {
    cat << '{{ text.end }}'
{{ text.lines }}
{{ text.end }}
}
{% endfor %}

old() { "old_$1"; }
new() { "new_$1"; }

# -- what was asked for

command=${1-} seconds=60 persist=''
case $command in
try) [ $# -lt 2 ] || seconds=$2 ;;
confirm) [ "${2-}" != --persist ] || persist=yes ;;
rollback | status) ;;
*) die "usage: sh $0 try [SECONDS] | confirm [--persist] | rollback | status" ;;
esac
[ "$(id -u)" = 0 ] || die "this needs root"
for program in awk cat diff flock grep sed sort {{ programs }}; do
    has "$program" || die "$program is not installed here"
done
state=${RULEAUDIT_STATE:-/var/lib/ruleaudit}
{ mkdir -p "$state" && cd "$state" && state=$(pwd); } || die "$state cannot be made"
touch lock log || die "$state cannot be written"
exec 9< lock
flock -n 0 <&9 || die "another run of this script is not done yet"
boot=$(cat /proc/sys/kernel/random/boot_id)
known=$(cat boot_id 2> /dev/null)
if [ "$known" != "$boot" ]; then
    rm -f pending.* loaded # what was loaded is gone since the reboot
    say "$boot" > boot_id
    [ -s boot_id ] || die "$state cannot be written; is the disk full?"
fi
token=$(date +%s)-$$
choose_programs
"$command"
