# SPDX-License-Identifier: MIT
# reset-plot.awk ROWS: a plot (SVG) of runs per second against the pages that a run changes, from lines of bench/resets.sh:
# pages, runs/s of vellum repeat, runs/s of a fork server. Both axes are logarithmic.
function log10(x) { return log(x) / log(10) }
function px(pages) { return left + (log10(pages) - log10(pages_min)) / (log10(pages_max) - log10(pages_min)) * (right - left) }
function py(runs) { return bottom - (log10(runs) - log10(low)) / (log10(high) - log10(low)) * (bottom - top) }

function curve(values, colour, name,   i, points) {
	for (i = 1; i <= n; i++) {
		points = points " " sprintf("%.1f,%.1f", px(pages[i]), py(values[i]))
		printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", px(pages[i]), py(values[i]), colour
	}
	printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", substr(points, 2), colour
	printf "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n", px(pages[1]) + 6, py(values[1]) - 9, colour, name
}

{ pages[++n] = $1; reset[n] = $2; forks[n] = $3 }

END {
	left = 70; right = 620; top = 20; bottom = 300
	pages_min = pages[1]; pages_max = pages[n]
	low = 1e9
	for (i = 1; i <= n; i++) {
		high = reset[i] > high ? reset[i] : high
		high = forks[i] > high ? forks[i] : high
		low = forks[i] < low ? forks[i] : low
		low = reset[i] < low ? reset[i] : low
	}
	low = 10 ^ int(log10(low)); high = 10 ^ (int(log10(high)) + 1)
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 350\" font-family=\"sans-serif\" font-size=\"13\">"
	print "<rect width=\"640\" height=\"350\" fill=\"white\"/>"
	for (runs = low; runs <= high * 1.001; runs *= 10) {
		printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, right, py(runs), py(runs)
		printf "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", left - 8, py(runs) + 4, runs
	}
	for (i = 1; i <= n; i++)
		printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", px(pages[i]), bottom + 20, pages[i]
	printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">pages that a run changes, of 64 MiB</text>\n", (left + right) / 2, bottom + 42
	printf "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 14 %d)\">runs a second</text>\n", (top + bottom) / 2, (top + bottom) / 2
	curve(reset, "#1f77b4", "vellum repeat")
	curve(forks, "#d62728", "a fork server, natively")
	print "</svg>"
}
