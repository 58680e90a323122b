# SPDX-License-Identifier: MIT
# Reduces what a test printed to lines NUMBER<TAB>RESULT<TAB>NAME, with the result pass, fail, skip or xfail. TAP has
# the numbers; a line "# [RUN] ..." before is a part of the name. Other tests' lines are counted. The last line, "exit status N", is a subtest, too.
BEGIN { OFS = "\t" }

function add(number, result, name) {
	gsub(/0x[0-9a-f]+/, "0xN", name)
	print number, result, substr(name, 1, 90)
}

{ sub(/\r$/, "") }

/^# \[RUN\] / { run = substr($0, length("# [RUN] ") + 1) ": " }

/^(not )?ok( |$)/ {
	result = /^not/ ? "fail" : "pass"
	if (/# *SKIP/)
		result = "skip"
	else if (/# *XFAIL/)
		result = "xfail"
	sub(/^(not )?ok */, "")
	number = $1 + 0 ? $1 : ++count
	sub(/^[0-9]+ *(- *)?/, "")
	add(number, result, run $0)
	run = ""
	next
}

/^1\.\.0 *# *SKIP/ { add("all", "skip", $0) }
/^Bail out!/ { add("bail", "fail", $0) }

/^Testing .*\.\.\. (done|failed|skipped)/ {
	result = /\.\.\. done/ ? "pass" : /\.\.\. failed/ ? "fail" : "skip"
	sub(/^Testing /, "")
	sub(/\.\.\. .*/, "")
	add(++count, result, $0)
}

/ - (OK|FAILED)$/ {
	result = /OK$/ ? "pass" : "fail"
	sub(/: .*/, "")
	add(++count, result, $0)
}

/^exit status [0-9]+$/ { add("exit", $3 == 0 ? "pass" : $3 == 4 ? "skip" : "fail", $0) }
