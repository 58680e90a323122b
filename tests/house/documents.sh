#!/bin/sh
# SPDX-License-Identifier: MIT
# What documents say and a script can check: invariants, links, sections, files, functions and tests that are named,
# numbers, the members of reports, blocks of C, and the order of a man page.
. "$(dirname "$0")/tap"

# docs/api.md is made from comments in the headers: tests/house/api.sh.
documents='README.md ARCHITECTURE.md SPEC.md THREAT-MODEL.md CONTRIBUTING.md mm/README.md docs/porting.md docs/scenarios.md
	docs/differences.md docs/glossary.md'
code='proc mm abi machine host cli arch lib include bench examples tests'

# --- invariants ---

invariants() { # FILES...
	cat "$@" | grep -oE 'INV-[A-Z]+-[0-9]+' | sort -u
}
same_invariants() { # DOCUMENT: it has those of the code, and no others
	# shellcheck disable=SC2046
	invariants $(find proc mm arch lib machine host abi cli include -name '*.[chS]') >"$tmp/code"
	invariants "$1" >"$tmp/document"
	diff "$tmp/code" "$tmp/document"
}

# --- links, sections, files ---

anchors() { # FILE: of its headings, as they are named in links
	sed -n '/^```/,/^```/d; s/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}
links() { # FILES...: relative links lead to files, and to headings
	r=0
	for f; do
		grep -oE '\]\([^): ]+\)' "$f" | sed 's/^](//; s/)$//' >"$tmp/links"
		while read -r link; do
			to=${link%%#*}
			[ -z "$to" ] && to=$f || to=$(dirname "$f")/$to
			[ -e "$to" ] || { echo "$f: $link: no such file"; r=1; continue; }
			case $link in
			*#*) anchors "$to" | grep -qxF -e "${link#*#}" || { echo "$f: $link: no such heading"; r=1; } ;;
			esac
		done <"$tmp/links"
	done
	return $r
}
texts() { # FILES...: lines "file, tab, text": the comments of code, and all of a document
	awk '
	FNR == 1 { c = FILENAME ~ /\.[chS]$/; inside = 0 }
	!c { print FILENAME "\t" $0; next }
	{
		line = ""
		while ($0 != "") {
			at = index($0, inside ? "*/" : "/*")
			if (inside)
				line = line " " (at ? substr($0, 1, at - 1) : $0)
			$0 = at ? substr($0, at + 2) : ""
			if (at)
				inside = !inside
		}
		if (line != "")
			print FILENAME "\t" line
	}' "$@"
}
# A file is named with its folder, or a part of that, or alone.
named_files() { # FILES...: files that documents and comments name are there
	find . \( -path './build*' -o -path ./.git \) -prune -o -type f -print | sed 's|^\./||' >"$tmp/files"
	texts "$@" | awk -v files="$tmp/files" -F '\t' '
	BEGIN {
		while ((getline path < files) > 0)
			do
				there[path]
			while (sub(/^[^\/]*\//, "", path))
		# The system has these, or a reader of the guide.
		split("program.c main.c myhost.c mymachine.c stdatomic.h time.h errno.h vellum/sources.mk", list, " ")
		for (i in list)
			there[list[i]]
	}
	{
		text = $2
		while (match(text, /[A-Za-z0-9_.\/<-]*[A-Za-z0-9_]\.(c|h|S|sh|md|mk|tbl|list)([^A-Za-z0-9_]|$)/)) {
			name = substr(text, RSTART, RLENGTH)
			text = substr(text, RSTART + RLENGTH)
			sub(/[^A-Za-z0-9_]$/, "", name)
			if (name !~ /^(<|linux\/|sys\/|asm\/|tmp\/|build\/|\.)/ && !(name in there) && !seen[$1, name]++) {
				print $1 ": " name
				bad = 1
			}
		}
	}
	END { exit bad }'
}
sections() { # FILES...: "Heading" behind a document's name is one of its headings
	grep -HE '^##* ' ./*.md docs/*.md | sed 's|^\./||; s|:##* |	|' >"$tmp/headings"
	# A comment may break the line between the two.
	texts "$@" | awk -v headings="$tmp/headings" -F '\t' '
	BEGIN {
		while ((getline < headings) > 0) {
			document[$1]
			there[$1, $2]
		}
	}
	function look(	 name, heading) {
		while (match(text, /[A-Za-z\/-]+\.md,? "[A-Z][A-Za-z ]*"/)) {
			name = heading = substr(text, RSTART, RLENGTH)
			text = substr(text, RSTART + RLENGTH)
			sub(/,? ".*/, "", name)
			sub(/^[^"]*"/, "", heading)
			sub(/"$/, "", heading)
			if (name in document && !((name, heading) in there)) {
				print file ": " name " \"" heading "\""
				bad = 1
			}
		}
	}
	$1 != file { look(); file = $1; text = "" }
	{ sub(/^ *\*/, "", $2); text = text " " $2; gsub(/  +/, " ", text) }
	END { look(); exit bad }'
}

# --- names of the code, of tests and of targets ---

functions() { # FILES...: `name()` in a document is a word of the code
	r=0
	find $code -type f -name '*.[chS]' -exec cat {} + | grep -oE '[a-z_][a-z_0-9]*' | sort -u >"$tmp/words"
	for f; do
		grep -oE '`[a-z_][a-z_0-9]*\(\)`|\bvellum_[a-z_0-9]+\(\)' "$f" | tr -d '`()' | sort -u >"$tmp/named"
		while read -r to; do
			grep -qxF -e "$to" "$tmp/words" || { echo "$f: $to() is nowhere"; r=1; }
		done <"$tmp/named"
	done
	return $r
}
named_tests() { # FILES...: test_NAME and mutants that documents name are there
	r=0
	for f; do
		grep -oE '\btest_[a-z_]+\b' "$f" | sort -u >"$tmp/named"
		while read -r to; do
			ls tests/unit/*/"$to.c" >/dev/null 2>&1 || { echo "$f: no test $to"; r=1; }
		done <"$tmp/named"
	done
	sed -n 's/.*mutants \(`.*`\).*/\1/p' "$@" | grep -oE '`[a-z_]+`' | tr -d '`' | sort -u >"$tmp/named"
	while read -r to; do
		grep -q "^$to	" tests/mutants/table || { echo "no mutant $to"; r=1; }
	done <"$tmp/named"
	return $r
}
targets() { # FILES...: `make NAME` names a target
	cat "$@" | grep -oE '(`|^)make [a-z][a-z-]*' | awk '{ print $2 }' | sort -u >"$tmp/named"
	r=0
	while read -r to; do
		grep -qE "^($to|[^	#]* $to)( [^:=]*)?:([^=]|\$)" Makefile tests/*.mk tests/*/*.mk bench/*.mk ||
			{ echo "no target $to"; r=1; }
	done <"$tmp/named"
	return $r
}

# --- numbers ---

# Lines: document, its text with @ for the number, file, constant, divided by.
numbers_list="\
SPEC.md|processes, zombies too \| @,|abi/task.h|MAX_TASKS|1
SPEC.md|less its own, @, and|abi/hostfd.c|OWN_FDS|1
SPEC.md|the processes' share; @ \||abi/hostfd.c|MAX_POOL|1
SPEC.md|RLIMIT_NOFILE, @ \||abi/task.h|MAX_FDS|1
SPEC.md|mappings of a process \| @,|mm/mm.h|DEFAULT_MAX_MAP_COUNT|1
SPEC.md|from @ KiB to|abi/exec.c|MIN_ARG_BYTES|1024
SPEC.md|KiB to @ MiB|abi/exec.c|MAX_ARG_BYTES|1048576
SPEC.md|and at most @ MiB|abi/sys_file.c|MAX_PIPE|1048576
SPEC.md|cached neighbours: @ pages|mm/fault/file.c|AROUND_PAGES|1
ARCHITECTURE.md|A pin is @ references|mm/frame/folio.h|FOLIO_PIN|1
ARCHITECTURE.md|are punched @ at|host/swap_file.c|BATCH|1
docs/differences.md|reads at most @ MiB|mm/space/madvise.c|MAX_READ_AHEAD|1048576
docs/differences.md|move at most @ KiB|abi/sys_io.c|CHUNK|1024
docs/differences.md|starts @ KiB above|abi/exec.c|HEAP_GAP|1024
docs/differences.md|within about @ seconds|abi/filemap.c|FLUSH_SECONDS|1
man/vellum.1|at most @ descriptors|abi/task.h|MAX_FDS|1
man/vellum.1|There may be @ processes|abi/task.h|MAX_TASKS|1
man/vellum.1|from 1 to @; the default|cli/run.c|MAX_CPUS|1
man/vellum.1|May be given up to @ times|cli/cli.h|MAX_INSPECTIONS|1"

constant() { # FILE NAME
	text=$(sed -n "s/^#define $2[ 	][ 	]*\([^	]*[^	 ]\).*/\1/p" "$1" |
		sed 's|/\*.*||; s/FOLIO_REF/1/; s/\([0-9]\)[uUlL][uUlL]*/\1/g')
	# shellcheck disable=SC2004 # it is the text of an expression
	[ -n "$text" ] && echo $(($text))
}
numbers() { # FOLDER of documents
	r=0
	while IFS='|' read -r doc before bar file name by; do
		# The text itself may have a bar: it is written \| there.
		case $before in *\\) ;; *) by=$name name=$file file=$bar bar= ;; esac
		want=$(constant "$file" "$name") || { echo "$file: no $name"; r=1; continue; }
		text=$(printf '%s' "$before$bar" | tr '\\' '|')
		tr '\n' ' ' <"$1/$doc" | tr -d , | sed 's/\*\*//g' |
			grep -qF -e "$(printf '%s' "$text" | tr -d , | sed "s/@/$((want / by))/")" ||
			{ echo "$doc: not \"$text\" with $((want / by)), which is $name of $file"; r=1; }
	done <<EOF
