/* SPDX-License-Identifier: MIT */
/* cli/html_blob.S - the report's page as bytes. */
	.section .rodata
	.globl html_blob, html_blob_end
	.hidden html_blob, html_blob_end
html_blob:
	.incbin "cli/report.html"
html_blob_end:
	.section .note.GNU-stack, "", @progbits
