# SPDX-License-Identifier: MIT
# compare.awk DOCUMENT NATIVE INSIDE, with -v test=NAME -v tracked=1 or 0: prints each subtest that has another result
# inside, other than a pass where the host skips it, and is not in the table of expected differences. Prints also each row
# of that table that does not differ although all passes natively. A row has numbers, or a part of the name in quotes.
BEGIN { FS = "\t" }

FILENAME == ARGV[1] {
	if (/^<!-- /)
		inside_table = /^<!-- differences/
	if (!inside_table)
		next
	split($0, cell, / *\| */)
	if (cell[2] != test && !(tracked && cell[2] == test ", tracked"))
		next
	rows++
	count = split(cell[3], part, / *, */)
	for (i = 1; i <= count; i++) {
		ends = split(part[i], bound, "-")
		if (part[i] ~ /^"/)
			named[substr(part[i], 2, length(part[i]) - 2)] = rows
		else if (ends == 2)
			for (n = bound[1] + 0; n <= bound[2] + 0; n++)
				expected[n] = rows
		else
			expected[part[i]] = rows
	}
	row[rows] = cell[3]
	next
}

{ number[$1] }
FILENAME == ARGV[2] { native[$1] = $2; name[$1] = $3 }
FILENAME == ARGV[3] { inside[$1] = $2; if (!($1 in name)) name[$1] = $3 }

END {
	for (n in number) {
		a = n in native ? native[n] : "not run"
		b = n in inside ? inside[n] : "not run"
		if (a == b || (b == "pass" && a != "fail") || (n == "all" && inside["exit"] == "pass"))
			continue
		for (text in named)
			if (index(name[n], text))
				expected[n] = named[text]
		if (n in expected)
			seen[expected[n]]
		else if (b == "skip" && "skipped" in expected)
			seen[expected["skipped"]]
		else
			printf "%s (%s): %s natively, %s inside\n", n, name[n], a, b
	}
	for (r = 1; r <= rows; r++)
		if (!(r in seen) && native["exit"] == "pass")
			printf "docs/selftests.md: subtests %s do not differ any more\n", row[r]
}