$numbers_list
EOF
	return $r
}
frame_bytes() { # FOLDER: documents say as many as struct folio has
	bytes=$(sed -n 's/^_Static_assert(sizeof(struct folio) == \([0-9]*\).*/\1/p' mm/frame/folio.h)
	[ -n "$bytes" ] || { echo "no size of struct folio"; return 1; }
	grep -qF "$bytes bytes for every frame of RAM" "$1/docs/porting.md" &&
		grep -qF "$((bytes / 4)) MiB for each GiB" "$1/docs/porting.md" || {
		echo "docs/porting.md: not $bytes bytes, or not $((bytes / 4)) MiB"
		return 1
	}
	tr '\n' ' ' <"$1/ARCHITECTURE.md" | grep -qE "$bytes bytes of metadata" || {
		echo "ARCHITECTURE.md: not $bytes bytes"
		return 1
	}
}
entry_bits() { # DOCUMENT: bits of an entry, against arch/x86/pgtable.h
	r=0
	while read -r name words; do
		bit=$(sed -n "s/^#define $name[ 	].*1ull << \([0-9]*\)).*/\1/p" arch/x86/pgtable.h)
		grep -qE "\| $bit \| $words" "$1" || { echo "$1: bit $bit ($name) is not $words"; r=1; }
	done <<'EOF'
X86_PRESENT P, present
X86_RW RW
X86_USER user
X86_ACCESSED A, accessed
X86_DIRTY D, dirty
X86_PROTNONE with P=0: mapped without access
X86_SPECIAL special
X86_UFFD_WP uffd-wp
X86_SOFT_DIRTY soft-dirty
X86_UNCHANGED unchanged
X86_DEVMAP devmap
X86_SAVED_DIRTY saved dirty
X86_NX NX
EOF
	return $r
}

