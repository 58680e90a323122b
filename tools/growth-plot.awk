# SPDX-License-Identifier: MIT
# growth-plot.awk POINTS: how cost grows, as a plot (SVG) for each operation, from lines of bench/growth.c: axis, operation,
# position, ns on Vellum, ns on the host ("-": not measured). All axes are logarithmic but that of threads.
function log10(x) { return log(x) / log(10) }
function px(v) { return left + (low_x == high_x ? 0 : (log10(v) - log10(low_x)) / (log10(high_x) - log10(low_x)) * width) }
function py(v) { return bottom - (log10(v) - log10(low_y)) / (log10(high_y) - log10(low_y)) * height }
function duration(ns) { return ns >= 1e9 ? ns / 1e9 " s" : ns >= 1e6 ? ns / 1e6 " ms" : ns >= 1e3 ? ns / 1e3 " us" : ns " ns" }
function amount(n) { return n >= 1e6 ? n / 1e6 "M" : n >= 1e3 ? int(n / 1e3) "k" : n }

function curve(g, side, colour,   i, points, v) {
	for (i = 1; i <= nr[g]; i++) {
		v = value[g, i, side]
		if (v == "-")
			continue
		points = points " " sprintf("%.1f,%.1f", px(at[g, i]), py(v))
		printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n", px(at[g, i]), py(v), colour
	}
	printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>\n", substr(points, 2), colour
}

function plot(g,   i, s, v) {
	low_x = at[g, 1]; high_x = at[g, nr[g]]
	low_y = 1e15; high_y = 1
	for (i = 1; i <= nr[g]; i++)
		for (s = 0; s < 2; s++) {
			v = value[g, i, s]
			if (v == "-") continue
			low_y = v < low_y ? v : low_y
			high_y = v > high_y ? v : high_y
		}
	low_y = 10 ^ int(log10(low_y)); high_y = 10 ^ (int(log10(high_y)) + 1)
	for (v = low_y; v <= high_y * 1.001; v *= 10) {
		printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, left + width, py(v), py(v)
		printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left - 5, py(v) + 4, duration(v)
	}
	for (i = 1; i <= nr[g]; i++)
		printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", px(at[g, i]), bottom + 15, amount(at[g, i])
	printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s, by %s</text>\n", left + width / 2, bottom - height - 8, what[g], axis[g]
	curve(g, 0, "#1f77b4")
	curve(g, 1, "#d62728")
}

{
	key = $1 " " $2
	if (!(key in group)) {
		group[key] = ++groups
		axis[groups] = $1
		what[groups] = $2 == "touch" ? ($1 == "threads" ? "first touch, a page" : "first touch") : $2
	}
	g = group[key]
	i = ++nr[g]
	at[g, i] = $3; value[g, i, 0] = $4; value[g, i, 1] = $5
}

END {
	width = 210; height = 130
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 640\" font-family=\"sans-serif\" font-size=\"11\">"
	print "<rect width=\"900\" height=\"640\" fill=\"white\"/>"
	print "<text x=\"60\" y=\"18\" fill=\"#1f77b4\">Vellum</text><text x=\"120\" y=\"18\" fill=\"#d62728\">the host\47s kernel</text>"
	for (g = 1; g <= groups; g++) {
		left = 65 + (g - 1) % 3 * 295; bottom = 185 + int((g - 1) / 3) * 205
		plot(g)
	}
	print "</svg>"
}