figures() { # README: the figures of the picture and the number of mutants
	r=0
	for n in $(sed -n 's/.*over time: \([0-9]*\) collections.* found \([0-9]*\) pages.*/\1 \2/p' docs/heat-map.svg) \
		$(grep -vE '^(#|$)' tests/mutants/table | cut -f 1 | sort -u | wc -l); do
		tr -d , <"$1" | grep -qwF -e "$n" || { echo "$1: not $n"; r=1; }
	done
	return $r
}

# --- reports ---

members() { # SOURCE DOCUMENT FIRST LAST: the members that the source writes are between these headings
	sed -n "/^## $3/,/^## $4/p" "$2" >"$tmp/part"
	grep -oE '\\"[a-z_]+\\":' "$1" | tr -d '\\":' | sort -u >"$tmp/named"
	[ -s "$tmp/named" ] || { echo "$1: no members"; return 1; }
	r=0
	while read -r m; do
		grep -qE "[\`.\"]$m[]\`\"[]" "$tmp/part" || { echo "$2: $m of $1 is missing under $3"; r=1; }
	done <"$tmp/named"
	return $r
}

# --- blocks of C: compiled, and run if there is a main(); tests/house/porting.sh has those that are quotes ---

blocks() { # FILES...
	r=0
	for f; do
		rm -f "$tmp"/block*.c
		awk -v to="$tmp/block" '
			/^<!-- from .* -->$/ { quoted = 1; next }
			/^```c$/ { if (!quoted) { inside = 1; out = to (++n) ".c" } quoted = 0; next }
			/^```/ { inside = 0; next }
			inside { print >out }
			!/^$/ { quoted = 0 }' "$f"
		for b in "$tmp"/block*.c; do
			[ -e "$b" ] || continue
			if grep -q '\bmain(' "$b"; then
				# shellcheck disable=SC2086 # CC may have flags
				$CC -std=c11 -Wall -Wextra -Werror -Iinclude "$b" build/libvellum.a -lpthread -o "$tmp/block" &&
					timeout 60 "$tmp/block"
			else
				# shellcheck disable=SC2086
				$CC -std=c11 -Wall -Wextra -Werror -Iinclude -fsyntax-only "$b"
			fi || { echo "$f: a block of C"; r=1; }
		done
	done
	return $r
}

# --- man pages ---

man_sections() { # FILE: sections in the order of man-pages(7)
	sed -n 's/^\.Sh //p' "$1" >"$tmp/sections"
	printf '%s\n' NAME LIBRARY SYNOPSIS DESCRIPTION 'RETURN VALUES' ENVIRONMENT FILES 'EXIT STATUS' EXAMPLES \
		'SEE ALSO' STANDARDS CAVEATS BUGS >"$tmp/order"
	grep -xFf "$tmp/sections" "$tmp/order" >"$tmp/sorted"
	diff "$tmp/sorted" "$tmp/sections" && for s in NAME SYNOPSIS DESCRIPTION EXAMPLES 'SEE ALSO'; do
		grep -qx "$s" "$tmp/sections" || { echo "$1: no $s"; return 1; }
	done
}

# shellcheck disable=SC2046,SC2086
{
	check "ARCHITECTURE lists the invariants of the code" same_invariants ARCHITECTURE.md
	check "links lead to files and headings" links $documents CHANGELOG.md
	check "files that documents name are there" named_files $documents CHANGELOG.md man/*.[13]
	check "files that comments name are there" named_files $(find $code -name '*.[chS]')
	check "sections that documents and comments name are there" \
		sections $documents $(find $code -name '*.[chS]')
	check "functions that documents name are there" functions $documents
	check "tests and mutants that documents name are there" named_tests ARCHITECTURE.md THREAT-MODEL.md CONTRIBUTING.md
	check "targets that documents name are there" targets README.md ARCHITECTURE.md THREAT-MODEL.md CONTRIBUTING.md
	check "documents say the constants of the code" numbers .
	check "documents say how large a frame's metadata is" frame_bytes .
	check "README has the figures of its picture" figures README.md
	check "SPEC has the bits of an entry" entry_bits SPEC.md
	check "SPEC has the members of a report" members cli/json.c SPEC.md Report Processes
	check "SPEC has the members of an inspection" members cli/inspect_show.c SPEC.md Inspect zzz
	check "blocks of C compile, and run" blocks $documents
	check "vellum(1) has its sections in order" man_sections man/vellum.1
	for page in man/*.3; do
		check "$page has its sections in order" man_sections "$page"
	done
}

# --- planted ---

{ cat ARCHITECTURE.md; echo INV-PLANTED-1; } >"$tmp/planted.md"
caught "planted: an invariant that no code has" INV-PLANTED-1 same_invariants "$tmp/planted.md"
grep -v INV-WB-3 ARCHITECTURE.md >"$tmp/planted.md"
caught "planted: an invariant that is not listed" INV-WB-3 same_invariants "$tmp/planted.md"
# shellcheck disable=SC2016 # ` is Markdown's
cat >"$tmp/planted.md" <<'EOF'
[x](no/such/file.md), mm/no_such_file.c, no_such_file_alone.c; SPEC.md "No such heading", test_no_such, `no_such_function()`;
mutants `no_such_mutant`. `make no-such-target`
EOF
caught "planted: a link to nowhere" no/such/file.md links "$tmp/planted.md"
echo '[x](#no-such-heading)' >"$tmp/planted_link.md"
caught "planted: a link to no heading" 'no such heading' links "$tmp/planted_link.md"
caught "planted: a file that is not there" mm/no_such_file.c named_files "$tmp/planted.md"
caught "planted: a file that is not there, without a folder" no_such_file_alone.c named_files "$tmp/planted.md"
printf 'int x = 1; /* see\n * no_such_file_alone.c */\n' >"$tmp/planted.c"
caught "planted: a file in a comment" no_such_file_alone.c named_files "$tmp/planted.c"
caught "planted: a section that is not there" 'No such heading' sections "$tmp/planted.md"
caught "planted: a function that is not there" no_such_function functions "$tmp/planted.md"
caught "planted: a test that is not there" test_no_such named_tests "$tmp/planted.md"
caught "planted: a mutant that is not there" no_such_mutant named_tests "$tmp/planted.md"
caught "planted: a target that is not there" no-such-target targets "$tmp/planted.md"

mkdir "$tmp/docs"
plant() { # FILE SED: in a copy of the documents
	rm -rf "$tmp/copy"
	mkdir -p "$tmp/copy"
	cp -R ./*.md docs man "$tmp/copy"
	sed "$2" "$1" >"$tmp/copy/$1"
}
plant SPEC.md 's/4,096/4,095/'
caught "planted: another number of processes" MAX_TASKS numbers "$tmp/copy"
plant docs/differences.md 's/32 MiB/33 MiB/'
caught "planted: another size of a read-ahead" MAX_READ_AHEAD numbers "$tmp/copy"
plant docs/porting.md 's/32 bytes for every/64 bytes for every/'
caught "planted: another size of a frame's metadata" 'not 32 bytes' frame_bytes "$tmp/copy"
plant docs/porting.md 's/8 MiB for each GiB/16 MiB for each GiB/'
caught "planted: another share of RAM" 'not 8 MiB' frame_bytes "$tmp/copy"
sed 's/ [0-9]* collections/ 1 collections/' README.md >"$tmp/planted.md"
caught "planted: another figure" 'planted.md: not' figures "$tmp/planted.md"
sed 's/| 10 | uffd-wp/| 12 | uffd-wp/' SPEC.md >"$tmp/planted.md"
caught "planted: a bit in another place" X86_UFFD_WP entry_bits "$tmp/planted.md"
sed 's/`collections\[\]\.cost_ns`/x/' SPEC.md | sed '/A reader treats/,/of collections/d' >"$tmp/planted.md"
caught "planted: a member that is not described" cost_ns members cli/json.c "$tmp/planted.md" Report Processes
# shellcheck disable=SC2016
printf '```c\nint planted(void) { return undeclared; }\n```\n' >"$tmp/planted.md"
caught "planted: a block that does not compile" undeclared blocks "$tmp/planted.md"
# shellcheck disable=SC2016
printf '```c\nint main(void) { return 3; }\n```\n' >"$tmp/planted.md"
caught "planted: a block that fails" 'a block of C' blocks "$tmp/planted.md"
{ echo .Sh BUGS; cat man/vellum.3; } >"$tmp/planted.3"
caught "planted: sections in another order" BUGS man_sections "$tmp/planted.3"
exit $bad
